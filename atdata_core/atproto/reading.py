"""Reading what anybody published, from where it lies, without a session.

No token reaches a host that didn't issue it: what is here knows of none.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import IO, Any

from atdata_core.atproto.answers import Record, json_object, record_of
from atdata_core.atproto.identity import ask_host, resolve_authority
from atdata_core.atproto.proof import ProvenRecord, prove_record
from atdata_core.atproto.revisions import RevStore
from atdata_core.atproto.uri import AtUri, check_did, check_nsid
from atdata_core.atproto.web import get_json, open_stream
from atdata_core.cid import cid_to_digest
from atdata_core.errors import AtdataError, ConfigurationError, IntegrityError

_MAX_BLOB_IN_MEMORY = 300_000_000  # the largest that any lexicon of Bluesky's allows, 2026
_PAGE = 100


class Reader:
    """Reads anybody's records and blobs.

    Args:
        revs: Remembers the newest revision of each repository; see `RevStore`.
    """

    def __init__(self, revs: RevStore | None = None) -> None:
        self.revs = revs

    def get_record(self, uri: str | AtUri, cid: str | None = None) -> Record:
        """A record of anybody's, from the PDS that its author's DID names.

        Args:
            uri: Its AT URI.
            cid: The CID that it must have, where a link recorded one.

        Raises:
            NotFoundError: There is no such record or account.
            IntegrityError: Its content doesn't have the CID that the PDS or the link says.
        """
        parsed = as_uri(uri)
        did = resolve_authority(parsed.authority)
        answer = _ask(
            did,
            "com.atproto.repo.getRecord",
            {"repo": did, "collection": parsed.collection, "rkey": parsed.rkey},
        )
        record = record_of(answer, did, parsed.collection)
        if record.uri.rpartition("/")[2] != parsed.rkey:
            raise IntegrityError("PDS answered with another record", where=str(uri), got=record.uri)
        if cid is not None and record.cid != cid:
            raise IntegrityError(
                "record was changed since it was linked to",
                where=str(uri),
                expected=cid,
                got=record.cid,
            )
        return record

    def prove_record(self, uri: str | AtUri, *, allow_rollback: bool = False) -> ProvenRecord:
        """A record of anybody's with its proof; see `atdata_core.atproto.proof.prove_record`."""
        return prove_record(uri, revs=self.revs, allow_rollback=allow_rollback)

    def list_records(
        self,
        collection: str,
        *,
        repo: str | None = None,
        limit: int = _PAGE,
        cursor: str | None = None,
    ) -> tuple[list[Record], str | None]:
        """One page of an account's records of one type, newest key first.

        Args:
            collection: The NSID of the type.
            repo: DID or handle; by default the account's own, if there is one.
            limit: Records a page, at most 100.
            cursor: What the page before this one gave.

        Returns:
            The records, and the cursor of the next page or None. Records whose content doesn't
            have the CID that the PDS says are left out.
        """
        did = self._repository(repo)
        params: dict[str, str | int] = {
            "repo": did,
            "collection": check_nsid(collection),
            "limit": min(limit, _PAGE),
        }
        if cursor:
            params["cursor"] = cursor
        answer = _ask(did, "com.atproto.repo.listRecords", params)
        records: list[Record] = []
        for item in answer.get("records") or ():
            with contextlib.suppress(AtdataError):
                records.append(record_of(json_object(item, "listRecords"), did, collection))
        following = answer.get("cursor")
        return records, following if answer.get("records") and following != cursor else None

    def iter_records(
        self, collection: str, *, repo: str | None = None, limit: int | None = None
    ) -> Iterator[Record]:
        """An account's records of one type, newest key first, page by page.

        Args:
            collection: The NSID of the type.
            repo: DID or handle; by default the account's own, if there is one.
            limit: How many at most; None: all.
        """
        cursor: str | None = None
        count = 0
        while limit is None or count < limit:
            page, cursor = self.list_records(collection, repo=repo, cursor=cursor)
            for record in page[: None if limit is None else limit - count]:
                count += 1
                yield record
            if cursor is None:
                return

    def open_blob(self, did: str, cid: str) -> IO[bytes]:
        """A blob of anybody's for reading, as its PDS sends it: not yet verified.

        Raises:
            NotFoundError: The PDS has no such blob (any more).
        """
        cid_to_digest(cid)
        params = {"did": check_did(did), "cid": cid}
        return ask_host(
            did, lambda pds: open_stream(f"{pds}/xrpc/com.atproto.sync.getBlob", params)
        )

    def get_blob(self, did: str, cid: str, size: int | None = None) -> bytes:
        """A blob of anybody's, whole and verified.

        Args:
            did: Whose it is.
            cid: Its CID.
            size: Its length, where a record tells it; no more than that is read.

        Raises:
            NotFoundError: The PDS has no such blob (any more).
            IntegrityError: It sends other bytes than those of `cid`.
        """
        from hashlib import sha256

        with self.open_blob(did, cid) as stream:
            data = stream.read((_MAX_BLOB_IN_MEMORY if size is None else size) + 1)
        if sha256(data).digest() != cid_to_digest(cid):
            raise IntegrityError("blob's bytes are not those of its CID", where=did, expected=cid)
        return data

    def _repository(self, repo: str | None) -> str:
        if repo is None:
            raise ConfigurationError("no repository is named", expected="repo: a DID or a handle")
        return resolve_authority(repo)


def _ask(did: str, method: str, params: Mapping[str, str | int]) -> dict[str, Any]:
    def ask(pds: str) -> dict[str, Any]:
        url = f"{pds}/xrpc/{method}"
        return json_object(get_json(url, params), url)

    return ask_host(did, ask)


def as_uri(uri: str | AtUri) -> AtUri:
    """An address as `AtUri`; raises `InvalidUriError` if a text is none."""
    return uri if isinstance(uri, AtUri) else AtUri.parse(uri)
