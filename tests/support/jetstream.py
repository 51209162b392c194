"""A Jetstream: a websocket server that tells events in both of its formats."""

import json
import threading
import time
from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

from websockets.sync.server import serve

METHOD = "network.bsky.jetstream.subscribeEvents"


class Jetstream:
    """The server. `requests` holds the query of each connection."""

    def __init__(self):
        self.events = []
        self.requests = []
        self.raw = []
        self.oldest = 0
        self._server = serve(self._serve, "localhost", 0, process_request=self._check)
        port = self._server.socket.getsockname()[1]
        self.former = f"ws://localhost:{port}/subscribe"
        self.numbered = f"ws://localhost:{port}/xrpc/{METHOD}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._thread.join()

    def tell(self, kind, did, /, **body):
        """Something happens."""
        at = max(int(time.time() * 1e6), self.events[-1]["time_us"] + 1 if self.events else 0)
        event = {"did": did, "time_us": at, "kind": kind, kind: body}
        self.events.append(event)
        return event

    def commit(self, did, collection, rkey, rev, cid=None):
        """A record is written, or deleted."""
        body = {"rev": rev, "operation": "create" if cid else "delete"}
        body |= {"collection": collection, "rkey": rkey}
        return self.tell("commit", did, **body, **({"cid": cid, "record": {}} if cid else {}))

    def _check(self, connection, request):
        query = parse_qs(urlsplit(request.path).query)
        cursor = int(query.get("cursor", ["0"])[0])
        if request.path.startswith("/xrpc/") and cursor < self.oldest:
            body = json.dumps({"error": "CursorTooOld", "message": "that was long ago"})
            return connection.respond(400, body)
        return None

    def _serve(self, connection):
        parts = urlsplit(connection.request.path)
        query = parse_qs(parts.query)
        numbered = parts.path.startswith("/xrpc/")
        self.requests.append((parts.path, query))
        dids = query.get("dids" if numbered else "wantedDids")
        types = query.get("collections" if numbered else "wantedCollections")
        cursor = int(query.get("cursor", ["0"])[0])
        for text in self.raw:
            connection.send(text)
        for seq, event in enumerate(list(self.events), 1):
            place = seq if numbered and cursor < 10**15 else event["time_us"]
            unwanted = event["kind"] == "commit" and event["commit"]["collection"] not in types
            if place >= cursor and not unwanted and (not dids or event["did"] in dids):
                connection.send(json.dumps(self._numbered(seq, event) if numbered else event))
        for _ in connection:
            pass

    @staticmethod
    def _numbered(seq, event):
        kind = event["kind"]
        at = datetime.fromtimestamp(event["time_us"] / 1e6, UTC).isoformat()
        told = {"$type": f"{METHOD}#{kind}", "seq": seq, "did": event["did"], "time": at}
        inner = event[kind] if kind == "commit" else {kind: event[kind]}
        return {"$type": "message", "payload": {**inner, **told}}
