"""Datasets that nobody makes in Dagster: tar files that are there, entries of an index."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import DatasetEntry, Schema
from atdata_core.errors import ConfigurationError
from atdata_dagster.assets import DEFAULT_POOLS, promoted_dataset_asset
from atdata_dagster.chain import DatasetChain
from atdata_dagster.checks import build_dataset_checks
from atdata_dagster.metadata import column_schema
from atdata_dagster.names import FILES, Layer, check_promotion
from atdata_dagster.streams import files_entry
from atdata_dagster.translator import DatasetAsset, DatasetTranslator, spec_of


def external_dataset_asset(
    sample_type: type,
    *,
    name: str,
    files: str | Sequence[str] | None = None,
    layer: Layer = "local",
    promote: Sequence[Layer] = (),
    translator: DatasetTranslator | None = None,
    pools: Mapping[Layer, str] | None = DEFAULT_POOLS,
    **options: Any,
) -> DatasetChain:
    """A dataset that is there already, as an observable asset, and assets for its promotion.

    Observing it reads its content CID and makes that its data version, so what is made from it is
    out of date as soon as its content changes, and not before::

        scans = external_dataset_asset(Scan, name="scans", files="/data/scans-*.tar",
                                       promote=("team",))

    Args:
        sample_type: The packable type of its samples.
        name: Its name.
        files: Tar files, with braces or wildcards if you like. Observing them reads them through.
            None: the dataset is listed in the index of `layer` under its name.
        layer: Where it is.
        promote: The layers that it goes to from there, in order.
        translator: What the assets are in Dagster.
        pools: See `atdata_dagster.dataset_asset`.
        **options: Owners, tags, description, group_name, metadata, automation_condition, and
            whatever else the promoted assets take.

    Raises:
        ConfigurationError: Files are not in the local layer, or a layer can't be promoted to.
    """
    if files is not None and layer != "local":
        raise ConfigurationError(
            "tar files are in the local layer", where=name, expected="local", got=layer
        )
    paths = [files] if isinstance(files, str) else files
    translator = translator or DatasetTranslator()
    schema = Schema.of(sample_type)
    data = DatasetAsset(name, layer, schema, options=options)
    datasets: dict[Layer, dg.AssetsDefinition] = {
        layer: _observable(spec_of(translator, data), data, sample_type, paths)
    }
    checks: list[dg.AssetChecksDefinition] = []
    before = layer
    for further in promote:
        check_promotion(name, further, before)
        datasets[further] = promoted_dataset_asset(
            name,
            sample_type,
            further,
            before,
            translator=translator,
            with_schema=False,
            **{"pool": (pools or {}).get(further), **options},
        )
        checks += build_dataset_checks(
            datasets[further].key,
            name=name,
            layer=further,
            sample_type=sample_type,
            include=("schema", "rows"),
            blocking=further != "atmosphere" and "atmosphere" in promote,
        )
        before = further
    return DatasetChain(name, sample_type, {}, datasets, tuple(checks))


def _observable(
    spec: dg.AssetSpec, data: DatasetAsset, sample_type: type, files: Sequence[str] | None
) -> dg.AssetsDefinition:
    if files is not None:
        spec = spec.merge_attributes(metadata={FILES: list(files)})

    def observe(context: dg.AssetExecutionContext) -> dg.ObserveResult:
        if files is not None:
            entry = files_entry(data.name, files, sample_type)
        else:
            layer = getattr(context.resources, data.layer).layer
            entry = layer.get_index().get_dataset(data.name)
        return _observation(spec.key, entry, data.schema)

    with warnings.catch_warnings():
        # In beta, and all that there is for an observable asset with owners and kinds.
        warnings.filterwarnings("ignore", message=".*multi_observable_source_asset")
        definition: dg.AssetsDefinition = dg.multi_observable_source_asset(
            name=re.sub(r"\W", "_", "__".join(spec.key.path)),
            specs=[spec.with_io_manager_key(data.layer)],
            required_resource_keys=set() if files is not None else {data.layer},
        )(observe)
    return definition


def _observation(key: dg.AssetKey, entry: DatasetEntry, schema: Schema) -> dg.ObserveResult:
    facts = {
        "dagster/column_schema": column_schema(schema),
        "dagster/row_count": entry.rows,
        "atdata/cid": entry.cid,
        "atdata/bytes": entry.size,
        "atdata/shards": len(entry.shards),
    }
    return dg.ObserveResult(
        asset_key=key,
        data_version=None if entry.cid is None else dg.DataVersion(entry.cid),
        metadata={key: value for key, value in facts.items() if value is not None},
    )
