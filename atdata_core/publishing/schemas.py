"""Schemas as records: writing the account's own, reading anybody's."""

import logging
from collections.abc import Mapping
from typing import Any

from atdata_core.atproto.answers import Record
from atdata_core.atproto.client import AtmosphereClient
from atdata_core.atproto.records import SCHEMA_TYPES, names_of, parse_schema, schema_record
from atdata_core.atproto.uri import AtUri
from atdata_core.errors import SchemaError
from atdata_core.evolution import is_compatible
from atdata_core.publishing.common import create_once, iter_types
from atdata_core.schema import Schema

_log = logging.getLogger(__name__)


class SchemaPublisher:
    """Publishes sample types as records.

    Args:
        client: The account, logged in.
        namespace: In which namespace records are written: ``ac.foundation.dataset`` or
            ``science.alt.dataset``; by default ``ATDATA_NAMESPACE``, else the first.
    """

    def __init__(self, client: AtmosphereClient, *, namespace: str | None = None) -> None:
        self._client = client
        self._names = names_of(namespace)

    def publish(
        self,
        sample_type: type | Schema,
        *,
        name: str | None = None,
        version: str = "1.0.0",
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        rkey: str | None = None,
    ) -> AtUri:
        """The record of a sample type: the one that is there, or a new one.

        Args:
            sample_type: A packable type, or its schema (then `name` and `version` are its own).
            name: Another name than the type's own.
            version: A semantic version.
            description: By default the type's docstring.
            metadata: Whatever else belongs to it.
            rkey: The record's key; by default one made of the content.

        Raises:
            SchemaError: The type can't be described.
            ConflictError: There is another record of this `rkey`.
        """
        schema = sample_type
        if not isinstance(schema, Schema):
            schema = Schema.of(schema, name=name, version=version, description=description)
        record = schema_record(schema, metadata, self._names.namespace)
        uri = create_once(self._client, self._names.schema, record, rkey)
        self._warn_of_others(schema, uri)
        return uri

    def _warn_of_others(self, schema: Schema, uri: AtUri) -> None:
        for record in self._client.iter_records(self._names.schema):
            same = (record.get("name"), record.get("version")) == (schema.name, schema.version)
            if same and record.get("contentCid") != schema.cid:
                _log.warning(
                    "%s %s is published with other content too: %s and %s",
                    *(schema.name, schema.version, uri, record.uri),
                )


class SchemaLoader:
    """Reads schema records, the account's own and others'.

    Args:
        client: For the account whose records `list_all` lists by default.
    """

    def __init__(self, client: AtmosphereClient) -> None:
        self._client = client

    def get(self, uri: str | AtUri) -> Record:
        """The record at an AT URI: a dict, with `uri` and `cid` beside its fields."""
        record = self._client.get_record(uri)
        parse_schema(record)
        return record

    def load(self, uri: str | AtUri, cid: str | None = None) -> Schema:
        """The schema at an AT URI.

        Args:
            uri: The record's address.
            cid: The CID that the record must have, where a strongRef recorded one.
        """
        return parse_schema(self._client.get_record(uri, cid))

    def list_all(self, repo: str | None = None, limit: int | None = 100) -> list[Record]:
        """An account's schema records, newest key first."""
        return list(iter_types(self._client, SCHEMA_TYPES, repo, limit))


def check_type(schema: Schema, sample_type: type | None, where: str) -> type:
    """`sample_type`, if samples of a dataset's schema can be of it; the schema's own for None.

    It may say more than the schema (a dtype, where that allows any): then each value is checked
    when it is read.

    Raises:
        SchemaError: No sample of the one can be one of the other.
    """
    if sample_type is None:
        return schema.to_type()
    wanted = Schema.of(sample_type)
    if not is_compatible(schema, wanted) and not is_compatible(wanted, schema):
        raise SchemaError(
            f"dataset's samples are not of type {sample_type.__name__}",
            where=where,
            expected=str(wanted),
            got=str(schema),
        )
    return sample_type
