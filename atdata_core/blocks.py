"""The samples of a shard, some at a time: `Block`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

from atdata_core import columns
from atdata_core.columns import Column, Cursor, Irregular
from atdata_core.errors import SampleError, ShardError
from atdata_core.fields import fields_of
from atdata_core.files import file_number
from atdata_core.members import Members, Run
from atdata_core.sample import unpack
from atdata_core.scatter import Layout, layout_of, read_scattered

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


def read_blocks(
    stream: IO[bytes],
    sample_type: type,
    where: str,
    skip: int = 0,
    wanted: Callable[[], int] | None = None,
) -> Iterator[Block]:
    """The samples of a shard, as many at a time as lie in memory together.

    Args:
        stream: The shard, from its start; read once, and sought only if it is a file.
        sample_type: A packable type.
        where: The shard's name, for errors.
        skip: How many samples to pass over, without decoding them.
        wanted: Tells how many samples would be welcome together; large ones come so.

    Raises:
        ShardError: See `Members.runs`.
        SampleError: A body is no sample of this type. The message names shard and key; the
            samples before it were handed out.
    """
    reader = _Reader(Members(stream, where), sample_type, where)
    file = file_number(stream) if wanted is not None else None
    for run in reader.members.runs():
        start = min(len(run), max(0, skip - reader.first))
        if start < len(run):
            yield from reader.decoded(run, start)
        reader.first += len(run)
        while wanted is not None and file is not None:
            block = reader.scattered(file, wanted())
            if block is None:
                break
            yield block
    if reader.first < skip:
        raise shorter(where)


class _Reader:
    """Decodes what `Members` finds.

    Args:
        members: The members of a shard.
        sample_type: A packable type.
        where: The shard's name.
    """

    def __init__(self, members: Members, sample_type: type, where: str) -> None:
        self.members = members
        self.first = 0
        """The number of the next sample."""
        self._type = sample_type
        self._fields = fields_of(sample_type)
        self._where = where
        self._misses = 0
        self._layout: Layout | None = None

    def decoded(self, run: Run, start: int) -> Iterator[Block]:
        """The samples of a run from a row on, together if they can be."""
        self._layout = None
        if len(run) - start >= _FEW and self._misses < _TRIES:
            starts = run.starts[start:]
            cursor = Cursor(run.buffer, starts)
            try:
                found = columns.decode(self._fields, cursor, starts + run.sizes[start:])
            except Irregular:
                self._misses += 1
            else:
                self._misses = 0
                self._layout = layout_of(run, cursor)
                yield self._block(found, run.keys[start:], self.first + start)
                return
        yield from self._one_by_one(run, start)

    def scattered(self, file: int, count: int) -> Block | None:
        """The next samples of a file, read to where they shall be, if they are large."""
        if self._layout is None or not self.members.at_member:
            return None
        position = self.members.position
        found = read_scattered(file, position, count, self._layout, self._fields)
        if found is None:
            return None
        values, keys = found
        self.members.pass_over(keys, position + len(keys) * self._layout.stride)
        block = self._block(values, keys, self.first)
        self.first += len(block)
        return block

    def _block(self, values: Mapping[str, Column], keys: Sequence[str], first: int) -> Block:
        return Block(self._type, values, keys, self._where, first)

    def _one_by_one(self, run: Run, start: int) -> Iterator[Block]:
        rows: list[Any] = []
        problem: SampleError | None = None
        for row in range(start, len(run)):
            try:
                rows.append(unpack(self._type, run.body(row), self._name(run.keys[row])))
            except SampleError as error:
                problem = error
                break
        if rows:
            names = [field.name for field in self._fields]
            listed = {name: [getattr(sample, name) for sample in rows] for name in names}
            yield self._block(listed, run.keys[start : start + len(rows)], self.first + start)
        if problem is not None:
            raise problem

    def _name(self, key: str) -> str:
        return f"{self._where}, sample {key}"


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
