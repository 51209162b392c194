"""A schema as the text of a Python module, to be read, saved and imported like any other.

Every name in it is checked to be an identifier and every value is written by `repr`, so that a
schema from a stranger can't smuggle code into the text. Nothing here runs it.
"""

import enum
from datetime import datetime
from typing import Any

import numpy as np

from atdata_core.errors import SchemaError
from atdata_core.fieldjson import check_name
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

_HEAD = '''"""Sample types, written from the schema {name} {version} ({cid})."""

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from atdata_core import Shape, packable
'''


def python_source(schema: Schema) -> str:
    """The text of a module that defines a schema's type, with all types inside it.

    The type that it defines has the same fields, types, dtypes, shapes and defaults, so its
    schema has the same CID.

    Raises:
        SchemaError: Two different types inside it have the same name.
    """
    writer = _Writer()
    writer.add_class(schema.name, schema.fields, schema.description)
    head = _HEAD.format(name=schema.name, version=schema.version, cid=schema.cid)
    return head + "".join(f"\n\n{text}" for text in writer.classes.values())


class _Writer:
    """Collects the classes that a schema needs, each after those that it is made of."""

    def __init__(self) -> None:
        self.classes: dict[str, str] = {}

    def add_class(self, name: str, fields: tuple[Field, ...], doc: str | None) -> None:
        lines = ["@packable", *self._decorator(fields), f"class {check_name(name, name)}:"]
        if doc:
            lines.append(f"    {doc!r}\n")
        for field in fields:
            check_name(field.name, name)
            annotation = self.annotation(field.type) + (" | None" if field.optional else "")
            lines.append(f"    {field.name}: {annotation}{_default(field)}")
        self._add(name, "\n".join(lines) + "\n")

    def _decorator(self, fields: tuple[Field, ...]) -> list[str]:
        defaults = [field.has_default for field in fields]
        # Python wants fields with defaults last, a schema doesn't: keywords settle it.
        ordered = defaults == sorted(defaults)
        return [] if ordered else ["@dataclass(eq=False, kw_only=True)"]

    def _add_enum(self, kind: EnumType) -> None:
        lines = [f"class {check_name(kind.name, kind.name)}(enum.Enum):"]
        lines += [f"    {check_name(name, kind.name)} = {value!r}" for name, value in kind.members]
        self._add(kind.name, "\n".join(lines) + "\n")

    def _add(self, name: str, text: str) -> None:
        if self.classes.setdefault(name, text) != text:
            raise SchemaError("two different types have the same name", where=name)

    def annotation(self, kind: FieldType) -> str:
        match kind:
            case Primitive():
                return kind.name
            case NDArrayType():
                return _array(kind)
            case ListType() if kind.python == "list":
                return f"list[{self.annotation(kind.items)}]"
            case ListType():
                return f"tuple[{self.annotation(kind.items)}, ...]"
            case TupleType():
                return f"tuple[{', '.join(self.annotation(item) for item in kind.items)}]"
            case DictType():
                return f"dict[str, {self.annotation(kind.values)}]"
            case NullableType():
                return f"{self.annotation(kind.item)} | None"
            case NestedType():
                self.add_class(kind.name, kind.fields, None)
                return kind.name
            case DatetimeType():
                return "datetime"
            case EnumType():
                self._add_enum(kind)
                return kind.name
            case LiteralType():
                return f"Literal[{', '.join(map(repr, kind.values))}]"


def _array(kind: NDArrayType) -> str:
    # A dtype's name was checked to be one that NumPy knows.
    text = "NDArray[Any]" if kind.dtype is None else f"NDArray[np.{_scalar(kind.dtype)}]"
    if kind.shape is None:
        return text
    return f"Annotated[{text}, Shape({', '.join(map(repr, kind.shape))})]"


def _scalar(dtype: str) -> str:
    return np.dtype(dtype).type.__name__


def _default(field: Field) -> str:
    if not field.has_default:
        return ""
    value = _value(field.default)
    if field.default.__class__.__hash__ is None:
        return f" = field(default_factory=lambda: {value})"
    return f" = {value}"


def _value(value: Any) -> str:
    match value:
        case np.ndarray():
            return f"np.array({value.tolist()!r}, dtype={value.dtype.str!r}).reshape({value.shape})"
        case enum.Enum():
            return f"{type(value).__name__}.{value.name}"
        case datetime():
            return f"datetime.fromisoformat({value.isoformat()!r})"
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case tuple():
            return f"({''.join(_value(item) + ', ' for item in value)})"
        case dict():
            return "{" + ", ".join(f"{k!r}: {_value(v)}" for k, v in value.items()) + "}"
        case float():
            return f"float({str(value)!r})"
        case None | str() | int() | bytes():
            return repr(value)
    from atdata_core.fields import fields_of

    given = (f"{f.name}={_value(getattr(value, f.name))}" for f in fields_of(type(value)))
    return f"{type(value).__name__}({', '.join(given)})"
