"""Lenses as records: writing the account's own, reading anybody's. The code itself stays in git."""

import dataclasses

from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.identity import resolve_authority
from atdata_core.atproto.records import (
    LENS_TYPES,
    CodeReference,
    LensDescription,
    lens_record,
    names_of,
    parse_lens,
)
from atdata_core.atproto.uri import AtUri
from atdata_core.errors import AtdataError
from atdata_core.publishing.common import create_once, iter_types
from atdata_core.publishing.schemas import SchemaLoader


class LensPublisher:
    """Publishes lenses: between which types they lead, and where their code lies.

    Args:
        client: The account, logged in.
        namespace: In which namespace records are written; see `SchemaPublisher`.
    """

    def __init__(self, client: AtmosphereClient, *, namespace: str | None = None) -> None:
        self._client = client
        self._names = names_of(namespace)

    def publish(
        self,
        *,
        name: str,
        source_schema_uri: str | AtUri,
        target_schema_uri: str | AtUri,
        code_repository: str,
        code_commit: str,
        getter_path: str,
        putter_path: str | None = None,
        description: str | None = None,
        language: str | None = "python",
        rkey: str | None = None,
    ) -> AtUri:
        """The record of a lens: the one that is there, or a new one.

        Args:
            name: The lens's name.
            source_schema_uri: The schema of what is looked at; its record must exist.
            target_schema_uri: The schema of what is seen; its record must exist.
            code_repository: The address of the repository, ``https://…``, without credentials.
            code_commit: The full hash of a commit, 40 or 64 hexadecimal digits; in the namespace
                of public ``atdata`` 40.
            getter_path: Where the getter is: ``lenses/vision.py:to_gray``.
            putter_path: Where the putter is. None: the lens is for looking only, which the
                namespace of public ``atdata`` has no form for.
            description: For people.
            language: The programming language, in lower case.
            rkey: The record's key; by default one made of the content.

        Raises:
            InvalidRecordError: The repository, the commit or a path is not one that others can
                rely on, or the record is not what its lexicon says; nothing was sent.
            NotFoundError: There is no such schema.
            ConflictError: There is another record of this `rkey`.
        """
        code = CodeReference(code_repository, code_commit, getter_path, language)
        putter = None
        if putter_path is not None:
            putter = CodeReference(code_repository, code_commit, putter_path, language)
        lens = LensDescription(
            name, str(source_schema_uri), str(target_schema_uri), code, putter, description
        )
        lens_record(lens, self._names)  # what is wrong with the code needs nobody to be asked
        schemas = SchemaLoader(self._client)
        source, target = schemas.get(source_schema_uri), schemas.get(target_schema_uri)
        linked = dataclasses.replace(
            lens,
            source_schema=source.uri,
            target_schema=target.uri,
            source_cid=source.cid,
            target_cid=target.cid,
        )
        record = lens_record(linked, self._names)
        return create_once(self._client, self._names.lens, record, rkey)


class LensLoader:
    """Reads what records say of lenses, the account's own and others'.

    Nothing that a record names is fetched, imported or run: whoever wants to use a lens reads its
    code first.

    Args:
        client: For the account whose records are looked at by default.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = client

    def get(self, uri: str | AtUri) -> LensDescription:
        """What the record at an AT URI says.

        Raises:
            NotFoundError: There is no such record.
            InvalidRecordError: It describes no lens.
        """
        return parse_lens(self._client.get_record(uri))

    def list_all(self, repo: str | None = None, limit: int | None = 100) -> list[LensDescription]:
        """An account's lenses, newest key first; records that can't be read are left out.

        Args:
            repo: DID or handle; by default the account's own.
            limit: How many records are looked at; None: all.
        """
        found = []
        for record in iter_types(self._client, LENS_TYPES, repo, limit):
            try:
                found.append(parse_lens(record))
            except AtdataError:
                continue
        return found

    def find(
        self,
        source_schema: str | AtUri,
        target_schema: str | AtUri | None = None,
        *,
        repo: str | None = None,
    ) -> list[LensDescription]:
        """An account's lenses from one schema, newest first; all records are looked at.

        Args:
            source_schema: The AT URI of the schema of what is looked at.
            target_schema: That of what is seen; None: any.
            repo: DID or handle; by default the account's own.
        """
        source = _with_did(source_schema)
        target = None if target_schema is None else _with_did(target_schema)
        found = [
            lens
            for lens in self.list_all(repo, limit=None)
            if lens.source_schema == source and target in (None, lens.target_schema)
        ]
        return sorted(found, key=lambda lens: lens.created_at or "", reverse=True)


def _with_did(uri: str | AtUri) -> str:
    # As records hold it, whose links outlive a handle.
    parsed = uri if isinstance(uri, AtUri) else AtUri.parse(uri)
    return str(AtUri(resolve_authority(parsed.authority), parsed.collection, parsed.rkey))
