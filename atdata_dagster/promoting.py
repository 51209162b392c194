"""The assets of a chain: a schema and a dataset in its first layer, promoted to further ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import Schema
from atdata_dagster.chain import DatasetChain
from atdata_dagster.names import KIND, NAME, Layer, check_promotion
from atdata_dagster.streams import dataset_type
from atdata_dagster.translator import (
    DatasetAsset,
    DatasetTranslator,
    execution_options,
    key_of,
    spec_of,
    spec_options,
)

DEFAULT_POOLS: Mapping[Layer, str] = {"team": "atdata_s3", "atmosphere": "atdata_pds"}
"""The concurrency pools of datasets: how many steps write to a server at once is set with
``dagster instance concurrency set atdata_pds 2``."""

SCHEMA_POOLS: Mapping[Layer, str] = {"team": "atdata_redis", "atmosphere": "atdata_pds"}
"""The pools of schemas."""


def schema_pool(layer: Layer, pools: Mapping[Layer, str] | None) -> str | None:
    """The pool of a schema in a layer; None where its author wants no pools.

    Args:
        layer: The layer.
        pools: Those of the datasets.
    """
    return None if pools is None else SCHEMA_POOLS.get(layer)


def promoted_assets(
    name: str,
    sample_type: type,
    promote: Sequence[Layer],
    *,
    first: Layer = "local",
    translator: DatasetTranslator,
    pools: Mapping[Layer, str] | None,
    **options: Any,
) -> DatasetChain:
    """The part of a chain that lies behind its first layer.

    Args:
        name: The dataset's name.
        sample_type: What its samples are.
        promote: The layers, in order.
        first: The layer that it is promoted from.
        translator: What the assets are in Dagster.
        pools: See `atdata_dagster.dataset_asset`.
        **options: Passed on to ``dg.asset``.

    Raises:
        ConfigurationError: A layer in `promote` is not known.
    """
    schemas: dict[Layer, dg.AssetsDefinition] = {}
    datasets: dict[Layer, dg.AssetsDefinition] = {}
    before = first
    for layer in promote:
        check_promotion(name, layer, before)
        schemas[layer] = promoted_schema_asset(
            sample_type,
            layer,
            before,
            translator=translator,
            pool=schema_pool(layer, pools),
        )
        datasets[layer] = promoted_dataset_asset(
            name,
            sample_type,
            layer,
            before,
            translator=translator,
            **{"pool": (pools or {}).get(layer), **options},
        )
        before = layer
    return DatasetChain(name, sample_type, schemas, datasets)


def schema_asset(
    sample_type: type,
    *,
    layer: Layer = "local",
    version: str | None = None,
    translator: DatasetTranslator | None = None,
    pool: str | None = None,
) -> dg.AssetsDefinition:
    """A sample type as an asset, registered in the first layer of a chain.

    Args:
        sample_type: A packable type.
        layer: That layer.
        version: Its semantic version; see `atdata_dagster.dataset_asset`.
        translator: What it is in Dagster.
        pool: Its concurrency pool.
    """
    schema = Schema.of(sample_type, version=version or "1.0.0")
    data = DatasetAsset(schema.name, layer, schema, "schema")

    def register() -> dg.Output[Any]:
        return dg.Output(schema if version else sample_type)

    return asset_of(
        spec_of(translator or DatasetTranslator(), data),
        register,
        io_manager_key=layer,
        pool=pool,
    )


def promoted_schema_asset(
    sample_type: type,
    layer: Layer,
    before: Layer = "local",
    *,
    translator: DatasetTranslator | None = None,
    pool: str | None = None,
) -> dg.AssetsDefinition:
    """The same schema, registered in a further layer.

    Args:
        sample_type: A packable type.
        layer: The layer that it goes to.
        before: The layer that it comes from.
        translator: What it is in Dagster.
        pool: Its concurrency pool.
    """
    translator = translator or DatasetTranslator()
    schema = Schema.of(sample_type)
    data = DatasetAsset(schema.name, layer, schema, "schema", before)
    source = spec_of(translator, data.at(before))

    def promote_schema(schema: Any) -> dg.Output[Any]:
        return dg.Output(schema)

    return asset_of(
        spec_of(translator, data),
        promote_schema,
        ins={"schema": dg.AssetIn(key=source.key, metadata=dict(source.metadata))},
        io_manager_key=layer,
        pool=pool,
    )


def promoted_dataset_asset(
    name: str,
    sample_type: type,
    layer: Layer,
    before: Layer = "local",
    *,
    translator: DatasetTranslator | None = None,
    with_schema: bool = True,
    **asset_options: Any,
) -> dg.AssetsDefinition:
    """The same dataset in a further layer, its shards copied by their CIDs.

    Args:
        name: The dataset's name.
        sample_type: What its samples are.
        layer: The layer that it goes to.
        before: The layer that it comes from.
        translator: What it is in Dagster.
        with_schema: Whether the schema is an asset of the layer, too.
        **asset_options: Passed on to ``dg.asset``.
    """
    translator = translator or DatasetTranslator()
    schema = Schema.of(sample_type)
    data = DatasetAsset(name, layer, schema, before=before, options=spec_options(asset_options))
    source = spec_of(translator, data.at(before))
    schema_data = DatasetAsset(schema.name, layer, schema, "schema")

    def promote_dataset(dataset: Any) -> dg.Output[Any]:
        return dg.Output(dataset)

    return asset_of(
        spec_of(translator, data),
        promote_dataset,
        ins={
            "dataset": dg.AssetIn(
                key=source.key,
                metadata={NAME: name, KIND: "dataset"},
                dagster_type=dataset_type(sample_type),
            )
        },
        deps=[key_of(translator, schema_data)] if with_schema else [],
        io_manager_key=layer,
        **execution_options(asset_options),
    )


def asset_of(
    spec: dg.AssetSpec, compute: Callable[..., Any], *, deps: Sequence[Any] = (), **options: Any
) -> dg.AssetsDefinition:
    """The asset of a spec.

    Args:
        spec: What it is.
        compute: What makes it.
        deps: What it is made after, besides what the spec says.
        **options: Passed on to ``dg.asset``.
    """
    definition: dg.AssetsDefinition = dg.asset(
        key=spec.key,
        deps=[*deps, *spec.deps],
        description=spec.description,
        metadata=dict(spec.metadata),
        group_name=spec.group_name,
        code_version=spec.code_version,
        automation_condition=spec.automation_condition,
        freshness_policy=spec.freshness_policy,
        owners=list(spec.owners),
        tags={k: v for k, v in spec.tags.items() if not k.startswith(_KIND_TAG)},
        kinds=spec.kinds,
        **options,
    )(compute)
    return definition


_KIND_TAG = "dagster/kind/"
