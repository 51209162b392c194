"""`dataset_asset`: a function that yields samples becomes a chain of assets through the layers."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import Dataset, Schema, StrongRef
from atdata_core.shard import DEFAULT_MAX_SAMPLES
from atdata_dagster.chain import DatasetChain
from atdata_dagster.checks import DEFAULT_CHECKS, DatasetCheck, build_dataset_checks
from atdata_dagster.functions import as_dagster_sees_it
from atdata_dagster.names import KIND, NAME, Layer, check_promotion
from atdata_dagster.streams import SampleStream, dataset_type
from atdata_dagster.translator import (
    DatasetAsset,
    DatasetTranslator,
    execution_options,
    key_of,
    spec_of,
    spec_options,
)

__all__ = [
    "DEFAULT_POOLS",
    "SCHEMA_POOLS",
    "DatasetChain",
    "chain_checks",
    "dataset_asset",
    "promoted_assets",
    "promoted_dataset_asset",
    "promoted_schema_asset",
    "schema_asset",
    "streamed",
]

DEFAULT_POOLS: Mapping[Layer, str] = {"team": "atdata_s3", "atmosphere": "atdata_pds"}
"""The concurrency pools of promoted datasets: how many steps write to a server at once is set
with ``dagster instance concurrency set atdata_pds 2``."""

SCHEMA_POOLS: Mapping[Layer, str] = {"team": "atdata_redis", "atmosphere": "atdata_pds"}
"""The pools of promoted schemas."""


def dataset_asset(
    sample_type: type,
    *,
    name: str | None = None,
    promote: Sequence[Layer] = (),
    ins: Mapping[str, str | dg.AssetKey] | None = None,
    description: str | None = None,
    license: str | None = None,  # noqa: A002 - the record's own word
    dataset_tags: Sequence[str] = (),
    dataset_metadata: Mapping[str, Any] | None = None,
    schema_version: str | None = None,
    max_samples: int = DEFAULT_MAX_SAMPLES,
    max_shard_bytes: int | None = None,
    checks: bool | Sequence[str | DatasetCheck] = True,
    preview: bool = True,
    translator: DatasetTranslator | None = None,
    pools: Mapping[Layer, str] | None = DEFAULT_POOLS,
    **asset_options: Any,
) -> Callable[[Callable[..., Iterable[Any]]], DatasetChain]:
    """Makes a function that yields samples a dataset asset, and assets for its promotion.

    A parameter annotated ``Dataset[Sample]`` is the dataset asset of that name in the local layer,
    loaded lazily; resources and ``context`` work as in any asset::

        @dataset_asset(Embedding, promote=("team", "atmosphere"), license="CC0-1.0")
        def embeddings(digits: Dataset[Digit]) -> Iterator[Embedding]:
            for digit in digits:
                yield Embedding(vector=embed(digit.image), label=digit.label)

    What the function makes of datasets that are published, or in the inbox, says in its own record
    from which records it was derived.

    In a run of several partitions the function returns a dict with a stream for each key of
    ``context.partition_keys``, and a dataset that it takes comes as such a dict.

    Args:
        sample_type: The packable type of the samples.
        name: The dataset's name; by default the function's.
        promote: The layers that it goes to from the local one, in order.
        ins: For parameters that are fed by another asset than the local dataset of their name:
            that asset's key.
        description: For people, in Dagster as in the records; by default the docstring.
        license: An SPDX identifier.
        dataset_tags: Words to find the dataset by.
        dataset_metadata: Whatever else belongs to it: text, whole numbers, lists and maps.
        schema_version: The semantic version of `sample_type`; by default the one under which
            equal content is registered, or the next.
        max_samples: The most samples in a shard.
        max_shard_bytes: The most bytes in a shard; by default 25 MB.
        checks: Which checks there are in each layer, see `build_dataset_checks`: by default those
            that read no shard; False for none.
        preview: Whether a few samples are looked at while they are written, to show pictures,
            ranges and counts in Dagster; ``ATDATA_PREVIEW=0`` switches that off everywhere.
        translator: What the assets are in Dagster: keys, groups, owners, ….
        pools: The concurrency pool of each layer that the dataset is promoted to; None for none.
        **asset_options: Passed on to ``dg.asset`` for each dataset asset of the chain: partitions,
            owners, tags, retry policy, …. An ``automation_condition`` may be a dict by layer.

    Raises:
        SchemaError: `sample_type` can't be described.
        ConfigurationError: A layer in `promote` is not known.
    """

    def decorate(fn: Callable[..., Iterable[Any]]) -> DatasetChain:
        text = description or inspect.getdoc(fn)
        stream = SampleStream(
            sample_type,
            (),
            description=text,
            tags=tuple(dataset_tags),
            license=license,
            metadata=dataset_metadata or {},
            max_samples=max_samples,
            max_bytes=max_shard_bytes,
            preview=preview,
        )

        def build(translator: DatasetTranslator) -> DatasetChain:
            chain = _build(
                fn,
                stream,
                name or fn.__name__,
                promote=promote,
                ins=ins or {},
                schema_version=schema_version,
                translator=translator,
                pools=pools,
                options={"description": text, **asset_options},
            )
            return dataclasses.replace(chain, checks=chain_checks(chain, checks), rebuild=build)

        return build(translator or DatasetTranslator())

    return decorate


def _build(
    fn: Callable[..., Iterable[Any]],
    stream: SampleStream,
    name: str,
    *,
    promote: Sequence[Layer],
    ins: Mapping[str, str | dg.AssetKey],
    schema_version: str | None,
    translator: DatasetTranslator,
    pools: Mapping[Layer, str] | None,
    options: Mapping[str, Any],
) -> DatasetChain:
    sample_type = stream.sample_type
    schema = Schema.of(sample_type)

    def wrap(value: Any, sources: tuple[StrongRef, ...]) -> dg.Output[Any]:
        derived = dataclasses.replace(stream, derived_from=sources)
        if isinstance(value, Mapping):
            return dg.Output({key: streamed(part, derived) for key, part in value.items()})
        return dg.Output(streamed(value, derived))

    compute, inputs = as_dagster_sees_it(fn, wrap, ins, translator)
    first = DatasetAsset(name, "local", schema, options=spec_options(options))
    schemas: dict[Layer, dg.AssetsDefinition] = {
        "local": schema_asset(sample_type, version=schema_version, translator=translator)
    }
    datasets: dict[Layer, dg.AssetsDefinition] = {
        "local": _asset(
            spec_of(translator, first),
            compute,
            ins=inputs,
            deps=[schemas["local"].key],
            io_manager_key="local",
            **execution_options(options),
        )
    }
    promoted = promoted_assets(
        name, sample_type, promote, translator=translator, pools=pools, **options
    )
    return DatasetChain(
        name, sample_type, {**schemas, **promoted.schemas}, {**datasets, **promoted.datasets}
    )


def promoted_assets(
    name: str,
    sample_type: type,
    promote: Sequence[Layer],
    *,
    translator: DatasetTranslator,
    pools: Mapping[Layer, str] | None,
    **options: Any,
) -> DatasetChain:
    """The part of a chain that lies behind the local layer.

    Args:
        name: The dataset's name.
        sample_type: What its samples are.
        promote: The layers, in order.
        translator: What the assets are in Dagster.
        pools: See `dataset_asset`.
        **options: Passed on to ``dg.asset``.

    Raises:
        ConfigurationError: A layer in `promote` is not known.
    """
    schemas: dict[Layer, dg.AssetsDefinition] = {}
    datasets: dict[Layer, dg.AssetsDefinition] = {}
    before: Layer = "local"
    for layer in promote:
        check_promotion(name, layer, before)
        schemas[layer] = promoted_schema_asset(
            sample_type,
            layer,
            before,
            translator=translator,
            pool=None if pools is None else SCHEMA_POOLS.get(layer),
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


def streamed(value: Any, stream: SampleStream) -> Any:
    """What a function returned, with what is said of its dataset.

    Whole datasets keep what is said of them and their shards, so that nothing is decoded.

    Args:
        value: Samples, or a dataset, or a stream by hand.
        stream: What is said of the dataset.
    """
    if isinstance(value, SampleStream):
        return dataclasses.replace(value, derived_from=value.derived_from or stream.derived_from)
    if isinstance(value, Dataset):
        if not value.is_transformed:
            return value
        return dataclasses.replace(stream, samples=value.ordered())
    return dataclasses.replace(stream, samples=value)


def schema_asset(
    sample_type: type,
    *,
    version: str | None = None,
    translator: DatasetTranslator | None = None,
) -> dg.AssetsDefinition:
    """A sample type as an asset, registered in the local layer.

    Args:
        sample_type: A packable type.
        version: Its semantic version; see `dataset_asset`.
        translator: What it is in Dagster.
    """
    schema = Schema.of(sample_type, version=version or "1.0.0")
    data = DatasetAsset(schema.name, "local", schema, "schema")

    def register() -> dg.Output[Any]:
        return dg.Output(schema if version else sample_type)

    return _asset(
        spec_of(translator or DatasetTranslator(), data), register, io_manager_key="local"
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

    return _asset(
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

    return _asset(
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


def _asset(
    spec: dg.AssetSpec, compute: Callable[..., Any], *, deps: Sequence[Any] = (), **options: Any
) -> dg.AssetsDefinition:
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


def chain_checks(
    chain: DatasetChain, wanted: bool | Sequence[str | DatasetCheck]
) -> tuple[dg.AssetChecksDefinition, ...]:
    """The checks of a chain, those in each layer that have a meaning there."""
    names: Sequence[str | DatasetCheck] = (
        (DEFAULT_CHECKS if wanted else ()) if isinstance(wanted, bool) else wanted
    )
    found: list[dg.AssetChecksDefinition] = []
    for layer in chain.datasets:
        # What compares with the layer before has nothing to say of the first one, and a record is
        # in the last one alone.
        here = [
            name
            for name in names
            if (name != "record" or layer == "atmosphere")
            and (name != "same_content" or layer != "local")
        ]
        found += build_dataset_checks(chain, layer=layer, include=here)
    return tuple(found)
