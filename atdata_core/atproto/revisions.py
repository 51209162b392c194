"""The newest revision seen of each repository, so that a server can't go back to an older one.

A proof shows who wrote a record, not that it is the newest: a server may hand out an old state of
a repository, signed as it was then. Whoever remembers the newest revision notices.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from atdata_core.errors import ConfigurationError, VerificationError

if TYPE_CHECKING:
    import sqlite3

_WAIT_S = 30.0
_CREATE = "CREATE TABLE IF NOT EXISTS revisions (did TEXT PRIMARY KEY, rev TEXT, cid TEXT)"
_SELECT = "SELECT rev, cid FROM revisions WHERE did = ?"
_REPLACE = "REPLACE INTO revisions VALUES (?, ?, ?)"


class RevStore:
    """The newest revision of each repository that was proven, with the CID of its commit.

    Args:
        path: A file (SQLite) that keeps them, for other processes and the next run too; None: they
            are kept as long as this object is.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._seen: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def get(self, did: str) -> str | None:
        """The newest revision seen of an account's repository, or None."""
        with self._locked() as seen:
            known = seen.get(did)
            return None if known is None else known[0]

    def note(
        self,
        did: str,
        rev: str,
        commit: str,
        *,
        floor: str | None = None,
        allow_rollback: bool = False,
    ) -> None:
        """Takes note of a revision that was proven.

        Args:
            did: Whose repository it is.
            rev: The revision.
            commit: The CID of its commit.
            floor: The newest one seen when the server was asked, since when others may have seen
                newer ones; by default the newest seen by now. Empty for none.
            allow_rollback: Whether an older one than was seen takes its place, as after a server
                was restored from a backup.

        Raises:
            VerificationError: A newer one was seen (``rollback``), or another commit of the same
                one (``fork``).
            ConfigurationError: The file can't be read or written.
        """
        with self._locked() as seen:
            known = seen.get(did)
            if known == (rev, commit):
                return
            if known is not None and not allow_rollback:
                _check_forward(did, known, (rev, commit), known[0] if floor is None else floor)
                if rev < known[0]:
                    return
            seen[did] = (rev, commit)

    @contextlib.contextmanager
    def _locked(self) -> Iterator["_Seen"]:
        with self._lock:
            if self.path is None:
                yield self._seen
                return
            with _opened(self.path) as database:
                yield _Table(database)


def default_revs() -> RevStore:
    """What this process has seen; also earlier ones, if ``ATDATA_STATE`` names a folder."""
    folder = os.environ.get("ATDATA_STATE")
    return RevStore(Path(folder) / "revisions.sqlite") if folder else _IN_MEMORY


_IN_MEMORY = RevStore()


def _check_forward(did: str, known: tuple[str, str], new: tuple[str, str], floor: str) -> None:
    if new[0] < floor:
        raise VerificationError(
            "server gave an older state of the repository than was seen before",
            code="rollback",
            where=did,
            expected=f"revision {floor} or newer",
            got=new[0],
            remedy="If the server was restored from a backup: allow_rollback=True",
        )
    if new[0] == known[0]:
        raise VerificationError(
            "server gave two states of one revision of the repository",
            code="fork",
            where=f"{did}, revision {new[0]}",
            expected=known[1],
            got=new[1],
        )


class _Seen(Protocol):
    def get(self, did: str, /) -> tuple[str, str] | None: ...

    def __setitem__(self, did: str, seen: tuple[str, str], /) -> None: ...


class _Table:
    def __init__(self, database: "sqlite3.Connection") -> None:
        self._database = database

    def get(self, did: str, /) -> tuple[str, str] | None:
        row = self._database.execute(_SELECT, (did,)).fetchone()
        return None if row is None else (str(row[0]), str(row[1]))

    def __setitem__(self, did: str, seen: tuple[str, str], /) -> None:
        self._database.execute(_REPLACE, (did, *seen))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator["sqlite3.Connection"]:
    """The database at a path, within a transaction that no other process is in."""
    import sqlite3

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        with contextlib.closing(connection) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute(_CREATE)
            yield database
            database.execute("COMMIT")
    except (OSError, sqlite3.Error) as error:
        raise ConfigurationError(
            f"file of revisions can't be used: {error}",
            where=str(path),
            remedy="It keeps servers from going back; remove it only if what it knows is lost",
        ) from error
