"""What a lexicon document may hold (https://atproto.com/specs/lexicon)."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from atdata_core.atproto.formats import FORMATS
from atdata_core.atproto.uri import check_nsid
from atdata_core.errors import InvalidRecordError, InvalidUriError

PRIMARY = {"record", "query", "procedure", "subscription", "permission-set"}
"""Types of which a document holds at most one, as ``main``."""

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9]{0,127}")
_KEY = re.compile(r"tid|nsid|any|literal:[a-zA-Z0-9_~.:-]{1,512}")
_NEVER_NAMED = {"ref", "union", "unknown", "params"}
_IN_PARAMS = {"boolean", "integer", "string", "unknown", "array"}

# A type's keywords, and what each holds: `*` marks those that have to be there.
_WORDS = {
    "null": "",
    "boolean": "default:bool const:bool",
    "integer": "minimum:int maximum:int enum:ints default:int const:int",
    "string": "format:format maxLength:size minLength:size maxGraphemes:size minGraphemes:size "
    "knownValues:texts enum:texts default:text const:text",
    "bytes": "minLength:size maxLength:size",
    "cid-link": "",
    "blob": "accept:texts maxSize:size",
    "array": "items*:value minLength:size maxLength:size",
    "object": "properties*:values required:texts nullable:texts",
    "params": "properties*:values required:texts",
    "token": "",
    "ref": "ref*:ref",
    "union": "refs*:refs closed:bool",
    "unknown": "",
    "record": "key*:key record*:object",
    "query": "parameters:params output:body errors:errors",
    "procedure": "parameters:params input:body output:body errors:errors",
    "subscription": "parameters:params message:message errors:errors",
    "permission-set": "title:text title:lang:map detail:text detail:lang:map permissions*:maps",
}
_ERROR_WORDS = {"name", "description"}


def check_lexicon(document: Mapping[str, Any]) -> None:
    """Holds a lexicon document to the rules.

    Raises:
        InvalidRecordError: It breaks one; the message says where, what was expected, and what was
            found.
    """
    name = document.get("id")
    where = name if isinstance(name, str) else "lexicon"
    if type(document.get("lexicon")) is not int or document["lexicon"] != 1:
        raise _wrong(where, "version of the lexicon language", "1", document.get("lexicon"))
    try:
        check_nsid(name if isinstance(name, str) else "")
    except InvalidUriError as error:
        raise _wrong(where, "id", "an NSID", name) from error
    defs = document.get("defs")
    if not isinstance(defs, dict) or not defs:
        raise _wrong(where, "defs", "a map of definitions", defs)
    extra = document.keys() - {"$type", "lexicon", "id", "revision", "description", "defs"}
    if extra:
        raise _wrong(where, "document", "no other keys than the specified ones", sorted(extra))
    for key, body in defs.items():
        _check_definition(body, key, f"{where}#{key}")


def _check_definition(body: Any, key: str, where: str) -> None:
    if not _NAME.fullmatch(key):
        raise _wrong(where, "name of a definition", "letters and digits", key)
    kind = body.get("type") if isinstance(body, dict) else None
    if kind in _NEVER_NAMED:
        raise _wrong(where, "definition", "a type that can have a name", kind)
    if kind in PRIMARY and key != "main":
        raise _wrong(where, "definition", f"{kind} only as main", key)
    _check_type(body, where, PRIMARY | (_WORDS.keys() - _NEVER_NAMED))


def _check_type(body: Any, where: str, allowed: Iterable[str]) -> None:
    kind = body.get("type") if isinstance(body, dict) else None
    if not isinstance(kind, str) or kind not in set(allowed):
        raise _wrong(where, "type", " or ".join(sorted(allowed)), kind)
    words = dict(word.rsplit(":", 1) for word in _WORDS[kind].split())
    required = {word[:-1] for word in words if word.endswith("*")}
    checks = {word.rstrip("*"): check for word, check in words.items()}
    for word in sorted(required - body.keys()):
        raise _wrong(where, f"definition of type {kind}", f"the keyword {word!r}", None)
    for word, value in body.items():
        if word in ("type", "description"):
            _CHECKS["text"](value, where, word)
        elif word not in checks:
            raise _wrong(where, "keyword", f"one that {kind} has", word)
        else:
            _CHECKS[checks[word]](value, f"{where}, {word}", word)
    if kind in ("object", "params"):
        _check_names(body, where)
    if kind == "union" and body.get("closed") and not body["refs"]:
        raise _wrong(where, "closed union", "at least one member", [])


def _check_names(body: Mapping[str, Any], where: str) -> None:
    for word in ("required", "nullable"):
        missing = set(body.get(word, ())) - body["properties"].keys()
        if missing:
            raise _wrong(where, word, "names of properties", sorted(missing))


def _values(value: Any, where: str, _word: str) -> None:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _wrong(where, "properties", "a map of types", value)
    for key, body in value.items():
        _value(body, f"{where}.{key}", key)


def _value(value: Any, where: str, _word: str) -> None:
    _check_type(value, where, _WORDS.keys() - PRIMARY - {"params"})


def _object(value: Any, where: str, _word: str) -> None:
    _check_type(value, where, {"object"})


def _params(value: Any, where: str, _word: str) -> None:
    _check_type(value, where, {"params"})
    for key, body in value["properties"].items():
        inner = body.get("items") if body["type"] == "array" else body
        if inner["type"] not in _IN_PARAMS:
            raise _wrong(f"{where}.{key}", "parameter", "a plain type", inner["type"])


def _body(value: Any, where: str, _word: str) -> None:
    if not isinstance(value, dict) or not isinstance(value.get("encoding"), str):
        raise _wrong(where, "body", "its encoding", value)
    if value.keys() - {"encoding", "schema", "description"}:
        raise _wrong(where, "body", "encoding, schema, description", sorted(value))
    if "schema" in value:
        _check_type(value["schema"], where, {"object", "ref", "union"})


def _message(value: Any, where: str, _word: str) -> None:
    if not isinstance(value, dict) or value.keys() - {"schema", "description"}:
        raise _wrong(where, "message", "schema, description", value)
    if "schema" in value:
        _check_type(value["schema"], where, {"union"})


def _is_ref(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    name, mark, part = value.partition("#")
    try:
        return bool(not mark or _NAME.fullmatch(part)) and bool(
            check_nsid(name) if name or not mark else mark
        )
    except InvalidUriError:
        return False


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_maps(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_errors(value: Any) -> bool:
    return _is_maps(value) and all(
        isinstance(item.get("name"), str) and item.keys() <= _ERROR_WORDS for item in value
    )


def _simple(expected: str, test: Callable[[Any], bool]) -> Callable[[Any, str, str], None]:
    def check(value: Any, where: str, word: str) -> None:
        if not test(value):
            raise _wrong(where, f"value of {word!r}", expected, value)

    return check


_CHECKS: dict[str, Callable[[Any, str, str], None]] = {
    "bool": _simple("true or false", lambda value: isinstance(value, bool)),
    "int": _simple("an integer", lambda value: type(value) is int),
    "ints": _simple(
        "integers", lambda v: isinstance(v, list) and all(type(item) is int for item in v)
    ),
    "size": _simple("an integer that is not negative", _is_size),
    "text": _simple("text", lambda value: isinstance(value, str)),
    "texts": _simple("a list of texts", _is_texts),
    "map": _simple("a map", lambda value: isinstance(value, dict)),
    "maps": _simple("a list of maps", _is_maps),
    "errors": _simple("a list of names with descriptions", _is_errors),
    "format": _simple(
        " or ".join(FORMATS), lambda value: isinstance(value, str) and value in FORMATS
    ),
    "key": _simple(
        "tid, nsid, any, or literal:…", lambda v: isinstance(v, str) and bool(_KEY.fullmatch(v))
    ),
    "ref": _simple("an NSID, with a #name or without", _is_ref),
    "refs": _simple("references", lambda v: isinstance(v, list) and all(map(_is_ref, v))),
    "value": _value,
    "values": _values,
    "object": _object,
    "params": _params,
    "body": _body,
    "message": _message,
}


def _wrong(where: str, what: str, expected: str, got: Any) -> InvalidRecordError:
    return InvalidRecordError(
        f"{what} is not what a lexicon may hold",
        where=where,
        expected=expected,
        got=repr(got)[:120],
    )
