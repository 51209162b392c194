"""`Dataset[T]`: the samples of some shards, read when they are asked for."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike, fspath
from typing import Any, Self, TypeVar, cast, overload

from atdata_core.batch import Ragged, SampleBatch
from atdata_core.entry import DatasetEntry
from atdata_core.errors import ConfigurationError, SchemaError
from atdata_core.interchange import Interchange
from atdata_core.iteration import Iteration
from atdata_core.lens import Lens
from atdata_core.operations import Operation, applied, mapping, result_type, viewing
from atdata_core.plan import Plan
from atdata_core.rows import Rows
from atdata_core.schema import Schema
from atdata_core.shard import Shard, inspect_shard
from atdata_core.shares import WHOLE, Share
from atdata_core.sources import DataSource, FileSource, VerifiedSource, expand
from atdata_core.verification import Verification

T = TypeVar("T")
V = TypeVar("V")


class Dataset(Interchange[T]):
    """The samples of one or more shards, as values of type `T`.

    Nothing is read until you iterate, and then one shard at a time::

        digits = Dataset[Digit]("digits-{000000..000003}.tar")
        for batch in digits.ordered(batch_size=32):
            batch.image.shape  # (32, 8, 8)

    `map`, `filter` and `as_type` give another dataset upon the same shards; they apply in the order
    in which they are written, to single samples as to batches.

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
        self.verification: Verification | None = None
        """What is proven of the dataset's record and shards, if it was opened by a record."""
        self._schema: Schema | None = None
        self._stored_type: type | None = sample_type
        self._operations: tuple[Operation, ...] = ()
        self._share = WHOLE
        self._by_worker = False
        self._shards: tuple[Shard, ...] | None = None
        if isinstance(source, (str, PathLike)):
            self.source: DataSource = FileSource(expand(fspath(source)))
        elif isinstance(source, DataSource):
            self.source = source
        else:
            self.source = FileSource(list(source))

    # --- what it is

    @property
    def stored_type(self) -> type:
        """The type of the samples in the shards; raises `SchemaError` if none was given."""
        if self._stored_type is None:
            # Python sets this after __init__, so it can only be looked at now.
            alias = getattr(self, "__orig_class__", None)
            args: tuple[Any, ...] = getattr(alias, "__args__", ())
            if len(args) != 1 or not isinstance(args[0], type):
                raise SchemaError(
                    "dataset doesn't know the type of its samples",
                    where=repr(self.source),
                    remedy="Write Dataset[MySample](source)",
                )
            self._stored_type = args[0]
        return self._stored_type

    @property
    def sample_type(self) -> type[T]:
        """The type of the samples as they are handed out.

        Raises:
            SchemaError: None was given, or a `map` doesn't tell what it gives.
        """
        found = result_type(self.stored_type, self._operations)
        if found is None:
            raise SchemaError(
                "a map doesn't tell what type it gives",
                where=repr(self),
                remedy="Annotate its result with a packable type, or write map(function, to=Type)",
            )
        return cast("type[T]", found)

    @property
    def schema(self) -> Schema:
        """What the samples are: as it is registered, if the dataset was opened through an index."""
        if self._schema is not None and not self.is_transformed:
            return self._schema
        return Schema.of(self.sample_type)

    @property
    def column_names(self) -> list[str]:
        """The names of the samples' fields, in order."""
        return [field.name for field in self.schema.fields]

    @property
    def is_transformed(self) -> bool:
        """Whether the samples are others than those in the shards."""
        made: bool = getattr(self.source, "made", False)
        return made or bool(self._operations) or self._by_worker or not self._share.whole

    def describe(self) -> dict[str, Any]:
        """What is known without reading: type, fields, shards, and rows and size if told."""
        told = self._told()
        known = {
            "rows": [shard.rows for shard in told],
            "bytes": [shard.size for shard in told],
        }
        return {
            "sample_type": self.sample_type.__name__,
            "fields": {field.name: str(field.type) for field in self.schema.fields},
            "shards": len(self.list_shards()),
            **{key: sum(n) for key, n in known.items() if n and None not in n},
            **({"cid": self.entry.cid} if self.entry else {}),
        }

    def list_shards(self) -> list[str]:
        """The addresses of the shards, in order."""
        return self.source.list_shards()

    @property
    def shards(self) -> tuple[Shard, ...]:
        """CID, size and rows of each shard; reads them through once, unless the index told them.

        Raises:
            ConfigurationError: The dataset's samples are others than those in the shards.
            ShardError: One of them is not a whole, legal shard.
        """
        if self.is_transformed:
            raise ConfigurationError(
                "dataset's samples are not those of its shards",
                where=repr(self),
                remedy="Write them as a dataset of their own: index.insert_dataset(…) does",
            )
        if self._shards is None:
            by_url = {shard.url: shard for shard in self._told()}
            self._shards = tuple(self._inspect(url, by_url.get(url)) for url in self.list_shards())
        return self._shards

    def __repr__(self) -> str:
        name = self._stored_type.__name__ if self._stored_type else "…"
        steps = "".join(f".{operation}" for operation in self._operations)
        return f"Dataset[{name}]({self.source!r}){steps}"

    # --- reading it through

    @overload
    def ordered(self) -> Iteration[T]: ...
    @overload
    def ordered(self, batch_size: None, *, ragged: Ragged = ...) -> Iteration[T]: ...
    @overload
    def ordered(self, batch_size: int, *, ragged: Ragged = ...) -> Iteration[SampleBatch[T]]: ...
    def ordered(self, batch_size: int | None = None, *, ragged: Ragged = "error") -> Iteration[Any]:
        """The samples in the order in which they were written.

        Args:
            batch_size: Samples a `SampleBatch`; the last one may hold fewer. None: one by one.
            ragged: Whether arrays of different shapes in one batch are an error when they are
                asked for, or come as a list.
        """
        return Iteration(self._plan(batch_size, ragged))

    @overload
    def shuffled(
        self,
        buffer_shards: int = ...,
        buffer_samples: int = ...,
        batch_size: None = ...,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        ragged: Ragged = ...,
    ) -> Iteration[T]: ...
    @overload
    def shuffled(
        self,
        buffer_shards: int = ...,
        buffer_samples: int = ...,
        batch_size: int = ...,
        *,
        seed: int | None = ...,
        epoch: int = ...,
        ragged: Ragged = ...,
    ) -> Iteration[SampleBatch[T]]: ...
    def shuffled(
        self,
        buffer_shards: int = 100,
        buffer_samples: int = 10_000,
        batch_size: int | None = None,
        *,
        seed: int | None = None,
        epoch: int = 0,
        ragged: Ragged = "error",
    ) -> Iteration[Any]:
        """The samples in random order, each once.

        Args:
            buffer_shards: Among how many shards the next one is drawn.
            buffer_samples: Among how many samples the next one is drawn; as many lie in memory.
            batch_size: Samples a `SampleBatch`; the last one may hold fewer. None: one by one.
            seed: The same seed gives the same order in each epoch; None another one in each pass.
            epoch: The number of the (first) epoch; each has an order of its own.
            ragged: See `ordered`.
        """
        if min(buffer_shards, buffer_samples, epoch) < 0:
            raise ValueError("buffer_shards, buffer_samples and epoch can't be negative")
        plan = dataclasses.replace(
            self._plan(batch_size, ragged),
            shuffled=True,
            buffer_shards=buffer_shards,
            buffer_samples=buffer_samples,
            seed=seed,
            epoch=epoch,
        )
        return Iteration(plan)

    def __iter__(self) -> Iterator[T]:
        return iter(self.ordered())

    def head(self, count: int = 5) -> list[T]:
        """The first samples; no more than they is read."""
        if count < 1:
            return []
        found: list[T] = []
        for sample in self:
            found.append(sample)
            if len(found) == count:
                break
        return found

    def __len__(self) -> int:
        """The number of samples; raises `TypeError` unless the index knows it.

        `count` counts them where it doesn't. (Counting here would make ``list(dataset)`` read
        everything twice.)
        """
        rows = [shard.rows for shard in self._shards or self._told()]
        if self._filtered() or not rows or None in rows:
            raise TypeError(
                "the number of samples is not known without reading them: dataset.count()"
            )
        total = sum(cast("list[int]", rows))
        return (
            total if self._share.whole else len(range(self._share.index, total, self._share.count))
        )

    def count(self) -> int:
        """The number of samples; they are read through where the index didn't tell it."""
        try:
            return len(self)
        except TypeError:
            return sum(1 for _ in self)

    # --- single samples

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        """One sample by its number, or a list of some; only the shards that hold them are opened.

        Raises:
            IndexError: There is no sample of this number.
            ConfigurationError: A filter, or a share of the dataset, leaves no numbers to go by.
        """
        if isinstance(index, slice):
            return self.select(range(*index.indices(self._rows.total())))
        sample = self._rows.sample(index)
        return cast("T", next(self._operated([sample])) if self._operations else sample)

    def select(self, indices: Sequence[int]) -> list[T]:
        """Some samples by their numbers, in this order; errors as in ``dataset[i]``."""
        return list(self._operated(self._rows.samples(indices)))

    def get(self, key: str) -> T:
        """The sample of a key (its member's name in the tar); raises `NotFoundError`."""
        return next(self._operated([self._rows.find(key)]))

    # --- other datasets upon it

    def map(self, function: Callable[[T], V], to: type[V] | None = None) -> "Dataset[V]":
        """The same with each sample replaced by ``function(sample)``.

        Args:
            function: From a sample to what takes its place: a sample, or anything else.
            to: The packable type that it gives; by default what its annotation says. Needed to
                write the result as a dataset.
        """
        return cast("Dataset[V]", self._with(mapping(function, to)))

    def filter(self, predicate: Callable[[T], bool]) -> Self:
        """The same without the samples for which `predicate` is false."""
        return self._with(Operation("filter", predicate))

    def as_type(self, view_type: type[V], lens: Lens[Any, V] | None = None) -> "Dataset[V]":
        """The same with each sample seen as another type.

        Args:
            view_type: The packable type to see them as.
            lens: How; by default the lens that leads there, see `atdata_core.lens.find_lens`.

        Raises:
            LensError: No lens leads there.
            SchemaError: `lens` is one between other types.
        """
        source_type = result_type(self.stored_type, self._operations)
        return cast("Dataset[V]", self._with(viewing(view_type, source_type, lens)))

    def split_by_worker(self) -> Self:
        """The same, divided among whoever reads at once: each sample goes to exactly one.

        Readers are the workers of a PyTorch ``DataLoader`` and the ranks of a distributed job
        (``torch.distributed``, or ``RANK`` and ``WORLD_SIZE``), as they are when a pass begins.
        """
        copy = self._copy()
        copy._by_worker = True
        return copy

    def shard_for(self, rank: int, world_size: int) -> Self:
        """The part of one reader of several, told by hand.

        Raises:
            ConfigurationError: There is no such reader.
        """
        copy = self._copy()
        copy._share = self._share.divided(Share(rank, world_size))
        return copy

    # --- inside

    def _plan(self, batch_size: int | None, ragged: Ragged) -> Plan:
        if batch_size is not None and batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        return Plan(
            source=self.source,
            sample_type=self.stored_type,
            told=self._shards or self._told(),
            operations=self._operations,
            share=self._share,
            by_worker=self._by_worker,
            batch_size=batch_size,
            ragged=ragged,
        )

    def _copy(self) -> Self:
        copy = type(self)(self.source, cast("type[T]", self.stored_type))
        copy.entry, copy._schema = self.entry, self._schema
        copy.verification = self.verification
        copy._operations, copy._shards = self._operations, self._shards
        copy._share, copy._by_worker = self._share, self._by_worker
        return copy

    def _with(self, operation: Operation) -> Self:
        copy = self._copy()
        copy._operations = (*self._operations, operation)
        return copy

    def _filtered(self) -> bool:
        filters = any(operation.kind == "filter" for operation in self._operations)
        return filters or self._by_worker

    @functools.cached_property
    def _rows(self) -> Rows:
        if self._filtered() or not self._share.whole:
            raise ConfigurationError(
                "samples have no numbers or keys behind a filter or in a share",
                where=repr(self),
                remedy="Select first, filter then; or iterate",
            )
        told = {s.url: s.rows for s in self._shards or self._told() if s.rows is not None}
        return Rows(self.source, self.stored_type, told)

    def _operated(self, samples: Iterable[Any]) -> Iterator[T]:
        return applied(self._operations, iter(samples))

    def _told(self) -> tuple[Shard, ...]:
        known: tuple[Shard, ...] = getattr(self.source, "known", ())
        return known

    def _inspect(self, url: str, known: Shard | None) -> Shard:
        if known and None not in (known.cid, known.size, known.rows):
            return known
        with self.source.open_shard(url) as stream:
            return inspect_shard(stream, url)


def listed_dataset(
    entry: DatasetEntry,
    schema: Schema,
    source: DataSource,
    sample_type: type[T],
    verification: Verification | None = None,
) -> Dataset[T]:
    """A dataset that an index lists: verified when it is read, counted without reading.

    Args:
        entry: What the index says of it.
        schema: Its schema, as it is registered.
        source: Where its shards are read.
        sample_type: The type to read into.
        verification: What is proven of its record.
    """
    dataset = Dataset(VerifiedSource(source, entry.shards), sample_type)
    dataset.entry = entry
    dataset._schema = schema
    dataset.verification = verification
    return dataset
