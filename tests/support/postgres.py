"""A Postgres of its own, in a folder that is gone with it: Debian's, by a socket there alone."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

_START_S = 30


class Postgres:
    """A running Postgres, within a context; `url` leads to a database of it."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="atdata-pg-"))
        # Postgres refuses to run as root.
        self._owner = {} if os.getuid() else {"user": _nobody(), "group": _nobody(group=True)}
        if self._owner:
            os.chown(self.folder, self._owner["user"], self._owner["group"])
        data = self.folder / "data"
        try:
            self._run("initdb", "-D", data, "-U", "atdata", "-A", "trust", "--no-sync")
            # By no port, and with no patience for the disk: nothing has to outlive a power cut.
            command = [_program("postgres"), "-D", data, "-k", self.folder, "-h", "", "-F"]
            self._log = (self.folder / "log").open("wb")
            self._process = subprocess.Popen(
                command, cwd=self.folder, stdout=self._log, stderr=self._log, **self._owner
            )
            self._wait()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exc):
        self._process.send_signal(signal.SIGINT)  # without waiting for whoever is connected
        self._process.wait(30)
        self._log.close()
        self._remove()

    @property
    def url(self):
        """The address for SQLAlchemy, by the driver that `dagster-postgres` brings."""
        return self.url_of("postgres")

    def url_of(self, database):
        return f"postgresql+psycopg2://atdata@/{database}?host={self.folder}"

    def create(self, database):
        """Makes a database; its address."""
        self._run("createdb", "-h", self.folder, "-U", "atdata", database)
        return self.url_of(database)

    def _wait(self):
        end = time.monotonic() + _START_S
        ready = [_program("pg_isready"), "-q", "-h", self.folder]
        while subprocess.run(ready, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > end:
                said = (self.folder / "log").read_text()
                raise RuntimeError(f"Postgres does not start:\n{said[-2000:]}")
            time.sleep(0.05)

    def _run(self, name, *arguments):
        done = subprocess.run(
            [_program(name), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            **self._owner,
        )
        if done.returncode:
            raise RuntimeError(f"{name} failed: {done.stderr[-2000:]}")

    def _remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def _program(name):
    # Debian keeps them out of everybody's PATH.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which(name, path=os.pathsep.join(map(str, [*folders, os.environ["PATH"]])))
    if found is None:
        raise RuntimeError(
            f"these tests need Postgres, and {name} is not here: apt-get install postgresql"
        )
    return found


def _nobody(group=False):
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return user.pw_gid if group else user.pw_uid
    raise RuntimeError("root can't run Postgres, and there is no user postgres or nobody")
