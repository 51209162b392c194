"""`dataset_multi_asset`: one function that makes several datasets in one step."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import Schema, StrongRef
from atdata_core.errors import ConfigurationError
from atdata_dagster.assets import chain_checks, streamed
from atdata_dagster.chain import DatasetChain
from atdata_dagster.checks import DatasetCheck
from atdata_dagster.functions import as_dagster_sees_it
from atdata_dagster.lineage import LINEAGE, Columns, declared_lineage
from atdata_dagster.names import Layer, check_layer
from atdata_dagster.promoting import (
    DEFAULT_POOLS,
    promoted_assets,
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


def dataset_multi_asset(
    sample_types: Mapping[str, type],
    *,
    first: Layer = "local",
    promote: Sequence[Layer] = (),
    ins: Mapping[str, str | dg.AssetKey] | None = None,
    columns: Mapping[str, Columns] | None = None,
    license: str | None = None,  # noqa: A002 - the record's own word
    checks: bool | Sequence[str | DatasetCheck] = True,
    preview: bool = True,
    translator: DatasetTranslator | None = None,
    pools: Mapping[Layer, str] | None = DEFAULT_POOLS,
    **asset_options: Any,
) -> Callable[[Callable[..., Mapping[str, Iterable[Any]]]], list[DatasetChain]]:
    """Makes a function that returns several streams the asset of as many datasets.

    The streams are taken one after the other, and only those of the datasets that a run selects::

        @dataset_multi_asset({"train": Digit, "test": Digit}, promote=("team",))
        def split() -> dict[str, Iterator[Digit]]:
            return {"train": read("train"), "test": read("test")}

        defs = build_definitions(*split)

    Args:
        sample_types: The packable type of each dataset, by name.
        first: The layer where all begin.
        promote: The layers that all go to from there, in order.
        ins: See `dataset_asset`.
        columns: See `dataset_asset`; by the name of the dataset.
        license: An SPDX identifier.
        checks: See `dataset_asset`.
        preview: See `dataset_asset`.
        translator: What the assets are in Dagster.
        pools: See `dataset_asset`.
        **asset_options: Those that are part of a spec, for each dataset; the others are passed on
            to ``dg.multi_asset`` and to the promoted assets.

    Raises:
        SchemaError: A type can't be described.
        ConfigurationError: A layer is not known, or a dataset or field in `columns`.
    """
    check_layer(first, "dataset_multi_asset")

    def decorate(fn: Callable[..., Mapping[str, Iterable[Any]]]) -> list[DatasetChain]:
        options = {"description": inspect.getdoc(fn), **asset_options}
        streams = {
            name: SampleStream(
                kind, (), description=options["description"], license=license, preview=preview
            )
            for name, kind in sample_types.items()
        }

        def build(using: DatasetTranslator) -> list[DatasetChain]:
            return _build(
                fn, streams, first, promote, ins or {}, columns or {}, using, pools, options
            )

        def chain_of(chain: DatasetChain, place: int) -> DatasetChain:
            return dataclasses.replace(
                chain,
                checks=chain_checks(chain, checks),
                rebuild=lambda using: chain_of(build(using)[place], place),
            )

        built = build(translator or DatasetTranslator())
        return [chain_of(chain, place) for place, chain in enumerate(built)]

    return decorate


def _build(
    fn: Callable[..., Mapping[str, Iterable[Any]]],
    streams: Mapping[str, SampleStream],
    first: Layer,
    promote: Sequence[Layer],
    ins: Mapping[str, str | dg.AssetKey],
    columns: Mapping[str, Columns],
    translator: DatasetTranslator,
    pools: Mapping[Layer, str] | None,
    options: Mapping[str, Any],
) -> list[DatasetChain]:
    specs = {}
    schemas = {}
    for name, stream in streams.items():
        schema = Schema.of(stream.sample_type)
        specs[name] = spec_of(
            translator, DatasetAsset(name, first, schema, options=spec_options(options))
        )
        schemas[name] = schema_asset(
            stream.sample_type,
            layer=first,
            translator=translator,
            pool=schema_pool(first, pools),
        )
    outputs = {name: re.sub(r"\W", "_", name) for name in streams}

    def wrap(value: Any, sources: tuple[StrongRef, ...]) -> Iterator[dg.Output[Any]]:
        context = dg.AssetExecutionContext.get().op_execution_context
        wanted = [name for name, out in outputs.items() if out in context.selected_output_names]
        if not isinstance(value, Mapping) or not set(wanted) <= set(value):
            raise ConfigurationError(
                "function returned no stream for each dataset",
                where=fn.__qualname__,
                expected=f"a dict with the keys {', '.join(wanted)}",
                got=", ".join(map(str, value)) if isinstance(value, Mapping) else repr(type(value)),
            )
        for name in wanted:
            derived = dataclasses.replace(streams[name], derived_from=sources)
            yield dg.Output(streamed(value[name], derived), outputs[name])

    compute, inputs = as_dagster_sees_it(fn, wrap, ins, translator, first)
    for name, said in columns.items():
        if name not in specs:
            raise ConfigurationError(
                "columns names no dataset of the function",
                where=fn.__qualname__,
                expected=", ".join(specs),
                got=repr(name),
            )
        schema = Schema.of(streams[name].sample_type)
        lineage = declared_lineage(said, schema, inputs, name)
        specs[name] = specs[name].merge_attributes(metadata={LINEAGE: lineage})
    written = dg.multi_asset(
        name=fn.__name__,
        outs={
            outputs[name]: dg.AssetOut.from_spec(spec, io_manager_key=first, is_required=False)
            for name, spec in specs.items()
        },
        ins=inputs,
        deps={asset.key for asset in schemas.values()},
        can_subset=True,
        **{"pool": (pools or {}).get(first), **execution_options(options)},
    )(compute)
    chains = []
    for name, stream in streams.items():
        promoted = promoted_assets(
            name,
            stream.sample_type,
            promote,
            first=first,
            translator=translator,
            pools=pools,
            **options,
        )
        chains.append(
            DatasetChain(
                name,
                stream.sample_type,
                {first: schemas[name], **promoted.schemas},
                {first: written, **promoted.datasets},
                keys={first: specs[name].key},
            )
        )
    return chains
