"""Samples that are kept back to be mixed: in columns, where moving one costs less than an object.

(200,000 samples of 1 KB, mixed: 510,000 a second as objects, 790,000 as columns.)
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from atdata_core.blocks import AnyBlock, LateBlock
from atdata_core.columns import Column, rows_of, samples
from atdata_core.mixing import Numbers

_MOVED = 16 << 10
"""Arrays up to so many bytes are moved; larger ones get memory of their own at once."""
_SMALL = 1 << 10
"""Arrays up to so many bytes may keep each other's memory as long as one is kept."""
_AT_ONCE = 16 << 10
_AT_ONCE_BYTES = 64 << 20
"""Room for so many values, or of so many bytes, is taken when the first one comes."""
_ITEM, _ORIGIN = "", " "
"""Names of lanes that no field can have."""


class SampleBuffer:
    """Samples of one type in slots, each field in a lane of its own.

    Once one of them is a ticket for a sample that lies elsewhere, all are kept as they are handed
    out, in one lane.

    Args:
        sample_type: Their type.
        named: Whether each comes with the block that it is of and its row in it.
    """

    def __init__(self, sample_type: type, *, named: bool = False) -> None:
        self._type = sample_type
        self._named = named
        self._lanes: dict[str, _Lane] = {}
        self._slots = 0
        self._free: Numbers = np.empty(0, np.int64)

    @property
    def holds_tickets(self) -> bool:
        """Whether there may be tickets among the samples."""
        return _ITEM in self._lanes

    def put(self, block: AnyBlock, rows: Sequence[int]) -> Numbers:
        """Takes some rows of a block; the slots where they are, int64."""
        if not len(rows):
            return np.empty(0, np.int64)
        if isinstance(block, LateBlock):
            self._to_items()
            columns: dict[str, Column] = {_ITEM: list(block.samples(rows))}
        else:
            columns = {name: _cut(column, rows) for name, column in block.columns.items()}
            if self.holds_tickets:
                columns = {_ITEM: self._made(columns)}
            block = dataclasses.replace(block, columns={})  # which would stay as long as a sample
        if self._named:
            columns[_ORIGIN] = [(block, row) for row in rows]
        slots = self._some_slots(len(rows))
        self._put(slots, columns)
        return slots

    def take(self, slots: Numbers) -> Iterator[Any]:
        """The samples of some slots, which are free from now on; no array keeps much besides.

        They are tickets where that is what was put, and tuples with block and row if `named`.
        """
        columns = self.take_columns(slots)
        origins = columns.pop(_ORIGIN, None)
        items = iter(columns[_ITEM]) if _ITEM in columns else samples(self._type, columns)
        if origins is None:
            return items
        return ((item, *origin) for item, origin in zip(items, origins, strict=True))

    def take_columns(self, slots: Numbers) -> dict[str, Column]:
        """The samples of some slots as columns, unless it `holds_tickets`; as `take`."""
        columns = {name: lane.take(slots) for name, lane in self._lanes.items()}
        self._free = np.concatenate((self._free, slots))
        return columns

    def _put(self, slots: Numbers, columns: dict[str, Column]) -> None:
        for name, column in columns.items():
            lane = self._lanes.get(name)
            if lane is None:
                lane = _ArrayLane(column) if _is_moved(column) else _ListLane()
            elif isinstance(lane, _ArrayLane) and not lane.fits(column):
                lane = lane.as_list()
            self._lanes[name] = lane
            lane.put(slots, column)

    def _some_slots(self, count: int) -> Numbers:
        missing = max(0, count - len(self._free))
        fresh = np.arange(self._slots, self._slots + missing)
        self._slots += missing
        free = np.concatenate((self._free, fresh))
        self._free = free[count:]
        return free[:count]

    def _made(self, columns: dict[str, Column]) -> list[Any]:
        return list(samples(self._type, {n: _apart(column) for n, column in columns.items()}))

    def _to_items(self) -> None:
        origins = self._lanes.pop(_ORIGIN, None)
        if self._lanes and not self.holds_tickets:
            used = np.setdiff1d(np.arange(self._slots), self._free)
            columns = {name: lane.take(used) for name, lane in self._lanes.items()}
            self._lanes = {}
            self._put(used, {_ITEM: self._made(columns)})
        if origins is not None:
            self._lanes[_ORIGIN] = origins


class _ListLane:
    """A value of any kind in each slot.

    (In an array of objects, whose values NumPy moves in a third of the time that a loop takes:
    it doesn't wait for each to come into the cache before it looks at the next.)
    """

    def __init__(self) -> None:
        self._values = np.empty(0, object)

    def put(self, slots: Numbers, column: Column) -> None:
        self._values = _grown(self._values, int(slots.max(initial=-1)) + 1)
        self._values[slots] = np.fromiter(_apart(column), object, len(slots))

    def take(self, slots: Numbers) -> list[Any]:
        taken: list[Any] = self._values[slots].tolist()
        self._values[slots] = None  # so that they live no longer than whoever has them now
        return taken


class _ArrayLane:
    """An array in each slot, all of one dtype and shape."""

    def __init__(self, like: Column) -> None:
        self._dtype, self._shape = like.dtype, like.shape[1:]
        self._size = like[:1].nbytes
        # As one value a row, which NumPy moves with one copy each.
        self._rows = np.empty(0, f"V{self._size}")

    def fits(self, column: Column) -> bool:
        form = self._dtype, self._shape
        return isinstance(column, np.ndarray) and (column.dtype, column.shape[1:]) == form

    def put(self, slots: Numbers, column: Column) -> None:
        self._rows = _grown(self._rows, int(slots.max(initial=-1)) + 1)
        self._rows[slots] = np.ascontiguousarray(column).reshape(-1).view(self._rows.dtype)

    def take(self, slots: Numbers) -> Column:
        return self._array(self._rows[slots])

    def as_list(self) -> _ListLane:
        lane = _ListLane()
        lane.put(np.arange(len(self._rows)), self._array(self._rows))
        return lane

    def _array(self, rows: Any) -> Any:
        return rows.view(self._dtype).reshape(len(rows), *self._shape)


_Lane = _ListLane | _ArrayLane


def _grown(values: Any, needed: int) -> Any:
    """An array with room for so many values, and for more."""
    if needed <= len(values):
        return values
    room = 2 * len(values) or min(_AT_ONCE, _AT_ONCE_BYTES // values.itemsize)
    grown = np.empty(max(needed, room), values.dtype)
    grown[: len(values)] = values
    return grown


def _is_moved(column: Column) -> bool:
    """Whether a column's values are for an `_ArrayLane`."""
    if not isinstance(column, np.ndarray) or not len(column):
        return False
    return 0 < column[:1].nbytes <= _MOVED and column[0].flags.c_contiguous


def _apart(column: Column) -> Sequence[Any]:
    """The values of a column, arrays in memory of their own, unless they are small."""
    if isinstance(column, np.ndarray) and column[:1].nbytes > _SMALL:
        return [row.copy() for row in rows_of(column)]
    return rows_of(column)


def _cut(column: Column, rows: Sequence[int]) -> Column:
    if isinstance(rows, range):
        return column[rows.start : rows.stop : rows.step]
    return column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
