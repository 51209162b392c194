"""On which machine a step runs, where that matters: the local layer is a folder of one.

Nothing tells an IO manager whether the next step will run on this machine. Two things together
come close, both by Dagster's public interface:

- the run's executor. Those known to execute each step wherever they like are refused as soon as
  the local layer is used. Were it left to chance, a run whose steps happen to meet on one machine
  would pass, and the next one fail;
- where a dataset was written, as its materialization tells. That finds, when it is read, what the
  first can't know: executors by other names, and runs that are each launched somewhere else.
"""

import socket

import dagster as dg

from atdata_core.errors import ConfigurationError, NotFoundError

PLACE = "atdata/place"
"""In a materialization: host and folder where the local layer wrote it."""

ELSEWHERE = frozenset({"celery", "celery-docker", "celery-k8s", "dask", "docker", "k8s", "ray"})
"""The executors whose steps may each run on another machine, by the names that they register."""

_REMEDY = (
    'Begin the chain in the team\'s layer: dataset_asset(…, first="team"). If every machine mounts '
    "the folder, say so: LocalResource(shared=True), or ATDATA_ROOT_SHARED=1"
)


def place_of(folder: str) -> str:
    """A folder, and the machine that it is on."""
    return f"{socket.gethostname()}:{folder}"


def executor_of_step() -> str | None:
    """The name of the executor of the step that runs; None outside of one."""
    try:
        return str(dg.OpExecutionContext.get().job_def.executor_def.name)
    except dg.DagsterInvariantViolationError:
        return None


def refuse_elsewhere(key: dg.AssetKey) -> None:
    """Raises `ConfigurationError` where the steps of a run may be executed on several machines.

    Args:
        key: The asset that would be written to, or read from, a folder of this one.
    """
    executor = executor_of_step()
    if executor in ELSEWHERE:
        raise ConfigurationError(
            "the local layer is a folder of one machine, and the steps of this run may each be "
            "executed on another",
            where=key.to_user_string(),
            expected="a layer that all of them reach",
            got=f"executor {executor!r}, this step on host {socket.gethostname()}",
            remedy=_REMEDY,
        )


def written_elsewhere(key: dg.AssetKey, place: str, here: str) -> NotFoundError:
    """The error for a dataset that was written on another machine than reads it.

    Args:
        key: The asset.
        place: Where it was written, as `place_of` tells.
        here: Where it was looked for.
    """
    return NotFoundError(
        "the dataset was written on another machine, or to another folder, than this step reads",
        where=key.to_user_string(),
        expected=f"it at {here}",
        got=f"it at {place}",
        remedy=_REMEDY,
    )
