"""A catalogue in Redis, beside the team's index.

Its keys begin with ``atdata:catalogue:<name>:``:

- ``heads``: a hash from each record to number, revision, state, CID and note;
- ``values``: a hash from each live record to its fields, as JSON;
- ``order``: a sorted set of the records by number;
- ``of:<did>``: the set of an account's records; ``dids``: the set of these accounts;
- ``accounts``: a hash from an account to its status; ``awaited``: to why it is to be read anew;
- ``cursors``: a hash from a source to its cursor; ``counter``, ``epoch``: the catalogue's own.

All of one `apply` is one script, which Redis runs atomically.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from atdata_core.discovery.catalogue import (
    Await,
    Catalogue,
    Change,
    Done,
    Key,
    Row,
    SetStatus,
    Sight,
)
from atdata_core.discovery.records import FoundRecord
from atdata_core.indexes.connection import RedisConnection
from atdata_core.indexes.hashes import as_text
from atdata_core.verification import VerificationLevel

if TYPE_CHECKING:
    from redis import Redis

_BATCH = 500

# ARGV: prefix, epoch, changes and cursors as JSON. A change is a list of texts, the first its kind.
# Texts are compared byte by byte, since Lua's own comparison follows the server's locale.
_APPLY = """
local prefix = ARGV[1]
local function key(name) return prefix .. name end
redis.call('SETNX', key('epoch'), ARGV[2])
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x < y end
  end
  return #a < #b
end
local function follow() return redis.call('INCR', key('counter')) end
local function head_of(record)
  local head = redis.call('HGET', key('heads'), record)
  return head and cjson.decode(head)
end
local function write(record, head)
  redis.call('HSET', key('heads'), record, cjson.encode(head))
  redis.call('ZADD', key('order'), head[1], record)
  if head[3] ~= 'live' then redis.call('HDEL', key('values'), record) end
end
local function see(change)
  local record, rev, state, cid, note = change[2], change[4], change[5], change[6], change[7]
  local known = head_of(record)
  if known and before(rev, known[2]) then return 0 end
  if known and known[3] == state and known[4] == cid and known[5] == note then
    known[2] = rev
    redis.call('HSET', key('heads'), record, cjson.encode(known))
    return 0
  end
  write(record, {follow(), rev, state, cid, note})
  if state == 'live' then redis.call('HSET', key('values'), record, change[8]) end
  redis.call('SADD', key('of:') .. change[3], record)
  redis.call('SADD', key('dids'), change[3])
  return 1
end
local function set_status(change)
  local did, status = change[2], change[3]
  local known = redis.call('HGET', key('accounts'), did) or 'active'
  if known == status then return 0 end
  redis.call('HSET', key('accounts'), did, status)
  for _, record in ipairs(redis.call('SMEMBERS', key('of:') .. did)) do
    local head = head_of(record)
    if status == 'deleted' then head = {head[1], head[2], 'deleted', '', ''} end
    head[1] = follow()
    write(record, head)
  end
  return 1
end
local made = {}
for i, change in ipairs(cjson.decode(ARGV[3])) do
  local kind, result = change[1], 0
  if kind == 'see' then result = see(change)
  elseif kind == 'status' then result = set_status(change)
  elseif kind == 'await' then
    redis.call('HSET', key('awaited'), change[2], cjson.encode({follow(), change[3]}))
  elseif kind == 'done' then
    local known = redis.call('HGET', key('awaited'), change[2])
    if known and cjson.decode(known)[1] == tonumber(change[3]) then
      redis.call('HDEL', key('awaited'), change[2])
    end
  end
  made[i] = result
end
for source, cursor in pairs(cjson.decode(ARGV[4])) do
  redis.call('HSET', key('cursors'), source, cursor)
end
return made
"""


# ARGV: prefix, a list of numbers and records as JSON. One that changed meanwhile stays.
_PRUNE = """
local prefix, number, gone = ARGV[1], 0, 0
for _, each in ipairs(cjson.decode(ARGV[2])) do
  local space = each:find(' ', 1, true)
  local at, record = tonumber(each:sub(1, space - 1)), each:sub(space + 1)
  local head = redis.call('HGET', prefix .. 'heads', record)
  if head and cjson.decode(head)[1] == at then
    local did = record:sub(1, record:find('/', 1, true) - 1)
    redis.call('HDEL', prefix .. 'heads', record)
    redis.call('HDEL', prefix .. 'values', record)
    redis.call('ZREM', prefix .. 'order', record)
    redis.call('SREM', prefix .. 'of:' .. did, record)
    if redis.call('EXISTS', prefix .. 'of:' .. did) == 0 then
      redis.call('SREM', prefix .. 'dids', did)
    end
    number, gone = math.max(number, at), gone + 1
  end
end
return {number, gone}
"""


class RedisCatalogue(Catalogue):
    """A catalogue in Redis that several machines may use at once.

    Args:
        redis: A client (with ``decode_responses=False``) or a URL; by default
            ``ATDATA_REDIS_URL``.
        name: Which catalogue, where one Redis has several.
    """

    def __init__(self, redis: "Redis | str | None" = None, name: str = "main") -> None:
        self._connection = RedisConnection(redis, "the catalogue")
        self.name = name
        self._prefix = f"atdata:catalogue:{name}:"

    def close(self) -> None:
        """Closes connections; a client that was given stays open."""
        self._connection.close()

    def apply(
        self, changes: Sequence[Change], cursors: Mapping[str, str] | None = None
    ) -> list[bool]:
        """Writes changes and cursors in one script."""
        texts = json.dumps([_texts(change) for change in changes], ensure_ascii=False)
        made = self._eval(
            _APPLY, self._prefix, secrets.token_hex(8), texts, json.dumps(cursors or {})
        )
        return [bool(each) for each in made]

    def _eval(self, script: str, *values: str) -> Any:
        with self._connection.translated():
            return self._connection.redis.eval(script, 0, *values)

    def _call(self, command: str, name: str, *values: Any) -> Any:
        with self._connection.translated():
            call = getattr(self._connection.redis, command)
            return call(self._prefix + name, *values)

    @property
    def epoch(self) -> str:
        """A word that is another one when the catalogue was begun anew."""
        self._call("setnx", "epoch", secrets.token_hex(8))
        return as_text(self._call("get", "epoch"))

    @property
    def number(self) -> int:
        """The count now."""
        return int(self._call("get", "counter") or 0)

    def changes(self, after: int, limit: int) -> list[Row]:
        """The rows that changed after a number."""
        with self._connection.translated():
            records = self._connection.redis.zrangebyscore(
                self._prefix + "order", f"({after}", "+inf", start=0, num=limit
            )
        rows = self._rows(list(map(as_text, records)))
        return sorted(rows, key=lambda row: row.number)

    def _rows(self, records: Sequence[str]) -> list[Row]:
        if not records:
            return []
        heads = self._call("hmget", "heads", list(records))
        dids = sorted({record.partition("/")[0] for record in records})
        told = self._call("hmget", "accounts", dids)
        statuses = {did: as_text(text or "active") for did, text in zip(dids, told, strict=True)}
        found = []
        for record, head in zip(records, heads, strict=True):
            if head is not None:
                number, rev, state, cid, note = json.loads(head)
                key = _key(record)
                found.append(Row(int(number), key, rev, state, cid, note, statuses[key.did]))
        return found

    def get(self, key: Key) -> FoundRecord | None:
        """A live record, hidden or not."""
        return next(iter(self._live(["/".join(key)])), None)

    def _live(self, records: Sequence[str]) -> list[FoundRecord]:
        if not records:
            return []
        with self._connection.translated(), self._connection.redis.pipeline() as pipeline:
            # Both in one transaction, or the value could be that of another CID.
            pipeline.hmget(self._prefix + "heads", list(records))
            pipeline.hmget(self._prefix + "values", list(records))
            heads, values = pipeline.execute()
        found = []
        for record, head, value in zip(records, heads, values, strict=True):
            if head is not None and value is not None:
                _, rev, _, cid, note = json.loads(head)
                level = VerificationLevel.of(note)
                found.append(FoundRecord(*_key(record), cid, json.loads(value), rev, level))
        return found

    def rows(self, did: str) -> list[Row]:
        """All rows of an account."""
        records = sorted(map(as_text, self._call("smembers", f"of:{did}")))
        return sorted(self._rows(records), key=lambda row: row.key)

    def records(self, *, hidden: bool = False) -> Iterator[FoundRecord]:
        """The records by URI, some hundreds at a time."""
        for did, status in sorted(self.accounts().items()):
            if hidden or status == "active":
                records = sorted(map(as_text, self._call("smembers", f"of:{did}")), key=_key)
                for start in range(0, len(records), _BATCH):
                    yield from self._live(records[start : start + _BATCH])

    def accounts(self) -> dict[str, str]:
        """The status of each account."""
        found = dict.fromkeys(map(as_text, self._call("smembers", "dids")), "active")
        told = self._call("hgetall", "accounts").items()
        return found | {as_text(did): as_text(status) for did, status in told}

    def awaited(self) -> dict[str, tuple[int, str]]:
        """The accounts to be read anew."""
        told = self._call("hgetall", "awaited").items()
        found = {as_text(did): tuple(json.loads(text)) for did, text in told}
        ordered = sorted(found.items(), key=lambda item: item[1])
        return {did: (int(number), note) for did, (number, note) in ordered}

    def cursor(self, source: str) -> str | None:
        """Up to where a source was read."""
        found = self._call("hget", "cursors", source)
        return None if found is None else as_text(found)

    def _prune(self, seen: int, before: str, after: str) -> tuple[int, int]:
        number = gone = place = 0
        while rows := self._page(place, seen):
            place = rows[-1].number
            old = [
                f"{row.number} {'/'.join(row.key)}"
                for row in rows
                if row.state == "deleted" and (row.rev < before or row.rev > after)
            ]
            found = self._eval(_PRUNE, self._prefix, json.dumps(old)) if old else (0, 0)
            number, gone = max(number, int(found[0])), gone + int(found[1])
        return number, gone

    def _page(self, after: int, last: int) -> list[Row]:
        return [row for row in self.changes(after, _BATCH) if row.number <= last]

    def __repr__(self) -> str:
        return f"RedisCatalogue({self._connection.where}, {self.name!r})"


def _key(record: str) -> Key:
    return Key(*record.split("/"))


def _texts(change: Change) -> list[str]:
    match change:
        case SetStatus(did, status):
            return ["status", did, status]
        case Await(did, note):
            return ["await", did, note]
        case Done(did, number):
            return ["done", did, str(number)]
        case _:
            key, *facts = Sight.of(change)
            told = [str(each) for each in facts if each is not None]
            return ["see", "/".join(key), key.did, *told]
