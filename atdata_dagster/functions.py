"""A user's function as Dagster is to see it."""

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from atdata_core import Dataset, DatasetEntry, Schema, StrongRef
from atdata_core.errors import ConfigurationError
from atdata_dagster.names import KIND, NAME, Layer, dataset_key
from atdata_dagster.streams import EntryType, dataset_type, sources_of
from atdata_dagster.translator import DatasetAsset, DatasetTranslator, key_of


def as_dagster_sees_it(
    fn: Callable[..., Any],
    wrap: Callable[[Any, tuple[StrongRef, ...]], Any],
    ins: Mapping[str, str | dg.AssetKey],
    translator: DatasetTranslator,
    layer: Layer = "local",
) -> tuple[Callable[..., Any], dict[str, dg.AssetIn]]:
    """The function as Dagster is to see it, and which assets feed its datasets.

    Dagster reads annotations, and doesn't know what ``Dataset[Sample]`` is: those become inputs of
    a type of their own, and only the others are left for it to read.

    Args:
        fn: The function.
        wrap: From what it returns, and the records behind what it was given, to the step's
            output.
        ins: See `atdata_dagster.assets.dataset_asset`.
        translator: Which keys the datasets have that its parameters are named after.
        layer: Where those are.

    Raises:
        ConfigurationError: `ins` names parameters that the function doesn't have.
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
            key = ins.get(parameter.name)
            if isinstance(key, str):
                key = dg.AssetKey.from_user_string(key)
            inputs[parameter.name] = dg.AssetIn(
                key=key or _key_named(parameter.name, dagster_type, translator, layer),
                metadata=None if key else {NAME: parameter.name, KIND: "dataset"},
                dagster_type=dagster_type or dg.Any,
            )
            hint = parameter.empty
        elif hint is not parameter.empty:
            annotations[parameter.name] = hint
        parameters.append(parameter.replace(annotation=hint))

    def compute(*args: Any, **kwargs: Any) -> Any:
        return wrap(fn(*args, **kwargs), sources_of([*args, *kwargs.values()]))

    compute.__name__ = fn.__name__
    compute.__doc__ = fn.__doc__
    compute.__module__ = fn.__module__
    compute.__annotations__ = annotations
    compute.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=parameters, return_annotation=signature.empty
    )
    return compute, inputs


def _key_named(
    name: str, dagster_type: dg.DagsterType | None, translator: DatasetTranslator, layer: Layer
) -> dg.AssetKey:
    """The key of the dataset of a name in a layer."""
    sample_type = getattr(dagster_type, "sample_type", None)
    if sample_type is None:
        return dataset_key(name, layer)
    return key_of(translator, DatasetAsset(name, layer, Schema.of(sample_type)))


def _input_type(hint: Any) -> dg.DagsterType | None:
    if typing.get_origin(hint) is Dataset:
        return dataset_type(typing.get_args(hint)[0])
    if hint is Dataset:
        return dg.PythonObjectDagsterType(Dataset)
    return EntryType if hint is DatasetEntry else None
