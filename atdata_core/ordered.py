"""Samples and batches in the order in which they lie in the shards."""

from collections.abc import Generator, Iterator
from typing import Any, cast

from atdata_core.batch import Part, SampleBatch
from atdata_core.blocks import Block, Demand
from atdata_core.stretches import STRETCH, Form, Stretch, Walk, ends, made


def samples(walk: Walk, form: Form) -> Iterator[Stretch]:
    """What `form` makes of the samples."""
    cursor = walk.cursor
    for block in walk.blocks(Demand()):
        walk.leave_shards()
        rows = walk.rows(block)
        for start in range(0, len(rows), STRETCH):
            some = rows[start : start + STRETCH]
            items, problem = made(form(block, some))
            yield cursor.follow(items, ends(block, some), emitted=0)
            cursor.settle()
            if problem is not None:
                raise problem
        cursor.row = block.first + len(block)
    walk.leave_shards()


def batches(walk: Walk) -> Generator[Any, None, None]:
    """Batches of all samples, cut from blocks, without making the samples."""
    plan, cursor = walk.plan, walk.cursor
    size, said = plan.batch_size or 1, (plan.sample_type, plan.ragged)
    parts: list[Part] = []
    have = 0
    demand = Demand(size, size)
    for block in cast("Iterator[Block]", walk.blocks(demand)):
        at, end = 0, len(block)
        while at < end:
            stop = min(at + size - have, end)
            parts.append((block.columns, at, stop))
            have += stop - at
            at = stop
            if have == size:
                walk.leave_shards()
                cursor.row = block.first + at
                yield SampleBatch.of_parts(parts, size, *said)
                parts, have = [], 0
            demand.missing = size - have
    walk.leave_shards()
    if parts:
        yield SampleBatch.of_parts(parts, have, *said)
