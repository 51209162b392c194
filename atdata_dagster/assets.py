"""`dataset_asset`: a function that yields samples becomes a chain of assets through the layers."""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import Dataset, DatasetEntry, Schema
from atdata_core.errors import ConfigurationError
from atdata_core.shard import DEFAULT_MAX_SAMPLES
from atdata_dagster.chain import DatasetChain
from atdata_dagster.checks import DEFAULT_CHECKS, DatasetCheck, build_dataset_checks
from atdata_dagster.names import LAYERS, Layer, dataset_key, schema_key
from atdata_dagster.streams import EntryType, SampleStream, dataset_type

_KINDS: dict[Layer, set[str]] = {
    "local": {"webdataset"},
    "team": {"redis", "s3"},
    "atmosphere": {"atproto"},
}


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
    **asset_options: Any,
) -> Callable[[Callable[..., Iterable[Any]]], DatasetChain]:
    """Makes a function that yields samples a dataset asset, and assets for its promotion.

    A parameter annotated ``Dataset[Sample]`` is the dataset asset of that name in the local layer,
    loaded lazily; resources and ``context`` work as in any asset::

        @dataset_asset(Embedding, promote=("team", "atmosphere"), license="CC0-1.0")
        def embeddings(digits: Dataset[Digit]) -> Iterator[Embedding]:
            for digit in digits:
                yield Embedding(vector=embed(digit.image), label=digit.label)

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
        **asset_options: Passed on to ``dg.asset`` for each dataset asset of the chain: partitions,
            owners, tags, automation condition, retry policy, ….

    Raises:
        SchemaError: `sample_type` can't be described.
        ConfigurationError: A layer in `promote` is not known.
    """

    def decorate(fn: Callable[..., Iterable[Any]]) -> DatasetChain:
        own_name = name or fn.__name__
        text = description or inspect.getdoc(fn)
        schema = Schema.of(sample_type)
        options = {"description": text, "code_version": schema.cid, **asset_options}

        def wrap(value: Any) -> dg.Output[Any]:
            stream = (
                value
                if isinstance(value, (SampleStream, Dataset))
                else SampleStream(
                    sample_type,
                    value,
                    description=text,
                    tags=tuple(dataset_tags),
                    license=license,
                    metadata=dataset_metadata or {},
                    max_samples=max_samples,
                    max_bytes=max_shard_bytes,
                )
            )
            return dg.Output(stream)

        schemas: dict[Layer, dg.AssetsDefinition] = {
            "local": schema_asset(sample_type, version=schema_version)
        }
        compute, inputs = _computation(fn, wrap, ins or {})
        datasets: dict[Layer, dg.AssetsDefinition] = {
            "local": dg.asset(
                key=dataset_key(own_name),
                ins=inputs,
                deps=[schema_key(schema.name)],
                io_manager_key="local",
                group_name="local",
                kinds=_KINDS["local"],
                **options,
            )(compute)
        }
        before: Layer = "local"
        for layer in promote:
            _check_layer(layer, before)
            schemas[layer] = promoted_schema_asset(sample_type, layer, before)
            datasets[layer] = promoted_dataset_asset(
                own_name, sample_type, layer, before, **options
            )
            before = layer
        chain = DatasetChain(own_name, sample_type, schemas, datasets)
        return dataclasses.replace(chain, checks=_checks(chain, checks))

    return decorate


def schema_asset(sample_type: type, *, version: str | None = None) -> dg.AssetsDefinition:
    """A sample type as an asset, registered in the local layer.

    Args:
        sample_type: A packable type.
        version: Its semantic version; see `dataset_asset`.
    """
    schema = Schema.of(sample_type, version=version or "1.0.0")

    @dg.asset(
        key=schema_key(schema.name),
        io_manager_key="local",
        group_name="local",
        kinds={"python"},
        description=schema.description or f"What a {schema.name} is.",
        code_version=schema.cid,
    )
    def register() -> dg.Output[Any]:
        return dg.Output(schema if version else sample_type)

    return register


def promoted_schema_asset(
    sample_type: type, layer: Layer, before: Layer = "local"
) -> dg.AssetsDefinition:
    """The same schema, registered in a further layer."""
    name = Schema.of(sample_type).name

    @dg.asset(
        key=schema_key(name, layer),
        ins={"schema": dg.AssetIn(key=schema_key(name, before))},
        io_manager_key=layer,
        group_name=layer,
        kinds=_KINDS[layer],
        description=f"What a {name} is, as the {layer} layer has it.",
    )
    def promote_schema(schema: Any) -> dg.Output[Any]:
        return dg.Output(schema)

    return promote_schema


def promoted_dataset_asset(
    name: str, sample_type: type, layer: Layer, before: Layer = "local", **asset_options: Any
) -> dg.AssetsDefinition:
    """The same dataset in a further layer, its shards copied by their CIDs.

    Args:
        name: The dataset's name.
        sample_type: What its samples are.
        layer: The layer that it goes to.
        before: The layer that it comes from.
        **asset_options: Passed on to ``dg.asset``.
    """
    asset = dg.asset(
        key=dataset_key(name, layer),
        ins={
            "dataset": dg.AssetIn(
                key=dataset_key(name, before), dagster_type=dataset_type(sample_type)
            )
        },
        deps=[schema_key(Schema.of(sample_type).name, layer)],
        io_manager_key=layer,
        group_name=layer,
        kinds=_KINDS[layer],
        **asset_options,
    )
    definition: dg.AssetsDefinition = asset(_promote_dataset)
    return definition


def _promote_dataset(dataset: Any) -> dg.Output[Any]:
    return dg.Output(dataset)


def _computation(
    fn: Callable[..., Any],
    wrap: Callable[[Any], dg.Output[Any]],
    ins: Mapping[str, str | dg.AssetKey],
) -> tuple[Callable[..., dg.Output[Any]], dict[str, dg.AssetIn]]:
    """The function as Dagster is to see it, and which assets feed its datasets.

    Dagster reads annotations, and doesn't know what ``Dataset[Sample]`` is: those become inputs of
    a type of their own, and only the others are left for it to read.
    """
    hints = typing.get_type_hints(fn)
    signature = inspect.signature(fn)
    unknown = sorted(set(ins) - set(signature.parameters))
    if unknown:
        raise ConfigurationError(
            "ins names parameters that the function doesn't have",
            where=fn.__qualname__,
            expected=", ".join(signature.parameters) or "none",
            got=", ".join(unknown),
        )
    inputs: dict[str, dg.AssetIn] = {}
    parameters = []
    annotations: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        hint = hints.get(parameter.name, parameter.empty)
        dagster_type = _input_type(hint)
        if dagster_type is not None or parameter.name in ins:
            key = ins.get(parameter.name, dataset_key(parameter.name))
            inputs[parameter.name] = dg.AssetIn(
                key=dg.AssetKey.from_user_string(key) if isinstance(key, str) else key,
                dagster_type=dagster_type or dg.Any,
            )
            hint = parameter.empty
        elif hint is not parameter.empty:
            annotations[parameter.name] = hint
        parameters.append(parameter.replace(annotation=hint))

    def compute(*args: Any, **kwargs: Any) -> dg.Output[Any]:
        return wrap(fn(*args, **kwargs))

    compute.__name__ = fn.__name__
    compute.__doc__ = fn.__doc__
    compute.__module__ = fn.__module__
    compute.__annotations__ = annotations
    compute.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=signature.empty
    )
    return compute, inputs


def _input_type(hint: Any) -> dg.DagsterType | None:
    if typing.get_origin(hint) is Dataset:
        return dataset_type(typing.get_args(hint)[0])
    if hint is Dataset:
        return dg.PythonObjectDagsterType(Dataset)
    return EntryType if hint is DatasetEntry else None


def _checks(
    chain: DatasetChain, wanted: bool | Sequence[str | DatasetCheck]
) -> tuple[dg.AssetChecksDefinition, ...]:
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


def _check_layer(layer: Layer, before: Layer) -> None:
    if layer not in LAYERS or LAYERS.index(layer) <= LAYERS.index(before):
        raise ConfigurationError(
            "a dataset can't be promoted to this layer",
            expected="team, atmosphere, or both in this order",
            got=f"{layer!r} after {before!r}",
        )
