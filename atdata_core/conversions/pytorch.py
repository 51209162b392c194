"""Datasets for PyTorch's ``DataLoader``."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from atdata_core.batch import SampleBatch
from atdata_core.conversions.needs import needed
from atdata_core.fields import fields_of
from atdata_core.iteration import Iteration
from atdata_core.sample import PackableSample

torch = needed("torch", "torch")
torch_data = needed("torch.utils.data", "torch")


class TorchDataset(torch_data.IterableDataset):  # type: ignore[misc,name-defined]
    """An ``IterableDataset`` over one way through a dataset; see `Dataset.to_torch`.

    Args:
        iteration: What is handed out, divided by worker and rank.
    """

    def __init__(self, iteration: Iteration[Any]) -> None:
        super().__init__()
        self._iteration = iteration

    def __iter__(self) -> Iterator[Any]:
        return map(as_tensors, iter(self._iteration))

    def state_dict(self) -> dict[str, Any]:
        """Where the pass stands: what torchdata's ``StatefulDataLoader`` keeps of each worker."""
        return self._iteration.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes the next pass go on where another one stood; see `Iteration.load_state_dict`."""
        self._iteration.load_state_dict(state)


def as_tensors(item: Any) -> Any:
    """A sample or a batch as a map from field to tensor, or to its value where it isn't a number.

    Of a batch, numbers become a tensor too, whole ones int64 and others float64. Arrays of a
    dtype that PyTorch hasn't stay arrays. Anything but samples comes as it is.
    """
    if isinstance(item, SampleBatch):
        names = [field.name for field in fields_of(item.sample_type)]
        return {name: _column(getattr(item, name)) for name in names}
    if isinstance(item, PackableSample):
        return {f.name: _tensor(getattr(item, f.name)) for f in fields_of(type(item))}
    return item


def _column(values: Any) -> Any:
    if isinstance(values, list) and values and type(values[0]) in (int, float, bool):
        kind = type(values[0])
        if all(type(value) is kind for value in values):
            return torch.tensor(values, dtype=torch.float64 if kind is float else None)
    if isinstance(values, list):
        return [_tensor(value) for value in values]
    return _tensor(values)


def _tensor(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    try:
        # PyTorch has native byte order only, and complains of memory that can't be written.
        native = np.require(value, value.dtype.newbyteorder("="), "W")
        return torch.from_numpy(native)
    except TypeError:
        return value
