"""`build_dataset_specs`: the assets of a dataset without anything to run."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from atdata_core import Schema
from atdata_dagster.names import Layer, check_layer, check_promotion
from atdata_dagster.translator import DatasetAsset, DatasetTranslator, key_of, spec_of


def build_dataset_specs(
    sample_type: type,
    *,
    name: str,
    first: Layer = "local",
    promote: Sequence[Layer] = (),
    deps: Sequence[Any] = (),
    translator: DatasetTranslator | None = None,
    **options: Any,
) -> list[dg.AssetSpec]:
    """The assets of a dataset for those who make them elsewhere: specs without anything to run.

    Args:
        sample_type: The packable type of the samples.
        name: The dataset's name.
        first: The layer where it begins.
        promote: The layers that it goes to from there, in order.
        deps: What the dataset is made from.
        translator: What the assets are in Dagster.
        **options: Of ``dg.AssetSpec``, for each dataset of the chain.

    Returns:
        For each layer the schema and the dataset, in order.

    Raises:
        ConfigurationError: A layer is not known.
    """
    check_layer(first, name)
    translator = translator or DatasetTranslator()
    schema = Schema.of(sample_type)
    specs: list[dg.AssetSpec] = []
    before: Layer | None = None
    for layer in (first, *promote):
        if before is not None:
            check_promotion(name, layer, before)
        schema_data = DatasetAsset(schema.name, layer, schema, "schema", before)
        data = DatasetAsset(name, layer, schema, before=before, options=options)
        above = [*deps] if before is None else [key_of(translator, data.at(before))]
        above_schema = [] if before is None else [key_of(translator, schema_data.at(before))]
        schema_spec = spec_of(translator, schema_data)
        specs += [
            schema_spec.merge_attributes(deps=above_schema),
            spec_of(translator, data).merge_attributes(deps=[schema_spec.key, *above]),
        ]
        before = layer
    return specs
