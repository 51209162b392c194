"""Signing keys: the one that a DID document names, and signatures by it.

Two curves, P-256 and K-256; signatures of 64 bytes, low-S
(https://atproto.com/specs/cryptography).
"""

from collections.abc import Mapping
from typing import Any

from atdata_core.errors import VerificationError

_SIGNATURE_BYTES = 64
_LEGACY = ("EcdsaSecp256r1VerificationKey2019", "EcdsaSecp256k1VerificationKey2019")


def signing_key(document: Mapping[str, Any], did: str) -> str:
    """The key that signs an account's repository, as did:key.

    Raises:
        VerificationError: The document is another DID's (``other-did``), or names no key that is
            the account's own and of a known type (``key``).
    """
    if document.get("id") != did:
        raise VerificationError(
            "DID document belongs to another DID",
            code="other-did",
            expected=did,
            got=repr(document.get("id"))[:120],
        )
    methods = document.get("verificationMethod")
    for method in methods if isinstance(methods, list) else ():
        if isinstance(method, dict) and method.get("id") in ("#atproto", f"{did}#atproto"):
            if method.get("controller") != did:
                raise VerificationError(
                    "signing key is controlled by somebody else",
                    code="key",
                    where=did,
                    got=repr(method.get("controller"))[:120],
                )
            return _did_key(method, did)
    raise VerificationError("DID document names no signing key", code="key", where=did)


def check_did_key(key: str) -> str:
    """`key` itself, if it is a did:key on one of the two curves; else `VerificationError`."""
    from atproto_core.exceptions import AtProtocolError
    from atproto_crypto.did import parse_did_key

    try:
        if not key.startswith("did:key:z") or len(key) > 100:
            raise ValueError("it is not did:key:z…")
        parse_did_key(key)
    except (ValueError, AtProtocolError) as error:
        raise VerificationError(
            f"signing key can't be used: {error}", code="key", got=repr(key)[:120]
        ) from error
    return key


def is_signed(key: str, data: bytes, signature: bytes) -> bool:
    """Whether `signature` is one of `data` by a did:key, in the only form that is allowed."""
    from atproto_crypto.verify import verify_signature

    # The SDK splits at byte 32 wherever the end is, so the length is looked at here; low-S it
    # demands itself.
    if len(signature) != _SIGNATURE_BYTES:
        return False
    return bool(verify_signature(check_did_key(key), data, signature))


def _did_key(method: Mapping[str, Any], did: str) -> str:
    kind, text = method.get("type"), method.get("publicKeyMultibase")
    if not isinstance(text, str) or not text.startswith("z") or len(text) > 200:
        raise VerificationError(
            "signing key is not in base58", code="key", where=did, got=repr(text)[:120]
        )
    if kind == "Multikey":
        return check_did_key(f"did:key:{text}")
    if kind not in _LEGACY:
        raise VerificationError(
            "signing key is of an unknown type",
            code="key",
            where=did,
            expected="Multikey",
            got=repr(kind)[:120],
        )
    from atproto_core.exceptions import AtProtocolError
    from atproto_crypto.did import get_did_key

    try:
        key = str(get_did_key(kind, text))
    except (ValueError, AtProtocolError) as error:
        raise VerificationError(
            f"signing key can't be used: {error}", code="key", where=did
        ) from error
    return check_did_key(key)
