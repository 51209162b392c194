"""Hearing of changes from a PDS or relay: ``com.atproto.sync.subscribeRepos``.

See https://atproto.com/specs/sync#firehose and https://atproto.com/specs/event-stream.
"""

import time
from collections.abc import Mapping
from typing import Any

from atdata_core.errors import ServiceError
from atdata_core.following.hearing import Hearing
from atdata_core.following.sources import Batch, Interest, Source, read_cursor, write_cursor
from atdata_core.following.websocket import FrameTooLargeError, frames, websocket_url

_IDLE_S = 1.0


class FirehoseSource(Source):
    """The stream of all commits of a PDS or relay.

    Args:
        url: Its origin, as ``wss://relay1.us-west.bsky.network``.
        interest: What of it to tell.
        idle_s: The seconds of silence that mean that all was read.
    """

    def __init__(self, url: str, interest: Interest, *, idle_s: float = _IDLE_S) -> None:
        self._url = f"{websocket_url(url)}/xrpc/com.atproto.sync.subscribeRepos"
        self._interest = interest
        self._idle_s = idle_s

    @property
    def name(self) -> str:
        """The stream's address."""
        return self._url

    def drain(self, cursor: str | None, budget_s: float, max_events: int) -> Batch:
        """Reads the stream on from the cursor; see `Source.drain`."""
        end = time.monotonic() + budget_s
        known = read_cursor(cursor, self._url)
        batch = Batch()
        seq = known["seq"] if known else None
        if known is None:
            batch.gap = "the stream is read for the first time"
            seq = self._newest(end)
        if seq is not None:
            seq = self._read(seq, end, max_events, batch)
        batch.cursor = None if seq is None else write_cursor(self._url, seq=seq)
        return batch

    def _newest(self, end: float) -> int | None:
        """The number of the newest event, found by listening; by reading all, where none comes."""
        for start in ("", "?cursor=0"):
            seq = None if not start else 0
            for frame in frames(self._url + start, end - time.monotonic(), self._idle_s):
                if frame is None:
                    break
                seq = _seq(_decode(frame)) or seq
                if not start and seq is not None:
                    return seq
            else:
                # The budget was used up before all was read.
                return None
        return seq

    def _read(self, seq: int, end: float, max_events: int, batch: Batch) -> int | None:
        url = f"{self._url}?cursor={seq}"
        hearing = Hearing(self._interest, batch, max_events)
        try:
            for frame in frames(url, end - time.monotonic(), self._idle_s):
                if frame is None:
                    batch.caught_up = True
                    break
                message = _decode(frame)
                if message is None:
                    batch.gap = "a frame of the stream could not be decoded"
                    batch.dropped += 1
                    continue
                kind, body = message
                if kind == "error":
                    if body.get("error") == "FutureCursor":
                        batch.gap = "the stream begins anew: its numbers are lower than they were"
                        return None
                    if body.get("error") == "ConsumerTooSlow":
                        break
                    raise ServiceError(
                        f"stream ended: {body.get('message') or body.get('error')}",
                        code=str(body.get("error")),
                        where=self._url,
                    )
                if kind == "#info" and body.get("name") == "OutdatedCursor":
                    batch.gap = "the stream no longer holds what came after the last event read"
                number = _seq(message)
                if number is None or number <= seq:
                    continue
                seq = number
                _take(kind, body, hearing)
                if hearing.full:
                    break
        except FrameTooLargeError:
            batch.gap = "a frame of the stream is larger than the protocol allows"
            return None
        return seq


def _take(kind: str, body: Mapping[str, Any], hearing: Hearing) -> None:
    did = str(body.get("repo") or body.get("did") or "")
    if not hearing.wants(did):
        return
    if kind == "#commit":
        ops = body.get("ops")
        if body.get("tooBig"):
            hearing.repository(did, "a commit was too large for the stream")
        if not isinstance(ops, list) or not all(isinstance(op, dict) for op in ops):
            hearing.repository(did, "a commit in the stream makes no sense")
            ops = []
        for op in ops:
            collection, _, rkey = str(op.get("path")).partition("/")
            link = op.get("cid")
            cid = link.get("$link") if isinstance(link, dict) else None
            hearing.record(did, collection, rkey, str(body.get("rev")), cid)
    elif kind == "#sync":
        hearing.repository(did, "its repository was reset")
    elif kind == "#account":
        hearing.account(did, body.get("active"), body.get("status"))
    elif kind == "#identity":
        hearing.identity(did)


def _seq(message: tuple[str, Mapping[str, Any]] | None) -> int | None:
    seq = None if message is None else message[1].get("seq")
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else None


def _decode(frame: str | bytes) -> tuple[str, Mapping[str, Any]] | None:
    """Kind and body of a frame: two structures of DAG-CBOR, one behind the other."""
    import cbrrr

    if isinstance(frame, str):
        return None
    try:
        decode = cbrrr.decode_multi_dag_cbor_in_violation_of_the_spec
        header, body = decode(frame, atjson_mode=True)
    except (ValueError, TypeError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(body, dict):
        return None
    return ("error" if header.get("op") == -1 else str(header.get("t"))), body
