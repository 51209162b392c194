"""Schema records, in every form that was ever published.

The seed's form lists ``fields``. Today's public ``atdata`` describes the type by a JSON Schema;
ours in that namespace hold both: the JSON Schema for its readers, the fields for ours, who need
what JSON Schema can't say (dtypes, shapes, defaults, the order of fields).
"""

from collections.abc import Mapping
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.records.common import check_type, metadata_fields, now
from atdata_core.atproto.records.names import SCHEMA_TYPES, SEED_NAMESPACE, names_of
from atdata_core.errors import SchemaError
from atdata_core.fields import Field
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
from atdata_core.primitives import Primitive
from atdata_core.schema import Schema

_DRAFT = "http://json-schema.org/draft-07/schema#"
_NDARRAY = "https://alt.science/schemas/atdata-ndarray-bytes/1.0.0#/$defs/ndarray"
_FIELD_PREFIX = f"{SEED_NAMESPACE}.schemaType#"
_PRIMITIVES: dict[str, dict[str, Any]] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte", "contentEncoding": "base64"},
}
_BY_JSON_TYPE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_MAX_DEPTH = 8


def schema_record(
    schema: Schema, metadata: Mapping[str, Any] | None = None, namespace: str | None = None
) -> dict[str, Any]:
    """The record of a schema.

    Args:
        schema: The schema.
        metadata: Whatever else belongs to it.
        namespace: In which namespace; see `names_of`.

    Raises:
        InvalidRecordError: `metadata` hold what no record can.
    """
    names = names_of(namespace)
    record: dict[str, Any] = {
        "$type": names.schema,
        "name": schema.name,
        "version": schema.version,
        "fields": schema.fields_json(_FIELD_PREFIX),
        "contentCid": schema.cid,
        "createdAt": now(),
        **metadata_fields(metadata or {}),
    }
    if schema.description:
        record["description"] = schema.description
    if names.is_public:
        record |= {
            "schemaType": "jsonSchema",
            "schema": _json_schema_format(schema, names.schema),
            "atdataSchemaVersion": 1,
        }
    return record


def parse_schema(record: Record) -> Schema:
    """The schema that a record describes.

    Raises:
        InvalidRecordError: The record is of another type.
        SchemaError: It describes none, or one that needs more than is known here.
    """
    check_type(record, SCHEMA_TYPES)
    if isinstance(record.get("fields"), list):
        return Schema.from_json(record, record.uri)
    body = record.get("schema")
    # Where the JSON Schema stands: in an envelope, under a name of its own, or as it is.
    for key in ("content", "schemaBody"):
        if isinstance(body, dict) and isinstance(body.get(key), dict):
            body = body[key]
    if not isinstance(body, dict) or not isinstance(body.get("properties"), dict):
        raise SchemaError("record holds no schema that is known", where=record.uri)
    required = body.get("required") or []
    fields = []
    for name, kind in body["properties"].items():
        parsed = _type_of_property(kind, f"{record.uri}, field {name!r}", _MAX_DEPTH)
        optional = name not in required
        given = {"default": None} if optional else {}
        fields.append(Field(name, parsed, optional, **given))
    # Through our own form, which checks every name.
    plain = Schema(str(record.get("name")), tuple(fields)).to_json()
    told = {"version": record.get("version"), "description": record.get("description")}
    return Schema.from_json({**plain, **{k: v for k, v in told.items() if v}}, record.uri)


def _json_schema_format(schema: Schema, nsid: str) -> dict[str, Any]:
    body = _object_schema(schema.fields)
    return {
        "$type": f"{nsid}#jsonSchemaFormat",
        "$schema": _DRAFT,
        **body,
        "arrayFormatVersions": {"ndarrayBytes": "1.0.0"},
        # Later versions of the published lexicon want it here instead.
        "draft": "draft-07",
        "content": {"$schema": _DRAFT, **body},
    }


def _object_schema(fields: tuple[Field, ...]) -> dict[str, Any]:
    # Public atdata builds a class from this, which wants its optional fields last.
    required = [field for field in fields if not field.optional]
    ordered = [*required, *(field for field in fields if field.optional)]
    return {
        "type": "object",
        "properties": {field.name: _property(field.type) for field in ordered},
        "required": [field.name for field in required],
    }


def _property(kind: FieldType) -> dict[str, Any]:
    match kind:
        case Primitive():
            return _PRIMITIVES[kind.name]
        case NDArrayType():
            return {"$ref": _NDARRAY}
        case ListType():
            return {"type": "array", "items": _property(kind.items)}
        case TupleType():
            return {"type": "array", "items": [_property(item) for item in kind.items]}
        case DictType():
            return {"type": "object", "additionalProperties": _property(kind.values)}
        case NullableType():
            return {"anyOf": [_property(kind.item), {"type": "null"}]}
        case NestedType():
            return _object_schema(kind.fields)
        case DatetimeType():
            return {"type": "string", "format": "date-time"}
        case EnumType():
            return {"type": "string", "enum": [name for name, _ in kind.members]}
        case LiteralType():
            return {"enum": list(kind.values)}


def _type_of_property(body: Any, where: str, depth: int) -> FieldType:
    if isinstance(body, dict) and depth:
        refs = [body, *(part for part in body.get("allOf") or () if isinstance(part, dict))]
        # The reference names a format; it is never fetched.
        if any("ndarray" in str(part.get("$ref", "")) for part in refs):
            return NDArrayType()
        kind = body.get("type")
        if kind == "string" and (body.get("format") == "byte" or body.get("contentEncoding")):
            return Primitive("bytes")
        if kind in _BY_JSON_TYPE:
            return Primitive(_BY_JSON_TYPE[kind])
        if kind == "array" and isinstance(body.get("items"), dict):
            return ListType(_type_of_property(body["items"], where, depth - 1))
    raise SchemaError(
        "property is of a kind that is not supported",
        where=where,
        expected="a string, integer, number, boolean, array of them, or an ndarray",
        got=str(body)[:100],
    )
