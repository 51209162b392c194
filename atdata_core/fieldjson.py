"""Fields as JSON, and back to fields and to types.

The form is the one that public ``atdata`` keeps and publishes: a ``fieldType`` object whose
``$type`` ends in ``primitive``, ``ndarray`` or ``array``; the other types are our additions to it.
Whole numbers, text, lists and maps are all there is in it, since records can't hold floats: a
default is msgpack in base64 (``{"$bytes": …}``).

Nothing in such JSON is ever looked up, imported or run: types are built from it field by field.
"""

import base64
import dataclasses
import enum
import functools
import json
import keyword
from collections.abc import Mapping, Sequence
from typing import Any

import msgpack
import numpy as np

from atdata_core.errors import SchemaError
from atdata_core.fields import Field, enum_type
from atdata_core.fieldtypes import (
    DatetimeType,
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
from atdata_core.primitives import PRIMITIVES, Primitive
from atdata_core.sample import METHODS, packable

_MAX_FIELDS = 1000
_MAX_MEMBERS = 10_000
_MAX_DEPTH = 16
_MAX_NAME = 100
_MAX_DTYPE = 32
_SCALARS: dict[type, str] = {str: "string", int: "integer", bool: "boolean"}


def field_to_json(field: Field, prefix: str) -> dict[str, Any]:
    """A field as JSON; `prefix` stands before the type's name in each ``$type``."""
    body: dict[str, Any] = {
        "name": field.name,
        "fieldType": type_to_json(field.type, prefix),
        "optional": field.optional,
    }
    if field.has_default:
        data: bytes = msgpack.packb(field.encode(field.default, "default"), use_bin_type=True)
        body["default"] = {"$bytes": base64.b64encode(data).decode("ascii").rstrip("=")}
    return body


def type_to_json(kind: FieldType, prefix: str) -> dict[str, Any]:
    """A field's type as JSON."""
    match kind:
        case Primitive():
            return {"$type": f"{prefix}primitive", "primitive": kind.name}
        case NDArrayType():
            return _ndarray_to_json(kind, prefix)
        case ListType():
            name = "array" if kind.python == "list" else "sequence"
            return {"$type": prefix + name, "items": type_to_json(kind.items, prefix)}
        case TupleType():
            items = [type_to_json(item, prefix) for item in kind.items]
            return {"$type": f"{prefix}tuple", "items": items}
        case DictType():
            return {"$type": f"{prefix}map", "values": type_to_json(kind.values, prefix)}
        case NullableType():
            return {"$type": f"{prefix}nullable", "item": type_to_json(kind.item, prefix)}
        case NestedType():
            fields = [field_to_json(field, prefix) for field in kind.fields]
            return {"$type": f"{prefix}object", "name": kind.name, "fields": fields}
        case DatetimeType():
            return {"$type": f"{prefix}datetime"}
        case EnumType():
            members = [{"name": name, **_scalar_to_json(value)} for name, value in kind.members]
            return {"$type": f"{prefix}enum", "name": kind.name, "members": members}
        case LiteralType():
            return {"$type": f"{prefix}literal", "values": list(map(_scalar_to_json, kind.values))}


def fields_from_json(bodies: Any, where: str, depth: int = _MAX_DEPTH) -> tuple[Field, ...]:
    """The fields that JSON describes.

    Args:
        bodies: A list of what `field_to_json` gives.
        where: What it is called in errors.
        depth: How deep types may still be nested.

    Raises:
        SchemaError: It describes none: something is missing, of unknown type, or twice there; a
            name is no identifier; types are nested too deeply.
    """
    if not isinstance(bodies, list) or not 0 < len(bodies) <= _MAX_FIELDS:
        raise SchemaError(
            "schema has no usable fields", where=where, expected=f"a list of 1 to {_MAX_FIELDS}"
        )
    try:
        fields = tuple(_field_from_json(body, where, depth) for body in bodies)
    except (KeyError, TypeError, AttributeError) as error:
        raise SchemaError(f"schema is incomplete: {error!r}", where=where) from error
    if len({field.name for field in fields}) != len(fields):
        raise SchemaError("a field stands twice in the schema", where=where)
    return fields


def check_name(name: Any, where: str) -> str:
    """`name` itself, if it can be that of a type, field or member; else `SchemaError`."""
    if (
        not isinstance(name, str)
        or not name.isidentifier()
        or keyword.iskeyword(name)
        or name.startswith("__")
        or len(name) > _MAX_NAME
    ):
        raise SchemaError("name is not an identifier", where=where, got=repr(name)[:120])
    return name


def build_type(name: str, fields: Sequence[Field], description: str | None = None) -> type:
    """A packable dataclass with these fields.

    Equal content gives the same class within a process; another content of the same name never
    does.
    """
    content = json.dumps([field_to_json(field, "") for field in fields], sort_keys=True)
    return _build_type(name, content, description, _Fields(tuple(fields)))


class _Fields:
    """Fields beside the text that says the same; all are equal, so the cache looks at the text."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fields)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=1024)
def _build_type(name: str, _content: str, description: str | None, given: _Fields) -> type:
    seen_default = kw_only = False
    members: list[tuple[str, Any, Any]] = []
    for field in given.fields:
        annotation = field.type.python_type()
        if field.optional:
            annotation = annotation | None
        # Python wants fields with defaults last, a schema doesn't: keywords settle it.
        kw_only = kw_only or (seen_default and not field.has_default)
        seen_default = seen_default or field.has_default
        members.append((field.name, annotation, _default(field)))
    built = dataclasses.make_dataclass(
        name,
        members,
        eq=False,
        kw_only=kw_only,
        namespace={"__doc__": description} if description else None,
    )
    built.__module__ = __name__
    return packable(built)


def _default(field: Field) -> Any:
    if not field.has_default:
        return dataclasses.field()
    if field.default.__class__.__hash__ is None:  # lists, maps, arrays, samples: a new one each
        data = field.encode(field.default, "default")
        return dataclasses.field(default_factory=lambda: field.decode(data, "default"))
    return dataclasses.field(default=field.default)


def _field_from_json(body: Mapping[str, Any], where: str, depth: int) -> Field:
    name = check_name(body["name"], where)
    where = f"{where}, field {name!r}"
    if name in METHODS:
        raise SchemaError("field has the name of a method of samples", where=where, got=name)
    kind = type_from_json(body["fieldType"], where, depth)
    optional = body.get("optional", False)
    if not isinstance(optional, bool):
        raise SchemaError("'optional' is not a boolean", where=where)
    field = Field(name, kind, optional)
    if "default" not in body:
        return field
    try:
        text = body["default"]["$bytes"]
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        default = field.decode(msgpack.unpackb(data), "default")
    except (KeyError, TypeError, ValueError, RecursionError, msgpack.UnpackException) as error:
        raise SchemaError(f"default can't be decoded: {error}", where=where) from error
    return dataclasses.replace(field, default=default)


def type_from_json(body: Mapping[str, Any], where: str, depth: int = _MAX_DEPTH) -> FieldType:
    """The type that JSON describes; raises `SchemaError`, `KeyError` or `TypeError` if none."""
    if depth <= 0:
        raise SchemaError("types are nested too deeply", where=where)
    tag = body["$type"]
    match tag.rpartition("#")[2]:
        case "primitive" if body.get("primitive") in PRIMITIVES:
            return Primitive(body["primitive"])
        case "ndarray":
            return NDArrayType(_dtype(body.get("dtype"), where), _shape(body.get("shape"), where))
        case "array":
            return ListType(type_from_json(body["items"], where, depth - 1))
        case "tuple" if isinstance(body["items"], list):
            return TupleType(
                tuple(
                    type_from_json(item, where, depth - 1) for item in body["items"][:_MAX_FIELDS]
                )
            )
        case "sequence":
            return ListType(type_from_json(body["items"], where, depth - 1), "tuple")
        case "map":
            return DictType(type_from_json(body["values"], where, depth - 1))
        case "nullable":
            return NullableType(type_from_json(body["item"], where, depth - 1))
        case "object":
            name = check_name(body["name"], where)
            fields = fields_from_json(body["fields"], where, depth - 1)
            return NestedType(name, fields, build_type(name, fields))
        case "datetime":
            return DatetimeType()
        case "enum":
            return _enum(check_name(body["name"], where), body["members"], where)
        case "literal":
            return _literal(body["values"], where)
    raise SchemaError("field type is not known", where=where, got=repr(tag)[:120])


def _enum(name: str, bodies: Any, where: str) -> EnumType:
    if not isinstance(bodies, list) or not 0 < len(bodies) <= _MAX_MEMBERS:
        raise SchemaError("Enum has no usable members", where=where)
    members = tuple((check_name(body["name"], where), _scalar(body, where)) for body in bodies)
    for member, _ in members:
        if member.startswith("_"):
            raise SchemaError("Enum has an unusable member", where=where, got=member)
    try:
        return enum_type(_build_enum(name, members, tuple(type(v) for _, v in members)), where)
    except (ValueError, TypeError) as error:
        raise SchemaError(f"Enum can't be built: {error}", where=where) from error


@functools.lru_cache(maxsize=1024)
def _build_enum(
    name: str,
    members: tuple[tuple[str, Any], ...],
    _types: tuple[type, ...],  # since 1 equals True
) -> type[enum.Enum]:
    return enum.Enum(name, members)  # type: ignore[return-value]


def _literal(values: Any, where: str) -> LiteralType:
    if not isinstance(values, list) or not 0 < len(values) <= _MAX_MEMBERS:
        raise SchemaError("Literal has no usable values", where=where)
    return LiteralType(tuple(_scalar(value, where) for value in values))


def _scalar_to_json(value: str | int | bool) -> dict[str, Any]:
    # Under the name of its type: lexicons have no lists of several, and 1 must not become true.
    return {_SCALARS[type(value)]: value}


def _scalar(body: Mapping[str, Any], where: str) -> str | int | bool:
    for kind, name in _SCALARS.items():
        if type(body.get(name)) is kind:
            value: str | int | bool = body[name]
            return value
    raise SchemaError("value is not a text, integer or boolean", where=where, got=str(body)[:100])


def _ndarray_to_json(kind: NDArrayType, prefix: str) -> dict[str, Any]:
    body: dict[str, Any] = {"$type": f"{prefix}ndarray"}
    if kind.dtype is not None:
        body["dtype"] = kind.dtype
    if kind.shape is not None:
        # A free axis is 0 here: records can't hold null in a list of integers, and an axis whose
        # length must be 0 holds no data worth a dataset.
        body["shape"] = [dim or 0 for dim in kind.shape]
    return body


def _dtype(name: Any, where: str) -> str | None:
    if name is None:
        return None
    try:
        if not isinstance(name, str) or not name.isascii() or len(name) > _MAX_DTYPE:
            raise TypeError
        dtype = np.dtype(name)
        if dtype.hasobject or dtype.names is not None:
            raise TypeError
    except (TypeError, SyntaxError, ValueError) as error:
        raise SchemaError("dtype is not known", where=where, got=repr(name)) from error
    # No annotation tells the length of texts or the unit of times: such arrays go unchecked.
    return None if dtype.kind in "SUVMm" else dtype.name


def _shape(dims: Any, where: str) -> tuple[int | None, ...] | None:
    if dims is None:
        return None
    if not isinstance(dims, list) or not all(
        dim is None or (type(dim) is int and dim >= 0) for dim in dims
    ):
        raise SchemaError("shape is not a list of lengths", where=where, got=repr(dims)[:120])
    return tuple(dim or None for dim in dims)
