"""Lexicons: what the records of this library may hold, and whether a record holds it.

A PDS doesn't know our record types and takes whatever it is sent, so each record is held to its
lexicon before it goes out. The lexicons lie beside this file, one for each type that is written.
"""

import base64
import binascii
import functools
import json
import reprlib
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from atdata_core.atproto.formats import has_format
from atdata_core.atproto.lexicon_rules import check_lexicon
from atdata_core.atproto.uri import check_rkey
from atdata_core.errors import InvalidRecordError

_MAX_INTEGER = 2**53
_MAX_DEPTH = 32
_MAX_ITEMS = 131_072
_BLOB_KEYS = {"$type", "ref", "mimeType", "size"}


class Catalog:
    """Some lexicons, and what they say of data.

    Args:
        documents: The lexicons, as JSON.

    Raises:
        InvalidRecordError: One of them breaks the rules for lexicons.
    """

    def __init__(self, documents: Iterable[Mapping[str, Any]]) -> None:
        self._documents = {}
        for document in documents:
            check_lexicon(document)
            self._documents[document["id"]] = document

    def __contains__(self, nsid: object) -> bool:
        return nsid in self._documents

    def __iter__(self) -> Any:
        return iter(self._documents)

    def validate_record(
        self, record: Mapping[str, Any], nsid: str, rkey: str | None = None
    ) -> None:
        """Holds a record to its lexicon, and to what any record may hold.

        Args:
            record: Its fields, ``$type`` among them; links, bytes and blobs as in AT Protocol JSON.
            nsid: The type that it has to have.
            rkey: The key under which it is to be written, where that is known.

        Raises:
            InvalidRecordError: It breaks a rule; the message says where in the record, what was
                expected, and what was found.
        """
        definition, base = self._find(nsid, nsid, nsid)
        if definition["type"] != "record":
            raise _wrong("type is not one of records", nsid, "record", definition["type"])
        check_data(record, nsid)
        if record.get("$type") != nsid:
            raise _wrong("record is of another type", _at(nsid, "$type"), nsid, record.get("$type"))
        if rkey is not None:
            _check_key(rkey, definition["key"], nsid)
        self._check(record, definition["record"], base, nsid)

    def validate_value(self, value: Any, ref: str) -> None:
        """Holds a value to a definition, ``nsid#name``; see `validate_record`."""
        definition, base = self._find(ref, ref, ref)
        check_data(value, ref)
        self._check(value, definition, base, ref)

    def _find(self, ref: str, base: str, where: str) -> tuple[Mapping[str, Any], str]:
        name, _, part = ref.removeprefix("lex:").partition("#")
        document = self._documents.get(name or base)
        definition = document["defs"].get(part or "main") if document else None
        if definition is None:
            raise _wrong("no lexicon defines this", where, "a known type", ref)
        return definition, name or base

    def _check(self, value: Any, definition: Mapping[str, Any], base: str, where: str) -> None:
        kind = definition["type"]
        if kind == "ref":
            found, base = self._find(definition["ref"], base, where)
            if found["type"] == "token":
                token = f"{base}#{definition['ref'].partition('#')[2]}"
                _expect(value == token, "token", where, token, value)
                return
            self._check(value, found, base, where)
        elif kind == "union":
            self._check_union(value, definition, base, where)
        elif kind == "object":
            self._check_object(value, definition, base, where)
        elif kind == "array":
            _expect(isinstance(value, list), "value", where, "a list", value)
            _check_length(len(value), definition, where, "items")
            for index, item in enumerate(value):
                self._check(item, definition["items"], base, f"{where}[{index}]")
        else:
            _SCALARS[kind](value, definition, where)

    def _check_object(
        self, value: Any, definition: Mapping[str, Any], base: str, where: str
    ) -> None:
        _expect(_is_map(value), "value", where, "a map", value)
        for name in definition.get("required", ()):
            if name not in value:
                raise _wrong("field is missing", _at(where, name), "a value", None)
        for name, inner in definition["properties"].items():
            if name not in value:
                continue
            if value[name] is None and name in definition.get("nullable", ()):
                continue
            self._check(value[name], inner, base, _at(where, name))

    def _check_union(
        self, value: Any, definition: Mapping[str, Any], base: str, where: str
    ) -> None:
        _expect(_is_map(value), "value", where, "a map with $type", value)
        kind = value.get("$type")
        _expect(isinstance(kind, str), "member of a union", where, "a $type", value)
        for ref in definition["refs"]:
            absolute = ref if not ref.startswith("#") else base + ref
            if kind.removesuffix("#main") == absolute.removesuffix("#main"):
                found, inside = self._find(absolute, base, where)
                self._check(value, found, inside, where)
                return
        if definition.get("closed"):
            expected = " or ".join(definition["refs"])
            raise _wrong("member of a closed union is not known", where, expected, kind)


def lexicons() -> Catalog:
    """The lexicons of the records that this library writes."""
    return _catalog()


def validate_record(record: Mapping[str, Any], nsid: str, rkey: str | None = None) -> None:
    """Holds a record to the lexicon of its type, one of those that this library writes.

    Raises:
        InvalidRecordError: See `Catalog.validate_record`.
    """
    _catalog().validate_record(record, nsid, rkey)


@functools.cache
def _catalog() -> Catalog:
    folder = resources.files("atdata_core.atproto") / "lexicons"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    return Catalog(json.loads(file.read_text("utf-8")) for file in files)


def check_data(value: Any, where: str) -> None:
    """Holds data to what any record may hold (https://atproto.com/specs/data-model).

    No floats, no integers beyond 2^53, no text that isn't Unicode, keys with ``$`` only where the
    protocol or JSON Schema has them, and at most 32 levels.

    Raises:
        InvalidRecordError: It holds something else.
    """
    _expect(_is_map(value), "data", where, "a map", value)
    _check_data(value, where, _MAX_DEPTH, foreign=False)


def _check_data(value: Any, where: str, depth: int, *, foreign: bool) -> None:
    if isinstance(value, Mapping):
        _check_depth(value, where, depth)
        if "$link" in value or "$bytes" in value:
            _check_encoded(value, where)
            return
        # A JSON Schema brings its own keys with $; the published lexicons let it into records.
        foreign = foreign or "$schema" in value
        for key, item in value.items():
            if not isinstance(key, str) or not _is_unicode(key):
                raise _wrong("key is not text", where, "Unicode", key)
            if key.startswith("$") and key != "$type" and not foreign:
                raise _wrong("key is reserved", where, "no key that begins with $", key)
            _check_data(item, _at(where, key), depth - 1, foreign=foreign)
        kind = value.get("$type", "t")
        _expect(isinstance(kind, str) and kind != "", "$type", where, "the name of a type", kind)
        if kind == "blob":
            _check_blob(value, {}, where)
    elif isinstance(value, list):
        _check_depth(value, where, depth)
        for index, item in enumerate(value):
            _check_data(item, f"{where}[{index}]", depth - 1, foreign=foreign)
    elif isinstance(value, str):
        _expect(_is_unicode(value), "text", where, "Unicode", value)
    elif isinstance(value, int):
        fits = isinstance(value, bool) or abs(value) <= _MAX_INTEGER
        _expect(fits, "integer", where, "at most 2^53", value)
    elif value is not None:
        raise _wrong("value can't stand in a record", where, "no floats, no objects", value)


def _check_depth(value: Any, where: str, depth: int) -> None:
    _expect(depth > 0, "data", where, f"at most {_MAX_DEPTH} levels", "more")
    size = len(value)
    _expect(size <= _MAX_ITEMS, "container", where, f"at most {_MAX_ITEMS:,} items", size)


def _check_encoded(value: Mapping[str, Any], where: str) -> None:
    if len(value) != 1:
        raise _wrong("link or bytes hold something else too", where, "one key", sorted(value))
    if "$link" in value:
        _check_link(value, {}, where)
    else:
        _bytes_length(value, where)


def _check_key(rkey: str, kind: str, where: str) -> None:
    check_rkey(rkey)
    literal = kind.removeprefix("literal:")
    if kind == "any" or (kind in ("tid", "nsid") and has_format(rkey, kind)):
        return
    _expect(literal != kind and rkey == literal, "record key", where, kind, rkey)


def _check_string(value: Any, definition: Mapping[str, Any], where: str) -> None:
    _expect(isinstance(value, str), "value", where, "text", value)
    _check_choice(value, definition, where)
    _check_length(len(value.encode("utf-8")), definition, where, "bytes of UTF-8")
    if "maxGraphemes" in definition or "minGraphemes" in definition:
        limits = {
            "minLength": definition.get("minGraphemes", 0),
            "maxLength": definition.get("maxGraphemes", len(value)),
        }
        _check_length(count_graphemes(value), limits, where, "characters")
    name = definition.get("format")
    if name is not None and not has_format(value, name):
        raise _wrong("text has another format", where, name, value)


def _check_integer(value: Any, definition: Mapping[str, Any], where: str) -> None:
    _expect(type(value) is int, "value", where, "an integer", value)
    _check_choice(value, definition, where)
    if not definition.get("minimum", value) <= value <= definition.get("maximum", value):
        limits = f"{definition.get('minimum', 'any')} to {definition.get('maximum', 'any')}"
        raise _wrong("number is out of range", where, limits, value)


def _check_boolean(value: Any, definition: Mapping[str, Any], where: str) -> None:
    _expect(isinstance(value, bool), "value", where, "true or false", value)
    _check_choice(value, definition, where)


def _check_bytes(value: Any, definition: Mapping[str, Any], where: str) -> None:
    _check_length(_bytes_length(value, where), definition, where, "bytes")


def _check_link(value: Any, _definition: Mapping[str, Any], where: str) -> None:
    text = value.get("$link") if _is_map(value) and len(value) == 1 else None
    _expect(isinstance(text, str) and has_format(text, "cid"), "link", where, "a CID", value)


def _check_blob(value: Any, definition: Mapping[str, Any], where: str) -> None:
    whole = _is_map(value) and value.get("$type") == "blob" and value.keys() == _BLOB_KEYS
    _expect(whole, "value", where, "a blob: ref, mimeType, size", value)
    _check_link(value["ref"], {}, _at(where, "ref"))
    mime, size = value["mimeType"], value["size"]
    _expect(isinstance(mime, str) and "/" in mime, "mimeType", where, "a media type", mime)
    _expect(type(size) is int and size >= 0, "size", where, "a count of bytes", size)
    accepted = definition.get("accept", ["*/*"])
    if not any(_accepts(pattern, mime) for pattern in accepted):
        raise _wrong("blob is of another media type", where, " or ".join(accepted), mime)
    limit = definition.get("maxSize", size)
    _expect(size <= limit, "blob", where, f"at most {limit:,} bytes", size)


def _check_unknown(value: Any, _definition: Mapping[str, Any], where: str) -> None:
    plain = _is_map(value) and not value.keys() & {"$bytes", "$link"}
    _expect(plain and value.get("$type") != "blob", "value", where, "a plain map", value)


def _check_null(value: Any, _definition: Mapping[str, Any], where: str) -> None:
    _expect(value is None, "value", where, "null", value)


_SCALARS = {
    "null": _check_null,
    "boolean": _check_boolean,
    "integer": _check_integer,
    "string": _check_string,
    "bytes": _check_bytes,
    "cid-link": _check_link,
    "blob": _check_blob,
    "unknown": _check_unknown,
}


def count_graphemes(text: str) -> int:
    """The number of characters that a reader sees (Unicode's extended grapheme clusters)."""
    if text.isascii():
        return len(text) - text.count("\r\n")
    import regex

    return len(regex.findall(r"\X", text))


def _accepts(pattern: str, mime: str) -> bool:
    if pattern.endswith("/*"):
        return pattern == "*/*" or mime.startswith(pattern[:-1])
    return pattern == mime


def _bytes_length(value: Any, where: str) -> int:
    text = value.get("$bytes") if _is_map(value) and len(value) == 1 else None
    try:
        if isinstance(text, str):
            padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
            return len(base64.b64decode(padded, validate=True))
    except (binascii.Error, ValueError):
        pass
    raise _wrong("value is not bytes", where, '{"$bytes": base64}', value)


def _check_choice(value: Any, definition: Mapping[str, Any], where: str) -> None:
    if "const" in definition:
        _expect(value == definition["const"], "value", where, repr(definition["const"]), value)
    if "enum" in definition:
        choices = ", ".join(map(repr, definition["enum"]))
        _expect(value in definition["enum"], "value", where, f"one of {choices}", value)


def _check_length(size: int, definition: Mapping[str, Any], where: str, unit: str) -> None:
    low, high = definition.get("minLength", 0), definition.get("maxLength", size)
    if not low <= size <= high:
        limits = f"at most {high:,} {unit}" if size > high else f"at least {low:,} {unit}"
        raise _wrong(f"too {'long' if size > high else 'short'}", where, limits, size)


def _is_unicode(text: str) -> bool:
    try:
        return bool(text.encode("utf-8")) or not text
    except UnicodeEncodeError:
        return False


def _at(where: str, key: str) -> str:
    # A record's type, then the path within it: `com.example.thing, first.second[0]`.
    return f"{where}.{key}" if ", " in where else f"{where}, {key}"


def _is_map(value: Any) -> bool:
    return isinstance(value, Mapping)


def _expect(condition: bool, what: str, where: str, expected: str, got: Any) -> None:
    if not condition:
        raise _wrong(f"{what} is not what its lexicon says", where, expected, got)


def _wrong(message: str, where: str, expected: str, got: Any) -> InvalidRecordError:
    if isinstance(got, (dict, list)):
        # Only the outside: a stranger's may be deeper than Python can show.
        text = ascii(reprlib.repr(got))[1:-1]
    else:
        text = f"{got:,}" if type(got) is int else ascii(got)
    return InvalidRecordError(
        message,
        where=where,
        expected=expected,
        got=text if len(text) < 120 else text[:119] + "…",
    )
