"""A server that is a PLC directory and a PDS in one, and lies when told so.

It speaks real HTTP on this machine. What it serves is honest until `answer` replaces a reply.
"""

import base64
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from atdata_core.cid import dag_cbor_cid, raw_cid
from tests.support.repo import Key, Repo

DID = "did:plc:" + "a" * 24
HANDLE = "liar.test"


def _jwt(scope):
    def part(body):
        return base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")

    claims = {"scope": scope, "sub": DID, "iat": 1, "exp": 4102444800, "aud": "did:web:localhost"}
    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}.{'s' * 43}"


def session(scope):
    """What createSession answers to a password that opens so much."""
    return {
        "did": DID,
        "handle": HANDLE,
        "active": True,
        "accessJwt": _jwt(scope),
        "refreshJwt": _jwt("com.atproto.refresh"),
    }


class Liar:
    """The server; `url` is its origin, and `requests` what it was asked."""

    def __init__(self):
        self.records = {}
        self.blobs = {}
        self.requests = []
        self.key = Key()
        self._answers = {}
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner._serve(self, b"")

            def do_POST(self):
                length = self.headers.get("Content-Length")
                owner._serve(self, self.rfile.read(int(length)) if length else self._chunks())

            def _chunks(self):
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                return body

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("localhost", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path, body, status=200, headers=()):
        """From now on, `path` is answered so; `body` is JSON, bytes, or a function of the query."""
        self._answers[path] = (status, body, dict(headers))

    def forget(self, path):
        """From now on, `path` is answered honestly again."""
        self._answers.pop(path, None)

    def add_record(self, collection, rkey, value):
        """Keeps a record; its address."""
        uri = f"at://{DID}/{collection}/{rkey}"
        self.records[uri] = value
        return uri

    def add_blob(self, data):
        """Keeps a blob; its CID."""
        cid = raw_cid(data)
        self.blobs[cid] = data
        return cid

    def document(self, **changes):
        """The DID document, with some parts other than they should be."""
        return {
            "id": DID,
            "alsoKnownAs": [f"at://{HANDLE}"],
            "verificationMethod": [
                {
                    "id": "#atproto",
                    "type": "Multikey",
                    "controller": changes.get("id", DID),
                    "publicKeyMultibase": self.key.multibase,
                }
            ],
            "service": [
                {
                    "id": "#atproto_pds",
                    "type": "AtprotoPersonalDataServer",
                    "serviceEndpoint": self.url,
                }
            ],
        } | changes

    def asked(self, path):
        """The headers of each request for a path."""
        return [headers for asked, headers in self.requests if asked == path]

    def _serve(self, handler, body):
        parts = urlsplit(handler.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        path = parts.path.rpartition("/")[2]
        self.requests.append((path, dict(handler.headers)))
        status, answer, headers = self._answers.get(path) or (*self._honest(path, query, body), {})
        if callable(answer):
            answer = answer(query)
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        default = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
        headers = {"Content-Type": default, "Content-Length": str(len(data))} | headers
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.close_connection = True
        with contextlib.suppress(ConnectionError):  # who asked may have gone
            handler.end_headers()
            handler.wfile.write(data)

    def _honest(self, path, query, body):
        if path == DID:
            return 200, self.document()
        if path == "com.atproto.server.createSession":
            return 200, session("com.atproto.appPass") | {"didDoc": self.document()}
        if path == "com.atproto.server.describeServer":
            return 200, {"did": "did:web:localhost", "availableUserDomains": [".test"]}
        if path == "com.atproto.identity.resolveHandle" and query["handle"] == HANDLE:
            return 200, {"did": DID}
        if path == "com.atproto.repo.getRecord":
            return self._record(f"at://{query['repo']}/{query['collection']}/{query['rkey']}")
        if path == "com.atproto.sync.getRecord":
            return 200, self.repo(query["did"]).car()
        if path == "com.atproto.repo.listRecords":
            found = [
                self._record(uri)[1]
                for uri in self.records
                if uri.split("/")[3] == query["collection"]
            ]
            return 200, {"records": found}
        if path == "com.atproto.sync.getBlob" and query["cid"] in self.blobs:
            return 200, self.blobs[query["cid"]]
        if path == "com.atproto.repo.uploadBlob":
            return 200, {"blob": self.blob(raw_cid(body), len(body))}
        if path == "com.atproto.repo.putRecord":
            asked = json.loads(body)
            if self._is_taken(asked):
                return 400, {"error": "InvalidSwap", "message": "Record was there"}
            uri = self.add_record(asked["collection"], asked["rkey"], asked["record"])
            return 200, {"uri": uri, "cid": dag_cbor_cid(asked["record"])}
        return 404, {"error": "NotFound", "message": f"nothing at {path}"}

    def repo(self, did=DID, **commit):
        """The signed repository that holds the account's records."""
        start = f"at://{did}/"
        mine = {uri: v for uri, v in self.records.items() if uri.startswith(start)}
        records = {uri.removeprefix(start): value for uri, value in mine.items()}
        return Repo(records, self.key, did, **commit)

    def _is_taken(self, asked):
        """Whether a record is to be new and isn't."""
        uri = f"at://{DID}/{asked['collection']}/{asked['rkey']}"
        same = self.records.get(uri) == asked["record"]
        return asked.get("swapRecord", "") is None and uri in self.records and not same

    def blob(self, cid, size):
        """A blob object as uploadBlob answers it."""
        return {
            "$type": "blob",
            "ref": {"$link": cid},
            "mimeType": "application/x-tar",
            "size": size,
        }

    def _record(self, uri):
        if uri not in self.records:
            return 400, {"error": "RecordNotFound", "message": f"Could not locate record: {uri}"}
        value = self.records[uri]
        return 200, {"uri": uri, "cid": dag_cbor_cid(value), "value": value}
