"""Which field of a dataset comes from which of another, for Dagster's ``dagster/column_lineage``.

Of a promoted dataset that is known: each field is the same one in the layer before. A function
that yields samples, or a lens, doesn't tell, and trying it on a few samples would only guess; so
its author says it (``columns=`` of `dataset_asset`), or nothing is said.
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from atdata_core import Schema
from atdata_core.errors import ConfigurationError
from atdata_dagster.streams import DatasetType

LINEAGE = "dagster/column_lineage"
"""Dagster's own key, in definitions and in materializations."""

Columns = Mapping[str, str | Sequence[str]]
"""From a field to what it comes from: ``"parameter.field"``, or several of these."""


def promoted_lineage(schema: Schema, source: dg.AssetKey) -> dg.TableColumnLineage:
    """Each field comes from itself.

    Args:
        schema: What the samples are, in both layers.
        source: The dataset in the layer before.
    """
    return dg.TableColumnLineage(
        {
            field.name: [dg.TableColumnDep(asset_key=source, column_name=field.name)]
            for field in schema.fields
        }
    )


def declared_lineage(
    columns: Columns, schema: Schema, inputs: Mapping[str, dg.AssetIn], where: str
) -> dg.TableColumnLineage:
    """What an author says of fields.

    Args:
        columns: That.
        schema: What the samples are that are made.
        inputs: The assets that feed the function's parameters.
        where: The dataset, for errors.

    Raises:
        ConfigurationError: A field or parameter that is named isn't there.
    """
    _check_field(schema, sorted(columns), where)
    deps: dict[str, list[dg.TableColumnDep]] = {}
    for field, sources in columns.items():
        texts = [sources] if isinstance(sources, str) else sources
        deps[field] = [_dep(text, inputs, where) for text in texts]
    return dg.TableColumnLineage(deps)


def _dep(text: str, inputs: Mapping[str, dg.AssetIn], where: str) -> dg.TableColumnDep:
    parameter, _, field = text.partition(".")
    given = inputs.get(parameter)
    if given is None or given.key is None or not field:
        raise ConfigurationError(
            "columns names what is no field of a parameter",
            where=where,
            expected="parameter.field, of "
            + (", ".join(inputs) or "a function that takes a dataset"),
            got=repr(text),
        )
    if isinstance(given.dagster_type, DatasetType):
        _check_field(Schema.of(given.dagster_type.sample_type), [field], where)
    return dg.TableColumnDep(asset_key=dg.AssetKey.from_coercible(given.key), column_name=field)


def _check_field(schema: Schema, fields: Sequence[str], where: str) -> None:
    known = [field.name for field in schema.fields]
    for field in fields:
        if field not in known:
            raise ConfigurationError(
                f"columns names a field that {schema.name} doesn't have",
                where=where,
                expected=", ".join(known),
                got=repr(field),
            )
