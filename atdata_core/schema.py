"""A sample type as data: what its fields are, its version, its CID, and back to a type.

The JSON form is the one that public ``atdata`` keeps in its index; see `atdata_core.fieldjson`.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import SchemaError
from atdata_core.fieldjson import build_type, check_name, field_to_json, fields_from_json
from atdata_core.fields import Field, fields_of
from atdata_core.fieldtypes import NDArrayType


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
        return [field_to_json(field, prefix) for field in self.fields]

    def to_json(self) -> dict[str, Any]:
        """The schema as a local index keeps it."""
        body: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "fields": self.fields_json("local#"),
            "contentCid": self.cid,
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
            name, fields = body["name"], fields_from_json(body["fields"], where)
            version, description = body.get("version", "1.0.0"), body.get("description")
        except (KeyError, TypeError, AttributeError) as error:
            raise SchemaError(f"schema is incomplete: {error!r}", where=where) from error
        schema = cls(
            check_name(name, where),
            fields,
            check_version(version),
            description if isinstance(description, str) else None,
        )
        stated = body.get("contentCid")
        if stated is None:
            return dataclasses.replace(schema, fields=tuple(map(_without_guess, fields)))
        if stated != schema.cid:
            raise SchemaError(
                "schema's content is not that of the CID that it states",
                where=where,
                expected=str(stated)[:100],
                got=schema.cid,
            )
        return schema

    def to_type(self) -> type:
        """A packable dataclass with these fields.

        The same content gives the same class within a process; another content of the same name
        never does.
        """
        return build_type(self.name, self.fields, self.description)

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


def _without_guess(field: Field) -> Field:
    # Public atdata states float32 for every array of which it knows no dtype, and never another.
    if field.type == NDArrayType("float32"):
        return dataclasses.replace(field, type=NDArrayType())
    return field


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
