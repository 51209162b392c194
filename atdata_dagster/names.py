"""Which asset key stands for which dataset or schema: the only place where names are mapped.

schema/<Type>      team/schema/<Type>      atmosphere/schema/<Type>
local/<dataset>    team/<dataset>          atmosphere/<dataset>
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import dagster as dg

from atdata_core.errors import ConfigurationError

Layer = Literal["local", "team", "atmosphere"]

LAYERS: tuple[Layer, ...] = ("local", "team", "atmosphere")
NAME = "atdata/name"
"""In an asset's definition: the name of its dataset or schema, whatever its key is."""
KIND = "atdata/kind"
"""In an asset's definition: ``dataset`` or ``schema``."""
FROM = "atdata/promoted_from"
"""In an asset's definition: the key of the asset that it is promoted from."""
FILES = "atdata/files"
"""In the definition of an external asset: the tar files that hold it."""

_SCHEMA = "schema"
_MAX_PART_BYTES = 200


@dataclass(frozen=True)
class AssetName:
    """What an asset is: a dataset or a schema, and its name in its layer's index.

    Args:
        kind: ``dataset`` or ``schema``.
        name: The name; folders of the key are joined by ``/``.
    """

    kind: Literal["dataset", "schema"]
    name: str


def dataset_key(name: str, layer: Layer = "local") -> dg.AssetKey:
    """The asset key of a dataset."""
    return dg.AssetKey([layer, *name.split("/")])


def schema_key(name: str, layer: Layer = "local") -> dg.AssetKey:
    """The asset key of a schema."""
    return dg.AssetKey([_SCHEMA, name] if layer == "local" else [layer, _SCHEMA, name])


def check_layer(layer: str, where: str) -> None:
    """Raises `ConfigurationError` if there is no such layer.

    Args:
        layer: Its name.
        where: Who asks for it, for the error.
    """
    if layer not in LAYERS:
        raise ConfigurationError(
            "there is no such layer", where=where, expected=", ".join(LAYERS), got=repr(layer)
        )


def check_promotion(name: str, layer: Layer, before: Layer) -> None:
    """Raises `ConfigurationError` if a dataset can't go from the one layer to the other.

    Args:
        name: The dataset, for the error.
        layer: Where it is to go.
        before: Where it is.
    """
    if layer not in LAYERS or LAYERS.index(layer) <= LAYERS.index(before):
        raise ConfigurationError(
            "a dataset can't be promoted to this layer",
            where=name,
            expected=f"one after {before}, of {', '.join(LAYERS)}",
            got=f"{layer!r} after {before!r}",
        )


def parse_key(key: dg.AssetKey, partition: str | None = None) -> AssetName:
    """What an asset key stands for.

    Keys that this package didn't make are datasets, called by their whole path.

    Args:
        key: The asset key.
        partition: The partition, which becomes the last part of a dataset's name.
    """
    path: Sequence[str] = key.path
    if len(path) > 1 and path[0] in LAYERS:
        path = path[1:]
    if len(path) == 2 and path[0] == _SCHEMA and partition is None:
        return AssetName("schema", path[1])
    parts = [*path] if partition is None else [*path, escape_partition(partition)]
    return AssetName("dataset", "/".join(parts))


def name_of(
    key: dg.AssetKey, metadata: Mapping[str, Any], partition: str | None = None
) -> AssetName:
    """What an asset stands for: as its definition says, else as `parse_key` reads its key.

    Args:
        key: The asset key.
        metadata: The metadata of the asset's definition.
        partition: The partition.
    """
    name = metadata.get(NAME)
    if not isinstance(name, str):
        return parse_key(key, partition)
    if metadata.get(KIND) == _SCHEMA:
        return AssetName("schema", name)
    return AssetName("dataset", partition_name(name, partition))


def partition_name(name: str, partition: str | None) -> str:
    """The name under which a partition of a dataset is listed; without one, the dataset's own."""
    return name if partition is None else f"{name}/{escape_partition(partition)}"


def escape_partition(key: str) -> str:
    """A partition key as one part of a name: what could be taken for a path is percent-encoded.

    A key that is too long for the name of a folder is cut, and ends in a hash of the whole.
    """
    escaped = "".join(_escape(char) for char in key)
    if len(escaped.encode("utf-8")) > _MAX_PART_BYTES:
        digest = hashlib.sha256(key.encode("utf-8")).hexdigest()[:32]
        start = escaped.encode("utf-8")[: _MAX_PART_BYTES - 33].decode("utf-8", "ignore")
        return f"{start}~{digest}"
    return escaped.replace(".", "%2E") if set(escaped) == {"."} else escaped


def _escape(char: str) -> str:
    if char.isalnum() or char in "-_.:=|@ ":
        return char
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8"))
