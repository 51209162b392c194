"""Streams whose servers lie, or give up."""

import json
import threading
import time

import cbrrr
import pytest
from websockets.sync.server import serve

from atdata_core.errors import ServiceError
from atdata_core.following.firehose import FirehoseSource
from atdata_core.following.jetstream import JetstreamSource
from atdata_core.following.sources import Interest, write_cursor
from tests.support.jetstream import Jetstream

DID, OTHER = "did:plc:" + "a" * 24, "did:plc:" + "b" * 24
TYPE, REV = "ac.foundation.dataset.record", "3kabcdefghijk"


def frame(header, body):
    return cbrrr.encode_dag_cbor(header) + cbrrr.encode_dag_cbor(body)


def commit(seq, rkey="a", did=DID, **more):
    ops = [{"action": "delete", "path": f"{TYPE}/{rkey}", "cid": None}]
    return frame(
        {"op": 1, "t": "#commit"}, {"seq": seq, "repo": did, "rev": REV, "ops": ops} | more
    )


def refusal(name):
    return frame({"op": -1}, {"error": name, "message": f"because of {name}"})


@pytest.fixture
def stream(monkeypatch):
    """What a stream's server tells whoever connects; to be filled."""
    told = []

    def tell(connection):
        for each in told:
            connection.send(each)
        for _ in connection:
            pass

    with serve(tell, "localhost", 0) as server:
        told_at = f"ws://localhost:{server.socket.getsockname()[1]}"
        monkeypatch.setenv("ATDATA_PDS_URL", told_at.replace("ws:", "http:"))
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        source = FirehoseSource(told_at, Interest(frozenset({DID}), {TYPE}), idle_s=0.3)
        yield told, lambda seq=10: source.drain(write_cursor(source.name, seq=seq), 10.0, 100)
        server.shutdown()
    thread.join(10)


def test_what_is_told_twice_or_out_of_order_is_heard_once(stream):
    told, drain = stream
    told += [commit(11), commit(11), commit(9, "old"), commit(12, "b"), commit(11, "late")]
    batch = drain()
    assert [event.key.rkey for event in batch.events] == ["a", "b"]
    assert (batch.gap, batch.caught_up) == (None, True)
    assert '"seq": 12' in batch.cursor


def test_kinds_that_nobody_knows_and_other_accounts_are_passed_over(stream):
    told, drain = stream
    told += [frame({"op": 1, "t": "#future"}, {"seq": 11}), commit(12, did=OTHER), commit(13)]
    batch = drain()
    assert [(event.did, event.key.rkey) for event in batch.events] == [(DID, "a")]
    assert '"seq": 13' in batch.cursor


def test_a_stream_that_begins_anew_is_a_gap_and_its_cursor_is_forgotten(stream):
    told, drain = stream
    told.append(refusal("FutureCursor"))
    batch = drain()
    assert "begins anew" in batch.gap
    assert batch.cursor is None


def test_a_stream_that_forgot_says_so_and_goes_on(stream):
    told, drain = stream
    told += [frame({"op": 1, "t": "#info"}, {"name": "OutdatedCursor"}), commit(500)]
    batch = drain()
    assert "no longer holds" in batch.gap
    assert [event.key.rkey for event in batch.events] == ["a"]


def test_a_reader_that_is_too_slow_goes_on_at_the_next_call(stream):
    told, drain = stream
    told += [commit(11), refusal("ConsumerTooSlow"), commit(12, "b")]
    batch = drain()
    assert [event.key.rkey for event in batch.events] == ["a"]
    assert (batch.gap, batch.caught_up) == (None, False)
    assert '"seq": 11' in batch.cursor


def test_another_refusal_is_an_error_with_its_message(stream):
    told, drain = stream
    told.append(refusal("Forbidden"))
    with pytest.raises(ServiceError, match="because of Forbidden") as caught:
        drain()
    assert caught.value.code == "Forbidden"


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff" * 40, "text", frame({"op": 1, "t": "#commit"}, {})[:-1], b"\x81" * 100_000],
    ids=["empty", "bytes", "text", "cut", "deep"],
)
def test_frames_that_cant_be_read_are_a_gap_and_the_others_are_read(stream, garbage):
    told, drain = stream
    told += [garbage, commit(11)]
    batch = drain()
    assert "could not be decoded" in batch.gap
    assert batch.dropped == 1
    assert [event.key.rkey for event in batch.events] == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        {"seq": True},
        {"seq": "11"},
        {"seq": 11, "ops": [{"path": "../../etc/passwd", "cid": None}]},
        {"seq": 11, "ops": [{"path": f"{TYPE}/a/b", "cid": None}]},
        {"seq": 11, "ops": [{"path": 5, "cid": 5}]},
        {"seq": 11, "rev": "in the future"},
        {"seq": 11, "ops": ["x"]},
        {"seq": 11, "ops": 5},
    ],
    ids=["seq is true", "seq is text", "path", "slash", "numbers", "rev", "no map", "no list"],
)
def test_what_a_commit_says_of_nothing_is_nothing(stream, body):
    told, drain = stream
    told += [commit(**({"seq": 11} | body)), commit(12, "b")]
    batch = drain()
    assert [event.key.rkey for event in batch.events if event.kind == "record"] == ["b"]


def test_a_frame_larger_than_the_protocol_allows_is_a_gap(stream):
    told, drain = stream
    told.append(b"\x00" * 9_000_000)
    batch = drain()
    assert "larger than" in batch.gap
    assert batch.cursor is None


def at_now(**more):
    return {"did": DID, "time_us": int(time.time() * 1e6), **more}


@pytest.mark.parametrize("numbered", [False, True])
def test_what_a_jetstream_says_of_nothing_is_nothing(monkeypatch, numbered):
    with Jetstream() as jetstream:
        url = jetstream.numbered if numbered else jetstream.former
        monkeypatch.setenv("ATDATA_PDS_URL", "http" + jetstream.former[2:].rpartition("/")[0])
        payload = {"$type": "x#commit", "seq": 1, "did": DID, "time": "2026-01-01T00:00:00Z"}
        jetstream.raw = [
            *(json.dumps(at_now(kind="commit", commit=each)) for each in ("x", [], 5, None, {})),
            *(json.dumps(at_now(kind="account", account=each)) for each in ("x", [], 5)),
            json.dumps(at_now(kind=["x"])),
            json.dumps({"$type": "message", "payload": payload | {"seq": float("inf")}}),
            json.dumps({"$type": "message", "payload": payload | {"time": "0001-01-01"}}),
            json.dumps({"$type": "message", "payload": "x"}),
            "[" * 100_000,
        ]
        jetstream.commit(DID, TYPE, "b", REV)
        source = JetstreamSource(url, Interest(frozenset({DID}), {TYPE}), idle_s=0.3)
        batch = source.drain(None, 10.0, 100)
        assert [e.key.rkey for e in batch.events if e.kind == "record"] == ["b"]
