"""Labels in Redis: names, with or without a version, for entries of the team's index.

The keys are those of public ``atdata``: ``Label:<name>@<version or nothing>``, a hash of ``cid``
(the entry's id), ``name``, ``version`` and ``description``. Beside them ``atdata:labels:<name>``
holds the set of a name's versions, so that none of them has to be searched for.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atdata_core.errors import ConflictError, InvalidRecordError, NotFoundError
from atdata_core.indexes.codec import now, version_key
from atdata_core.indexes.hashes import as_text
from atdata_core.schema import check_version

if TYPE_CHECKING:
    from redis import Redis

_LABEL = "Label:"
_VERSIONS = "atdata:labels:"
_NAMES = "atdata:label-names"

# KEYS: the label, the versions of its name, the names. ARGV: name, version, entry id, then the
# label's fields and values. Answers the entry that a version stands for already, if it is another.
_PUT_LABEL = """
local there = redis.call('HGET', KEYS[1], 'cid')
if there and ARGV[2] ~= '' and there ~= ARGV[3] then return there end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 4))
redis.call('SADD', KEYS[2], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[1])
return false
"""


@dataclass(frozen=True)
class Label:
    """A name for an entry.

    Args:
        name: The name.
        entry_id: The id of the entry that it stands for, as Redis keeps it.
        version: The semantic version, or None for the label that moves.
        description: For people.
        created_at: When it was set, ISO 8601 in UTC.
    """

    name: str
    entry_id: str
    version: str | None = None
    description: str | None = None
    created_at: str | None = None


class Labels:
    """The labels of one Redis.

    Args:
        redis: Gives the client.
    """

    def __init__(self, redis: "Callable[[], Redis]") -> None:
        self._redis = redis

    def put(self, label: Label) -> Label:
        """Sets a label. One without a version moves; one with a version stays where it is.

        Raises:
            ConflictError: The version stands for another entry already.
            SchemaError: The version is no semantic version.
        """
        version = check_version(label.version) if label.version is not None else ""
        if not label.name or "@" in label.name:
            raise InvalidRecordError(
                "text can't be the name of a label", expected="text without '@'", got=label.name
            )
        fields = {
            "cid": label.entry_id,
            "name": label.name,
            "version": version,
            "created_at": now(),
            **({"description": label.description} if label.description else {}),
        }
        there = self._redis().eval(
            _PUT_LABEL,
            3,
            f"{_LABEL}{label.name}@{version}",
            _VERSIONS + label.name,
            _NAMES,
            label.name,
            version,
            label.entry_id,
            *(part for pair in fields.items() for part in pair),
        )
        if there:
            raise ConflictError(
                "this version stands for another dataset already",
                where=f"{label.name}@{version}",
                expected=label.entry_id,
                got=as_text(there),
                remedy="Give the dataset a new version",
            )
        return self.get(label.name, label.version)

    def get(self, name: str, version: str | None = None) -> Label:
        """A label: of a version, or the one that moves, or else the newest version.

        Raises:
            NotFoundError: There is none.
        """
        if version is not None:
            return self._read(name, version)
        versions = {as_text(each) for each in self._redis().smembers(_VERSIONS + name)}
        if "" in versions or not versions:
            return self._read(name, "")
        return self._read(name, max(versions, key=version_key))

    def list(self, name: str | None = None) -> "list[Label]":
        """All labels, or those of a name; by name and version, the moving one first."""
        redis = self._redis()
        names = [name] if name is not None else sorted(map(as_text, redis.smembers(_NAMES)))
        pipeline = redis.pipeline(transaction=False)
        for each in names:
            pipeline.smembers(_VERSIONS + each)
        found = pipeline.execute() if names else []
        keys = [
            (each, version)
            for each, versions in zip(names, found, strict=True)
            for version in sorted(map(as_text, versions), key=version_key)
        ]
        pipeline = redis.pipeline(transaction=False)
        for each, version in keys:
            pipeline.hgetall(f"{_LABEL}{each}@{version}")
        return [_label(fields) for fields in (pipeline.execute() if keys else []) if fields]

    def _read(self, name: str, version: str) -> Label:
        fields = self._redis().hgetall(f"{_LABEL}{name}@{version}")
        if not fields:
            known = [label.version or "(unversioned)" for label in self.list(name)]
            raise NotFoundError(
                "the team index has no such label",
                where=f"{name}@{version}" if version else name,
                expected=", ".join(known) or None,
            )
        return _label(fields)


def _label(fields: Mapping[Any, Any]) -> Label:
    text = {as_text(key): as_text(value) for key, value in fields.items()}
    try:
        return Label(
            text["name"],
            text["cid"],
            text.get("version") or None,
            text.get("description") or None,
            text.get("created_at"),
        )
    except KeyError as error:
        raise InvalidRecordError(f"label has no {error}", where=str(text)[:200]) from error
