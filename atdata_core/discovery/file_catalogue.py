"""A catalogue in one file, or in memory: SQLite."""

import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
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
from atdata_core.errors import ConfigurationError
from atdata_core.verification import VerificationLevel

if TYPE_CHECKING:
    from sqlite3 import Connection

_TABLES = """
CREATE TABLE IF NOT EXISTS row (
  did TEXT, collection TEXT, rkey TEXT, number INTEGER NOT NULL, rev TEXT NOT NULL,
  state TEXT NOT NULL, cid TEXT NOT NULL, note TEXT NOT NULL, value TEXT,
  PRIMARY KEY (did, collection, rkey)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_number ON row (number);
CREATE TABLE IF NOT EXISTS account (did TEXT PRIMARY KEY, status TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS awaited (did TEXT PRIMARY KEY, number INTEGER, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursor (source TEXT PRIMARY KEY, cursor TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counter (only INTEGER PRIMARY KEY, number INTEGER, epoch TEXT);
"""
_ROW = (
    "SELECT number, row.did, collection, rkey, rev, state, cid, note, "
    "coalesce(status, 'active') FROM row LEFT JOIN account ON account.did = row.did "
)
_BUSY_S = 30


class FileCatalogue(Catalogue):
    """A catalogue in a file that several processes may use at once.

    Args:
        path: The file; None: in memory, gone with the object.
    """

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        self.path = ":memory:" if path is None else fspath(path)
        self._opened: Connection | None = None

    @property
    def _db(self) -> "Connection":
        if self._opened is None:
            import sqlite3

            try:
                # Every statement stands by itself unless `_writing` says otherwise.
                db = sqlite3.connect(
                    self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
                )
                db.execute("PRAGMA synchronous=FULL")
                db.executescript(_TABLES)
                epoch = secrets.token_hex(8)
                db.execute("INSERT OR IGNORE INTO counter VALUES (1, 0, ?)", (epoch,))
            except sqlite3.Error as error:
                raise ConfigurationError(
                    f"file can't be used as a catalogue: {error}", where=self.path
                ) from error
            self._opened = db
        return self._opened

    def close(self) -> None:
        """Closes the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def apply(
        self, changes: Sequence[Change], cursors: Mapping[str, str] | None = None
    ) -> list[bool]:
        """Writes changes and cursors in one transaction."""
        with self._writing() as db:
            made = [_apply(db, change) for change in changes]
            db.executemany("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (cursors or {}).items())
        return made

    @contextlib.contextmanager
    def _writing(self) -> Iterator["Connection"]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    @property
    def epoch(self) -> str:
        """A word that is another one when the catalogue was begun anew."""
        return str(self._one("SELECT epoch FROM counter"))

    @property
    def number(self) -> int:
        """The count now."""
        return int(self._one("SELECT number FROM counter"))

    def _one(self, query: str, *values: Any) -> Any:
        found = self._db.execute(query, values).fetchone()
        return None if found is None else found[0]

    def changes(self, after: int, limit: int) -> list[Row]:
        """The rows that changed after a number."""
        query = _ROW + "WHERE number > ? ORDER BY number LIMIT ?"
        return [_row(found) for found in self._db.execute(query, (after, limit))]

    def get(self, key: Key) -> FoundRecord | None:
        """A live record, hidden or not."""
        query = (
            "SELECT did, collection, rkey, cid, value, rev, note FROM row "
            "WHERE did = ? AND collection = ? AND rkey = ? AND state = 'live'"
        )
        found = self._db.execute(query, key).fetchone()
        return None if found is None else _record(found)

    def rows(self, did: str) -> list[Row]:
        """All rows of an account."""
        query = _ROW + "WHERE row.did = ? ORDER BY collection, rkey"
        return [_row(found) for found in self._db.execute(query, (did,))]

    def records(self, *, hidden: bool = False) -> Iterator[FoundRecord]:
        """The records by URI."""
        query = (
            "SELECT row.did, collection, rkey, cid, value, rev, note FROM row "
            "LEFT JOIN account ON account.did = row.did WHERE state = 'live' "
            "AND (? OR coalesce(status, 'active') = 'active') ORDER BY row.did, collection, rkey"
        )
        return iter([_record(found) for found in self._db.execute(query, (hidden,))])

    def accounts(self) -> dict[str, str]:
        """The status of each account."""
        query = (
            "SELECT did, 'active' FROM row GROUP BY did UNION ALL SELECT did, status FROM account"
        )
        return dict(self._db.execute(query))

    def awaited(self) -> dict[str, tuple[int, str]]:
        """The accounts to be read anew."""
        found = self._db.execute("SELECT did, number, note FROM awaited ORDER BY number")
        return {did: (number, note) for did, number, note in found}

    def cursor(self, source: str) -> str | None:
        """Up to where a source was read."""
        found = self._one("SELECT cursor FROM cursor WHERE source = ?", source)
        return None if found is None else str(found)

    def _prune(self, seen: int, before: str, after: str) -> tuple[int, int]:
        query = (
            "DELETE FROM row WHERE state = 'deleted' AND number <= ? AND (rev < ? OR rev > ?) "
            "RETURNING number"
        )
        with self._writing() as db:
            gone = [number for (number,) in db.execute(query, (seen, before, after))]
        return max(gone, default=0), len(gone)

    def __repr__(self) -> str:
        return f"FileCatalogue({self.path!r})"


def _row(found: Any) -> Row:
    number, did, collection, rkey, rev, state, cid, note, status = found
    return Row(number, Key(did, collection, rkey), rev, state, cid, note, status)


def _record(found: Any) -> FoundRecord:
    did, collection, rkey, cid, value, rev, note = found
    return FoundRecord(
        did, collection, rkey, cid, json.loads(value), rev, VerificationLevel.of(note)
    )


def _apply(db: "Connection", change: Change) -> bool:
    match change:
        case SetStatus(did, status):
            return _set_status(db, did, status)
        case Await(did, note):
            values = (did, _next(db), note)
            db.execute("INSERT OR REPLACE INTO awaited VALUES (?, ?, ?)", values)
            return False
        case Done(did, number):
            db.execute("DELETE FROM awaited WHERE did = ? AND number = ?", (did, number))
            return False
        case _:
            return _see(db, Sight.of(change))


def _next(db: "Connection") -> int:
    db.execute("UPDATE counter SET number = number + 1")
    return int(db.execute("SELECT number FROM counter").fetchone()[0])


def _see(db: "Connection", sight: Sight) -> bool:
    key, rev, state, cid, note, value = sight
    query = "SELECT rev, state, cid, note FROM row WHERE did = ? AND collection = ? AND rkey = ?"
    known = db.execute(query, key).fetchone()
    if known is not None and rev < known[0]:
        return False
    if known is not None and known[1:] == (state, cid, note):
        query = "UPDATE row SET rev = ? WHERE did = ? AND collection = ? AND rkey = ?"
        db.execute(query, (rev, *key))
        return False
    number = _next(db)
    values = (*key, number, rev, state, cid, note, value)
    db.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    return True


def _set_status(db: "Connection", did: str, status: str) -> bool:
    known = db.execute("SELECT status FROM account WHERE did = ?", (did,)).fetchone()
    if (known[0] if known else "active") == status:
        return False
    db.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (did, status))
    if status == "deleted":
        gone = "UPDATE row SET state = 'deleted', cid = '', note = '', value = NULL WHERE did = ?"
        db.execute(gone, (did,))
    query = "SELECT collection, rkey FROM row WHERE did = ?"
    for collection, rkey in db.execute(query, (did,)).fetchall():
        query = "UPDATE row SET number = ? WHERE did = ? AND collection = ? AND rkey = ?"
        db.execute(query, (_next(db), did, collection, rkey))
    return True
