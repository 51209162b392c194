"""How far what was opened is proven: `VerificationLevel`, and the `Verification` of a dataset."""

import os
from dataclasses import dataclass
from enum import IntEnum

from atdata_core.errors import ConfigurationError


class VerificationLevel(IntEnum):
    """How far a dataset's record and bytes are proven; each level holds what those before it do.

    ============  ==============================================================================
    level         what is proven
    ============  ==============================================================================
    `TRANSPORT`   nothing: the server that the account names said so
    `SIGNED`      the record is in a repository that the account's key signed
    `PINNED`      and it is the very one that a link meant, by its CID
    `BYTES`       signed, and every shard is checked against a CID in it before it is handed out
    `ATTESTED`    and somebody whom the reader trusts signed that they checked this very record
    ============  ==============================================================================

    A dataset that `BYTES` says is proven need not be pinned: `Verification.pinned` tells that.
    """

    TRANSPORT = 1
    SIGNED = 2
    PINNED = 3
    BYTES = 4
    ATTESTED = 5

    def __str__(self) -> str:
        return self.name.lower()

    @classmethod
    def of(cls, level: "VerificationLevel | str | None") -> "VerificationLevel":
        """A level by its name.

        Args:
            level: The level, or its name; None: what ``ATDATA_VERIFY`` says, else ``signed``.

        Raises:
            ConfigurationError: There is no level of this name.
        """
        where = "verify=…" if level is not None else "ATDATA_VERIFY"
        if level is None:
            level = os.environ.get("ATDATA_VERIFY") or DEFAULT_LEVEL
        if isinstance(level, cls):
            return level
        try:
            return cls[str(level).upper()]
        except KeyError:
            raise ConfigurationError(
                "there is no such level of verification",
                where=where,
                expected=", ".join(map(str, cls)),
                got=repr(level)[:80],
            ) from None


DEFAULT_LEVEL = VerificationLevel.SIGNED
"""Shards that carry a checksum, as blobs do, are held to it whatever the level."""


@dataclass(frozen=True)
class Verification:
    """What is proven of a dataset that was opened, and by what.

    Args:
        level: The level reached.
        evidence: The facts that it rests on, in words.
        uri: The record's AT URI.
        did: The account whose record it is.
        record_cid: The record's CID.
        checked_at: When it was checked, ISO 8601 in UTC.
        rev: The revision of the repository that was signed; None where nothing is proven.
        signing_key: The key that signed it, as did:key; None where nothing is proven.
        pinned: Whether a link told the record's CID before it was read.
        attested_by: The trusted accounts that attest this very record.
    """

    level: VerificationLevel
    evidence: tuple[str, ...]
    uri: str
    did: str
    record_cid: str
    checked_at: str
    rev: str | None = None
    signing_key: str | None = None
    pinned: bool = False
    attested_by: tuple[str, ...] = ()
