"""The code location that the endurance run follows with; it is told where by the environment."""

import os

import dagster as dg

from atdata_dagster import CatalogueResource, build_inbox_definitions
from atdata_dagster.automation import receive_what_is_observed

COLLECTION = "ac.foundation.dataset.record"

defs = dg.Definitions.merge(
    build_inbox_definitions(
        os.environ["ENDURANCE_SUBSCRIPTION"],
        collections=[COLLECTION],
        resources={"catalogue": CatalogueResource(place=os.environ["ENDURANCE_CATALOGUE"])},
        default_status=dg.DefaultSensorStatus.RUNNING,
        max_events=int(os.environ.get("ENDURANCE_MAX_EVENTS", "50")),
        budget_s=15.0,
        minimum_interval_seconds=2,
        # Runs are killed all the time here.
        asset_options={"automation_condition": receive_what_is_observed("* * * * *")},
    ),
    # One process a run instead of two: it is runs that take most of the time.
    dg.Definitions(executor=dg.in_process_executor),
)
