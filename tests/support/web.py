"""Plain HTTP, for a look past the library."""

import json
import urllib.parse
import urllib.request


def fetch(url, **params):
    """The body that a GET gives."""
    query = f"?{urllib.parse.urlencode(params)}" if params else ""
    with urllib.request.urlopen(url + query, timeout=30) as response:
        return response.read()


def fetch_json(url, **params):
    """The JSON that a GET gives."""
    return json.loads(fetch(url, **params))


def records(pds, did, collection):
    """All records of one type of an account."""
    found, cursor = [], None
    while True:
        params = {"repo": did, "collection": collection, "limit": 100}
        if cursor:
            params["cursor"] = cursor
        page = fetch_json(f"{pds}/xrpc/com.atproto.repo.listRecords", **params)
        found += page["records"]
        cursor = page.get("cursor")
        if not cursor or not page["records"]:
            return found


def record(pds, uri):
    """One record: uri, cid and value."""
    did, collection, rkey = uri.removeprefix("at://").split("/")
    return fetch_json(
        f"{pds}/xrpc/com.atproto.repo.getRecord", repo=did, collection=collection, rkey=rkey
    )


def blob(pds, did, cid):
    """A blob's bytes."""
    return fetch(f"{pds}/xrpc/com.atproto.sync.getBlob", did=did, cid=cid)
