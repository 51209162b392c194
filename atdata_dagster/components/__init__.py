"""Datasets, layers, catalogues and subscriptions declared in YAML, for ``dg``.

``dg list components`` shows them, ``dg scaffold defs atdata_dagster.components.DatasetComponent
digits`` starts one.
"""

from atdata_dagster.components.catalog import CatalogComponent
from atdata_dagster.components.dataset import DatasetComponent
from atdata_dagster.components.layers import LayersComponent
from atdata_dagster.components.subscription import SubscriptionComponent

__all__ = ["CatalogComponent", "DatasetComponent", "LayersComponent", "SubscriptionComponent"]
