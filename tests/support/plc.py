"""Histories of a did:plc made by hand, after the method's specification."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import cbrrr

from tests.support.repo import cid_of, text_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def signed(operation, key, sign=None):
    signature = (sign or key.sign)(cbrrr.encode_dag_cbor(operation))
    return operation | {"sig": base64.urlsafe_b64encode(signature).decode().rstrip("=")}


def did_of(operation):
    digest = hashlib.sha256(cbrrr.encode_dag_cbor(operation)).digest()
    return "did:plc:" + base64.b32encode(digest).decode().lower()[:24]


def cid_text(operation):
    return text_of(cid_of(cbrrr.encode_dag_cbor(operation)))


def operation(rotation, signing, prev=None, pds="https://pds.example.org"):
    """An operation without its signature; keys are `Key`s."""
    return {
        "type": "plc_operation",
        "rotationKeys": [key.did for key in rotation],
        "verificationMethods": {"atproto": signing.did},
        "alsoKnownAs": ["at://someone.example.org"],
        "services": {"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": pds}},
        "prev": prev,
    }


class History:
    """A log that grows; `log` is what a directory gives."""

    def __init__(self, rotation, signing, key=None, genesis=None, at=START):
        first = signed(genesis or operation(rotation, signing), key or rotation[0])
        self.did = did_of(first)
        self.log = []
        self._add(first, at)

    @property
    def head(self):
        return self.log[-1]["cid"]

    def then(self, body, key, days=1.0, sign=None, void=()):
        """Adds an operation, some days after the one before; `void` are the indices it undoes."""
        last = datetime.fromisoformat(self.log[-1]["createdAt"])
        for index in void:
            self.log[index]["nullified"] = True
        self._add(signed(body, key, sign), last + timedelta(days=days))
        return self

    def _add(self, body, at):
        self.log.append(
            {
                "did": self.did,
                "operation": body,
                "cid": cid_text(body),
                "nullified": False,
                "createdAt": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            }
        )
