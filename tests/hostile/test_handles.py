"""Handles that lead astray, asked of a real name server and a real host on this machine."""

import contextlib
import socket
import threading

import dns.message
import dns.resolver
import dns.rrset
import pytest

from atdata_core.atproto import handles
from atdata_core.atproto.handles import claimed_did, did_at
from atdata_core.errors import InvalidUriError, NotFoundError, ServiceError
from tests.support.liar import DID, Liar

OTHER = "did:plc:" + "b" * 24


@pytest.fixture
def texts(monkeypatch):
    """The TXT records that a name server on this machine tells of every name; to be filled."""
    texts = []
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                data, asker = server.recvfrom(4096)
                if not data:
                    return
                query = dns.message.from_wire(data)
                reply = dns.message.make_response(query)
                name = query.question[0].name
                if texts and name.to_text().startswith("_atproto."):
                    quoted = [f'"{text}"' for text in texts]
                    reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *quoted))
                server.sendto(reply.to_wire(), asker)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    yield texts
    server.sendto(b"", server.getsockname())
    thread.join(10)
    server.close()


@pytest.fixture
def host(monkeypatch):
    """A host that answers what it is told to."""
    with Liar() as server:
        monkeypatch.setenv("ATDATA_PLC_URL", server.url)
        yield server


def at(host):
    return f"{host.url}/.well-known/atproto-did"


@pytest.mark.parametrize(
    "handle",
    [
        "a.local",
        "a.onion",
        "a.internal",
        "a.example",
        "a.invalid",
        "a.arpa",
        "a.alt",
        "a.LOCALHOST",
    ],
)
def test_handles_that_can_lead_nowhere_are_not_looked_up(handle, monkeypatch):
    monkeypatch.setattr(socket, "socket", lambda *a, **k: pytest.fail("was looked up"))
    with pytest.raises(NotFoundError, match="lead to nobody"):
        claimed_did(handle)


def test_a_txt_record_names_the_account(texts):
    texts += ["v=spf1 -all", f"did={DID}"]
    assert claimed_did("alice.example.org") == DID


def test_dns_comes_before_the_host(texts, monkeypatch):
    texts.append(f"did={DID}")
    monkeypatch.setattr(handles, "did_at", lambda url: pytest.fail("the host was asked"))
    assert claimed_did("alice.example.org") == DID


def test_several_accounts_in_txt_records_are_none(texts):
    texts += [f"did={DID}", f"did={OTHER}"]
    with pytest.raises(ServiceError, match="several accounts"):
        claimed_did("alice.example.org")


def test_a_txt_record_that_names_no_did_is_refused(texts):
    texts.append("did=../../etc/passwd")
    with pytest.raises(InvalidUriError):
        claimed_did("alice.example.org")


def test_a_host_s_answer_is_taken_with_white_space_and_after_a_redirect(host):
    host.answer("atproto-did", b"", 302, {"Location": "/moved"})
    host.answer("moved", f"  {DID}\n".encode())
    assert did_at(at(host)) == DID


@pytest.mark.parametrize(
    "body",
    [b"", b"<!DOCTYPE html><html>", b"did:plc:short", DID.encode() + b"x" * 5_000_000, b"\xff\xfe"],
    ids=["empty", "html", "short", "endless", "bytes"],
)
def test_a_host_that_answers_something_else_leads_nowhere(host, body):
    host.answer("atproto-did", body)
    with pytest.raises(NotFoundError, match="no DID"):
        did_at(at(host))


def test_a_host_that_redirects_in_a_circle_is_left(host):
    host.answer("atproto-did", b"", 302, {"Location": at(host)})
    with pytest.raises(NotFoundError, match="on and on"):
        did_at(at(host))
    assert len(host.requests) == 4


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/", "https://10.0.0.1/", "file:///etc/passwd", "http://example.com/"],
)
def test_a_redirect_to_where_nobody_may_be_asked_is_refused(host, location):
    host.answer("atproto-did", b"", 302, {"Location": location})
    with pytest.raises(ServiceError, match="may not be asked"):
        did_at(at(host))
