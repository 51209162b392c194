"""Tars in WebDataset's own layout, one member a field, as samples."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from atdata_core.archive import read_members
from atdata_core.arrays import array_from_bytes
from atdata_core.conversions.foreign import samples_of
from atdata_core.conversions.made import MadeSource, Part
from atdata_core.errors import ConfigurationError, SampleError, ShardError
from atdata_core.fields import Field, fields_of
from atdata_core.primitives import Primitive
from atdata_core.sources import DataSource

Decoder = Callable[[bytes], Any]
"""From a member's bytes to the value of a field."""

KEY = "__key__"
"""The member that none is: a sample's key."""

_PICKLED = {"pyd", "pkl", "pickle", "pth", "pt"}


def tar_source(
    source: DataSource,
    sample_type: type,
    decoders: Mapping[str, Decoder],
    members: Mapping[str, str],
) -> MadeSource:
    """Tars of several members a sample as shards-to-be; see `Dataset.from_webdataset`.

    Raises:
        ConfigurationError: `members` names a field that the type doesn't have, or a decoder is for
            pickled members.
    """
    fields = fields_of(sample_type)
    strange = set(members) - {field.name for field in fields}
    if strange:
        raise ConfigurationError(
            f"{sample_type.__name__} has no field {min(strange)!r}", where="members"
        )
    decoders = {extension.lower().lstrip("."): call for extension, call in decoders.items()}
    if _PICKLED & set(decoders):
        raise ConfigurationError(
            "pickled members are not read: loading one runs whatever code is in it",
            where="decoders",
            got=", ".join(sorted(_PICKLED & set(decoders))),
            remedy="Write them anew as .npy or .json",
        )
    reader = _Reader(sample_type, fields, decoders, members)

    def part(url: str) -> Part:
        return Part(url, 0, None, lambda: reader.samples(source, url))

    return MadeSource(list(map(part, source.list_shards())), f"WebDataset tars of {source!r}")


class _Reader:
    """Reads samples of one type.

    Args:
        sample_type: The type.
        fields: Its fields.
        decoders: By extension.
        members: By field, the member that holds it, or several of which one does.
    """

    def __init__(
        self,
        sample_type: type,
        fields: tuple[Field, ...],
        decoders: Mapping[str, Decoder],
        members: Mapping[str, str],
    ) -> None:
        self._type = sample_type
        self._fields = fields
        self._decoders = decoders
        self._members = {name: told.lower().split(";") for name, told in members.items()}

    def samples(self, source: DataSource, url: str) -> Iterator[Any]:
        """The samples of a tar, in order."""
        with source.open_shard(url) as stream:
            for key, group in _groups(read_members(stream, url), url):
                where = f"{url}, sample {key}"
                row = {}
                for field in self._fields:
                    member = self._member(field.name, group)
                    if member == KEY:
                        row[field.name] = key
                    elif member is not None:
                        row[field.name] = self._value(field, member, group[member], where)
                yield from samples_of(self._type, [row], where)

    def _member(self, name: str, group: Mapping[str, bytes]) -> str | None:
        """The extension of the member that holds a field, or None."""
        if name in self._members:
            return next((m for m in self._members[name] if m in group or m == KEY), None)
        lower = name.lower()
        return next((m for m in group if m == lower or m.rpartition(".")[0] == lower), None)

    def _value(self, field: Field, member: str, body: bytes, where: str) -> Any:
        extension = member.rpartition(".")[2]
        where = f"{where}, member .{member}"
        if extension in self._decoders:
            try:
                return self._decoders[extension](body)
            except Exception as error:
                raise SampleError(
                    f"decoder for .{extension} failed: {error or type(error).__name__}", where=where
                ) from error
        if extension in _DECODERS:
            return _DECODERS[extension](body, where)
        if field.type == Primitive("bytes"):
            return body
        raise SampleError(
            f"nothing decodes .{extension}",
            where=where,
            expected=f"one of {', '.join(sorted({*_DECODERS, *self._decoders}))}",
            remedy="Pickled members are never read"
            if extension in _PICKLED
            else f"Name what does: decoders={{{extension!r}: …}}",
        )


def _groups(
    members: Iterator[tuple[str, bytes]], where: str
) -> Iterator[tuple[str, dict[str, bytes]]]:
    """The members of each sample, by extension: those that follow each other with one key."""
    key: str | None = None
    group: dict[str, bytes] = {}
    seen: set[str] = set()
    for name, body in members:
        folder, slash, base = name.rpartition("/")
        stem, dot, extension = base.partition(".")
        if not stem or not dot or (stem.startswith("__") and stem.endswith("__")):
            continue  # not of a sample: hidden, without extension, or about the shard
        if folder + slash + stem != key:
            if key is not None:
                yield key, group
            key, group = folder + slash + stem, {}
            if key in seen:
                raise ShardError("two samples have the same key", where=where, got=key)
            seen.add(key)
        if extension.lower() in group:
            raise ShardError("sample has two members of one name", where=where, got=name)
        group[extension.lower()] = body
    if key is not None:
        yield key, group


def _text(body: bytes, where: str) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SampleError("text is not UTF-8", where=where, got=repr(body[:40])) from error


def _number(body: bytes, where: str) -> int:
    text = _text(body, where).strip()
    if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
        raise SampleError("member is not a whole number", where=where, got=repr(text[:40]))
    return int(text[:1000])


def _json(body: bytes, where: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SampleError(f"member is not JSON: {error}", where=where) from error


_DECODERS: dict[str, Callable[[bytes, str], Any]] = {
    "npy": array_from_bytes,
    "json": _json,
    **dict.fromkeys(("txt", "text"), _text),
    **dict.fromkeys(("cls", "cls2", "index", "inx", "id"), _number),
}
"""Those that need no telling. An array's header is checked before memory is taken for it."""
