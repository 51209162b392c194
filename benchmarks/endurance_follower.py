"""The endurance run without Dagster's daemon: what follows, to be killed at any point."""

import os
import time
from pathlib import Path

import dagster as dg


def tick_for_ever() -> None:
    """What Dagster's daemon does with a sensor, in its order."""
    from benchmarks.endurance_location import defs

    home = Path(os.environ["DAGSTER_HOME"])
    kept = home / "cursor"
    resources = {"catalogue": defs.resources["catalogue"]}
    [sensor] = [s for s in defs.sensors if s.name == "atmosphere_records"]
    with dg.DagsterInstance.from_config(str(home)) as instance:
        while True:
            cursor = kept.read_text() if kept.exists() else None
            with dg.build_sensor_context(
                instance=instance, cursor=cursor, resources=resources
            ) as context:
                done = sensor.evaluate_tick(context)
            for event in done.asset_events:
                instance.report_runless_asset_event(event)
            for request in done.dynamic_partitions_requests or []:
                for key in request.partition_keys:
                    if isinstance(request, dg.DeleteDynamicPartitionsRequest):
                        instance.delete_dynamic_partition(request.partitions_def_name, key)
                    else:
                        instance.add_dynamic_partitions(request.partitions_def_name, [key])
            part = kept.with_suffix(".part")
            part.write_text(str(done.cursor))
            part.replace(kept)
            print(done.skip_message, flush=True)
            time.sleep(0.2)


if __name__ == "__main__":
    tick_for_ever()
