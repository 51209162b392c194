"""The code location that the endurance run follows with; it is told where by the environment."""

import os

import dagster as dg

from atdata_dagster import CatalogueResource, build_inbox_definitions
from atdata_dagster.automation import receive_what_is_observed

COLLECTION = "ac.foundation.dataset.record"

defs = build_inbox_definitions(
    os.environ["ENDURANCE_SUBSCRIPTION"],
    collections=[COLLECTION],
    resources={"catalogue": CatalogueResource(place=os.environ["ENDURANCE_CATALOGUE"])},
    default_status=dg.DefaultSensorStatus.RUNNING,
    max_events=50,
    budget_s=15.0,
    minimum_interval_seconds=2,
    # Runs are killed all the time here.
    asset_options={"automation_condition": receive_what_is_observed("* * * * *")},
)
