"""Several samples as one: `SampleBatch`."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from atdata_core.arrays import shape_text
from atdata_core.columns import Column, rows_of
from atdata_core.columns import samples as samples_of
from atdata_core.errors import SampleError
from atdata_core.fields import fields_of

T = TypeVar("T")

Part = tuple[Mapping[str, Column], int, int]
"""Some rows of columns: by field, stacked arrays or lists of values; the first row, and the end."""

Ragged = Literal["error", "list"]
"""What becomes of arrays of different shapes in one batch: an error, or a list of them."""


class SampleBatch(Generic[T]):
    """Several samples as one: a field of the batch holds that field of all samples.

    Arrays come stacked along a new first axis, everything else as a list::

        batch.image  # ndarray, shape (n, 8, 8)
        batch.label  # list of n ints

    Args:
        samples: The samples, all of `sample_type`.
        sample_type: Their type.
        ragged: Whether arrays that differ in shape, so that they can't be stacked, are an error
            or come as a list.
    """

    def __init__(
        self, samples: Sequence[T], sample_type: type[T], *, ragged: Ragged = "error"
    ) -> None:
        self.sample_type = sample_type
        self._ragged = ragged
        self._count = len(samples)
        self._samples: list[T] | None = list(samples)
        self._parts: Sequence[Part] = ()

    @classmethod
    def of_parts(
        cls, parts: Sequence[Part], count: int, sample_type: type[T], ragged: Ragged = "error"
    ) -> "SampleBatch[T]":
        """The batch of some samples that were decoded together.

        Args:
            parts: One or more stretches of them.
            count: How many samples they hold.
            sample_type: Their type.
            ragged: See the class.
        """
        batch = cls.__new__(cls)
        batch.sample_type = sample_type
        batch._ragged = ragged
        batch._count = count
        batch._samples = None
        batch._parts = parts
        if len(parts) == 1:
            # At once, since that takes less time than being asked for it.
            [(columns, start, stop)] = parts
            for name, column in columns.items():
                if isinstance(column, np.ndarray) or not isinstance(column[start], np.ndarray):
                    setattr(batch, name, column[start:stop])
        return batch

    @property
    def samples(self) -> list[T]:
        """The samples one by one; their arrays are views of the batch's."""
        if self._samples is None:
            whole = {f.name: getattr(self, f.name) for f in fields_of(self.sample_type)}
            self._samples = list(samples_of(self.sample_type, whole))
        return self._samples

    def __len__(self) -> int:
        return self._count

    def __getattr__(self, name: str) -> Any:
        # Called once a field: what is found becomes an attribute.
        if name.startswith("_"):
            raise AttributeError(name)
        if self._parts and name in self._parts[0][0]:
            column = self._cut(name)
        elif name in {field.name for field in fields_of(self.sample_type)}:
            column = self._stacked(name, [getattr(sample, name) for sample in self.samples])
        else:
            raise AttributeError(f"{self.sample_type.__name__} has no field {name!r}")
        setattr(self, name, column)
        return column

    def _cut(self, name: str) -> Any:
        found = [columns[name][start:stop] for columns, start, stop in self._parts]
        if len(found) == 1 and isinstance(found[0], np.ndarray):
            return found[0]
        if all(isinstance(part, np.ndarray) for part in found) and _alike(found):
            return _joined(found)
        return self._stacked(name, [value for part in found for value in rows_of(part)])

    def _stacked(self, name: str, values: list[Any]) -> Any:
        if not values or not all(isinstance(value, np.ndarray) for value in values):
            return values
        forms = {(value.dtype, value.shape) for value in values}
        if len(forms) == 1:
            return np.stack(values)
        if self._ragged == "list":
            return values
        raise SampleError(
            f"arrays of field {name!r} have different shapes or dtypes and can't be stacked",
            where=f"batch of {len(self)} {self.sample_type.__name__}",
            got=", ".join(sorted(f"{dtype} {shape_text(shape)}" for dtype, shape in forms)),
            remedy='Have them in a list: ordered(batch_size=…, ragged="list")',
        )

    def __repr__(self) -> str:
        return f"SampleBatch[{self.sample_type.__name__}]({len(self)} samples)"


def _alike(arrays: Sequence[Any]) -> bool:
    first = arrays[0]
    return all(a.dtype == first.dtype and a.shape[1:] == first.shape[1:] for a in arrays[1:])


def _joined(arrays: Sequence[Any]) -> Any:
    """Arrays one after another: without a copy, if they lie so in one memory."""
    base = arrays[0].base
    if not isinstance(base, np.ndarray) or not base.flags.c_contiguous:
        return np.concatenate(arrays)
    if any(array.base is not base or not array.flags.c_contiguous for array in arrays):
        return np.concatenate(arrays)
    start = place = arrays[0].ctypes.data
    for array in arrays:
        if array.ctypes.data != place:
            return np.concatenate(arrays)
        place += array.nbytes
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    return np.ndarray(shape, arrays[0].dtype, base, start - base.ctypes.data)
