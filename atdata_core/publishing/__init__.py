"""Schemas, datasets, labels and lenses as records of an account."""

from atdata_core.publishing.datasets import DatasetPublisher, raw_source
from atdata_core.publishing.labels import LabelLoader, LabelPublisher, resolve_name
from atdata_core.publishing.lenses import LensLoader, LensPublisher
from atdata_core.publishing.reading import DatasetLoader
from atdata_core.publishing.schemas import SchemaLoader, SchemaPublisher, check_type

__all__ = [
    "DatasetLoader",
    "DatasetPublisher",
    "LabelLoader",
    "LabelPublisher",
    "LensLoader",
    "LensPublisher",
    "SchemaLoader",
    "SchemaPublisher",
    "check_type",
    "raw_source",
    "resolve_name",
]
