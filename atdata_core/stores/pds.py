"""Shards as blobs in an account's repository on its PDS."""

from collections.abc import Mapping, Sequence
from typing import IO, Any

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.uri import blob_url, parse_blob_url
from atdata_core.cid import cid_to_digest
from atdata_core.errors import ConfigurationError
from atdata_core.shard import Shard, verified
from atdata_core.sources import BaseSource
from atdata_core.stores.base import AbstractDataStore

SHARD_MIME_TYPE = "application/x-tar"


class PDSBlobStore(AbstractDataStore):
    """Shards as blobs, ``at://<did>/blob/<cid>``, in the repository of the logged-in account.

    A PDS serves a blob once a record refers to it, and drops it within hours if none does:
    `AtmosphereIndex` writes that record.

    Args:
        client: The account.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self.client = client
        self.media_types: dict[str, str] = {}
        """How the PDS calls the blobs that this store uploaded, by their CIDs."""

    @property
    def max_shard_bytes(self) -> int | None:
        """What the PDS says that it takes as one blob, in bytes."""
        return self.client.max_blob_bytes

    def find_shard(self, shard: Shard, prefix: str) -> Shard | None:  # noqa: ARG002
        """Never: only a record shows whether a blob is there to stay."""
        return None

    def put_shard(self, body: IO[bytes], shard: Shard, prefix: str) -> Shard:  # noqa: ARG002
        """Uploads a blob; the PDS has to answer with the shard's CID."""
        blob = self.client.upload_blob(body, SHARD_MIME_TYPE, size=shard.size, cid=shard.cid)
        self.media_types[str(shard.cid)] = str(blob.get("mimeType"))
        return self.placed(shard)

    def placed(self, shard: Shard) -> Shard:
        """The shard with the address that it has as a blob of this account."""
        return Shard(blob_url(self.client.did, shard.cid or ""), shard.cid, shard.size, shard.rows)

    def create_source(self, urls: Sequence[str]) -> "BlobSource":
        """A source that reads these ``at://did/blob/cid`` addresses."""
        return BlobSource(urls)

    def read_url(self, url: str) -> str:
        """The address under which anybody can fetch the blob with HTTP."""
        from atdata_core.atproto.identity import resolve_did

        did, cid = parse_blob_url(url)
        return f"{resolve_did(did).pds}/xrpc/com.atproto.sync.getBlob?did={did}&cid={cid}"

    def __repr__(self) -> str:
        return f"PDSBlobStore({self.client!r})"


class BlobSource(BaseSource):
    """Shards read from blobs of anybody's, each verified against its CID before it is handed out.

    Args:
        urls: Their addresses, ``at://did/blob/cid``, in order.
    """

    verifies = True
    remote = True

    def __init__(self, urls: Sequence[str]) -> None:
        for url in urls:
            cid_to_digest(parse_blob_url(url)[1])
        self._urls = list(urls)

    @classmethod
    def from_refs(cls, refs: Sequence[Mapping[str, Any]]) -> "BlobSource":
        """A source of ``{"did": …, "cid": …}`` references.

        Raises:
            ConfigurationError: A reference lacks one of the two.
            InvalidUriError: One of the two is malformed, or the CID is not one of a blob.
        """
        try:
            return cls([blob_url(ref["did"], ref["cid"]) for ref in refs])
        except KeyError as error:
            raise ConfigurationError(f"blob reference has no {error}") from error

    def list_shards(self) -> list[str]:
        """The addresses, in order."""
        return list(self._urls)

    def open_shard(self, shard_id: str) -> IO[bytes]:
        """The blob at an address, whole and verified.

        Raises:
            NotFoundError: Its PDS doesn't have it (any more).
            IntegrityError: Its bytes are not those of the CID.
        """
        did, cid = parse_blob_url(shard_id)
        return verified(AtmosphereClient().open_blob(did, cid), cid, shard_id)

    def ahead(self, shard_id: str) -> int:  # noqa: ARG002
        """One: each is fetched as a whole."""
        return 1

    def __repr__(self) -> str:
        return f"BlobSource({len(self._urls)} shards)"
