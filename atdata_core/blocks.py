"""The samples of a shard, some at a time: `Block`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from atdata_core import columns
from atdata_core.columns import Column, Cursor, Irregular
from atdata_core.errors import SampleError, ShardError
from atdata_core.fields import fields_of
from atdata_core.members import Members, Run
from atdata_core.sample import unpack

_FEW = 4
"""So few samples are decoded one by one: deciding how to do it together would take longer."""
_TRIES = 4
"""After so many runs that couldn't be decoded together, a shard's others aren't tried."""


@dataclass(frozen=True, slots=True)
class Block:
    """Samples that follow each other in a shard, as columns in memory of their own.

    Args:
        sample_type: Their type.
        columns: By field, the values: an array with one row a sample, or a list.
        keys: Their keys.
        where: The shard.
        first: The number of the first one in the shard.
    """

    sample_type: type
    columns: Mapping[str, Column]
    keys: Sequence[str]
    where: str
    first: int

    def __len__(self) -> int:
        return len(self.keys)

    def samples(self, *, apart: bool = False) -> Iterator[Any]:
        """The samples; an array of theirs is a view of its column, and nobody else's.

        Args:
            apart: Whether their arrays are copied, so that one sample that is kept doesn't keep
                the memory of all.
        """
        found = self.columns
        if apart:
            found = {name: _apart(column) for name, column in found.items()}
        return columns.samples(self.sample_type, found)

    def part(self, start: int, stop: int) -> "Block":
        """Some of the samples."""
        cut = {name: column[start:stop] for name, column in self.columns.items()}
        return Block(self.sample_type, cut, self.keys[start:stop], self.where, self.first + start)


def read_blocks(stream: IO[bytes], sample_type: type, where: str, skip: int = 0) -> Iterator[Block]:
    """The samples of a shard, as many at a time as lie in memory together.

    Args:
        stream: The shard, from its start; read once, never sought.
        sample_type: A packable type.
        where: The shard's name, for errors.
        skip: How many samples to pass over, without decoding them.

    Raises:
        ShardError: See `Members.runs`.
        SampleError: A body is no sample of this type. The message names shard and key; the
            samples before it were handed out.
    """
    fields = fields_of(sample_type)
    first = misses = 0
    for run in Members(stream, where).runs():
        start = min(len(run), max(0, skip - first))
        if start < len(run):
            together = None
            if len(run) - start >= _FEW and misses < _TRIES:
                together = _together(run, start, fields)
                misses = 0 if together else misses + 1
            if together:
                yield Block(sample_type, together, run.keys[start:], where, first + start)
            else:
                yield from _one_by_one(run, start, sample_type, where, first)
        first += len(run)
    if first < skip:
        raise shorter(where)


def shorter(where: str) -> ShardError:
    """The error for a shard that lacks samples that it had."""
    return ShardError(
        "shard holds fewer samples than when the pass was interrupted",
        where=where,
        remedy="Begin the pass again: its order depends on the samples that there were",
    )


def _apart(column: Column) -> Column:
    if isinstance(column, np.ndarray):
        return [row.copy() for row in columns.rows_of(column)]
    return column


def _together(run: Run, start: int, fields: Any) -> dict[str, Column] | None:
    starts = run.starts[start:]
    try:
        return columns.decode(fields, Cursor(run.buffer, starts), starts + run.sizes[start:])
    except Irregular:
        return None


def _one_by_one(run: Run, start: int, sample_type: type, where: str, first: int) -> Iterator[Block]:
    names = [field.name for field in fields_of(sample_type)]
    rows: list[Any] = []
    problem: SampleError | None = None
    for row in range(start, len(run)):
        try:
            rows.append(unpack(sample_type, run.body(row), f"{where}, sample {run.keys[row]}"))
        except SampleError as error:
            problem = error
            break
    if rows:
        listed = {name: [getattr(sample, name) for sample in rows] for name in names}
        keys = run.keys[start : start + len(rows)]
        yield Block(sample_type, listed, keys, where, first + start)
    if problem is not None:
        raise problem
