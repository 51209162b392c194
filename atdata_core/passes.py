"""One pass over a dataset: what it reads, where it stands, and how it goes on from there.

A pass reads samples from shards, block by block, mixes them, applies the dataset's operations, and
puts batches together. Each stage takes from the one before it no more
than it hands on, so a few numbers say where a pass stands, whatever the operations are: how many
samples were read of which shards, and how many left the mixing.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, cast

import numpy as np

from atdata_core.batch import Part, Ragged, SampleBatch
from atdata_core.blocks import AnyBlock, Block, Demand, Ticket, columns_of, read_blocks, shorter
from atdata_core.buffer import SampleBuffer
from atdata_core.columns import Column
from atdata_core.errors import AtdataError, ConfigurationError
from atdata_core.files import TwoHalves
from atdata_core.mixing import Mixer, Numbers
from atdata_core.operations import applied
from atdata_core.plan import Cursor, Plan
from atdata_core.readahead import opened
from atdata_core.sample import PackableSample
from atdata_core.scatter import Memory
from atdata_core.shares import Share

Named = tuple[Any, AnyBlock, int]
"""A sample, the block that it is of, and its row in it."""
Stretch = Iterable[Any]
"""Some samples or batches that are handed out one after another."""
Reading = tuple[Memory, TwoHalves]
"""Where large arrays go, and what reads them."""
Form = Callable[[AnyBlock, range], Iterator[Any]]
"""What is made of some rows of a block to go through the mixing."""

_STRETCH = 256
"""So many samples at most are made together, before the first of them is handed out."""


def run(plan: Plan, cursor: Cursor) -> Generator[Iterable[Any], None, None]:
    """The samples or batches from where `cursor` stands, a stretch of them at a time.

    The cursor moves along, or follows the stretch that was given last.
    """
    while True:
        whole, empty = cursor.fresh, True
        for stretch in _epoch(plan, cursor):
            if isinstance(stretch, Generator):
                with contextlib.closing(stretch):
                    for first in stretch:
                        empty = False
                        yield itertools.chain((first,), stretch)
            else:
                empty = False
                yield stretch
            cursor.settle()
        last = plan.epochs is not None and cursor.epoch + 1 >= plan.epoch + plan.epochs
        if last or (whole and empty):  # without end, nothing would be looked for forever
            return
        cursor.to_next_epoch()


def as_batch(items: list[Any], ragged: Ragged = "error") -> Any:
    """A `SampleBatch`, if all are of one packable type; else the list itself."""
    kind = type(items[0])
    if isinstance(items[0], PackableSample) and all(type(item) is kind for item in items):
        return SampleBatch(items, kind, ragged=ragged)
    return items


def _epoch(plan: Plan, cursor: Cursor) -> Iterator[Stretch]:
    urls, share = _order(plan, cursor)
    if plan.operations:
        yield _operated(plan, cursor, urls, share)
    elif plan.batch_size and plan.mixed:
        yield _mixed_batches(plan, cursor, urls, share)
    elif plan.batch_size and share.whole:
        yield _column_batches(plan, cursor, urls)
    elif plan.batch_size:
        yield _operated(plan, cursor, urls, share)
    else:
        yield from _samples(plan, cursor, urls, share, _bare)


def _operated(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share
) -> Generator[Any, None, None]:
    """Samples or batches after the operations of the plan."""
    latest: tuple[AnyBlock, int] | None = None

    def named() -> Iterator[Any]:
        nonlocal latest
        stretches = _samples(plan, cursor, urls, share, _with_row)
        for sample, block, row in itertools.chain.from_iterable(stretches):
            latest = block, row
            yield sample

    if plan.operations:
        samples = applied(plan.operations, named())
    else:
        bare = _samples(plan, cursor, urls, share, _bare)
        samples = itertools.chain.from_iterable(bare)
    try:
        if plan.batch_size is None:
            yield from samples
        else:
            while batch := list(islice(samples, plan.batch_size)):
                yield as_batch(batch, plan.ragged)
    except Exception as error:
        if latest is not None and not isinstance(error, AtdataError):
            block, row = latest
            error.add_note(f"While reading {block.where}, sample {block.keys[row]}")
        raise


def _column_batches(plan: Plan, cursor: Cursor, urls: Sequence[str]) -> Generator[Any, None, None]:
    """Batches cut from blocks, without making the samples."""
    size = plan.batch_size or 1
    parts: list[Part] = []
    ended: list[int] = []  # the rows of shards that ended since the last batch
    have = 0

    def batch() -> Any:
        return SampleBatch.of_parts(parts, have, plan.sample_type, plan.ragged)

    demand = Demand(size, size)
    for block in cast("Iterator[Block]", _blocks(plan, cursor, urls, ended, demand)):
        at, end = 0, len(block)
        while at < end:
            stop = min(at + size - have, end)
            parts.append((block.columns, at, stop))
            have += stop - at
            at = stop
            if have == size:
                if ended:
                    _end(cursor, ended)
                cursor.row = block.first + at
                yield batch()
                parts, have = [], 0
            demand.missing = size - have
    _end(cursor, ended)
    if parts:
        yield batch()


def _samples(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share, form: Form
) -> Iterator[Stretch]:
    """The samples in the order of the pass."""
    return (_mixed if plan.mixed else _in_order)(plan, cursor, urls, share, form)


def _bare(block: AnyBlock, rows: range) -> Iterator[Any]:
    return block.samples(rows)


def _with_row(block: AnyBlock, rows: range) -> Iterator[Named]:
    return zip(block.samples(rows), repeat(block), rows)


def _in_order(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share, form: Form
) -> Iterator[Stretch]:
    ended: list[int] = []
    number = sum(cursor.rows) + cursor.row
    for block in _blocks(plan, cursor, urls, ended, Demand()):
        _end(cursor, ended)
        rows = share.of_rows(number, len(block))
        number += len(block)
        for start in range(0, len(rows), _STRETCH):
            some = rows[start : start + _STRETCH]
            made, problem = _made(form(block, some))
            yield cursor.follow(made, _ends(block, some), emitted=0)
            cursor.settle()
            if problem is not None:
                raise problem
        cursor.row = block.first + len(block)
    _end(cursor, ended)


def _mixed(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share, form: Form
) -> Iterator[Stretch]:
    mixer, buffer = _mixing(plan, cursor, urls, share, named=form is _with_row)
    ended: list[int] = []
    for block, given, ends in _exchanged(plan, cursor, urls, share, mixer, buffer, ended):
        _end(cursor, ended)
        for start in range(0, len(given), _STRETCH):
            part = slice(start, start + _STRETCH)
            made, problem = _made(buffer.take(given[part]))
            yield _handed(cursor, made, ends[part], buffer.holds_tickets)
            cursor.settle()
            if problem is not None:
                raise problem
        cursor.row = block.first + len(block)
    _end(cursor, ended)
    while len(some := mixer.rest(_STRETCH)):
        made, problem = _made(buffer.take(some))
        yield _handed(cursor, made, None, buffer.holds_tickets)
        cursor.settle()
        if problem is not None:
            raise problem


def _mixed_batches(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share
) -> Generator[Any, None, None]:
    """Batches of samples in random order, without making the samples.

    (Of samples of 1 KB: 760,000 a second so, 270,000 put together from samples.)
    """
    size = plan.batch_size or 1
    stretch = max(1, _STRETCH // size) * size
    mixer, buffer = _mixing(plan, cursor, urls, share, named=False)
    ended: list[int] = []
    reading = Memory(), TwoHalves()
    drawn = np.empty(0, np.int64)  # what was given for samples, and is in no batch yet
    for _, given, ends in _exchanged(plan, cursor, urls, share, mixer, buffer, ended):
        before = len(drawn)
        drawn = np.concatenate((drawn, given))
        whole = len(drawn) // size * size
        for start in range(0, whole, stretch):
            some = drawn[start : min(start + stretch, whole)]
            last = start + size - 1 - before
            for batch in _batches(plan, buffer, some, reading):
                _end(cursor, ended)
                cursor.row = ends[last]
                cursor.emitted += size
                last += size
                yield batch
        drawn = drawn[whole:]
    while True:
        drawn = np.concatenate((drawn, mixer.rest(stretch - len(drawn))))
        if not len(drawn):
            break
        for batch in _batches(plan, buffer, drawn, reading):
            _end(cursor, ended)
            cursor.emitted += len(batch)
            yield batch
        drawn = drawn[:0]
    _end(cursor, ended)


def _batches(plan: Plan, buffer: SampleBuffer, slots: Numbers, reading: Reading) -> Iterator[Any]:
    """The samples of some slots as batches; the last one may be smaller."""
    size = plan.batch_size or 1

    def of_columns(columns: Mapping[str, Column], start: int, stop: int) -> Any:
        parts = [(columns, start, stop)]
        return SampleBatch.of_parts(parts, stop - start, plan.sample_type, plan.ragged)

    if buffer.holds_tickets:
        items = buffer.take(slots)
        while batch := list(islice(items, size)):
            alike = all(isinstance(item, Ticket) for item in batch)
            columns = columns_of(batch, *reading) if alike else None
            if columns is None:
                yield as_batch([_present(item) for item in batch], plan.ragged)
            else:
                yield of_columns(columns, 0, len(batch))
        return
    columns = buffer.take_columns(slots)
    for start in range(0, len(slots), size):
        yield of_columns(columns, start, min(start + size, len(slots)))


def _mixing(
    plan: Plan, cursor: Cursor, urls: Sequence[str], share: Share, *, named: bool
) -> tuple[Mixer, SampleBuffer]:
    """What keeps samples back to mix them, as it was when the cursor stood where it stands."""
    mixer = Mixer(plan.buffer_samples, _seed(cursor, f"samples {plan.share.index}"))
    buffer = SampleBuffer(plan.sample_type, named=named)
    if not cursor.fresh:
        _refill(mixer, buffer, plan, cursor, urls, share)
    return mixer, buffer


def _exchanged(
    plan: Plan,
    cursor: Cursor,
    urls: Sequence[str],
    share: Share,
    mixer: Mixer,
    buffer: SampleBuffer,
    ended: list[int],
) -> Iterator[tuple[AnyBlock, Numbers, Sequence[int]]]:
    """Each block, the slots given for its samples, and after each how much of the shard was read.

    What the cursor has to be moved behind when one of them is handed out is in `ended`.
    """
    number = sum(cursor.rows) + cursor.row
    for block in _blocks(plan, cursor, urls, ended, Demand(apart=True)):
        rows = share.of_rows(number, len(block))
        number += len(block)
        given = mixer.exchange(buffer.put(block, rows))
        # What found room gave nothing in exchange.
        yield block, given, _ends(block, rows[len(rows) - len(given) :])


def _handed(cursor: Cursor, items: list[Any], ends: Sequence[int] | None, late: bool) -> Stretch:
    handed = cursor.follow(items, ends, emitted=1)
    return map(_present, handed) if late else handed


def _ends(block: AnyBlock, rows: range) -> range:
    """For some rows of a block, how many samples of the shard were read after each."""
    more = block.first + 1
    return range(rows.start + more, rows.stop + more, rows.step)


def _made(items: Iterator[Any]) -> tuple[list[Any], Exception | None]:
    """As many items as can be made, and why there are no more."""
    made: list[Any] = []
    try:
        made.extend(items)
    except Exception as error:  # noqa: BLE001 - raised after the items before it
        return made, error
    return made, None


def _present(item: Any) -> Any:
    """An item whose sample was left where it lies, with the sample."""
    if isinstance(item, Ticket):
        return item.sample()
    if isinstance(item, tuple) and isinstance(item[0], Ticket):
        return (item[0].sample(), *item[1:])
    return item


def _blocks(
    plan: Plan,
    cursor: Cursor,
    urls: Sequence[str],
    ended: list[int],
    demand: Demand,
) -> Iterator[AnyBlock]:
    """The blocks from where the cursor stands; the rows of each shard that ends go to `ended`."""
    skip = cursor.row
    with contextlib.closing(opened(plan.source, urls[len(cursor.rows) :])) as shards:
        for url, stream in shards:
            seen = skip
            for block in read_blocks(stream, plan.sample_type, url, skip, demand):
                yield block
                seen = block.first + len(block)
            ended.append(seen)
            skip = 0


def _end(cursor: Cursor, ended: list[int]) -> None:
    """Moves the cursor behind the shards that ended."""
    if ended:
        cursor.rows += ended
        cursor.row = 0
        ended.clear()


def _order(plan: Plan, cursor: Cursor) -> tuple[list[str], Share]:
    """The shards in the order of the pass, and the share of their samples to take."""
    urls = plan.source.list_shards()
    if not plan.shuffled:
        return plan.share.of_shards(urls)
    mixer = Mixer(plan.buffer_shards, _seed(cursor, "shards"))
    if plan.seed is not None:
        # All readers know this order, so they can divide it: others in each epoch.
        return plan.share.of_shards([urls[place] for place in mixer.over(len(urls))])
    urls, share = plan.share.of_shards(urls)
    return ([urls[place] for place in mixer.over(len(urls))] if share.whole else urls), share


def _seed(cursor: Cursor, purpose: str) -> str:
    return f"{cursor.seed}/{cursor.epoch}/{purpose}"


def _refill(
    mixer: Mixer,
    buffer: SampleBuffer,
    plan: Plan,
    cursor: Cursor,
    urls: Sequence[str],
    share: Share,
) -> None:
    """Brings mixer and buffer to where they were when the cursor stood there.

    What was kept then follows from how many samples each shard has; only those are read again.
    """
    ends = np.cumsum([*cursor.rows, cursor.row])
    taken = share.of_rows(0, int(ends[-1]))
    popped = cursor.emitted - len(mixer.exchange(np.arange(taken.start, taken.stop, taken.step)))
    at_end = len(cursor.rows) == len(urls)
    if not 0 <= popped <= (len(mixer.kept) if at_end else 0):
        raise ConfigurationError("state of the pass contradicts itself", got=str(cursor.to_json()))
    if popped:
        mixer.rest(popped)
    wanted = np.sort(mixer.kept)
    places = np.searchsorted(ends, wanted, side="right")
    slots = [np.empty(0, np.int64)]
    for place in np.unique(places).tolist():
        rows = wanted[places == place] - (ends[place - 1] if place else 0)
        slots += _put_rows(buffer, plan, urls[place], rows)
    mixer.kept = np.concatenate(slots)[np.searchsorted(wanted, mixer.kept)]


def _put_rows(buffer: SampleBuffer, plan: Plan, url: str, rows: Any) -> Iterator[Any]:
    """Puts rows of a shard into a buffer, in order; the slots where they are."""
    first, last = int(rows[0]), int(rows[-1])
    demand = Demand(apart=True)
    with plan.source.open_shard(url) as stream:
        for block in read_blocks(stream, plan.sample_type, url, first, demand):
            here = rows[(rows >= block.first) & (rows < block.first + len(block))] - block.first
            yield buffer.put(block, here.tolist())
            if block.first + len(block) > last:
                return
    raise shorter(url)
