"""Datasets and schemas in a folder: the local layer."""

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from atdata_core.cid import is_cid
from atdata_core.entry import DatasetEntry
from atdata_core.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRecordError,
    NotFoundError,
)
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.codec import (
    entry_from_json,
    entry_to_json,
    now,
    parse_schema_ref,
    read_json,
    schema_ref,
    version_key,
)
from atdata_core.schema import Schema
from atdata_core.shard import Shard
from atdata_core.sources import DataSource
from atdata_core.stores.base import Progress
from atdata_core.stores.files import FileDataStore, scratch_folder


class FileIndex(AbstractIndex):
    """Datasets and schemas on this machine::

        <root>/schemas/<Name>@<version>.json
        <root>/datasets/<name>/<cid>.tar      the shards
        <root>/datasets/<name>/<cid>.json     an entry for each version of the content
        <root>/datasets/<name>/dataset.json   the entry that the name stands for now

    Args:
        root: The folder; by default ``ATDATA_ROOT``.
    """  # noqa: D415 - a colon ends it well

    def __init__(self, root: str | Path | None = None) -> None:
        found = root or os.environ.get("ATDATA_ROOT")
        if not found:
            raise ConfigurationError(
                "the local layer has no folder",
                expected="root=… or the environment variable ATDATA_ROOT",
            )
        self.root = Path(found).absolute()
        super().__init__(FileDataStore(self.root / "datasets"))

    def get_dataset(self, ref: str) -> DatasetEntry:
        """The entry of a name, of a content CID, or of one version of a name, ``name@cid``."""
        path = self.folder(ref) / "dataset.json"
        name, _, cid = ref.rpartition("@")
        if not path.exists() and is_cid(cid):
            versions = self.folder(name).glob if name else (self.root / "datasets").rglob
            path = next(iter(versions(f"{cid}.json")), path)
        return self._read(path)

    def list_datasets(self) -> list[DatasetEntry]:
        """The entries, by name."""
        paths = sorted((self.root / "datasets").glob("**/dataset.json"))
        return [self._read(path) for path in paths]

    def load_schema(self, ref: str) -> Schema:
        """The schema of a reference ``atdata://local/schema/Name@1.0.0``."""
        path = self.root / "schemas" / f"{parse_schema_ref(ref)}.json"
        return Schema.from_json(_load(path, "schema"), str(path))

    def list_schemas(self) -> list[dict[str, Any]]:
        """All schemas, by name and version."""
        return [_load(path, "schema") for path in sorted((self.root / "schemas").glob("*@*.json"))]

    def versions_of(self, name: str) -> list[Schema]:
        """The registered schemas of a name, oldest version first."""
        paths = (self.root / "schemas").glob(f"{name}@*.json")
        found = [Schema.from_json(_load(path, "schema"), str(path)) for path in paths]
        return sorted(found, key=lambda schema: version_key(schema.version))

    def put_schema(self, schema: Schema) -> str:
        """Registers a schema at its version."""
        ref = schema_ref(schema.name, schema.version)
        path = self.root / "schemas" / f"{schema.name}@{schema.version}.json"
        if path.exists():
            known = self.load_schema(ref)
            if known.cid != schema.cid:
                raise ConflictError(
                    "this version of the schema is registered with other content",
                    where=ref,
                    expected=str(known),
                    got=str(schema),
                    remedy="Give the changed type a new version",
                )
            return ref
        self._write(path, schema.to_json())
        return ref

    def _find_equal(self, draft: DatasetEntry) -> DatasetEntry | None:
        try:
            found = self.get_dataset(draft.name)
        except NotFoundError:
            return None
        if not found.says_the_same(draft):
            return None
        whole = all(
            Path(s.url).is_file() and Path(s.url).stat().st_size == s.size for s in found.shards
        )
        return found if whole else None

    def _put_entry(self, draft: DatasetEntry, source: DataSource, moved: Progress) -> DatasetEntry:  # noqa: ARG002
        try:
            previous = self.get_dataset(draft.name).cid
        except NotFoundError:
            previous = None
        if previous == draft.cid:
            previous = None
        entry = draft.replace(previous=previous, created_at=now())
        body = entry_to_json(entry)
        body["shards"] = [
            {**shard, "url": self._relative(shard["url"])} for shard in body["shards"]
        ]
        folder = self.folder(draft.name)
        self._write(folder / f"{entry.cid}.json", body)
        self._write(folder / "dataset.json", body)
        return entry

    def folder(self, name: str) -> Path:
        """Where a dataset's shards and entries lie; `NotFoundError` for an impossible name."""
        parts = PurePosixPath(name).parts
        if not parts or ".." in parts or parts[0] == "/" or "\0" in name:
            raise NotFoundError("name can't be one of a local dataset", got=repr(name))
        return self.root.joinpath("datasets", *parts)

    def _read(self, path: Path) -> DatasetEntry:
        entry = entry_from_json(_load(path, "dataset"), str(path))
        shards = (
            Shard(str(self.root / s.url) if "://" not in s.url else s.url, s.cid, s.size, s.rows)
            for s in entry.shards
        )
        return entry.replace(shards=tuple(shards))

    def _relative(self, url: str) -> str:
        # So that the folder can be moved as a whole.
        path = Path(url)
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else url

    def _write(self, path: Path, body: dict[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(self.root / "datasets" / ".scratch") as folder:
            part = folder / "part"
            with part.open("w", encoding="utf-8") as file:
                json.dump(body, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)

    def __repr__(self) -> str:
        return f"FileIndex({str(self.root)!r})"


def _load(path: Path, what: str) -> dict[str, Any]:
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no such {what}", where=str(path)) from error
    except OSError as error:
        raise InvalidRecordError(f"{what} can't be read: {error}", where=str(path)) from error
    body = read_json(text, what, str(path))
    if not isinstance(body, dict):
        raise InvalidRecordError(f"file holds no {what}", where=str(path))
    return body
