"""The samples of a shard, some at a time: `Block`."""

import contextlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

import numpy as np

from atdata_core import columns
from atdata_core.columns import Column
from atdata_core.cursor import Cursor, Cut, Irregular
from atdata_core.errors import SampleError, ShardError
from atdata_core.fields import fields_of
from atdata_core.files import InMemory, SameFile, TwoHalves, two_threads_pay
from atdata_core.headers import Places
from atdata_core.members import Members, Run
from atdata_core.memory import Memory, keep_freed_memory
from atdata_core.remembered import Notes, Remembered, remembered
from atdata_core.sample import unpack
from atdata_core.scatter import LARGE, Layout, Scattered, layout_of, read_headers
from atdata_core.tar import BLOCK
from atdata_core.views import Viewer

_FEW = 4
"""So few samples are decoded one by one: deciding how to do it together would take longer."""
_TOGETHER = 4 << 20
"""Bytes of large arrays to read together."""
_MOST = 16 << 20
"""So many where two threads read batches, which takes them some time to begin.

(Images of 150 KB in batches of 32: 642 us a batch where each is read by itself, 599 where two are
read together, 583 where three are.)
"""
_TRIES = 4
"""After so many runs that couldn't be decoded together, a shard's others aren't tried."""


@dataclass(slots=True)
class Demand:
    """What samples are wanted for.

    Args:
        batch: How many make a batch; 0: they are taken one by one.
        missing: How many are missing to the next batch.
        apart: Whether they will go ways of their own. Then large ones of a file come as a
            `LateBlock`.
        memory: Where large arrays go.
        reader: What reads them.
        layout: How the samples looked that were read last, if they were large.
        room: How many bytes of large arrays to read together for batches.
    """

    batch: int = 0
    missing: int = 0
    apart: bool = False
    memory: Memory = field(default_factory=Memory)
    reader: TwoHalves = field(default_factory=TwoHalves)
    layout: Layout | None = None
    room: int = _TOGETHER

    def rows(self, size: int) -> int:
        """How many samples with so many bytes of arrays to read together: whole batches."""
        if not self.batch:
            return max(1, _TOGETHER // size)
        more = max(0, self.room // size - self.missing)
        return self.missing + more // self.batch * self.batch

    def grow(self) -> None:
        """Has more be read together the next time, but not before the first batch."""
        if two_threads_pay(self.room):
            self.room = _MOST


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

    def samples(self, rows: range) -> Iterator[Any]:
        """The samples of some rows, in order."""
        own = self.columns
        if len(rows) != len(self.keys):
            cut = slice(rows.start, rows.stop, rows.step)
            own = {name: column[cut] for name, column in own.items()}
        return columns.samples(self.sample_type, own)


class Ticket(NamedTuple):
    """A sample that is left where it lies until it is its turn.

    Args:
        block: The block that it is of.
        row: Its row in it.
    """

    block: "LateBlock"
    row: int

    def sample(self) -> Any:
        """The sample; raises `ShardError` if the file is another by now."""
        return self.block.sample(self.row)


@dataclass(frozen=True, slots=True)
class LateBlock:
    """Large samples of a file, each read when it is its turn: in any order, in little memory.

    Args:
        file: The shard's file.
        viewer: Decodes the samples.
        starts: Where each body begins in the file.
        sizes: How many bytes each has.
        layout: How the samples look.
        keys: Their keys.
        where: The shard.
        first: The number of the first one in the shard.
    """

    file: SameFile
    viewer: Viewer
    starts: Places
    sizes: Places
    layout: Layout
    keys: Sequence[str]
    where: str
    first: int

    def __len__(self) -> int:
        return len(self.keys)

    def samples(self, rows: Iterable[int]) -> Iterator[Ticket]:
        """Tickets for the samples of some rows, in order."""
        return (Ticket(self, row) for row in rows)

    def sample(self, row: int) -> Any:
        """The sample of a row; raises `ShardError` if the file is another by now."""
        size = int(self.sizes[row])
        # The array's data shall begin where a processor likes it.
        shift = -self.layout.offset % 64
        memory = memoryview(np.empty(shift + size, np.uint8).data)[shift:]
        if self.file.read_into([memory], int(self.starts[row])) != size:
            raise shorter(self.where)
        return self.viewer.view(memory, lambda: f"{self.where}, sample {self.keys[row]}")

    def read(self, row: int, before: memoryview, data: memoryview, behind: memoryview) -> int:
        """Reads the sample of a row: what is before its array's data, they, and what is behind.

        Returns:
            How many bytes it has without the data.

        Raises:
            ShardError: The file is another by now.
        """
        size = int(self.sizes[row])
        rest = size - len(data)
        buffers = [before, data, behind[: rest - len(before)]]
        if self.file.read_into(buffers, int(self.starts[row])) != size:
            raise shorter(self.where)
        return rest


def columns_of(tickets: Sequence[Ticket], demand: Demand) -> "Mapping[str, Column] | None":
    """Samples that were left where they lie as columns, each array read straight into its row.

    (32 images of 150 KB: 60 us each where they are put together from samples, 35 so.)

    Args:
        tickets: They, of one type.
        demand: Has memory for the arrays, and what reads them.

    Returns:
        By field, the values; None if they aren't all alike.

    Raises:
        ShardError: A file is another by now.
    """
    layout = tickets[0].block.layout
    least = layout.offset + layout.size
    if any(t.block.layout != layout or t.block.sizes[t.row] < least for t in tickets):
        return None
    count, before, width = len(tickets), layout.offset, layout.rest - BLOCK
    data = demand.memory.rows(count, count, layout.size)
    rests = bytearray(count * width)
    view, rows = memoryview(rests), memoryview(data.reshape(-1).data)

    def read(first: int, last: int) -> list[int]:
        lengths = []
        for row in range(first, last):
            block, number = tickets[row]
            rest = view[row * width : (row + 1) * width]
            here = rows[row * layout.size : (row + 1) * layout.size]
            lengths.append(block.read(number, rest[:before], here, rest[before:]))
        return lengths

    half = count // 2
    if two_threads_pay(data.nbytes):
        some, others = demand.reader.both(lambda: read(0, half), lambda: read(half, count))
        lengths = some + others
    else:
        lengths = read(0, count)
    starts = width * np.arange(count)
    cursor = Cursor(rests, starts, Cut(before, layout.size))
    try:
        found = columns.decode(tickets[0].block.viewer.fields, cursor, starts + lengths)
    except Irregular:
        return None
    return columns.cut_columns(found, data, slice(None))


AnyBlock = Block | LateBlock


def read_blocks(
    stream: IO[bytes],
    sample_type: type,
    where: str,
    skip: int = 0,
    demand: Demand | None = None,
) -> Iterator[AnyBlock]:
    """The samples of a shard, as many at a time as lie in memory together.

    Args:
        stream: The shard, from its start; read once, and sought only if it is a file.
        sample_type: A packable type.
        where: The shard's name, for errors.
        skip: How many samples to pass over, without decoding them.
        demand: What the samples are wanted for.

    Raises:
        ShardError: See `Members.runs`.
        SampleError: A body is no sample of this type. The message names shard and key; the
            samples before it were handed out.
    """
    keep_freed_memory()
    demand = demand or Demand()
    reader = _Reader(stream, sample_type, where, demand)
    file = reader.file
    if isinstance(file, SameFile) and (known := remembered(file)):
        skip = yield from _read_before(file, known, reader, skip)
        if skip == len(known.keys):
            return
        reader = _Reader(stream, sample_type, where, demand)
    notes = Notes(file)
    if not skip:
        yield from reader.large()  # if they look like those of the shard before
    for run in reader.members.runs():
        notes.add(run)
        start = min(len(run), max(0, skip - reader.first))
        reader.first += start
        if start < len(run):
            yield from reader.of_run(run, start)
    if reader.first < skip:
        raise shorter(where)
    notes.remember(reader.first)


def _read_before(
    file: SameFile, known: Remembered, reader: "_Reader", skip: int
) -> Generator[AnyBlock, None, int]:
    """The samples of a file that was read before, after the first ones.

    Returns:
        How many of its samples were passed over or handed out. If they aren't all, it isn't what
        it was, and what is wrong with it is found by reading it anew.
    """
    reader.first = skip
    with contextlib.suppress(SampleError):
        for run in known.runs(file, skip):
            yield from reader.of_run(run, 0)
    return reader.first


class _Reader:
    """Decodes what `Members` finds; arguments as `read_blocks`."""

    def __init__(self, stream: IO[bytes], sample_type: type, where: str, demand: Demand) -> None:
        self.members = Members(stream, where)
        self.file = stream if isinstance(stream, InMemory) else SameFile.of(stream)
        """What is read, if it can be read at any place."""
        self._demand = demand
        self.first = 0
        """The number of the next sample."""
        self._type = sample_type
        self._fields = fields_of(sample_type)
        self._where = where
        self._misses = 0
        self._scattered: Scattered | None = None

    def of_run(self, run: Run, start: int) -> Iterator[AnyBlock]:
        """The samples of a run from a row on; if they are large, those that follow as well."""
        block: AnyBlock | None = self._together(run, start)
        if block is None:
            yield from self._one_by_one(run, start)
            return
        if self.file is not None and self._demand.layout is not None:
            end, found = self.members.position, False
            self.members.reread(run.offset + int(run.starts[start]) - BLOCK, len(run) - start)
            for block in self.large():
                found = True
                yield block
            if found:
                return
            self.members.reread(end, 0)
        yield self._passed(block)

    def _passed(self, block: AnyBlock) -> AnyBlock:
        """A block that is handed out now."""
        self.first = block.first + len(block)
        return block

    def _together(self, run: Run, start: int) -> Block | None:
        """The samples of a run from a row on, if they can be decoded together."""
        self._demand.layout = None
        starts, keys = run.starts[start:], run.keys[start:]
        if self._misses == _TRIES or (len(keys) < _FEW and run.sizes[-1] < LARGE):
            return None
        cursor = Cursor(run.buffer, starts)
        try:
            found = columns.decode(self._fields, cursor, starts + run.sizes[start:])
        except Irregular:
            self._misses += 1
            return None
        self._misses = 0
        self._demand.layout = layout_of(run, cursor) if run.plain else None
        return Block(self._type, found, keys, self._where, self.first)

    def _one_by_one(self, run: Run, start: int) -> Iterator[Block]:
        """The samples of a run from a row on, whatever they are."""
        rows: list[Any] = []
        problem: SampleError | None = None
        for row in range(start, len(run)):
            try:
                name = f"{self._where}, sample {run.keys[row]}"
                rows.append(unpack(self._type, run.body(row), name))
            except SampleError as error:
                problem = error
                break
        if rows:
            names = [member.name for member in self._fields]
            listed = {name: [getattr(sample, name) for sample in rows] for name in names}
            keys = run.keys[start : start + len(rows)]
            block = Block(self._type, listed, keys, self._where, self.first)
            self._passed(block)
            yield block
        if problem is not None:
            raise problem

    def large(self) -> Iterator[AnyBlock]:
        """The next samples, as large ones, as long as they look like that."""
        while (block := self._large()) is not None:
            yield block

    def _large(self) -> AnyBlock | None:
        file, layout, demand = self.file, self._demand.layout, self._demand
        if file is None or layout is None:
            return None
        position = self.members.position
        block: AnyBlock | None = None
        if demand.apart:
            # What lies in memory would have to stay there until the last of its samples is due.
            block = self._late(file, position, layout) if isinstance(file, SameFile) else None
        else:
            if self._scattered is None or self._scattered.layout != layout:
                place = (file, layout, self._type)
                self._scattered = Scattered(*place, demand.memory, demand.reader)
            found = self._scattered.read(position, demand.rows(layout.size))
            if found is not None:
                block = Block(self._type, *found, self._where, self.first)
                if isinstance(file, SameFile):
                    demand.grow()
        if block is None:
            return None
        self.members.pass_over(block.keys, position + len(block) * layout.stride)
        return self._passed(block)

    def _late(self, file: SameFile, position: int, layout: Layout) -> "LateBlock | None":
        found = read_headers(file, position, layout)
        if found is None:
            return None
        sizes, keys = found
        starts = position + BLOCK + layout.stride * np.arange(len(keys))
        viewer = Viewer(self._type)
        places = (file, viewer, starts, sizes, layout)
        return LateBlock(*places, keys, self._where, self.first)


def shorter(where: str) -> ShardError:
    """The error for a shard that lacks samples that it had."""
    return ShardError(
        "shard holds fewer samples than when the pass was interrupted",
        where=where,
        remedy="Begin the pass again: its order depends on the samples that there were",
    )
