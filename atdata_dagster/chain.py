"""`DatasetChain`: the assets of one dataset, through the layers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from atdata_dagster.names import Layer
from atdata_dagster.translator import DatasetTranslator


@dataclass(frozen=True)
class DatasetChain(Sequence[dg.AssetsDefinition]):
    """The assets of one dataset: its schema and itself, in each layer that it is promoted to.

    It is a sequence of assets, so ``Definitions(assets=[*digits])`` and Dagster's loaders take it.

    Args:
        name: The dataset's name.
        sample_type: What its samples are.
        schemas: The schema's asset in each layer.
        datasets: The dataset's asset in each layer.
        checks: The checks of all of them.
        rebuild: Makes the same chain with another translator.
        keys: The dataset's key in a layer where its asset makes others, too.
    """

    name: str
    sample_type: type
    schemas: Mapping[Layer, dg.AssetsDefinition]
    datasets: Mapping[Layer, dg.AssetsDefinition]
    checks: tuple[dg.AssetChecksDefinition, ...] = ()
    rebuild: "Callable[[DatasetTranslator], DatasetChain] | None" = field(
        default=None, repr=False, compare=False
    )
    keys: Mapping[Layer, dg.AssetKey] = field(default_factory=dict)

    @property
    def assets(self) -> list[dg.AssetsDefinition]:
        """All of them, each layer's schema before its dataset."""
        return [
            chain[layer]
            for layer in self.datasets
            for chain in (self.schemas, self.datasets)
            if layer in chain
        ]

    @property
    def first(self) -> Layer:
        """The layer where it begins."""
        return next(iter(self.datasets))

    def key(self, layer: Layer | None = None) -> dg.AssetKey:
        """The asset key of the dataset in a layer; by default the first one."""
        layer = layer or self.first
        return self.keys[layer] if layer in self.keys else self.datasets[layer].key

    def translated(self, translator: DatasetTranslator) -> "DatasetChain":
        """The same chain with what another translator makes of it."""
        return self if self.rebuild is None else self.rebuild(translator)

    def __len__(self) -> int:
        return len(self.assets)

    def __getitem__(self, index: Any) -> Any:
        return self.assets[index]

    def __iter__(self) -> Iterator[dg.AssetsDefinition]:
        return iter(self.assets)
