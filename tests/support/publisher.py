"""Somebody who publishes on a real PDS, and the PDS's own administration."""

import base64
import json
import urllib.request

from atdata_core.atmosphere import AtmosphereClient
from atdata_core.atproto.records import DATASET_TYPES
from tests.support.web import records

TYPE = DATASET_TYPES[0]


def dataset(name, **said):
    """The fields of a dataset's record, its one shard at an address that nobody opens."""
    return {
        "$type": TYPE,
        "name": name,
        "schemaRef": "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/ac.foundation.dataset.sampleSchema/x",
        "storage": {
            "$type": "ac.foundation.dataset.storageExternal",
            "urls": ["https://data.example.org/x.tar"],
        },
        "createdAt": "2026-01-01T00:00:00.000Z",
    } | said


class Publisher:
    """An account on a PDS of the devnet that writes, changes and deletes records."""

    def __init__(self, services, name, pds=1):
        self.services = services
        self.account = services.create_account(name, pds)
        self.did = self.account.did
        self.pds = self.account.pds
        self.client = AtmosphereClient(self.pds)
        self.client.login(self.account.handle, self.account.app_password)

    def close(self):
        self.client.close()

    def put(self, rkey, name=None, **said):
        """Writes a record, in place of what is there."""
        return str(self.client.put_record(TYPE, rkey, dataset(name or rkey, **said)))

    def delete(self, rkey):
        self.client.delete_record(f"at://{self.did}/{TYPE}/{rkey}")

    def held(self):
        """What the PDS holds: rkey -> cid."""
        found = records(self.pds, self.did, TYPE)
        return {record["uri"].rpartition("/")[2]: record["cid"] for record in found}

    def post(self, method, body=None, admin=False):
        """Calls a method as the account's owner, or as the PDS's administrator."""
        if admin:
            secret = f"admin:{self.services.admin_password}".encode()
            auth = f"Basic {base64.b64encode(secret).decode()}"
        else:
            login = {"identifier": self.did, "password": self.account.password}
            session = _post(f"{self.pds}/xrpc/com.atproto.server.createSession", login)
            auth = f"Bearer {session['accessJwt']}"
        return _post(f"{self.pds}/xrpc/{method}", body, auth)

    def deactivate(self):
        self.post("com.atproto.server.deactivateAccount", {})

    def activate(self):
        self.post("com.atproto.server.activateAccount")

    def take_down(self, applied=True):
        subject = {"$type": "com.atproto.admin.defs#repoRef", "did": self.did}
        body = {"subject": subject, "takedown": {"applied": applied, "ref": "test"}}
        self.post("com.atproto.admin.updateSubjectStatus", body, admin=True)

    def remove(self):
        self.post("com.atproto.admin.deleteAccount", {"did": self.did}, admin=True)


def _post(url, body, auth=None):
    headers = {"Authorization": auth} if auth else {}
    data = None if body is None else json.dumps(body).encode()
    if data is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data or b"", headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        text = response.read()
    return json.loads(text) if text else {}
