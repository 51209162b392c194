"""The code location: all of `stations/defs`."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """What the YAML files declare."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
