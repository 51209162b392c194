"""Typed datasets as Dagster assets: local tar shards, a team's Redis and S3, public records.

    import dagster as dg
    from atdata_dagster import build_definitions, dataset_asset

    @dataset_asset(Digit, promote=("team", "atmosphere"))
    def digits() -> Iterator[Digit]:
        yield from read_digits()

    defs = build_definitions(digits)

Names are imported when they are first used, so that importing this package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from atdata_dagster.assets import dataset_asset
    from atdata_dagster.automation import (
        build_chain_schedule,
        build_inbound_freshness_checks,
        promote_on_content_change,
        receive_what_is_observed,
    )
    from atdata_dagster.chain import DatasetChain
    from atdata_dagster.checks import (
        DatasetCheck,
        build_dataset_checks,
        build_freshness_checks,
        check_balance,
        check_range,
        check_samples,
        check_values,
    )
    from atdata_dagster.definitions import build_definitions
    from atdata_dagster.external import external_dataset_asset
    from atdata_dagster.inbound import build_inbox_definitions, team_entries_asset
    from atdata_dagster.io_managers import (
        AtmosphereIOManager,
        DatasetIOManager,
        LocalIOManager,
        TeamIOManager,
    )
    from atdata_dagster.multi import dataset_multi_asset
    from atdata_dagster.names import dataset_key, schema_key
    from atdata_dagster.resources import (
        AtmosphereResource,
        CatalogueResource,
        LayerResource,
        LocalResource,
        TeamResource,
    )
    from atdata_dagster.sensors import build_atmosphere_sensor, build_team_index_sensor
    from atdata_dagster.specs import build_dataset_specs
    from atdata_dagster.streams import SampleStream
    from atdata_dagster.translator import DatasetAsset, DatasetTranslator

__version__ = "0.1.0"

_HOMES = {
    "AtmosphereIOManager": "io_managers",
    "AtmosphereResource": "resources",
    "CatalogueResource": "resources",
    "DatasetAsset": "translator",
    "DatasetChain": "chain",
    "DatasetCheck": "checks",
    "DatasetIOManager": "io_managers",
    "DatasetTranslator": "translator",
    "LayerResource": "resources",
    "LocalIOManager": "io_managers",
    "LocalResource": "resources",
    "SampleStream": "streams",
    "TeamIOManager": "io_managers",
    "TeamResource": "resources",
    "build_atmosphere_sensor": "sensors",
    "build_chain_schedule": "automation",
    "build_dataset_checks": "checks",
    "build_dataset_specs": "specs",
    "build_definitions": "definitions",
    "build_freshness_checks": "checks",
    "build_inbound_freshness_checks": "automation",
    "build_inbox_definitions": "inbound",
    "build_team_index_sensor": "sensors",
    "check_balance": "checks",
    "check_range": "checks",
    "check_samples": "checks",
    "check_values": "checks",
    "dataset_asset": "assets",
    "dataset_key": "names",
    "dataset_multi_asset": "multi",
    "external_dataset_asset": "external",
    "promote_on_content_change": "automation",
    "receive_what_is_observed": "automation",
    "schema_key": "names",
    "team_entries_asset": "inbound",
}

__all__ = [
    "AtmosphereIOManager",
    "AtmosphereResource",
    "CatalogueResource",
    "DatasetAsset",
    "DatasetChain",
    "DatasetCheck",
    "DatasetIOManager",
    "DatasetTranslator",
    "LayerResource",
    "LocalIOManager",
    "LocalResource",
    "SampleStream",
    "TeamIOManager",
    "TeamResource",
    "build_atmosphere_sensor",
    "build_chain_schedule",
    "build_dataset_checks",
    "build_dataset_specs",
    "build_definitions",
    "build_freshness_checks",
    "build_inbound_freshness_checks",
    "build_inbox_definitions",
    "build_team_index_sensor",
    "check_balance",
    "check_range",
    "check_samples",
    "check_values",
    "dataset_asset",
    "dataset_key",
    "dataset_multi_asset",
    "external_dataset_asset",
    "promote_on_content_change",
    "receive_what_is_observed",
    "schema_key",
    "team_entries_asset",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"atdata_dagster.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
