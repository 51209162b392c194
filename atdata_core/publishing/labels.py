"""Labels as records: names, with or without a version, for datasets of an account."""

from typing import Any

from atdata_core.atproto.client import AtmosphereClient, Record
from atdata_core.atproto.identity import resolve_authority
from atdata_core.atproto.records import LABEL_TYPES, names_of
from atdata_core.atproto.records.common import now
from atdata_core.atproto.uri import AtUri
from atdata_core.entry import StrongRef
from atdata_core.errors import (
    InvalidRecordError,
    NotFoundError,
    SchemaError,
    VerificationError,
)
from atdata_core.publishing.common import create_once, iter_types
from atdata_core.publishing.opening import Target
from atdata_core.publishing.reading import DatasetLoader
from atdata_core.schema import check_version


class LabelPublisher:
    """Publishes labels.

    Args:
        client: The account, logged in.
        namespace: In which namespace records are written; see `SchemaPublisher`.
    """

    def __init__(self, client: AtmosphereClient, *, namespace: str | None = None) -> None:
        self._client = client
        self._names = names_of(namespace)

    def publish(
        self,
        name: str,
        dataset_uri: str | AtUri,
        *,
        version: str | None = None,
        description: str | None = None,
    ) -> AtUri:
        """The record of a label: the one that is there, or a new one.

        Args:
            name: The label's name.
            dataset_uri: The record of the dataset that it stands for; it must exist.
            version: A semantic version, or None for the label that the newest record moves.
            description: For people.

        Raises:
            SchemaError: The version is no semantic version.
            NotFoundError: There is no such dataset.
        """
        target = DatasetLoader(self._client).get(dataset_uri)
        record: dict[str, Any] = {
            "$type": self._names.label,
            "name": name,
            "datasetUri": target.uri,
            "dataset": target.strong_ref(),
            "createdAt": now(),
        }
        if version is not None:
            record["version"] = check_version(version)
        if description:
            record["description"] = description
        return create_once(self._client, self._names.label, record)


class LabelLoader:
    """Reads labels, the account's own and others'.

    Args:
        client: For the account whose labels are looked at by default.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = client

    def list_all(self, repo: str | None = None, limit: int | None = None) -> list[Record]:
        """An account's labels."""
        return list(iter_types(self._client, LABEL_TYPES, repo, limit))

    def resolve(self, repo: str, name: str, version: str | None = None) -> AtUri:
        """The dataset that a label stands for; all labels of the account are looked at.

        Args:
            repo: DID or handle of the account.
            name: The label's name.
            version: Its version. None: the label without a version, the newest of them; else the
                largest version.

        Raises:
            NotFoundError: There is no such label.
        """
        return AtUri.parse(str(self.find(repo, name, version).get("datasetUri")))

    def find(self, repo: str, name: str, version: str | None = None) -> Record:
        """The record of the label that `resolve` takes; arguments and errors as there."""
        found = [r for r in self.list_all(repo) if r.get("name") == name]
        chosen = [r for r in found if r.get("version") == version]
        if not chosen and version is None:
            largest = max((_version(r) for r in found), default=())
            chosen = [r for r in found if _version(r) == largest]
        if not chosen:
            known = sorted({str(r.get("version")) for r in found})
            raise NotFoundError(
                "account has no such label",
                where=f"@{repo}/{name}",
                expected=", ".join(known) or None,
                got=version,
            )
        return max(chosen, key=lambda r: str(r.get("createdAt")))


def resolve_name(
    client: AtmosphereClient, authority: str, name: str, version: str | None = None
) -> str:
    """The AT URI of a dataset that an account has labelled so, or called so.

    Raises:
        NotFoundError: There is none.
    """
    return find_target(client, authority, name, version, prove=False).uri


def find_target(
    client: AtmosphereClient,
    authority: str,
    name: str,
    version: str | None = None,
    *,
    prove: bool = True,
) -> Target:
    """What an account has labelled so, or called so, with the content that its label means.

    Args:
        client: Asks for the records.
        authority: DID or handle of the account.
        name: The name.
        version: The label's version; see `LabelLoader.resolve`.
        prove: Whether the label has to be proven to be the account's.

    Raises:
        NotFoundError: There is none.
        VerificationError: The label is not what the account signed.
    """
    did = resolve_authority(authority)
    try:
        label = LabelLoader(client).find(did, name, version)
    except NotFoundError:
        if version is not None:
            raise
        return _called_so(client, did, name)
    evidence = []
    if prove:
        proven = client.prove_record(label.uri)
        if proven.cid != label.cid:
            raise VerificationError(
                "label is another one than the account signed",
                code="changed",
                where=label.uri,
                expected=proven.cid,
                got=label.cid,
            )
        evidence.append(f"label {label.uri} is signed: {proven.signing_key}, {proven.rev}")
    uri = str(AtUri.parse(str(label.get("datasetUri"))))
    link = label.get("dataset")
    if not isinstance(link, dict):
        return Target(uri, evidence=tuple(evidence))
    if link.get("uri") != uri:
        raise InvalidRecordError(
            "label names its dataset in two ways", where=label.uri, got=f"{uri}, {link.get('uri')}"
        )
    return Target(uri, StrongRef(uri, str(link.get("cid"))).cid, prove, tuple(evidence))


def _called_so(client: AtmosphereClient, did: str, name: str) -> Target:
    loader = DatasetLoader(client)
    found = [r for r in loader.list_all(did, limit=None) if r.get("name") == name]
    if not found:
        raise NotFoundError("account has no dataset of this name", where=f"@{did}", got=name)
    newest = max(found, key=lambda r: str(r.get("createdAt")))
    return Target(newest.uri, newest.cid)


def _version(record: Record) -> tuple[int, ...]:
    try:
        return tuple(map(int, check_version(str(record.get("version"))).split(".")))
    except SchemaError:
        return ()
