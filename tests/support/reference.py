"""``python -m tests.support.reference``: docs/reference.md, made from the docstrings."""

import logging
import re
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference.md"
PACKAGES = {
    "atdata_core": "Samples, datasets, indexes and stores. Needs no Dagster.",
    "atdata_core.atmosphere": "Accounts, records and blobs on the AT Protocol.",
    "atdata_core.discovery": "Who publishes what.",
    "atdata_core.following": "What others publish, as it changes.",
    "atdata_core.errors": "All errors that this library raises.",
    "atdata_dagster": "Datasets as Dagster assets.",
    "atdata_dagster.partitions": "Partitions and asset keys of what others publish.",
    "atdata_dagster.components": "Datasets declared in YAML.",
    "atdata_dagster.devnet": "Real servers on this machine.",
}
_HEAD = """# Reference

The public names: signatures, and what their docstrings say of them. `make reference` makes this
page; a test fails when it is out of date.
"""
_RULE = re.compile(r"=+( +=+)+")
_TITLES = {
    griffe.DocstringSectionKind.parameters: "Args",
    griffe.DocstringSectionKind.attributes: "Attributes",
    griffe.DocstringSectionKind.returns: "Returns",
    griffe.DocstringSectionKind.yields: "Yields",
    griffe.DocstringSectionKind.raises: "Raises",
}
# It misses the fields of pydantic's classes, which are documented where we document arguments.
logging.getLogger("griffe").setLevel(logging.ERROR)


def page():
    """The text of the page."""
    parts = [_HEAD, "\n".join(f"- [`{name}`](#{name.replace('.', '')})" for name in PACKAGES), ""]
    told = {}
    loader = griffe.GriffeLoader(docstring_parser="google", search_paths=[ROOT])
    for top in ("atdata_core", "atdata_dagster"):
        loader.load(top)
    for package, about in PACKAGES.items():
        parts.append(f"## `{package}`\n\n{about}\n")
        for name, found in _public(loader.modules_collection[package]):
            if found.kind is griffe.Kind.MODULE:
                continue  # it has a section of its own
            if found.path in told:
                parts.append(f"### `{name}`\n\nThat of `{told[found.path]}`.\n")
                continue
            told[found.path] = package
            parts += _entry(name, found)
    return "\n".join(parts)


def _public(module):
    """The public names of a module, sorted, with what they stand for."""
    names = module.exports or [
        name
        for name, found in module.members.items()
        if not (name.startswith("_") or found.is_alias or found.kind is griffe.Kind.MODULE)
    ]
    for name in sorted(map(str, names)):
        found = module[name]
        yield name, found.final_target if found.is_alias else found


def _entry(name, found):
    yield f"### `{name}`\n"
    if found.kind is not griffe.Kind.ATTRIBUTE and found.parameters:
        yield f"```python\n{_signature(name, found)}\n```\n"
    yield from _described(found)
    if found.kind is griffe.Kind.CLASS:
        bases = [f"`{base.name}`" for base in found.resolved_bases if _is_ours(base)]
        if bases:
            yield f"What {' and '.join(bases)} has, and:\n"
        members = [each for each in found.members.values() if _is_told(each, found)]
        if members:
            yield "\n".join(_member(each) for each in members) + "\n"


def _is_told(member, of):
    """Whether a member of a class is public, documented, and no field told as an argument."""
    if member.is_alias or member.name.startswith("_") or member.docstring is None:
        return False
    is_field = member.kind is griffe.Kind.ATTRIBUTE and "property" not in member.labels
    return not (is_field and of.parameters)


def _is_ours(base):
    return base.path.startswith("atdata_") and not base.name.startswith("_")


def _member(member):
    """A method or property in one item of a list: how it is called, and its first sentence."""
    text = _first_paragraph(member.docstring.value)
    if member.kind is griffe.Kind.FUNCTION:
        return f"- `{_call(member)}`: {text}"
    return f"- `{member.name}`: {text}"


def _call(function):
    given = []
    for each in _parameters(function):
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(each.kind.value, "")
        if each.kind.value == "keyword-only" and "*" not in given and not _has_star(given):
            given.append("*")
        given.append(f"{star}{each.name}" + ("" if each.default is None or star else "=…"))
    return f"{function.name}({', '.join(given)})"


def _has_star(given):
    return any(each.startswith("*") for each in given)


def _parameters(found):
    return [each for each in found.parameters if each.name not in ("self", "cls")]


def _signature(name, found):
    """As in the source, a parameter a line where it is long."""
    lines, starred = [], False
    for each in _parameters(found):
        star = {"variadic positional": "*", "variadic keyword": "**"}.get(each.kind.value, "")
        if each.kind.value == "keyword-only" and not starred:
            lines.append("*")
        starred = starred or star == "*" or each.kind.value == "keyword-only"
        hint = f": {each.annotation}" if each.annotation is not None else ""
        equals = " = " if hint else "="
        default = f"{equals}{each.default}" if each.default is not None and not star else ""
        lines.append(f"{star}{each.name}{hint}{default}")
    returns = getattr(found, "returns", None)
    arrow = f" -> {returns}" if returns is not None and found.kind is griffe.Kind.FUNCTION else ""
    short = f"{name}({', '.join(lines)}){arrow}"
    if len(short) <= 100:
        return short
    return f"{name}(\n" + "".join(f"    {line},\n" for line in lines) + f"){arrow}"


def _described(found):
    """The text of a docstring, and its sections as lists."""
    if found.docstring is None:
        return
    for section in found.docstring.parsed:
        if section.kind is griffe.DocstringSectionKind.text:
            yield _markdown(section.value) + "\n"
        elif section.kind in _TITLES:
            yield f"**{_TITLES[section.kind]}**\n"
            yield "\n".join(_item(each) for each in section.value) + "\n"


def _item(each):
    name = getattr(each, "name", None) or (
        str(each.annotation) if isinstance(each, griffe.DocstringRaise) else ""
    )
    text = _first_paragraph(each.description)
    return f"- `{name}`: {text}" if name else f"- {text}"


def _markdown(text):
    """A docstring's text: what it shows as code is fenced, names in its backquotes stay."""
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    lines, out, inside = text.splitlines(), [], False
    for number, line in enumerate(lines):
        is_code = line.startswith("    ") or (inside and not line.strip())
        if is_code and not inside:
            out.append("```")
        if inside and not is_code:
            _close(out)
        inside = is_code
        out.append(line[4:] if is_code else _table_row(line, lines, number))
    if inside:
        _close(out)
    return "\n".join(out).replace("::\n", ":\n")


def _close(out):
    blank = [out.pop() for _ in range(len(out)) if not out[-1].strip()]
    out += ["```", *blank]


def _table_row(line, lines, number):
    """A table of a docstring is shown as it stands: its first and last rule are fences."""
    if not _RULE.fullmatch(line):
        return line
    before = sum(bool(_RULE.fullmatch(each)) for each in lines[:number])
    return line if before % 3 == 1 else "```"


def _first_paragraph(text):
    return _markdown(" ".join(text.strip().split("\n\n")[0].split()))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
