"""Lens records: between which types, and where the code lies. What they name is never run here.

Form as public ``atdata`` publishes it, with the CIDs of both schemas' records beside their
addresses.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any
from urllib.parse import urlsplit

from atdata_core.atproto.answers import Record
from atdata_core.atproto.records.common import check_type, now, optional_text
from atdata_core.atproto.records.names import LENS_TYPES, Names
from atdata_core.atproto.uri import AtUri
from atdata_core.cid import check_cid
from atdata_core.errors import AtdataError, InvalidRecordError

_FULL_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SOME_HASH = re.compile(r"[0-9a-f]{7,64}")
_MAX_TEXT = 500


@dataclass(frozen=True)
class CodeReference:
    """Code in a repository, at one commit.

    Args:
        repository: The address of the repository: ``https://…``. What others published may lie at
            ``at://…`` too.
        commit: The hash of the commit, in hexadecimal.
        path: The path in the repository, and the function: ``lenses/vision.py:to_gray``.
        language: The programming language, in lower case.
    """

    repository: str
    commit: str
    path: str
    language: str | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether the commit is a full hash, so that the code can't become another one."""
        return _FULL_HASH.fullmatch(self.commit) is not None


@dataclass(frozen=True)
class LensDescription:
    """What a record says of a lens. Text only: nothing of it is imported or run.

    Args:
        name: The lens's name.
        source_schema: The AT URI of the schema of what is looked at.
        target_schema: The AT URI of the schema of what is seen.
        getter: The code that makes a view of a source; None in old records that don't tell.
        putter: The code that puts a changed view back; None: the lens is for looking only.
        description: For people.
        source_cid: The CID of the source's schema record, where the lens tells it.
        target_cid: The CID of the target's schema record, where the lens tells it.
        uri: The AT URI of its record, once it is one.
        record_cid: The CID of that record.
        created_at: When it was written, ISO 8601.
    """

    name: str
    source_schema: str
    target_schema: str
    getter: CodeReference | None
    putter: CodeReference | None = None
    description: str | None = None
    source_cid: str | None = None
    target_cid: str | None = None
    uri: str | None = None
    record_cid: str | None = None
    created_at: str | None = None


def lens_record(lens: LensDescription, names: Names) -> dict[str, Any]:
    """The record of a lens.

    Args:
        lens: What it says.
        names: The types of records to write.

    Raises:
        InvalidRecordError: A repository, commit or path is not one that others can rely on.
    """
    record: dict[str, Any] = {
        "$type": names.lens,
        "name": lens.name,
        "sourceSchema": lens.source_schema,
        "targetSchema": lens.target_schema,
        "createdAt": now(),
    }
    if lens.source_cid is not None:
        record["source"] = {"uri": lens.source_schema, "cid": lens.source_cid}
    if lens.target_cid is not None:
        record["target"] = {"uri": lens.target_schema, "cid": lens.target_cid}
    for key, code in (("getterCode", lens.getter), ("putterCode", lens.putter)):
        if code is not None:
            record[key] = _code_to_json(check_code(code, f"{lens.name}, {key}"))
    record |= {"description": lens.description} if lens.description else {}
    return record


def check_code(code: CodeReference, where: str) -> CodeReference:
    """`code` itself, if it can be published.

    Raises:
        InvalidRecordError: The repository is no https URL or has credentials in it, the commit is
            not a full hash, or the path leads out of the repository.
    """
    _check_repository(code.repository, where, ("https",))
    if not code.is_pinned:
        raise InvalidRecordError(
            "commit is not a full hash",
            where=where,
            expected="40 or 64 lower-case hexadecimal digits",
            got=repr(code.commit)[:80],
            remedy="git rev-parse HEAD tells it; branches and tags can move",
        )
    _check_path(code.path, where)
    return code


def parse_lens(record: Record) -> LensDescription:
    """What a record says of a lens, in every form that was ever published.

    Raises:
        InvalidRecordError: It is of another type, lacks what a lens has to have, or names code
            outside of a repository.
    """
    check_type(record, LENS_TYPES)
    try:
        return LensDescription(
            name=_text(record, "name", record.uri),
            source_schema=str(AtUri.parse(_text(record, "sourceSchema", record.uri))),
            target_schema=str(AtUri.parse(_text(record, "targetSchema", record.uri))),
            getter=_code_from_json(record, "getterCode"),
            putter=_code_from_json(record, "putterCode"),
            description=optional_text(record, "description"),
            source_cid=_linked_cid(record, "source"),
            target_cid=_linked_cid(record, "target"),
            uri=record.uri,
            record_cid=record.cid,
            created_at=optional_text(record, "createdAt"),
        )
    except InvalidRecordError:
        raise
    except AtdataError as error:
        raise InvalidRecordError(f"lens is malformed: {error}", where=record.uri) from error


def _code_to_json(code: CodeReference) -> dict[str, str]:
    body = {"repository": code.repository, "commit": code.commit, "path": code.path}
    return body | ({"language": code.language} if code.language else {})


def _code_from_json(record: Record, key: str) -> CodeReference | None:
    body = record.get(key)
    if body is None:
        return None
    where = f"{record.uri}, {key}"
    if not isinstance(body, Mapping):
        raise InvalidRecordError("code reference is not a map", where=where, got=repr(body)[:80])
    # Where the language stood before each piece of code had its own.
    language = optional_text(body, "language") or optional_text(record, "language")
    repository, commit, path = (
        _text(body, name, where) for name in ("repository", "commit", "path")
    )
    _check_repository(repository, where, ("https", "at"))
    if not _SOME_HASH.fullmatch(commit):
        raise InvalidRecordError(
            "commit is not a hash",
            where=where,
            expected="hexadecimal digits",
            got=repr(commit)[:80],
        )
    _check_path(path, where)
    return CodeReference(repository, commit, path, language)


def _linked_cid(record: Record, key: str) -> str | None:
    link = record.get(key)
    if link is None:
        return None
    cid = link.get("cid") if isinstance(link, Mapping) else None
    if not isinstance(cid, str) or link.get("uri") != record.get(f"{key}Schema"):
        raise InvalidRecordError("record names a schema in two ways", where=f"{record.uri}, {key}")
    return check_cid(cid)


def _check_repository(url: str, where: str, schemes: tuple[str, ...]) -> None:
    try:
        parts = urlsplit(url)
        host, user = parts.hostname or "", parts.username
    except ValueError:
        parts, host, user = urlsplit(""), "", None
    # An at:// address has a DID for a host, in which colons are no ports.
    host = url.removeprefix("at://").partition("/")[0] if parts.scheme == "at" else host
    if user is not None or parts.query or "@" in host:
        # The address itself isn't shown: what is wrong with it may be a secret.
        raise InvalidRecordError(
            "repository's address holds credentials or a query",
            where=where,
            expected="https://host/path and nothing else",
            remedy="Take the user, password and token out: a record is public",
        )
    plain = url.isascii() and url.isprintable() and not {" ", "\\"} & set(url)
    whole = parts.scheme in schemes and host and not parts.fragment
    if not whole or not plain or len(url) > _MAX_TEXT:
        raise InvalidRecordError(
            "repository is not at a public address",
            where=where,
            expected=" or ".join(f"{scheme}://…" for scheme in schemes),
            got=repr(url)[:200],
        )


def _check_path(path: str, where: str) -> None:
    steps = re.split("[/:]", path)
    absolute = path.startswith(("/", "~")) or PureWindowsPath(path).is_absolute()
    plain = path.isprintable() and "\\" not in path and len(path) <= _MAX_TEXT
    if not path or not plain or absolute or ".." in steps or steps[0] == "":
        raise InvalidRecordError(
            "path doesn't lie in the repository",
            where=where,
            expected="a relative path without .., such as lenses/vision.py:to_gray",
            got=repr(path)[:200],
        )


def _text(body: Mapping[str, Any], key: str, where: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise InvalidRecordError(
            "lens lacks a text", where=f"{where}, {key}", expected="text", got=repr(value)[:80]
        )
    return value
