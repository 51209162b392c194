"""A code location on real data: handwritten digits, and embeddings of them, in all three layers."""

from pathlib import Path

import dagster as dg

from atdata_dagster import build_definitions
from definitions.assets import digit_embeddings, digits

defs = dg.Definitions.merge(
    build_definitions(digits, digit_embeddings),
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
)
