"""Entries in Redis, put and read: one, or many at a time.

Many are sent and answered together, and what they say comes as one text, since Redis is asked
faster than Python takes its answers apart. (10,000 entries: 1 s one by one, 0.1 s so.)
"""

import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgpack

from atdata_core.entry import DatasetEntry
from atdata_core.indexes.changes import STREAM
from atdata_core.indexes.codec import entries_from_json, now, read_json
from atdata_core.indexes.connection import answers
from atdata_core.indexes.hashes import as_text, entry_from_hash, entry_to_hash

if TYPE_CHECKING:
    from redis import Redis

ENTRY = "LocalDatasetEntry:"
NAMES = "atdata:names"
CONTENTS = "atdata:contents"

_TOGETHER = 200

# KEYS: names, contents, the stream of changes. ARGV: prefix of entries, then entries, each as
# msgpack: name, content CID, id, and the fields and values of its hash. A name moves only to an
# entry that is whole, and the new entry notes the content that the name leaves.
_PUT_ENTRIES = """
for i = 2, #ARGV do
  local entry = cmsgpack.unpack(ARGV[i])
  local name, content, id = entry[1], entry[2], entry[3]
  local before = redis.call('HGET', KEYS[1], name)
  if redis.call('EXISTS', ARGV[1] .. id) == 0 then
    redis.call('HSET', ARGV[1] .. id, unpack(entry, 4))
    local left = before and redis.call('HGET', ARGV[1] .. before, 'content_cid')
    if left and left ~= content then redis.call('HSET', ARGV[1] .. id, 'previous', left) end
  end
  if content ~= '' then redis.call('HSET', KEYS[2], content, id) end
  redis.call('HSET', KEYS[1], name, id)
  if before ~= id then
    redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*',
      'kind', 'dataset', 'name', name, 'id', id, 'cid', content)
  end
end
"""

# KEYS: names. ARGV: prefix of entries, a cursor, about how many. Answers the next cursor, 0 at the
# end; a JSON list of names and ids in turn; one of what their entries say, null for an entry that
# isn't ours; then the number of each that has one, and its `previous`.
_GET_ENTRIES = """
local page = redis.call('HSCAN', KEYS[1], ARGV[2], 'COUNT', ARGV[3])
local names, said, answer = page[2], {}, {page[1], '', ''}
for i = 2, #names, 2 do
  local found = redis.call('HMGET', ARGV[1] .. names[i], 'entry', 'previous')
  said[i / 2] = found[1] or 'null'
  if found[2] then
    answer[#answer + 1] = i / 2 - 1
    answer[#answer + 1] = found[2]
  end
end
answer[2] = cjson.encode(names)
answer[3] = '[' .. table.concat(said, ',') .. ']'
return answer
"""


def put_entries(redis: "Redis", drafts: Iterable[DatasetEntry]) -> int:
    """Writes entries in their order, and moves their names to them; how many they were.

    An entry and its name are one step.
    """
    rest, count = iter(drafts), 0
    problem: Exception | None = None

    def puts() -> Generator[tuple[Any, ...], Any, None]:
        nonlocal count, problem
        more = True
        while more:
            packed: list[bytes] = []
            time = now()
            try:
                packed.extend(_packed(draft, time) for draft in itertools.islice(rest, _TOGETHER))
            except Exception as error:  # noqa: BLE001 - raised when those before it are listed
                problem = error
            if packed:
                yield ("EVAL", _PUT_ENTRIES, 3, NAMES, CONTENTS, STREAM, ENTRY, *packed)
            count += len(packed)
            more = len(packed) == _TOGETHER and problem is None

    for _ in answers(redis, puts()):
        pass
    if problem is not None:
        raise problem
    return count


def read_entries(redis: "Redis") -> list[DatasetEntry]:
    """The entries that names stand for, by name.

    (A page of names and what they stand for at a time. With all names first, and then their
    entries, it took a sixth longer.)
    """

    def gets() -> Generator[tuple[Any, ...], Any, None]:
        cursor: Any = b"0"
        while True:
            answer = yield ("EVAL", _GET_ENTRIES, 1, NAMES, ENTRY, cursor, _TOGETHER)
            cursor = answer[0]
            if cursor == b"0":
                return

    found: dict[str, DatasetEntry] = {}  # a page may tell again what one before it told
    for _, names, *rest in answers(redis, gets(), under_way=1):
        flat = read_json(names, "list of names", NAMES) or []
        entries = _entries(rest)
        if entries is not None and 2 * len(entries) == len(flat):
            found.update(zip(flat[::2], entries, strict=True))
        else:
            found.update(_read_one_by_one(redis, flat[::2], flat[1::2]))
    return [found[name] for name in sorted(found)]


def _packed(draft: DatasetEntry, time: str) -> bytes:
    fields = entry_to_hash(draft, time)
    flat = itertools.chain.from_iterable(fields.items())
    parts = [draft.name, draft.cid or "", fields["cid"], *flat]
    # As older msgpack has it, without a kind for bytes: Redis' own decoder knows no other.
    packed: bytes = msgpack.packb(parts, use_bin_type=False)
    return packed


def _entries(answer: Any) -> list[DatasetEntry] | None:
    """The entries that `_GET_ENTRIES` answered; None if one isn't ours, or not whole."""
    said, *rest = answer
    try:
        entries = entries_from_json(said, ENTRY)
        for number, previous in zip(rest[::2], rest[1::2], strict=True):
            entries[number] = entries[number].replace(previous=as_text(previous))
    except (ValueError, TypeError, IndexError):
        return None
    return entries


def _read_one_by_one(
    redis: "Redis", names: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[str, DatasetEntry]]:
    pipeline = redis.pipeline(transaction=False)
    for key in ids:
        pipeline.hgetall(ENTRY + key)
    for name, fields in zip(names, pipeline.execute(), strict=True):
        if fields:
            yield name, entry_from_hash(fields, name)
