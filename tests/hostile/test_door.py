"""The door to hosts that strangers name: where it leads, and how long it stays open."""

import contextlib
import socket
import threading
import time

import pytest

from atdata_core.atproto import dial, door
from atdata_core.atproto.web import get_json, open_stream
from atdata_core.errors import ServiceError, UnreachableError


@pytest.fixture
def resolver(monkeypatch):
    """Names lead where the test says: a list of answers, one after the other, the last again."""
    answers = []
    asked = []

    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if host[0].isdigit():
            return real(host, port, *args, **options)
        asked.append(host)
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers, asked


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["192.0.0.8"],
        ["93.184.216.34", "192.168.1.1"],
        ["::1"],
        ["fe80::1%eth0"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a00:1"],
        ["2002:a00:1::1"],
        ["2001:0:a00:1::1"],
        ["fd00::1"],
    ],
    ids=" ".join,
)
def test_a_public_name_that_leads_inside_is_not_dialled(resolver, addresses, monkeypatch):
    resolver[0].append(addresses)
    monkeypatch.setattr(socket, "create_connection", lambda *a, **k: pytest.fail("was dialled"))
    with pytest.raises(ServiceError, match="may not be asked"):
        get_json("https://pds.example.com/xrpc/x")


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1"])
def test_numbers_in_other_clothes_are_looked_through(host):
    with pytest.raises((ServiceError, UnreachableError)) as caught:
        get_json(f"https://{host}/xrpc/x")
    if socket.gethostbyname("127.1") == "127.0.0.1":  # where the system's resolver reads them
        assert "may not be asked" in str(caught.value)


def test_the_address_that_was_checked_is_the_one_that_is_dialled(resolver, monkeypatch):
    answers, asked = resolver
    answers += [["127.0.0.1"], ["10.0.0.1"]]
    monkeypatch.setattr(door, "is_public", lambda address: address == "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stream = dial.GuardedBackend().connect_tcp("pds.example.com", port, timeout=5)
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", port)
        stream.close()
    assert asked.count("pds.example.com") == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com:22/",
        "https://example.com:8443/",
        "http://example.com/",
        "https://user:word@example.com/",
        "https://[64:ff9b::a00:1]/",
        "ftp://example.com/",
    ],
)
def test_only_https_on_its_own_port_of_public_hosts(url):
    with pytest.raises(ServiceError, match=r"may not be asked.*https on port 443"):
        get_json(url)


@contextlib.contextmanager
def dripping(monkeypatch, first, drop, pause):
    """A server that sends `first`, and then `drop` again and again until nobody listens."""
    server = socket.create_server(("localhost", 0))
    url = f"http://localhost:{server.getsockname()[1]}"
    monkeypatch.setenv("ATDATA_PDS_URL", url)

    def serve():
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(first)
                for _ in range(400 if drop else 0):
                    time.sleep(pause)
                    connection.sendall(drop)
                connection.settimeout(0 if drop else 2)
                connection.recv(1)  # until who asked has gone

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.close()
        thread.join(30)


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n"


@pytest.mark.parametrize(
    ("first", "drop"), [(OK, b"X"), (OK + b"\r\n", b"1")], ids=["headers", "body"]
)
def test_a_server_that_drips_is_left(monkeypatch, first, drop):
    monkeypatch.setattr(dial, "GRACE_S", 0.4)
    with dripping(monkeypatch, first, drop, 0.05) as url:
        start = time.monotonic()
        with pytest.raises(UnreachableError, match="bytes a second"):
            get_json(f"{url}/xrpc/x")
        assert time.monotonic() - start < 5


def test_a_reader_who_takes_his_time_is_not_the_server_s_fault(monkeypatch):
    monkeypatch.setattr(dial, "GRACE_S", 0.2)
    body = bytes(3_000_000)
    first = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + body
    with (
        dripping(monkeypatch, first, b"", 0.01) as url,
        open_stream(f"{url}/a") as stream,
    ):
        total = len(stream.read(1))
        time.sleep(0.6)
        while piece := stream.read(1_000_000):
            time.sleep(0.1)
            total += len(piece)
        assert total == len(body)


@pytest.mark.parametrize("coding", ["gzip", "br", "x-unknown"])
def test_a_body_that_is_compressed_unasked_is_refused(monkeypatch, coding):
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 2\r\n\r\n{{}}"
    served = dripping(monkeypatch, head.encode(), b"", 0.01)
    with served as url, pytest.raises(ServiceError, match="compressed"):
        get_json(f"{url}/xrpc/x")


def test_headers_without_end_are_cut(monkeypatch):
    served = dripping(monkeypatch, b"HTTP/1.1 200 OK\r\nA: ", b"x" * 65536, 0)
    with served as url, pytest.raises(UnreachableError):
        get_json(f"{url}/xrpc/x")


def test_a_stream_s_host_is_checked_like_any_other(resolver):
    from atdata_core.following.websocket import frames

    resolver[0].append(["169.254.169.254"])
    with pytest.raises(ServiceError, match="may not be asked"):
        next(frames("wss://relay.example.com/xrpc/com.atproto.sync.subscribeRepos", 1, 1))
