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
from atdata_dagster.lineage import LINEAGE, Columns, declared_lineage
from atdata_dagster.names import Layer, check_layer
from atdata_dagster.promoting import (
    DEFAULT_POOLS,
    SCHEMA_POOLS,
    asset_of,
    promoted_assets,
    promoted_dataset_asset,
    promoted_schema_asset,
    schema_asset,
    schema_pool,
)
from atdata_dagster.streams import SampleStream
from atdata_dagster.translator import (
    DatasetAsset,
    DatasetTranslator,
    execution_options,
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


def dataset_asset(
    sample_type: type,
    *,
    name: str | None = None,
    first: Layer = "local",
    promote: Sequence[Layer] = (),
    ins: Mapping[str, str | dg.AssetKey] | None = None,
    columns: Columns | None = None,
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

    A parameter annotated ``Dataset[Sample]`` is the dataset asset of that name in the layer where
    the chain begins, loaded lazily; resources and ``context`` work as in any asset::

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
        first: The layer where the chain begins, and the function's samples are written: the local
            one, or where steps run on several machines the team's.
        promote: The layers that it goes to from there, in order.
        ins: For parameters that are fed by another asset than the dataset of their name: that
            asset's key.
        columns: Which field comes from which one of a parameter's dataset, for Dagster's lineage of
            columns: ``{"label": "digits.label", "vector": ["digits.image"]}``. Those of promoted
            datasets are known.
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
        pools: The concurrency pool of each layer that the dataset is written to; None for none.
        **asset_options: Passed on to ``dg.asset`` for each dataset asset of the chain: partitions,
            owners, tags, retry policy, …. An ``automation_condition`` may be a dict by layer.

    Raises:
        SchemaError: `sample_type` can't be described.
        ConfigurationError: A layer is not known, or a field in `columns`.
    """
    check_layer(first, "dataset_asset")

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
                first=first,
                promote=promote,
                ins=ins or {},
                columns=columns or {},
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
    first: Layer,
    promote: Sequence[Layer],
    ins: Mapping[str, str | dg.AssetKey],
    columns: Columns,
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

    compute, inputs = as_dagster_sees_it(fn, wrap, ins, translator, first)
    data = DatasetAsset(name, first, schema, options=spec_options(options))
    registered = schema_asset(
        sample_type,
        layer=first,
        version=schema_version,
        translator=translator,
        pool=schema_pool(first, pools),
    )
    spec = spec_of(translator, data)
    if columns:
        lineage = declared_lineage(columns, schema, inputs, name)
        spec = spec.merge_attributes(metadata={LINEAGE: lineage})
    written = asset_of(
        spec,
        compute,
        ins=inputs,
        deps=[registered.key],
        io_manager_key=first,
        **{"pool": (pools or {}).get(first), **execution_options(options)},
    )
    promoted = promoted_assets(
        name, sample_type, promote, first=first, translator=translator, pools=pools, **options
    )
    return DatasetChain(
        name,
        sample_type,
        {first: registered, **promoted.schemas},
        {first: written, **promoted.datasets},
    )


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


def chain_checks(
    chain: DatasetChain, wanted: bool | Sequence[str | DatasetCheck]
) -> tuple[dg.AssetChecksDefinition, ...]:
    """The checks of a chain, those in each layer that have a meaning there."""
    names: Sequence[str | DatasetCheck] = (
        (DEFAULT_CHECKS if wanted else ()) if isinstance(wanted, bool) else wanted
    )
    found: list[dg.AssetChecksDefinition] = []
    layers = list(chain.datasets)
    for layer, after in zip(layers, [*layers[1:], None], strict=True):
        # What compares with the layer before has nothing to say of the first one, and a record is
        # in the last one alone. What would be published is of interest right before.
        here = [
            name
            for name in names
            if (name != "record" or layer == "atmosphere")
            and (name != "same_content" or layer != chain.first)
            and (name != "publication" or after == "atmosphere")
        ]
        found += build_dataset_checks(chain, layer=layer, include=here)
    return tuple(found)
