"""What a server answers, as what it claims to be."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from atdata_core.atproto.uri import AtUri
from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import IntegrityError, InvalidRecordError, ServiceError

if TYPE_CHECKING:
    import httpcore


class Record(dict[str, Any]):
    """A record's value, with its address and CID beside it.

    Args:
        value: The record's fields.
        uri: Its AT URI, its authority a DID.
        cid: Its CID.
    """

    def __init__(self, value: Mapping[str, Any], uri: str, cid: str) -> None:
        super().__init__(value)
        self.uri = uri
        self.cid = cid

    def strong_ref(self) -> dict[str, str]:
        """The record at this very content (com.atproto.repo.strongRef)."""
        return {"uri": self.uri, "cid": self.cid}


def record_of(answer: Mapping[str, Any], did: str, collection: str) -> Record:
    """The record that an answer holds.

    Raises:
        IntegrityError: It is another's, or its content is not that of its CID.
        InvalidRecordError: It holds none.
    """
    value, uri = answer.get("value"), AtUri.parse(str(answer.get("uri")))
    if not isinstance(value, dict) or (uri.authority, uri.collection) != (did, collection):
        raise IntegrityError("PDS answered with another record", where=str(uri))
    try:
        cid = dag_cbor_cid(value)
    except TypeError as error:  # a float, say, which no record can hold
        raise InvalidRecordError(f"answer holds no record: {error}", where=str(uri)) from error
    if cid != answer.get("cid"):
        raise IntegrityError(
            "record's content is not that of its CID",
            where=str(uri),
            expected=str(answer.get("cid")),
            got=cid,
        )
    return Record(value, str(uri), cid)


def json_object(answer: Any, where: str) -> dict[str, Any]:
    """The answer itself, if it is a JSON object; else `ServiceError`."""
    if not isinstance(answer, dict):
        raise ServiceError("answer is not a JSON object", where=where, got=type(answer).__name__)
    return answer


def headers_of(response: "httpcore.Response") -> dict[str, str]:
    """A response's headers, names in lower case."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
    }
