"""`DatasetTranslator`: what a dataset, or its schema, is as a Dagster asset."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg

from atdata_core import Schema
from atdata_dagster.lineage import LINEAGE, promoted_lineage
from atdata_dagster.names import FROM, KIND, NAME, Layer, dataset_key, schema_key

KINDS: Mapping[Layer, frozenset[str]] = {
    "local": frozenset({"webdataset"}),
    "team": frozenset({"redis", "s3"}),
    "atmosphere": frozenset({"atproto"}),
}
"""What Dagster shows as an asset's kinds, by layer."""

SPEC_OPTIONS = frozenset(
    {
        *("automation_condition", "code_version", "description", "freshness_policy"),
        *("group_name", "kinds", "metadata", "owners", "tags"),
    }
)
"""The options of an asset that are part of its spec."""


@dataclass(frozen=True)
class DatasetAsset:
    """What an asset stands for.

    Args:
        name: The dataset's name; a schema's, for a schema.
        layer: Where it is.
        schema: What the samples are.
        kind: ``dataset`` or ``schema``.
        before: The layer that it is promoted from; None for the first one.
        options: What its author asked for: owners, tags, automation condition, …
    """

    name: str
    layer: Layer
    schema: Schema
    kind: Literal["dataset", "schema"] = "dataset"
    before: Layer | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def at(self, layer: Layer) -> "DatasetAsset":
        """The same in another layer, as far as its key is concerned."""
        return DatasetAsset(self.name, layer, self.schema, self.kind, None, self.options)


class DatasetTranslator:
    """Says what datasets are as Dagster assets; subclass it to say otherwise.

    Override `get_asset_spec` and change what the base class gives::

        class Ours(DatasetTranslator):
            def get_asset_spec(self, data: DatasetAsset) -> dg.AssetSpec:
                spec = super().get_asset_spec(data)
                return spec.replace_attributes(
                    key=spec.key.with_prefix("vision"), owners=["team:vision"]
                )

    An asset stands for the same dataset whatever its key is.
    """

    def get_asset_spec(self, data: DatasetAsset) -> dg.AssetSpec:
        """Key, group, kinds, owners, tags, description, metadata and automation of an asset.

        Args:
            data: What the asset stands for.
        """
        if data.kind == "schema":
            return self._schema_spec(data)
        automation = data.options.get("automation_condition")
        if isinstance(automation, Mapping):
            automation = automation.get(data.layer)
        defaults = {
            "group_name": data.layer,
            "kinds": set(KINDS[data.layer]),
            "code_version": data.schema.cid,
        }
        options = {**defaults, **data.options, "automation_condition": automation}
        return dg.AssetSpec(key=dataset_key(data.name, data.layer), **options)

    def _schema_spec(self, data: DatasetAsset) -> dg.AssetSpec:
        if data.before is None:
            return dg.AssetSpec(
                key=schema_key(data.name, data.layer),
                group_name=data.layer,
                kinds={"python"} if data.layer == "local" else {"python", *KINDS[data.layer]},
                description=data.schema.description or f"What a {data.name} is.",
                code_version=data.schema.cid,
            )
        return dg.AssetSpec(
            key=schema_key(data.name, data.layer),
            group_name=data.layer,
            kinds=set(KINDS[data.layer]),
            description=f"What a {data.name} is, as the {data.layer} layer has it.",
        )


def spec_of(translator: DatasetTranslator, data: DatasetAsset) -> dg.AssetSpec:
    """The spec of an asset as the translator gives it, and what IO managers have to know of it."""
    spec = translator.get_asset_spec(data)
    known: dict[str, Any] = {NAME: data.name, KIND: data.kind}
    if data.before is not None:
        source = key_of(translator, data.at(data.before))
        known[FROM] = source.to_user_string()
        if data.kind == "dataset":
            known[LINEAGE] = promoted_lineage(data.schema, source)
    return spec.merge_attributes(metadata=known)


def key_of(translator: DatasetTranslator, data: DatasetAsset) -> dg.AssetKey:
    """The key of an asset as the translator gives it."""
    return translator.get_asset_spec(data).key


def spec_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an asset's options that are part of its spec."""
    return {name: value for name, value in options.items() if name in SPEC_OPTIONS}


def execution_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not: partitions, retries, backfills, the pool, …."""
    return {name: value for name, value in options.items() if name not in SPEC_OPTIONS}
