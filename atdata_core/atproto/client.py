"""`AtmosphereClient`: one account's session, its records and its blobs.

The session (login, refresh, export) is the SDK's. Bodies are sent as we made them, because the
SDK's models drop nulls and parse blobs. Whatever belongs to somebody else is read without the
session, so that no token reaches a host that didn't issue it.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Self

from atdata_core.atproto.answers import json_object
from atdata_core.atproto.bodies import blob_body
from atdata_core.atproto.door import check_origin
from atdata_core.atproto.identity import resolve_did
from atdata_core.atproto.reading import Reader, as_uri
from atdata_core.atproto.revisions import RevStore
from atdata_core.atproto.transport import encode_json, invoke, new_sdk, session_scope, translated
from atdata_core.atproto.uri import AtUri, check_did, check_nsid, check_rkey
from atdata_core.atproto.web import get_json
from atdata_core.cid import check_cid
from atdata_core.errors import (
    AtdataError,
    AuthenticationError,
    ConfigurationError,
    IntegrityError,
    TooLargeError,
)
from atdata_core.verification import VerificationLevel

if TYPE_CHECKING:
    from atproto import Client

DEFAULT_PDS_URL = "https://bsky.social"
_FALLBACK_BLOB_LIMIT = 50_000_000


class AtmosphereClient(Reader):
    """An account on the AT Protocol.

    Reading public records needs no login::

        client = AtmosphereClient()
        client.login("alice.example.org", "xxxx-xxxx-xxxx-xxxx")  # an app password
        uri = client.create_record("com.example.note", {"text": "hello"})

    Args:
        base_url: The PDS to log in at; by default ``ATDATA_PDS_URL``, else Bluesky's.
        verify: How far datasets have to be proven that are opened through it, a
            `VerificationLevel` or its name; by default ``ATDATA_VERIFY``, else ``signed``.
        trusted: DIDs whose attestations count; by default ``ATDATA_TRUSTED_DIDS``, between commas.
        revs: Remembers the newest revision of each repository; see `RevStore`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        verify: VerificationLevel | str | None = None,
        trusted: Sequence[str] | None = None,
        revs: RevStore | None = None,
        _client: "Client | None" = None,
    ) -> None:
        super().__init__(revs)
        self.verify = VerificationLevel.of(verify)
        self.trusted = trusted_dids(trusted)
        self.base_url = (base_url or os.environ.get("ATDATA_PDS_URL") or DEFAULT_PDS_URL).rstrip(
            "/"
        )
        self._sdk = _client
        self._blob_limit: int | None = None

    def login(self, handle: str, password: str) -> None:
        """Opens a session.

        Args:
            handle: The account's handle or DID.
            password: An app password; the account's main one is warned of.

        Raises:
            AuthenticationError: The PDS knows no such account, or it has another password.
            UnreachableError: The PDS doesn't answer.
        """
        self._log_in(f"login of {handle}", login=handle, password=password)
        if session_scope(self.export_session()) == "com.atproto.access":
            warnings.warn(
                f"{handle} logged in with the account's main password, which can do everything. "
                "Make an app password in the account's settings, and give that to programs.",
                stacklevel=2,
            )

    def login_with_session(self, session: str) -> None:
        """Continues a session that `export_session` gave.

        Raises:
            AuthenticationError: It is cut short, has expired, or is another account's.
            UnreachableError: The PDS doesn't answer.
        """
        # The SDK would take one without its last part, the PDS, to Bluesky's.
        if session.count(":::") != 4:
            raise AuthenticationError(
                "session is cut short",
                expected="the whole text of export_session: five parts",
                got=f"{session.count(':::') + 1} parts",
            )
        self._log_in("session", session_string=session)
        try:
            with translated("session"):
                owner = str(self._session().com.atproto.server.get_session().did)
            if owner != self.did:
                raise AuthenticationError(
                    "session is another account's", where="session", expected=self.did, got=owner
                )
        except AtdataError:
            self.close()
            raise

    def export_session(self) -> str:
        """The session as text, as secret as a password."""
        return str(self._session().export_session_string())

    def close(self) -> None:
        """Closes connections and forgets the session."""
        if self._sdk is not None:
            self._sdk.request.close()
            self._sdk = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _log_in(self, what: str, **credentials: str) -> None:
        sdk = new_sdk(self.base_url)
        try:
            with translated(f"{what} at {self.base_url}"):
                sdk.login(**credentials, fetch_bsky_profile=False)
            # The SDK goes on at the host that the session's DID document names; the token may
            # only follow to one that may be asked at all.
            check_origin(str(sdk._base_url))
        except BaseException:
            sdk.request.close()
            raise
        self.close()
        self._sdk = sdk

    @property
    def is_authenticated(self) -> bool:
        """Whether there is a session."""
        return self._sdk is not None

    def owns(self, uri: str | AtUri | None) -> bool:
        """Whether a record is in the repository of the account that is logged in."""
        return bool(uri and self.is_authenticated and as_uri(uri).authority == self.did)

    @property
    def did(self) -> str:
        """The account's DID; raises `AuthenticationError` without a session."""
        return str(self._session()._session.did)

    @property
    def handle(self) -> str:
        """The account's handle; raises `AuthenticationError` without a session."""
        return str(self._session()._session.handle)

    def __repr__(self) -> str:
        who = self.handle if self.is_authenticated else "not logged in"
        return f"AtmosphereClient({self.base_url}, {who})"

    @property
    def max_blob_bytes(self) -> int:
        """The size of the largest blob that the account's PDS takes, in bytes.

        What ``com.atproto.server.describeServer`` tells as ``blobUploadLimit``; 50 MB for servers
        older than that field.
        """
        if self._blob_limit is None:
            answer = get_json(f"{self._own_pds()}/xrpc/com.atproto.server.describeServer")
            limit = answer.get("blobUploadLimit")
            self._blob_limit = limit if isinstance(limit, int) else _FALLBACK_BLOB_LIMIT
        return self._blob_limit

    def create_record(
        self,
        collection: str,
        record: Mapping[str, Any],
        *,
        rkey: str | None = None,
        validate: bool | None = None,
    ) -> AtUri:
        """Writes a new record into the account's repository.

        Args:
            collection: The NSID of its type.
            record: Its fields; ``$type`` is filled in.
            rkey: Its key; by default the PDS makes one. With a key, a record that is there
                already is an error.
            validate: Whether the PDS must know and check the type; None leaves it to the PDS.

        Raises:
            ConflictError: There is a record of this key.
            NotFoundError: It refers to a blob that the PDS doesn't have.
            ServiceError: The PDS refuses it.
        """
        check_nsid(collection)
        body: dict[str, Any] = {
            "repo": self.did,
            "collection": collection,
            "record": {**record, "$type": collection},
        }
        if validate is not None:
            body["validate"] = validate
        if rkey is None:
            answer = self._procedure("com.atproto.repo.createRecord", body)
        else:
            # createRecord with a taken key is an internal error in the reference PDS; putRecord
            # that expects nothing there is refused properly.
            body |= {"rkey": check_rkey(rkey), "swapRecord": None}
            answer = self._procedure("com.atproto.repo.putRecord", body)
        return AtUri.parse(answer["uri"])

    def put_record(
        self,
        collection: str,
        rkey: str,
        record: Mapping[str, Any],
        *,
        validate: bool | None = None,
        swap_record: str | None = None,
    ) -> AtUri:
        """Writes a record under a key, in place of what may be there.

        Args:
            collection: The NSID of its type.
            rkey: Its key.
            record: Its fields.
            validate: As in `create_record`.
            swap_record: The CID that the record must have until now; None: whatever it has.

        Raises:
            ConflictError: It has another CID.
            ServiceError: The PDS refuses it.
        """
        body: dict[str, Any] = {
            "repo": self.did,
            "collection": check_nsid(collection),
            "rkey": check_rkey(rkey),
            "record": {**record, "$type": collection},
        }
        if validate is not None:
            body["validate"] = validate
        if swap_record is not None:
            body["swapRecord"] = check_cid(swap_record)
        return AtUri.parse(self._procedure("com.atproto.repo.putRecord", body)["uri"])

    def delete_record(self, uri: str | AtUri) -> None:
        """Deletes a record of the account's own; one that isn't there is no error."""
        parsed = as_uri(uri)
        self._procedure(
            "com.atproto.repo.deleteRecord",
            {"repo": self.did, "collection": parsed.collection, "rkey": parsed.rkey},
        )

    def upload_blob(
        self,
        data: bytes | IO[bytes],
        mime_type: str = "application/octet-stream",
        *,
        size: int | None = None,
        cid: str | None = None,
    ) -> dict[str, Any]:
        """Uploads bytes; a record has to refer to them within the hour, or the PDS drops them.

        Args:
            data: The bytes, or a file to stream them from.
            mime_type: Their media type; the PDS may know better.
            size: Their length; needed with a file.
            cid: Their raw CID, where it is known: what the PDS then must have received.

        Returns:
            The blob object, to be put into a record as it is.

        Raises:
            TooLargeError: They are more than `max_blob_bytes`; nothing was sent.
            IntegrityError: The PDS received other bytes than were sent.
        """
        if isinstance(data, bytes):
            size = len(data)
        if size is None:
            raise ConfigurationError("upload_blob needs the size of what it streams")
        if size > self.max_blob_bytes:
            raise self.too_large(size, self.base_url)
        headers = {"Content-Type": mime_type, "Content-Length": str(size)}
        answer = invoke(
            self._session(),
            "com.atproto.repo.uploadBlob",
            blob_body(data, size),
            headers,
            f"blob upload to {self.base_url}",
            timeout=60 + size / 500_000,
        )
        blob = json_object(json_object(answer, "uploadBlob").get("blob"), "uploadBlob")
        received = json_object(blob.get("ref", {}), "uploadBlob").get("$link")
        if blob.get("size") != size or (cid and received != cid):
            raise IntegrityError(
                "PDS received other bytes than were sent",
                where=self.base_url,
                expected=f"{size:,} bytes, {cid}",
                got=f"{blob.get('size')}, {received}",
            )
        return dict(blob)

    def too_large(self, size: int, where: str) -> TooLargeError:
        """The error for a blob of `size` bytes that the PDS won't take."""
        error = TooLargeError(
            "blob is larger than the PDS takes",
            where=where,
            expected=f"at most {self.max_blob_bytes:,} bytes",
            got=f"{size:,}",
            remedy="Write smaller shards (max_bytes=…), or publish with URLs instead of blobs",
        )
        error.size, error.limit = size, self.max_blob_bytes
        return error

    def _session(self) -> "Client":
        if self._sdk is None:
            raise AuthenticationError(
                "not logged in", where=self.base_url, remedy="Call client.login(handle, password)"
            )
        return self._sdk

    def _repository(self, repo: str | None) -> str:
        return self.did if repo is None else super()._repository(repo)

    def _own_pds(self) -> str:
        return self.base_url if self._sdk is None else resolve_did(self.did).pds

    def _procedure(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        content = encode_json(body)
        answer = invoke(
            self._session(),
            method,
            lambda: content,
            {"Content-Type": "application/json"},
            f"{method} at {self.base_url}",
        )
        return json_object(answer, method)


def trusted_dids(given: Sequence[str] | None = None) -> tuple[str, ...]:
    """The accounts whose attestations count: those given, else those of ``ATDATA_TRUSTED_DIDS``.

    Raises:
        InvalidUriError: One of them is no DID.
    """
    if given is None:
        text = os.environ.get("ATDATA_TRUSTED_DIDS", "")
        given = [part.strip() for part in text.split(",") if part.strip()]
    return tuple(map(check_did, given))
