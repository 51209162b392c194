"""Who has datasets, and which: what servers tell when they are asked.

What a list says is a hint: nothing proves that it is whole. `fetch_record` is the one way by which
a record gets from somebody's server to whoever follows it.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.door import check_origin
from atdata_core.atproto.identity import forget_identities, resolve_authority, resolve_did
from atdata_core.atproto.proof import prove_record
from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.atproto.uri import AtUri, check_nsid, check_resolvable_did
from atdata_core.atproto.web import get_json
from atdata_core.cid import check_cid, dag_cbor_cid
from atdata_core.discovery.pages import Pages
from atdata_core.discovery.records import FoundRecord
from atdata_core.errors import AtdataError, InvalidUriError, NotFoundError, ServiceError
from atdata_core.verification import VerificationLevel

_log = logging.getLogger(__name__)
_PAGE = 100
_HOLDERS_PAGE = 2000
MAX_PAGES = 1000


@dataclass
class Listing:
    """Some records, and what was not taken into the list.

    Args:
        records: The records, each with the CID of its own content.
        truncated: Whether a server's answer went on without end, so that there may be more.
        dropped: How many items were of another account or type, or not what their CID says.
    """

    records: list[FoundRecord] = field(default_factory=list)
    truncated: bool = False
    dropped: int = 0


@dataclass
class Holders:
    """Some accounts, and what was not taken into the list.

    Args:
        dids: The accounts' DIDs, sorted.
        truncated: Whether a server's answer went on without end, so that there may be more.
        dropped: How many items were no DIDs.
    """

    dids: list[str] = field(default_factory=list)
    truncated: bool = False
    dropped: int = 0


@dataclass(frozen=True)
class Listed:
    """What a server's list says of one record, not checked against its content.

    Args:
        rkey: The record's key.
        cid: The CID that it is said to have.
        value: The content that it is said to have.
    """

    rkey: str
    cid: str
    value: Any


class RepoList:
    """An account's records of one type, as its PDS lists them; `dropped` counts what isn't theirs.

    Args:
        did: Whose records.
        collection: The NSID of their type.
        max_pages: The most pages to read, of a hundred records each.
    """

    def __init__(self, did: str, collection: str, max_pages: int = MAX_PAGES) -> None:
        self.did = did
        self.collection = check_nsid(collection)
        self.dropped = 0
        self._pages = Pages(
            f"{resolve_did(did).pds}/xrpc/com.atproto.repo.listRecords",
            {"repo": did, "collection": collection, "limit": _PAGE},
            "records",
            max_pages,
        )

    @property
    def truncated(self) -> bool:
        """Whether the server's answer went on without end."""
        return self._pages.truncated

    def __iter__(self) -> Iterator[Listed]:
        seen: set[str] = set()
        for item in self._pages:
            try:
                uri = AtUri.parse(str(item["uri"]))
                cid = check_cid(str(item["cid"]))
            except (KeyError, TypeError, InvalidUriError):
                self.dropped += 1
                continue
            if (uri.authority, uri.collection) != (self.did, self.collection):
                self.dropped += 1
            elif uri.rkey not in seen:
                seen.add(uri.rkey)
                yield Listed(uri.rkey, cid, item.get("value"))


def list_repo_datasets(
    repo: str, *, collections: Sequence[str] = DATASET_TYPES, max_pages: int = MAX_PAGES
) -> Listing:
    """All dataset records of an account, as its PDS lists them.

    Args:
        repo: DID or handle.
        collections: The types of records.
        max_pages: The most pages to read of each type, of a hundred records each.

    Raises:
        NotFoundError: There is no such account, or it was taken away.
        ServiceError: The PDS refuses, or isn't reached.
    """
    did = resolve_authority(repo)
    found = Listing()
    for collection in collections:
        pages = RepoList(did, collection, max_pages)
        for item in pages:
            try:
                honest = isinstance(item.value, dict) and dag_cbor_cid(item.value) == item.cid
            except (TypeError, AtdataError):
                honest = False
            if honest:
                found.records.append(
                    FoundRecord(did, collection, item.rkey, item.cid, dict(item.value))
                )
            else:
                found.dropped += 1
        found.dropped += pages.dropped
        found.truncated |= pages.truncated
    if found.dropped:
        _log.warning("%s: %d items of its list are not its records", did, found.dropped)
    return found


def find_holders(
    relay: str | None = None,
    *,
    dids: Iterable[str] = (),
    collections: Sequence[str] = DATASET_TYPES,
    max_pages: int = MAX_PAGES,
) -> Holders:
    """The accounts that hold dataset records: those that a relay knows of, and those of a list.

    Args:
        relay: The origin of a relay that answers ``com.atproto.sync.listReposByCollection``, such
            as ``https://relay1.us-west.bsky.network``; None: no relay is asked. It may still name
            accounts whose last record is gone.
        dids: DIDs or handles to add.
        collections: The types of records.
        max_pages: The most pages to read of each type, of two thousand accounts each.

    Raises:
        NotFoundError: A handle leads to no account.
        ServiceError: The relay refuses, or isn't reached.
    """
    found = Holders()
    known = {resolve_authority(each) for each in dids}
    for collection in collections if relay else ():
        url = f"{check_origin(str(relay))}/xrpc/com.atproto.sync.listReposByCollection"
        params: dict[str, str | int] = {"collection": collection, "limit": _HOLDERS_PAGE}
        pages = Pages(url, params, "repos", max_pages)
        for item in pages:
            try:
                known.add(check_resolvable_did(str(item["did"])))
            except (KeyError, TypeError, InvalidUriError):
                found.dropped += 1
        found.truncated |= pages.truncated
    found.dids = sorted(known)
    return found


def fetch_record(
    uri: str, *, rev: str = "", level: VerificationLevel = VerificationLevel.SIGNED
) -> FoundRecord:
    """A followed record, as it is now: the one place where such a record comes from.

    Args:
        uri: Its AT URI, the authority a DID.
        rev: A revision of the repository that is no newer than the answer.
        level: ``SIGNED`` or more: it is proven that the account's key signed a repository that
            holds it. ``TRANSPORT``: the server that the account's identity names said so, and the
            content has the CID that it said.

    Raises:
        NotFoundError: It isn't there, or its account isn't.
        VerificationError: It isn't proven.
        IntegrityError: The content is not that of the CID.
        ServiceError: The server refuses, or isn't reached.
    """
    key = AtUri.parse(uri)
    if level > VerificationLevel.TRANSPORT:
        proven = prove_record(key)
        found = Record(proven.value, proven.uri, proven.cid)
        rev, reached = proven.rev, VerificationLevel.SIGNED
    else:
        found, reached = AtmosphereClient().get_record(key), VerificationLevel.TRANSPORT
    return FoundRecord(
        key.authority, key.collection, key.rkey, found.cid, dict(found), rev, reached
    )


@dataclass(frozen=True)
class RepoState:
    """What the server of an account says of its repository.

    Args:
        status: ``active``, ``deactivated``, ``suspended``, ``takendown`` or ``deleted``.
        rev: The revision of the repository; empty where the server tells none.
    """

    status: str
    rev: str = ""


def repo_state(did: str) -> RepoState:
    """The state of an account's repository now, from the server that its identity names.

    Raises:
        ServiceError: The server refuses, or isn't reached.
    """
    try:
        answer = _repo_status(did)
    except NotFoundError:
        # Before an account is taken for gone: it may have moved since its identity was read.
        forget_identities()
        try:
            answer = _repo_status(did)
        except NotFoundError:
            return RepoState("deleted")
    if not isinstance(answer, dict) or answer.get("did") != did:
        raise ServiceError("answer is about another account", where=did)
    rev = answer.get("rev")
    status = "active" if answer.get("active") else str(answer.get("status") or "deactivated")
    if status == "active" and not rev:
        url = f"{resolve_did(did).pds}/xrpc/com.atproto.sync.getLatestCommit"
        latest = get_json(url, {"did": did})
        rev = latest.get("rev") if isinstance(latest, dict) else None
    return RepoState(status, str(rev or ""))


def _repo_status(did: str) -> Any:
    pds = resolve_did(did).pds
    try:
        return get_json(f"{pds}/xrpc/com.atproto.sync.getRepoStatus", {"did": did})
    except NotFoundError as error:
        if error.code == "RepoNotFound":
            raise
        # A page of a web server that isn't one, say; nobody's account is gone for that.
        raise ServiceError(
            f"server tells no status of the account: {error.message}", where=pds
        ) from error
