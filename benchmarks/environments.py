"""An environment for each peer, below ``.venv-bench``."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv-bench"


@dataclass(frozen=True)
class Peer:
    """Somebody to be compared with.

    Args:
        name: The module in `benchmarks.peers`.
        title: What tables call it.
        requirements: What pip installs for it.
        newer: Whether it needs Python 3.12.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    newer: bool = False

    @property
    def constraints(self) -> Path:
        """The versions of all that it needs.

        (Without them, pip goes through the releases of boto3 for one that agrees with all others:
        7 minutes for the public atdata in place of one.)
        """
        return Path(__file__).parent / "peers" / f"{self.name}.txt"

    def install(self, python: Path) -> list[str]:
        """The command that installs it into the environment of an interpreter."""
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return [*pip, "-c", str(self.constraints), *self.requirements]


PUBLIC = Peer(
    "public_atdata",
    "public atdata",
    ("atdata==0.7.0b1", "atproto==0.0.73", "webdataset==1.0.2"),
    newer=True,
)
PEERS = (
    PUBLIC,
    Peer("webdataset", "WebDataset", ("webdataset==1.0.2",)),
    Peer("lance", "Lance", ("pylance==14.0.2",)),
    Peer("litdata", "LitData", ("litdata==0.2.76",)),
    Peer("mosaicml", "MosaicML", ("mosaicml-streaming==0.13.0",)),
    Peer("hf", "HF datasets", ("datasets==5.2.0",)),
)


def python_of(peer: Peer) -> Path | None:
    """The interpreter of a peer's environment, made if it isn't there; None if it can't be."""
    folder = FOLDER / peer.name
    python, ready = folder / "bin" / "python", folder / "requirements.txt"
    wanted = "\n".join((*peer.requirements, peer.constraints.read_text("utf-8")))
    if ready.exists() and ready.read_text() == wanted:
        return python
    base = newer_python() if peer.newer else sys.executable
    if base is None:
        print(f"{peer.title}: needs Python 3.12 or newer, and there is none", file=sys.stderr)
        return None
    print(f"installing {peer.title} …", file=sys.stderr)
    for command in ([base, "-m", "venv", "--clear", str(folder)], peer.install(python)):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{peer.title} can't be installed:\n{done.stderr[-2000:]}", file=sys.stderr)
            return None
    ready.write_text(wanted)
    return python


def newer_python() -> str | None:
    """A Python of version 3.12 or newer with what makes environments, or None."""
    names = [shutil.which(f"python3.{minor}") for minor in (12, 13, 14)]
    pyenv = Path.home() / ".pyenv" / "versions"
    found = sorted(pyenv.glob("3.1[2-4].*/bin/python3")) if pyenv.is_dir() else []
    for candidate in [sys.executable, *filter(None, names), *map(str, found)]:
        script = "import sys, venv; sys.exit(sys.version_info < (3, 12))"
        if not subprocess.run([candidate, "-c", script], check=False).returncode:
            return candidate
    return None
