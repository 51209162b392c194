"""`dataset_multi_asset`: one function that makes several datasets in one step."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import Schema, StrongRef
from atdata_core.errors import ConfigurationError
from atdata_dagster.assets import (
    DEFAULT_POOLS,
    chain_checks,
    promoted_assets,
    schema_asset,
    streamed,
)
from atdata_dagster.chain import DatasetChain
from atdata_dagster.checks import DatasetCheck
from atdata_dagster.functions import as_dagster_sees_it
from atdata_dagster.names import Layer
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
    promote: Sequence[Layer] = (),
    ins: Mapping[str, str | dg.AssetKey] | None = None,
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
        promote: The layers that all go to from the local one, in order.
        ins: See `dataset_asset`.
        license: An SPDX identifier.
        checks: See `dataset_asset`.
        preview: See `dataset_asset`.
        translator: What the assets are in Dagster.
        pools: See `dataset_asset`.
        **asset_options: Those that are part of a spec, for each dataset; the others are passed on
            to ``dg.multi_asset`` and to the promoted assets.

    Raises:
        SchemaError: A type can't be described.
        ConfigurationError: A layer in `promote` is not known.
    """

    def decorate(fn: Callable[..., Mapping[str, Iterable[Any]]]) -> list[DatasetChain]:
        options = {"description": inspect.getdoc(fn), **asset_options}
        streams = {
            name: SampleStream(
                kind, (), description=options["description"], license=license, preview=preview
            )
            for name, kind in sample_types.items()
        }

        def build(using: DatasetTranslator) -> list[DatasetChain]:
            return _build(fn, streams, promote, ins or {}, using, pools, options)

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
    promote: Sequence[Layer],
    ins: Mapping[str, str | dg.AssetKey],
    translator: DatasetTranslator,
    pools: Mapping[Layer, str] | None,
    options: Mapping[str, Any],
) -> list[DatasetChain]:
    specs = {}
    schemas = {}
    for name, stream in streams.items():
        schema = Schema.of(stream.sample_type)
        specs[name] = spec_of(
            translator, DatasetAsset(name, "local", schema, options=spec_options(options))
        )
        schemas[name] = schema_asset(stream.sample_type, translator=translator)
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

    compute, inputs = as_dagster_sees_it(fn, wrap, ins, translator)
    local = dg.multi_asset(
        name=fn.__name__,
        outs={
            outputs[name]: dg.AssetOut.from_spec(spec, io_manager_key="local", is_required=False)
            for name, spec in specs.items()
        },
        ins=inputs,
        deps={asset.key for asset in schemas.values()},
        can_subset=True,
        **execution_options(options),
    )(compute)
    chains = []
    for name, stream in streams.items():
        promoted = promoted_assets(
            name, stream.sample_type, promote, translator=translator, pools=pools, **options
        )
        chains.append(
            DatasetChain(
                name,
                stream.sample_type,
                {"local": schemas[name], **promoted.schemas},
                {"local": local, **promoted.datasets},
                keys={"local": specs[name].key},
            )
        )
    return chains
