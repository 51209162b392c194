"""How one schema came from another: what changed, and whether the data of the old one still read.

*Breaking* is a change after which samples written under the old schema can't be read by the new
type. The version that it calls for follows from that (https://semver.org): a breaking change a new
major version, another change of content a new minor one, other words about the same content a
patch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from atdata_core.fields import Field
from atdata_core.fieldtypes import (
    DictType,
    EnumType,
    FieldType,
    ListType,
    LiteralType,
    NDArrayType,
    NestedType,
    NullableType,
    TupleType,
)
from atdata_core.primitives import Primitive
from atdata_core.schema import Schema


@dataclass(frozen=True)
class Change:
    """One difference between two schemas.

    Args:
        field: The field's name; fields of nested types after a dot. Empty for the type itself.
        what: What is different, for people.
        breaking: Whether the old data can't be read any more.
    """

    field: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        where = f"{self.field}: " if self.field else ""
        return f"{where}{self.what}{' (breaking)' if self.breaking else ''}"


def changes(old: Schema, new: Schema) -> list[Change]:
    """What is different in `new`, field by field; nothing if the content is equal."""
    found = list(_field_changes(old.fields, new.fields, ""))
    if old.name != new.name:
        found.insert(0, Change("", f"name was {old.name!r}, is {new.name!r}", breaking=False))
    return found


def is_compatible(old: Schema, new: Schema) -> bool:
    """Whether data written under `old` can be read as samples of `new`."""
    return not any(change.breaking for change in changes(old, new))


def next_version(old: Schema, new: Schema) -> str:
    """The version that `new` calls for, if it follows `old`."""
    major, minor, patch = map(int, old.version.split("."))
    found = changes(old, new)
    if any(change.breaking for change in found):
        return f"{major + 1}.0.0"
    if found:
        return f"{major}.{minor + 1}.0"
    if old.description != new.description:
        return f"{major}.{minor}.{patch + 1}"
    return old.version


def _field_changes(old: tuple[Field, ...], new: tuple[Field, ...], prefix: str) -> Iterator[Change]:
    before = {field.name: field for field in old}
    after = {field.name: field for field in new}
    for name, field in before.items():
        if name not in after:
            # A sample with a field that the type doesn't have is refused, not cut down.
            yield Change(prefix + name, "was removed", breaking=True)
        else:
            yield from _compare(field, after[name], prefix + name)
    for name, field in after.items():
        if name not in before:
            told = "with a default" if field.has_default else "without a default"
            yield Change(prefix + name, f"was added {told}", breaking=not field.has_default)
    kept = [name for name in before if name in after]
    if kept != [name for name in after if name in before]:
        yield Change(prefix.rstrip("."), "fields are in another order", breaking=False)


def _compare(old: Field, new: Field, name: str) -> Iterator[Change]:
    yield from _type_changes(old.type, new.type, name)
    if old.optional != new.optional:
        what = "may be None now" if new.optional else "may not be None any more"
        yield Change(name, what, breaking=old.optional)
    if _default(old) != _default(new):
        # Data that left the field out need a default to be read with.
        breaking = old.has_default and not new.has_default
        yield Change(name, "has another default", breaking=breaking)


def _default(field: Field) -> object:
    return field.encode(field.default, "default") if field.has_default else Ellipsis


def _type_changes(old: FieldType, new: FieldType, name: str) -> Iterator[Change]:
    if old == new:
        return
    match old, new:
        case NestedType(), NestedType():
            yield from _field_changes(old.fields, new.fields, f"{name}.")
            if old.name != new.name:
                what = f"type's name was {old.name!r}, is {new.name!r}"
                yield Change(name, what, breaking=False)
        case ListType(), ListType() if old.python == new.python:
            yield from _type_changes(old.items, new.items, f"{name}[]")
        case DictType(), DictType():
            yield from _type_changes(old.values, new.values, f"{name}[]")
        case TupleType(), TupleType() if len(old.items) == len(new.items):
            for place, pair in enumerate(zip(old.items, new.items, strict=True)):
                yield from _type_changes(*pair, f"{name}[{place}]")
        case _:
            yield Change(name, f"was {old}, is {new}", breaking=not _reads(old, new))


def _reads(old: FieldType, new: FieldType) -> bool:
    """Whether every value of `old` is one of `new`."""
    match old, new:
        case NullableType(), NullableType():
            return _reads(old.item, new.item)
        case _, NullableType():
            return old == new.item or _reads(old, new.item)
        case NDArrayType(), NDArrayType():
            return new.dtype in (None, old.dtype) and _covers(new.shape, old.shape)
        case Primitive("int"), Primitive("float"):
            return True
        case EnumType(), EnumType():
            return set(old.members) <= set(new.members)
        case LiteralType(), LiteralType():
            return _typed(old) <= _typed(new)
        case LiteralType(), Primitive():
            return {kind.__name__ for kind, _ in _typed(old)} == {new.name}
        case ListType(), ListType():
            # A list and a tuple are written alike.
            return old.items == new.items or _reads(old.items, new.items)
    return False


def _covers(wide: tuple[int | None, ...] | None, narrow: tuple[int | None, ...] | None) -> bool:
    if wide is None:
        return True
    if narrow is None or len(wide) != len(narrow):
        return False
    return all(dim in (None, other) for dim, other in zip(wide, narrow, strict=True))


def _typed(kind: LiteralType) -> set[tuple[type, object]]:
    return {(type(value), value) for value in kind.values}
