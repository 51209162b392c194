"""A code location on real data: handwritten digits, and embeddings of them, in all three layers."""

from atdata_dagster import build_definitions
from definitions.assets import digit_embeddings, digits

defs = build_definitions(digits, digit_embeddings)
