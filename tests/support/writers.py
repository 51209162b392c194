"""What a second process does in tests of writing at once."""

import pickle

from tests.support.samples import Item, items


def write_to(pickled, name, count):
    """Writes a dataset to a pickled index; the CIDs of its shards and what was moved."""
    index = pickle.loads(pickled)
    with index:
        done = index.write_samples(items(count), name=name, sample_type=Item, max_samples=5)
    return [shard.cid for shard in done.entry.shards], done.entry.cid


def put_in(pickled, name, count):
    """Writes shards to a pickled store; their CIDs."""
    store = pickle.loads(pickled)
    try:
        return [s.cid for s in store.write_samples(items(count), prefix=name, max_samples=5)]
    finally:
        store.close()
