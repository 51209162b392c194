"""A sample type as data: what its fields are, its version, its CID, and back to a type.

The JSON form is the one that public ``atdata`` keeps in its index, ``fields`` with a ``fieldType``
each; a default is held as msgpack bytes (``{"$bytes": base64}``), since records can't hold floats.
"""

import base64
import dataclasses
import functools
import keyword
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import SchemaError
from atdata_core.fields import Field, FieldType, ListType, NDArrayType, Primitive, fields_of
from atdata_core.sample import METHODS, packable

_PRIMITIVES = ("str", "int", "float", "bool", "bytes")
_MAX_FIELDS = 1000
_MAX_DEPTH = 8


@dataclass(frozen=True, eq=False)
class Schema:
    """What the samples of a dataset are.

    Args:
        name: The name of the sample type, a Python identifier.
        fields: Its fields, in order.
        version: A semantic version, ``MAJOR.MINOR.PATCH``: a label of this content, not part of it.
        description: For people; not part of the content either.
    """

    name: str
    fields: tuple[Field, ...]
    version: str = "1.0.0"
    description: str | None = None

    @classmethod
    def of(
        cls,
        sample_type: type,
        *,
        name: str | None = None,
        version: str = "1.0.0",
        description: str | None = None,
    ) -> "Schema":
        """The schema of a packable type.

        Raises:
            SchemaError: The type can't be described, or `version` is no semantic version.
        """
        return cls(
            name or sample_type.__name__,
            fields_of(sample_type),
            check_version(version),
            description if description is not None else _own_doc(sample_type),
        )

    @property
    def cid(self) -> str:
        """The dag-cbor CID over name and fields: equal for equal types, whatever their version."""
        return dag_cbor_cid({"name": self.name, "fields": self.fields_json("")})

    def at_version(self, version: str) -> "Schema":
        """The same content under another version."""
        return dataclasses.replace(self, version=check_version(version))

    def fields_json(self, prefix: str) -> list[dict[str, Any]]:
        """The fields as JSON; `prefix` stands before the type's name in ``$type``."""
        return [_field_to_json(field, prefix) for field in self.fields]

    def to_json(self) -> dict[str, Any]:
        """The schema as a local index keeps it."""
        body: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "fields": self.fields_json("local#"),
        }
        return body if self.description is None else {**body, "description": self.description}

    @classmethod
    def from_json(cls, body: Mapping[str, Any], where: str = "schema") -> "Schema":
        """The schema that JSON describes, be it from an index or from a record.

        Raises:
            SchemaError: It describes none: a field is missing or of unknown type, a name is no
                identifier.
        """
        try:
            fields = body["fields"]
            if not isinstance(fields, list) or not 0 < len(fields) <= _MAX_FIELDS:
                raise SchemaError(
                    "schema has no usable fields",
                    where=where,
                    expected=f"a list of 1 to {_MAX_FIELDS}",
                )
            parsed = tuple(_field_from_json(field, where) for field in fields)
            name, version = body["name"], body.get("version", "1.0.0")
            description = body.get("description")
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"schema is incomplete: {error!r}", where=where) from error
        _check_name(name, where)
        if len({field.name for field in parsed}) != len(parsed):
            raise SchemaError("a field stands twice in the schema", where=where)
        return cls(
            name,
            parsed,
            check_version(version),
            description if isinstance(description, str) else None,
        )

    def to_type(self) -> type:
        """A packable dataclass with these fields.

        The same content gives the same class within a process; another content of the same name
        never does.
        """
        return _build_type(self.cid, self)

    def same_fields(self, other: "Schema") -> bool:
        """Whether samples of both have the same fields, whatever the types are called."""
        return self.fields_json("") == other.fields_json("")

    def __eq__(self, other: object) -> bool:
        # By content: a default may be an array, which has no truth value of its own.
        if not isinstance(other, Schema):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.cid)

    def __str__(self) -> str:
        fields = (f"{f.name}: {f.type}{' | None' if f.optional else ''}" for f in self.fields)
        return f"{self.name}({', '.join(fields)})"


def check_version(version: str) -> str:
    """`version` itself, if it is ``MAJOR.MINOR.PATCH``; raises `SchemaError` otherwise."""
    parts = version.split(".") if isinstance(version, str) else []
    if len(parts) != 3 or not all(
        p.isascii() and p.isdigit() and (p == "0" or p[0] != "0") for p in parts
    ):
        raise SchemaError(
            "version is not a semantic version", expected="MAJOR.MINOR.PATCH", got=repr(version)
        )
    return version


def _own_doc(sample_type: type) -> str | None:
    # A dataclass without a docstring is given its signature as one, which describes nothing.
    doc = sample_type.__doc__
    if not doc or doc.startswith(sample_type.__name__ + "("):
        return None
    return " ".join(doc.split())


def _field_to_json(field: Field, prefix: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "name": field.name,
        "fieldType": _type_to_json(field.type, prefix),
        "optional": field.optional,
    }
    if field.has_default:
        data: bytes = msgpack.packb(field.encode(field.default, "default"), use_bin_type=True)
        body["default"] = {"$bytes": base64.b64encode(data).decode("ascii").rstrip("=")}
    return body


def _type_to_json(kind: FieldType, prefix: str) -> dict[str, Any]:
    if isinstance(kind, Primitive):
        return {"$type": f"{prefix}primitive", "primitive": kind.name}
    if isinstance(kind, ListType):
        return {"$type": f"{prefix}array", "items": _type_to_json(kind.items, prefix)}
    body: dict[str, Any] = {"$type": f"{prefix}ndarray"}
    if kind.dtype is not None:
        body["dtype"] = kind.dtype
    if kind.shape is not None:
        # A free axis is 0 here: records can't hold null in a list of integers, and an axis whose
        # length must be 0 holds no data worth a dataset.
        body["shape"] = [dim or 0 for dim in kind.shape]
    return body


def _field_from_json(body: Mapping[str, Any], where: str) -> Field:
    name = _check_name(body["name"], where)
    if name in METHODS:
        raise SchemaError("field has the name of a method of samples", where=where, got=name)
    kind = _type_from_json(body["fieldType"], f"{where}, field {name!r}", _MAX_DEPTH)
    optional = body.get("optional", False)
    if not isinstance(optional, bool):
        raise SchemaError("'optional' is not a boolean", where=f"{where}, field {name!r}")
    field = Field(name, kind, optional)
    if "default" not in body:
        return field
    try:
        text = body["default"]["$bytes"]
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        default = field.decode(msgpack.unpackb(data), "default")
    except (KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise SchemaError(
            f"default can't be decoded: {error}", where=f"{where}, field {name!r}"
        ) from error
    return dataclasses.replace(field, default=default)


def _type_from_json(body: Mapping[str, Any], where: str, depth: int) -> FieldType:
    tag = body["$type"]
    kind = tag.rpartition("#")[2]
    if kind == "primitive" and body.get("primitive") in _PRIMITIVES:
        return Primitive(body["primitive"])
    if kind == "array" and depth:
        return ListType(_type_from_json(body["items"], where, depth - 1))
    if kind == "ndarray":
        return NDArrayType(_dtype(body.get("dtype"), where), _shape(body.get("shape"), where))
    raise SchemaError("field type is not known", where=where, got=repr(tag))


def _dtype(name: Any, where: str) -> str | None:
    if name is None:
        return None
    try:
        if not isinstance(name, str) or not name.isascii() or len(name) > 32:
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
        raise SchemaError("shape is not a list of lengths", where=where, got=repr(dims))
    return tuple(dim or None for dim in dims)


def _check_name(name: Any, where: str) -> str:
    if (
        not isinstance(name, str)
        or not name.isidentifier()
        or keyword.iskeyword(name)
        or name.startswith("__")
        or len(name) > 100
    ):
        raise SchemaError("name is not an identifier", where=where, got=repr(name)[:120])
    return name


@functools.lru_cache(maxsize=1024)
def _build_type(_cid: str, schema: Schema) -> type:
    seen_default = False
    kw_only = False
    members: list[tuple[str, Any, Any]] = []
    for field in schema.fields:
        annotation = field.type.python_type()
        if field.optional:
            annotation = annotation | None
        # Python wants fields with defaults last, a schema doesn't: keywords settle it.
        kw_only = kw_only or (seen_default and not field.has_default)
        seen_default = seen_default or field.has_default
        members.append((field.name, annotation, _default(field)))
    built = dataclasses.make_dataclass(
        schema.name,
        members,
        eq=False,
        kw_only=kw_only,
        namespace={"__doc__": schema.description} if schema.description else None,
    )
    built.__module__ = __name__
    return packable(built)


def _default(field: Field) -> Any:
    if not field.has_default:
        return dataclasses.field()
    if isinstance(field.default, (list, np.ndarray)):
        data = field.encode(field.default, "default")
        return dataclasses.field(default_factory=lambda: field.decode(data, "default"))
    return dataclasses.field(default=field.default)
