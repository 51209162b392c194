"""Hearing of changes from a Jetstream, which tells them as JSON, filtered by the server.

Both versions are spoken: ``wss://host/subscribe``
(https://github.com/bluesky-social/jetstream/tree/v1), whose cursor is a time, and
``wss://host/xrpc/network.bsky.jetstream.subscribeEvents``, whose cursor is a number. What it says
of a record isn't signed by anybody, so each record is fetched from its author's server.
"""

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from atdata_core.errors import ServiceError
from atdata_core.following.hearing import Hearing
from atdata_core.following.sources import Batch, Interest, Source, read_cursor, write_cursor
from atdata_core.following.websocket import FrameTooLargeError, frames, websocket_url

_METHOD = "network.bsky.jetstream.subscribeEvents"
_IDLE_S = 1.0
_OVERLAP_US = 5_000_000
_LOOK_BACK_S = 24 * 3600
_MAX_DIDS = 100


class JetstreamSource(Source):
    """A Jetstream.

    Args:
        url: Its address, as ``wss://jetstream1.us-east.bsky.network/subscribe``, or that of
            ``network.bsky.jetstream.subscribeEvents``.
        interest: What of it to tell.
        idle_s: The seconds of silence that mean that all was read.
        look_back_s: The seconds that it keeps events for. A former one says nothing when it is
            asked for older ones, so they are counted as missed without asking.
    """

    def __init__(
        self,
        url: str,
        interest: Interest,
        *,
        idle_s: float = _IDLE_S,
        look_back_s: float = _LOOK_BACK_S,
    ) -> None:
        self._url = websocket_url(url)
        self._numbered = urlsplit(self._url).path.startswith("/xrpc/")
        self._interest = interest
        self._idle_s = idle_s
        self._look_back_s = look_back_s

    @property
    def name(self) -> str:
        """Its address."""
        return self._url

    def drain(self, cursor: str | None, budget_s: float, max_events: int) -> Batch:
        """Reads on from the cursor; see `Source.drain`."""
        end = time.monotonic() + budget_s
        now = int(time.time() * 1e6)
        known = read_cursor(cursor, self._url)
        batch = Batch()
        if known is None:
            batch.gap = "the stream is read for the first time"
        elif not now - self._look_back_s * 1e6 < known["time_us"] < now + _OVERLAP_US:
            batch.gap = "the stream no longer holds what came after the last event read"
        # Either kind of stream takes a time to begin at; events are told twice rather than never.
        place = {"time_us": now - _OVERLAP_US, "seq": None} if batch.gap else known or {}
        place = {key: place[key] for key in ("time_us", "seq")}
        try:
            self._read(place, end, max_events, batch)
        except FrameTooLargeError:
            batch.gap = "a frame of the stream is larger than may be"
            place = {"time_us": now, "seq": None}
        except ServiceError as error:
            if error.code != "CursorTooOld":
                raise
            batch.gap = "the stream no longer holds what came after the last event read"
            place = {"time_us": now, "seq": None}
        batch.cursor = write_cursor(self._url, **place)
        return batch

    def _read(self, place: dict[str, Any], end: float, max_events: int, batch: Batch) -> None:
        hearing = Hearing(self._interest, batch, max_events)
        for frame in frames(self._address(place), end - time.monotonic(), self._idle_s):
            if frame is None:
                batch.caught_up = True
                return
            body = self._body(frame)
            if body is None:
                batch.gap = "a frame of the stream could not be decoded"
                batch.dropped += 1
            elif body.get("kind") == "info":
                batch.gap = f"the stream says {body.get('name')}"
            elif body.get("kind") == "error":
                raise ServiceError(
                    f"stream ended: {body.get('message') or body.get('error')}",
                    code=str(body.get("error")),
                    where=self._url,
                )
            else:
                _take(body, hearing)
                place |= {"time_us": body["time_us"], "seq": body.get("seq")}
                if hearing.full:
                    return

    def _address(self, place: Mapping[str, Any]) -> str:
        names = ("collections", "dids") if self._numbered else ("wantedCollections", "wantedDids")
        params = [(names[0], each) for each in self._interest.collections]
        dids = self._interest.dids
        if dids is not None and len(dids) <= _MAX_DIDS:
            # More would make too long an address: they are picked out here.
            params += [(names[1], each) for each in sorted(dids)]
        seq = place.get("seq")
        # One that is told twice does no harm; one microsecond may have two events.
        start = place["time_us"] - 1 if seq is None else seq
        return f"{self._url}?{urlencode([*params, ('cursor', str(start))])}"

    def _body(self, frame: str | bytes) -> dict[str, Any] | None:
        """A message in the form of the former version, whichever it is of."""
        try:
            body = json.loads(frame)
            if self._numbered:
                body = _former(body)
            stated = body.get("kind") in ("info", "error")
            return body if stated or isinstance(body["time_us"], int) else None
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ):
            return None


def _take(body: Mapping[str, Any], hearing: Hearing) -> None:
    did, kind = str(body.get("did")), body.get("kind")
    if not hearing.wants(did):
        return
    if kind == "commit":
        commit = _map(body, "commit")
        gone = commit.get("operation") == "delete"
        cid = None if gone else str(commit.get("cid"))
        collection, rkey, rev = (str(commit.get(name)) for name in ("collection", "rkey", "rev"))
        hearing.record(did, collection, rkey, rev, cid)
    elif kind == "account":
        account = _map(body, "account")
        hearing.account(did, account.get("active"), account.get("status"))
    elif kind == "sync":
        hearing.repository(did, "its repository was reset")
    elif kind == "identity":
        hearing.identity(did)


def _map(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    return found if isinstance(found, Mapping) else {}


def _former(frame: Mapping[str, Any]) -> dict[str, Any]:
    """A frame of ``xrpc.v1.json`` as the former version would tell it."""
    from datetime import datetime

    if frame["$type"] == "error":
        return {**frame, "kind": "error"}
    body = frame["payload"]
    kind = str(body["$type"]).rpartition("#")[2]
    if kind == "info":
        return {**body, "kind": "info"}
    at = datetime.fromisoformat(str(body.get("witnessedAt") or body["time"]))
    told = {"kind": kind, "time_us": int(at.timestamp() * 1e6), "seq": int(body["seq"])}
    return {"commit": body, **body, **told}
