"""Which partition stands for which record of somebody's."""

import dagster as dg

from atdata_core.atproto.uri import check_resolvable_did, check_rkey
from atdata_core.errors import InvalidUriError
from atdata_dagster.names import escape_partition

_RECORDS = "records"
_INBOX = "inbox"


def records_key(collection: str) -> dg.AssetKey:
    """The asset key of what others publish of a type."""
    return dg.AssetKey([_RECORDS, collection])


def inbox_key(collection: str) -> dg.AssetKey:
    """The asset key of the local datasets made from what others publish of a type."""
    return dg.AssetKey([_INBOX, collection])


def record_partitions(collection: str) -> dg.DynamicPartitionsDefinition:
    """The partitions of both: one a record, ``<did>/<rkey>``, added and removed by the sensor."""
    return dg.DynamicPartitionsDefinition(name=f"atdata_records/{collection}")


def record_partition(did: str, rkey: str) -> str:
    """The partition of a record.

    Dagster allows no ``...`` in a partition's key, which record keys may have: those dots are
    percent-encoded. Record keys have no ``%`` themselves.
    """
    return f"{did}/{rkey.replace('...', '%2E%2E%2E')}"


def parse_record_partition(key: str) -> tuple[str, str]:
    """DID and record key of a partition; `InvalidUriError` if it is none of a record's."""
    did, slash, rkey = key.partition("/")
    if not slash:
        raise InvalidUriError(
            "partition stands for no record", expected="<did>/<rkey>", got=repr(key)[:200]
        )
    return check_resolvable_did(did), check_rkey(rkey.replace("%2E", "."))


TEAM_ENTRIES = dg.AssetKey(["team_entries"])
"""The asset key of what the team's index lists, whoever listed it."""


def team_entries_partitions() -> dg.DynamicPartitionsDefinition:
    """The partitions of `TEAM_ENTRIES`: one a dataset."""
    return dg.DynamicPartitionsDefinition(name="atdata_team_entries")


def entry_partition(name: str) -> str:
    """The partition of a dataset of the team's index."""
    return escape_partition(name).replace("...", "%2E%2E%2E")
