"""`Subscription`: who and what is followed, as data."""

import hashlib
import json
from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from atdata_core.atproto.lexicon import lexicons, validate_record
from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.atproto.uri import check_handle, check_nsid, check_resolvable_did
from atdata_core.discovery.records import FoundRecord
from atdata_core.errors import AtdataError, ConfigurationError
from atdata_core.verification import VerificationLevel

# What makes no difference to what is to be listed.
_NO_MATTER = {"dids", "handles", "sweep_hours", "source", "grace_hours", "tombstone_days"}
_SOURCES = ("poll", "firehose:wss://…", "jetstream:wss://…")


class Subscription(BaseModel):
    """Who and what is followed.

    It is read anew at each tick, so it may be changed while everything runs::

        dids: [did:plc:…]
        handles: [alice.example.org]
        tags: [weather]
        max_bytes: 1000000000
        quota: 100
        source: jetstream:wss://jetstream1.us-east.bsky.network/subscribe

    Args:
        dids: Accounts by DID.
        handles: Accounts by handle.
        relay: The origin of a relay; with it everybody is followed who publishes datasets.
        blocked: DIDs that are not followed, whoever names them.
        collections: The types of records; by default all types of dataset records.
        tags: Words of which a dataset must have one; none: any dataset.
        max_bytes: The size of the largest dataset; one that doesn't tell its size is too large.
        level: How far a record must be proven at least, by the name of a `VerificationLevel`; by
            default what ``ATDATA_VERIFY`` says, else ``signed``. Up to ``signed`` it is looked at
            before a record is listed, beyond that when the dataset is opened.
        quota: The most records of one account.
        source: ``poll`` asks each account's server; ``firehose:wss://host`` listens to a PDS or
            relay; ``jetstream:wss://host/path`` to a Jetstream. A list of the latter two listens to
            each; accounts that none of them carries are read with the sweeps alone.
        sweep_hours: After how many hours everything is read anew, whatever the source told.
        grace_hours: For how many hours an account that is gone is only hidden, as one that was
            deactivated is for ever; then it is purged.
        tombstone_days: For how many days it is remembered that a record is gone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dids: tuple[str, ...] = ()
    handles: tuple[str, ...] = ()
    relay: str | None = None
    blocked: tuple[str, ...] = ()
    collections: tuple[str, ...] = DATASET_TYPES
    tags: tuple[str, ...] = ()
    max_bytes: int | None = Field(default=None, ge=0)
    level: str | None = None
    quota: int = Field(default=1000, ge=1)
    source: str | tuple[str, ...] = "poll"
    sweep_hours: float = Field(default=24.0, gt=0)
    grace_hours: float = Field(default=72.0, ge=0)
    tombstone_days: float = Field(default=30.0, ge=0)

    @classmethod
    def load(cls, given: "Subscription | str | PathLike[str]") -> "Subscription":
        """A subscription from a JSON or YAML file, as the file is now.

        Args:
            given: The file; a subscription is handed back as it is.

        Raises:
            ConfigurationError: The file can't be read, or says something that can't be.
        """
        if isinstance(given, Subscription):
            return given
        path = Path(fspath(given))
        try:
            text = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"subscription can't be read: {error}", where=str(path)
            ) from error
        return cls._parse(_read(text, path), str(path))

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Subscription":
        """A subscription from its fields; `ConfigurationError` names one that can't be.

        Args:
            body: The fields.
        """
        return cls._parse(body, "subscription")

    @classmethod
    def _parse(cls, body: Any, where: str) -> "Subscription":
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "file"
            raise ConfigurationError(
                f"subscription is wrong at {field}: {first['msg']}",
                where=where,
                got=repr(first["input"])[:100],
            ) from error

    @field_validator("dids", "blocked")
    @classmethod
    def _check_dids(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_plain(check_resolvable_did, each) for each in found)

    @field_validator("handles")
    @classmethod
    def _check_handles(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_plain(check_handle, each.removeprefix("@")) for each in found)

    @field_validator("collections")
    @classmethod
    def _check_collections(cls, found: tuple[str, ...]) -> tuple[str, ...]:
        if not found:
            raise ValueError("at least one type of records is needed")
        return tuple(_plain(check_nsid, each) for each in found)

    @field_validator("level")
    @classmethod
    def _check_level(cls, found: str | None) -> str | None:
        return None if found is None else _plain(VerificationLevel.of, found)

    @field_validator("source")
    @classmethod
    def _check_source(cls, found: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if found == "poll":
            return found
        for each in [found] if isinstance(found, str) else found or [""]:
            kind, _, address = each.partition(":")
            if kind not in ("firehose", "jetstream") or "://" not in address:
                raise ValueError(f"one of {', '.join(_SOURCES)}, or a list of the latter two")
        return found

    @property
    def sources(self) -> tuple[str, ...]:
        """Where is listened, each once."""
        found = (self.source,) if isinstance(self.source, str) else self.source
        return tuple(dict.fromkeys(found))

    @property
    def least(self) -> VerificationLevel:
        """How far a record must be proven to be listed."""
        return min(VerificationLevel.of(self.level), VerificationLevel.SIGNED)

    def refusal(self, record: FoundRecord) -> str | None:
        """Why a record is not to be listed; None if it is."""
        if record.level < self.least:
            return f"it is proven as {record.level} only, not as {self.least}"
        if not record.is_dataset:
            return None
        try:
            if record.collection in lexicons():
                validate_record(record.value, record.collection, record.rkey)
            entry = record.entry()
        except AtdataError as error:
            return f"it describes no dataset: {error}"[:500]
        if self.tags and not {t.casefold() for t in self.tags} & {t.casefold() for t in entry.tags}:
            return "it has none of the tags"
        if self.max_bytes is None:
            return None
        if entry.size is None:
            return "it doesn't tell its size"
        return f"it has {entry.size:,} bytes" if entry.size > self.max_bytes else None

    def digest(self, dids: frozenset[str]) -> str:
        """A word that is another one when something else is to be listed.

        Args:
            dids: The accounts that are followed by name.
        """
        said = self.model_dump(exclude=_NO_MATTER)
        said["level"] = str(self.least)
        text = json.dumps({**said, "dids": sorted(dids)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(text: str, path: Path) -> Any:
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"file is not JSON: {error}", where=str(path)) from error
    import yaml

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"file is not YAML: {error}", where=str(path)) from error


def _plain(check: Any, text: str) -> str:
    try:
        return str(check(text))
    except AtdataError as error:
        raise ValueError(str(error)) from error
