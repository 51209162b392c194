"""One pass over a dataset: what it reads, where it stands, and how it goes on from there.

A pass reads samples from shards, block by block, mixes them, applies the dataset's operations, and
puts batches together. Each stage takes from the one before it no more than it hands on, so a few
numbers say where a pass stands, whatever the operations are: how many samples were read of which
shards, and how many left the mixing.
"""

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from itertools import islice, repeat
from typing import Any

from atdata_core import ordered
from atdata_core.blocks import AnyBlock
from atdata_core.errors import AtdataError
from atdata_core.mixing import Mixer
from atdata_core.operations import applied
from atdata_core.plan import Cursor, Plan
from atdata_core.shares import Share
from atdata_core.shuffled import Shuffle
from atdata_core.stretches import Form, Named, Stretch, Walk, as_batch, bare


def run(plan: Plan, cursor: Cursor) -> Generator[Iterable[Any], None, None]:
    """The samples or batches from where `cursor` stands, a stretch of them at a time.

    The cursor moves along, or follows the stretch that was given last.
    """
    while True:
        whole, empty = cursor.fresh, True
        for stretch in _epoch(plan, cursor):
            if isinstance(stretch, Generator):
                with contextlib.closing(stretch):
                    some = list(islice(stretch, 1))
                    if some:
                        empty = False
                        yield (some.pop(),)  # nothing here holds it any longer
                        yield stretch
            else:
                empty = False
                yield stretch
            cursor.settle()
        last = plan.epochs is not None and cursor.epoch + 1 >= plan.epoch + plan.epochs
        if last or (whole and empty):  # without end, nothing would be looked for forever
            return
        cursor.to_next_epoch()


def _epoch(plan: Plan, cursor: Cursor) -> Iterator[Stretch]:
    urls, share = _order(plan, cursor)
    walk = Walk(plan, cursor, urls, share)
    if plan.operations:
        yield _operated(walk)
    elif plan.batch_size and plan.mixed:
        yield Shuffle(walk).batches()
    elif plan.batch_size and share.whole:
        yield ordered.batches(walk)
    elif plan.batch_size:
        yield _operated(walk)
    else:
        yield from _samples(walk, bare)


def _operated(walk: Walk) -> Generator[Any, None, None]:
    """Samples or batches after the operations of the plan."""
    plan = walk.plan
    latest: tuple[AnyBlock, int] | None = None

    def named() -> Iterator[Any]:
        nonlocal latest
        for sample, block, row in itertools.chain.from_iterable(_samples(walk, _with_row)):
            latest = block, row
            yield sample

    if plan.operations:
        samples = applied(plan.operations, named())
    else:
        samples = itertools.chain.from_iterable(_samples(walk, bare))
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


def _samples(walk: Walk, form: Form) -> Iterator[Stretch]:
    """The samples in the order of the pass."""
    if walk.plan.mixed:
        return Shuffle(walk, named=form is _with_row).samples()
    return ordered.samples(walk, form)


def _with_row(block: AnyBlock, rows: range) -> Iterator[Named]:
    return zip(block.samples(rows), repeat(block), rows)


def _order(plan: Plan, cursor: Cursor) -> tuple[list[str], Share]:
    """The shards in the order of the pass, and the share of their samples to take."""
    urls = plan.source.list_shards()
    if not plan.shuffled:
        return plan.share.of_shards(urls)
    mixer = Mixer(plan.buffer_shards, cursor.seed_of("shards"))
    if plan.seed is not None:
        # All readers know this order, so they can divide it: others in each epoch.
        return plan.share.of_shards([urls[place] for place in mixer.over(len(urls))])
    urls, share = plan.share.of_shards(urls)
    return ([urls[place] for place in mixer.over(len(urls))] if share.whole else urls), share
