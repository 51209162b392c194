"""`Dataset[T]`: the samples of some shards, read when they are asked for."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Any, Generic, TypeVar, cast, overload

from atdata_core.entry import DatasetEntry
from atdata_core.errors import SchemaError
from atdata_core.sample import SampleBatch
from atdata_core.schema import Schema
from atdata_core.shard import Shard, inspect_shard, read_samples
from atdata_core.sources import DataSource, FileSource, VerifiedSource, expand

T = TypeVar("T")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Iteration(Generic[V_co]):
    """A pass over a dataset that can be made again: each ``for`` starts from the beginning."""

    def __init__(self, start: Callable[[], Iterator[V_co]]) -> None:
        self._start = start

    def __iter__(self) -> Iterator[V_co]:
        return self._start()


class Dataset(Generic[T]):
    """The samples of one or more shards, as values of type `T`.

    Nothing is read until you iterate, and then one shard at a time::

        digits = Dataset[Digit]("digits-{000000..000003}.tar")
        for batch in digits.ordered(batch_size=32):
            batch.image.shape  # (32, 8, 8)

    Args:
        source: A `DataSource`, or paths: one text with braces or wildcards in it, or a list.
        sample_type: The packable type `T`, where it isn't given in brackets.
    """

    def __init__(
        self,
        source: DataSource | str | PathLike[str] | Sequence[str],
        sample_type: type[T] | None = None,
    ) -> None:
        self.entry: DatasetEntry | None = None
        """What an index says of the dataset, if it was opened through one."""
        self._schema: Schema | None = None
        self._sample_type = sample_type
        if isinstance(source, (str, PathLike)):
            self.source: DataSource = FileSource(expand(fspath(source)))
        elif isinstance(source, DataSource):
            self.source = source
        else:
            self.source = FileSource(list(source))
        self._shards: tuple[Shard, ...] | None = None

    @property
    def sample_type(self) -> type[T]:
        """The type of the samples; raises `SchemaError` if none was given."""
        if self._sample_type is None:
            # Python sets this after __init__, so it can only be looked at now.
            alias = getattr(self, "__orig_class__", None)
            args: tuple[Any, ...] = getattr(alias, "__args__", ())
            if len(args) != 1 or not isinstance(args[0], type):
                raise SchemaError(
                    "dataset doesn't know the type of its samples",
                    where=repr(self.source),
                    remedy="Write Dataset[MySample](source)",
                )
            self._sample_type = cast("type[T]", args[0])
        return self._sample_type

    @property
    def schema(self) -> Schema:
        """What the samples are: as it is registered, if the dataset was opened through an index."""
        return self._schema or Schema.of(self.sample_type)

    def list_shards(self) -> list[str]:
        """The addresses of the shards, in order."""
        return self.source.list_shards()

    @property
    def shards(self) -> tuple[Shard, ...]:
        """CID, size and rows of each shard; reads them through once, unless the index told them.

        Raises:
            ShardError: One of them is not a whole, legal shard.
        """
        if self._shards is None:
            by_url = {shard.url: shard for shard in self._told()}
            self._shards = tuple(self._inspect(url, by_url.get(url)) for url in self.list_shards())
        return self._shards

    def _told(self) -> tuple[Shard, ...]:
        return self.source.known if isinstance(self.source, VerifiedSource) else ()

    def _inspect(self, url: str, known: Shard | None) -> Shard:
        if known and None not in (known.cid, known.size, known.rows):
            return known
        with self.source.open_shard(url) as stream:
            return inspect_shard(stream, url)

    @overload
    def ordered(self) -> Iteration[T]: ...
    @overload
    def ordered(self, batch_size: None) -> Iteration[T]: ...
    @overload
    def ordered(self, batch_size: int) -> Iteration[SampleBatch[T]]: ...
    def ordered(self, batch_size: int | None = None) -> Iteration[Any]:
        """The samples in the order in which they were written.

        Args:
            batch_size: Samples a `SampleBatch`; the last one may hold fewer. None: one by one.
        """
        return self._iteration(lambda: self._samples(self.list_shards()), batch_size)

    @overload
    def shuffled(
        self, buffer_shards: int = ..., buffer_samples: int = ..., *, seed: int | None = ...
    ) -> Iteration[T]: ...
    @overload
    def shuffled(
        self,
        buffer_shards: int = ...,
        buffer_samples: int = ...,
        batch_size: int = ...,
        *,
        seed: int | None = ...,
    ) -> Iteration[SampleBatch[T]]: ...
    def shuffled(
        self,
        buffer_shards: int = 100,
        buffer_samples: int = 10_000,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
    ) -> Iteration[Any]:
        """The samples in random order, each once.

        Args:
            buffer_shards: Among how many shards the next one is drawn.
            buffer_samples: Among how many samples the next one is drawn; as many lie in memory.
            batch_size: Samples a `SampleBatch`; the last one may hold fewer. None: one by one.
            seed: The same seed gives the same order; None another one in each pass.
        """

        def start() -> Iterator[T]:
            rng = random.Random(seed)  # noqa: S311 - an order of samples is no secret
            urls = _shuffle(self.list_shards(), buffer_shards, rng)
            return _shuffle(self._samples(urls), buffer_samples, rng)

        return self._iteration(start, batch_size)

    def __iter__(self) -> Iterator[T]:
        return iter(self.ordered())

    def __len__(self) -> int:
        """The number of samples; raises `TypeError` unless the index knows it.

        `shards` counts them where it doesn't. (Counting here would make ``list(dataset)`` read
        everything twice.)
        """
        known: Sequence[Shard] = self._shards or self._told()
        rows = [shard.rows for shard in known if shard.rows is not None]
        if not known or len(rows) != len(known):
            raise TypeError(
                "the number of samples is not known without reading the shards: "
                "sum(shard.rows for shard in dataset.shards)"
            )
        return sum(rows)

    def __repr__(self) -> str:
        name = self._sample_type.__name__ if self._sample_type else "…"
        return f"Dataset[{name}]({self.source!r})"

    def _samples(self, urls: Iterable[str]) -> Iterator[T]:
        for url in urls:
            with self.source.open_shard(url) as stream:
                yield from read_samples(stream, self.sample_type, url)

    def _iteration(
        self, start: Callable[[], Iterator[T]], batch_size: int | None
    ) -> Iteration[Any]:
        if batch_size is None:
            return Iteration(start)
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        return Iteration(lambda: _batches(start(), batch_size, self.sample_type))


def listed_dataset(
    entry: DatasetEntry, schema: Schema, source: DataSource, sample_type: type[T]
) -> Dataset[T]:
    """A dataset that an index lists: verified when it is read, counted without reading.

    Args:
        entry: What the index says of it.
        schema: Its schema, as it is registered.
        source: Where its shards are read.
        sample_type: The type to read into.
    """
    dataset = Dataset(VerifiedSource(source, entry.shards), sample_type)
    dataset.entry = entry
    dataset._schema = schema
    return dataset


def _batches(samples: Iterator[T], size: int, sample_type: type[T]) -> Iterator[SampleBatch[T]]:
    batch: list[T] = []
    for sample in samples:
        batch.append(sample)
        if len(batch) == size:
            yield SampleBatch(batch, sample_type)
            batch = []
    if batch:
        yield SampleBatch(batch, sample_type)


def _shuffle(items: Iterable[V], size: int, rng: random.Random) -> Iterator[V]:
    buffer: list[V] = []
    for item in items:
        if len(buffer) < size:
            buffer.append(item)
            continue
        place = rng.randrange(size) if size else 0
        if size:
            item, buffer[place] = buffer[place], item  # noqa: PLW2901
        yield item
    rng.shuffle(buffer)
    yield from buffer
