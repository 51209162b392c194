"""`build_definitions`: chains and resources as one ``Definitions``."""

import functools
from collections.abc import Mapping
from typing import Any

import dagster as dg

from atdata_core import Schema
from atdata_core.errors import ConfigurationError
from atdata_dagster.chain import DatasetChain
from atdata_dagster.io_managers import AtmosphereIOManager, LocalIOManager, TeamIOManager
from atdata_dagster.resources import AtmosphereResource, LocalResource, TeamResource
from atdata_dagster.translator import DatasetTranslator


@functools.cache
def default_resources() -> Mapping[str, Any]:
    """An IO manager a layer, each with what the environment says.

    Always the same ones: `dg.Definitions.merge` takes no two resources of one name.
    """
    return {
        "local": LocalIOManager(layer=LocalResource()),
        "team": TeamIOManager(layer=TeamResource()),
        "atmosphere": AtmosphereIOManager(layer=AtmosphereResource()),
    }


def build_definitions(
    *chains: DatasetChain,
    resources: Mapping[str, Any] | None = None,
    translator: DatasetTranslator | None = None,
    **options: Any,
) -> dg.Definitions:
    """The definitions of some datasets.

    Datasets whose samples are of one type share the assets of its schema.

    Args:
        *chains: What `dataset_asset` gave.
        resources: In place of, or beside, the layers' IO managers ``local``, ``team`` and
            ``atmosphere``.
        translator: What the assets are in Dagster, in place of the translators of the chains.
        **options: Passed on to ``dg.Definitions``: jobs, schedules, sensors, further ``assets``.

    Raises:
        ConfigurationError: Two sample types have the same name and different fields.
    """
    assets: dict[dg.AssetKey, dg.AssetsDefinition] = {}
    types: dict[str, Schema] = {}
    if translator is not None:
        chains = tuple(chain.translated(translator) for chain in chains)
    for chain in chains:
        schema = Schema.of(chain.sample_type)
        known = types.setdefault(schema.name, schema)
        if known.cid != schema.cid:
            raise ConfigurationError(
                "two sample types have the same name and different fields",
                where=chain.name,
                expected=str(known),
                got=str(schema),
                remedy="Rename one of the two",
            )
    # Of several chains that have a schema in one layer, one that begins there is preferred: its
    # asset needs no other layer.
    begun = [chain.schemas[chain.first] for chain in chains if chain.first in chain.schemas]
    for asset in (*begun, *(asset for chain in chains for asset in chain.assets)):
        assets.setdefault(min(asset.keys), asset)
    return dg.Definitions(
        assets=[*assets.values(), *options.pop("assets", ())],
        asset_checks=[
            *(check for chain in chains for check in chain.checks),
            *options.pop("asset_checks", ()),
        ],
        resources={**default_resources(), **(resources or {})},
        **options,
    )
