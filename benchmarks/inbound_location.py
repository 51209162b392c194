"""A code location that follows one account, as its user would write it; told whom by the
environment."""

import os

import dagster as dg

from atdata_dagster import CatalogueResource, build_inbox_definitions
from benchmarks.endurance_publishers import COLLECTION

defs = build_inbox_definitions(
    os.environ["INBOUND_SUBSCRIPTION"],
    collections=[COLLECTION],
    resources={"catalogue": CatalogueResource(place=os.environ["INBOUND_CATALOGUE"])},
    default_status=dg.DefaultSensorStatus.RUNNING,
)
