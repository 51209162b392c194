"""What the checks look at, and what they find; the part of them that knows nothing of Dagster."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from atdata_core import (
    AbstractIndex,
    AtmosphereIndex,
    Dataset,
    DatasetEntry,
    Schema,
    Shard,
    load_dataset,
)
from atdata_core.errors import (
    ConfigurationError,
    IntegrityError,
    InvalidRecordError,
    NotFoundError,
    SampleError,
    ShardError,
    TooLargeError,
    VerificationError,
)
from atdata_core.evolution import changes
from atdata_core.shard import inspect_shard

MAX_PROBLEMS = 20
"""A look at samples ends after so many problems: the rest would say the same."""


@dataclass(frozen=True)
class Subject:
    """What a check looks at: a dataset in a layer, or one partition of it.

    Args:
        name: Its name in the index.
        index: The layer's index.
        entry: What the index says of it.
        sample_type: What its samples should be, if that is known.
        stored: The metadata of its latest materialization, without Dagster's wrapping.
        other: The same dataset in the layer that it came from, or None.
        public: The index of the public layer, for a check that asks for it.
    """

    name: str
    index: AbstractIndex
    entry: DatasetEntry
    sample_type: type | None = None
    stored: Mapping[str, Any] = field(default_factory=dict)
    other: DatasetEntry | None = None
    public: AtmosphereIndex | None = None

    def open(self) -> Dataset[Any]:
        """The dataset, lazy."""
        return self.index.open_dataset(self.entry, self.sample_type)


@dataclass
class Finding:
    """What a look came to.

    Args:
        problems: What is wrong, each in one clause; nothing if all is right.
        facts: Numbers for people and plots.
        note: What is right, where that is worth a word.
        documents: JSON for people.
    """

    problems: list[str] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    note: str = ""
    documents: dict[str, Any] = field(default_factory=dict)


Look = Callable[[Subject], Finding]


def look_at_schema(subject: Subject) -> Finding:
    """Whether the samples are registered as what the code says that they are."""
    found = Finding()
    registered = subject.index.load_schema(subject.entry.schema_ref)
    found.facts["atdata/fields"] = len(registered.fields)
    wanted = subject.entry.schema_cid
    if subject.sample_type is not None:
        schema = Schema.of(subject.sample_type)
        wanted = schema.cid
        found.problems += [str(change) for change in changes(registered, schema)]
    if wanted is not None and registered.cid != wanted and not found.problems:
        ref = subject.entry.schema_ref
        found.problems.append(_differs(f"schema {ref}", "CID", wanted, registered.cid))
    return found


def rows_look(min_rows: int, max_rows: int | None) -> Look:
    """A look at the number of rows: within bounds, and what Dagster was told."""

    def look_at_rows(subject: Subject) -> Finding:
        rows = subject.entry.rows
        if rows is None:
            return Finding([f"{subject.name}: the index doesn't know the rows of every shard"])
        found = Finding(facts={"dagster/row_count": rows})
        if rows < min_rows:
            found.problems.append(_differs(subject.name, "rows", f"at least {min_rows}", rows))
        if max_rows is not None and rows > max_rows:
            found.problems.append(_differs(subject.name, "rows", f"at most {max_rows}", rows))
        told = subject.stored.get("dagster/row_count")
        if told is not None and told != rows and subject.stored.get("atdata/cid") == _cid(subject):
            found.problems.append(_differs(subject.name, "sum over shards", told, rows))
        return found

    return look_at_rows


def look_at_shards(subject: Subject) -> Finding:
    """Reads every shard through: its bytes hash to its CID, its size and rows are those told."""
    found = Finding()
    read = 0
    for number, shard in enumerate(subject.entry.shards):
        name = _shard(number, shard)
        try:
            with _raw_source(subject).open_shard(shard.url) as stream:
                actual = inspect_shard(stream, shard.url)
        except IntegrityError as error:
            found.problems.append(_differs(name, "CID", error.expected, error.got))
            continue
        except (NotFoundError, ShardError) as error:
            found.problems.append(f"{name}: {error.message}")
            continue
        read += actual.size or 0
        found.problems += [
            _differs(name, what, told, got)
            for what, told, got in (
                ("CID", shard.cid, actual.cid),
                ("bytes", shard.size, actual.size),
                ("rows", shard.rows, actual.rows),
            )
            if told is not None and told != got
        ]
    found.facts["atdata/shards"] = len(subject.entry.shards)
    found.facts["atdata/bytes"] = read
    return found


def look_at_presence(subject: Subject) -> Finding:
    """Whether every shard is in its place; asks for heads, and reads no shard through."""
    found = Finding()
    for number, shard in enumerate(subject.entry.shards):
        try:
            _find(subject, shard)
        except NotFoundError as error:
            found.problems.append(f"{_shard(number, shard)}: {error.message}")
    found.facts["atdata/shards"] = len(subject.entry.shards)
    found.facts["atdata/missing"] = len(found.problems)
    return found


def look_at_content(subject: Subject) -> Finding:
    """Whether the content is that of the layer before, and the one that was materialized."""
    found = Finding(facts={"atdata/shards": len(subject.entry.shards)})
    cid = _cid(subject)
    if cid is None:
        found.problems.append(f"{subject.name}: the index doesn't know the CID of every shard")
        return found
    told = subject.stored.get("atdata/cid")
    if told is not None and told != cid:
        found.problems.append(_differs(subject.name, "CID that was materialized", told, cid))
    other = subject.other
    if other is None or other.cid == cid:
        return found
    found.problems.append(_differs(subject.name, "CID of the layer before", other.cid, cid))
    pairs = itertools.zip_longest(other.shards, subject.entry.shards)
    found.problems += [
        _differs(f"shard {number}", "CID", a.cid if a else "no shard", b.cid if b else "no shard")
        for number, (a, b) in enumerate(pairs)
        if (a and a.cid) != (b and b.cid)
    ][:MAX_PROBLEMS]
    return found


def look_at_publication(subject: Subject) -> Finding:
    """What publishing the dataset would do; whether it could be. Nothing is written."""
    if subject.public is None:
        raise ConfigurationError("check needs the index of the public layer", where=subject.name)
    try:
        plan = subject.public.plan(subject.open(), name=subject.name)
    except (ConfigurationError, TooLargeError, InvalidRecordError) as error:
        return Finding([f"{subject.name} can't be published: {error}"])
    found = Finding(note=str(plan), documents={"atdata/record": dict(plan.record)})
    if plan.schema is not None:
        found.documents["atdata/schema_record"] = dict(plan.schema)
    found.facts["atdata/would_publish"] = int(plan.is_new)
    found.facts["atdata/blobs"] = plan.blobs
    found.facts["atdata/bytes"] = plan.size
    return found


def look_at_record(subject: Subject) -> Finding:
    """Whether anybody finds the record, proven, and finds in it what was materialized."""
    uri = str(subject.stored.get("dagster/uri") or subject.entry.uri)
    try:
        dataset = load_dataset(uri)
    except NotFoundError as error:
        return Finding([f"{uri}: {error.message}"])
    except VerificationError as error:
        return Finding([str(error)])
    entry, proven = dataset.entry, dataset.verification
    assert entry is not None
    assert proven is not None
    wanted = {
        "record CID": (subject.stored.get("atdata/record_cid"), entry.record_cid),
        "content CID": (subject.stored.get("atdata/cid") or _cid(subject), entry.cid),
    }
    problems = [
        _differs(uri, what, told, got)
        for what, (told, got) in wanted.items()
        if told is not None and told != got
    ]
    facts: dict[str, float] = {
        "atdata/shards": len(entry.shards),
        "atdata/rows": entry.rows or 0,
        "atdata/verification_level": int(proven.level),
    }
    return Finding(problems, facts, f"{uri} is proven to the level '{proven.level}'")


def values_look(
    predicate: Callable[[Any], object], batch_size: int | None, limit: int | None
) -> Look:
    """A look at every sample, or batch of them, through a user's predicate."""

    def look_at_values(subject: Subject) -> Finding:
        problems: list[str] = []
        seen = wrong = 0
        places = _places(subject.entry, batch_size or 1)
        try:
            values = subject.open().ordered(batch_size)
            for place, value in zip(places, itertools.islice(values, limit), strict=False):
                seen += len(value) if batch_size else 1
                said = predicate(value)
                if not isinstance(said, str) and bool(said):
                    continue
                wrong += 1
                why = said if isinstance(said, str) else f"{predicate_name(predicate)} is false"
                if len(problems) < MAX_PROBLEMS:
                    problems.append(f"{place}: {why}")
        except (SampleError, ShardError) as error:
            problems.append(str(error))
            wrong += 1
        return Finding(problems, {"atdata/samples_read": seen, "atdata/samples_wrong": wrong})

    return look_at_values


def samples_look(
    function: Callable[[Iterable[Any]], object], batch_size: int | None, limit: int | None
) -> Look:
    """A look at the whole stream of samples, or of batches, through a user's function."""

    def look_at_samples(subject: Subject) -> Finding:
        said = function(itertools.islice(subject.open().ordered(batch_size), limit))
        if isinstance(said, Finding):
            return said
        if isinstance(said, Mapping):
            return Finding(facts={f"atdata/{key}": float(value) for key, value in said.items()})
        if isinstance(said, str):
            return Finding([f"{subject.name}: {said}"])
        return Finding([] if said else [f"{subject.name}: {predicate_name(function)} is false"])

    return look_at_samples


def predicate_name(function: Callable[..., object]) -> str:
    """What to call a user's function."""
    return str(getattr(function, "__name__", type(function).__name__))


def _places(entry: DatasetEntry, step: int) -> Iterator[str]:
    """Where the samples of each batch of `step` begin: shard and key, as the writer gives it."""
    bounds = list(itertools.accumulate((shard.rows or 0) for shard in entry.shards))
    shard = 0
    for number in itertools.count(0, step):
        while shard < len(bounds) - 1 and number >= bounds[shard]:
            shard += 1
        where = f"{_shard(shard, entry.shards[shard])}, " if entry.shards else ""
        last = f" to {number + step - 1:09d}" if step > 1 else ""
        yield f"{where}sample {number:09d}{last}"


def _find(subject: Subject, shard: Shard) -> None:
    """Raises `NotFoundError` if a shard is not where the index says."""
    if shard.url.startswith("at://"):
        from atdata_core.atmosphere import AtmosphereClient
        from atdata_core.atproto.uri import parse_blob_url

        with AtmosphereClient() as client:
            client.open_blob(*parse_blob_url(shard.url)).close()
        return
    store = subject.index.data_store
    if store is not None and shard.cid is not None and shard.size is not None:
        found = store.find_shard(shard, subject.entry.name)
        if found is not None and found.url == shard.url:
            return
    with _raw_source(subject).open_shard(shard.url) as stream:
        if not stream.read(1):
            raise NotFoundError("shard is empty", where=shard.url)


def _raw_source(subject: Subject) -> Any:
    # Behind the one that verifies: what is wrong with a shard is to be told, not raised.
    source: Any = subject.open().source
    return getattr(source, "source", source)


def _cid(subject: Subject) -> str | None:
    return subject.entry.cid


def _shard(number: int, shard: Shard) -> str:
    return f"shard {number} ({shard.url})"


def _differs(where: str, what: str, expected: object, got: object) -> str:
    return f"{where}: {what} differs (expected {expected}, got {got})"
