"""Attestations of others, found in their repositories and proven."""

from collections.abc import Sequence

from atdata_core.atproto.client import AtmosphereClient, Record, trusted_dids
from atdata_core.atproto.identity import resolve_authority
from atdata_core.atproto.records import (
    ATTESTATION_TYPES,
    Attestation,
    attestation_key,
    parse_attestation,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.entry import StrongRef
from atdata_core.errors import InvalidRecordError, NotFoundError


def attestations(
    subject: str | AtUri | StrongRef, dids: Sequence[str] | None = None
) -> list[Attestation]:
    """What some accounts attest of a dataset's record, at the content that it has now.

    Args:
        subject: The record's AT URI; or a link to it, at the content that is asked about.
        dids: The accounts to ask, by DID; by default those of ``ATDATA_TRUSTED_DIDS``.

    Returns:
        One a DID at most, each proven to be its account's.

    Raises:
        NotFoundError: There is no such record.
        VerificationError: A record, or an attestation, isn't what its account signed.
        InvalidRecordError: An attestation isn't what its lexicon says, or is about something else.
        ServiceError: A server refuses, or isn't reached.
    """
    client = AtmosphereClient(trusted=dids)
    if not isinstance(subject, StrongRef):
        proven = client.prove_record(subject)
        subject = StrongRef(proven.uri, proven.cid)
    found = (attestation_by(client, did, subject) for did in trusted_dids(dids))
    return [each for each in found if each is not None]


def attestation_by(client: AtmosphereClient, did: str, subject: StrongRef) -> Attestation | None:
    """What an account attests of a record, or None if there is no such attestation.

    Raises:
        VerificationError: The account's server gives something that isn't the account's.
        InvalidRecordError: The attestation is about something else, or malformed.
    """
    parsed = AtUri.parse(subject.uri)
    plain = AtUri(resolve_authority(parsed.authority), parsed.collection, parsed.rkey)
    subject = StrongRef(str(plain), subject.cid)
    for collection in ATTESTATION_TYPES:
        try:
            proven = client.prove_record(AtUri(did, collection, attestation_key(subject)))
        except NotFoundError:
            continue
        found = parse_attestation(Record(proven.value, proven.uri, proven.cid))
        if found.subject != subject:
            raise InvalidRecordError(
                "attestation is about something else",
                where=proven.uri,
                expected=f"{subject.uri}, {subject.cid}",
                got=f"{found.subject.uri}, {found.subject.cid}",
            )
        return found
    return None
