"""The newest revision seen of each repository, so that a server can't go back to an older one.

A proof shows who wrote a record, not that it is the newest: a server may hand out an old state of
a repository, signed as it was then. Whoever remembers the newest revision notices.
"""

import contextlib
import json
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from atdata_core.errors import ConfigurationError, VerificationError


class RevStore:
    """The newest revision of each repository that was proven, with the CID of its commit.

    Args:
        path: A file that keeps them, for other processes and the next run too; None: they are
            kept as long as this object is.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._seen: dict[str, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def get(self, did: str) -> str | None:
        """The newest revision seen of an account's repository, or None."""
        with self._locked():
            return self._seen.get(did, (None, ""))[0]

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
        with self._locked():
            known = self._seen.get(did)
            if known == (rev, commit):
                return
            if known is not None and not allow_rollback:
                _check_forward(did, known, (rev, commit), known[0] if floor is None else floor)
                if rev < known[0]:
                    return
            self._seen[did] = (rev, commit)
            if self.path is not None:
                _write(self.path, self._seen)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock:
            if self.path is None:
                yield
                return
            with _file_lock(self.path):
                self._seen = _read(self.path)
                yield


def default_revs() -> RevStore:
    """What this process has seen; also earlier ones, if ``ATDATA_STATE`` names a folder."""
    folder = os.environ.get("ATDATA_STATE")
    return RevStore(Path(folder) / "revisions.json") if folder else _IN_MEMORY


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


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock").open("w")
    except OSError as error:
        raise _unusable(path, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, tuple[str, str]]:
    try:
        body = json.loads(path.read_text("utf-8"))
        return {str(did): (str(rev), str(commit)) for did, (rev, commit) in body.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise _unusable(path, error) from error


def _write(path: Path, seen: dict[str, tuple[str, str]]) -> None:
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            json.dump(seen, file, indent=0, sort_keys=True)
        Path(file.name).replace(path)
    except OSError as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"file of revisions can't be used: {error}",
        where=str(path),
        remedy="It holds what keeps servers from going back; remove it only if that is lost anyway",
    )
