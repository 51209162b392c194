"""S3, PDS and Redis on this machine: ours beside bare clients."""

from pathlib import Path
from typing import Any


def measure(folder: Path, rounds: int, *, quick: bool) -> dict[str, Any]:
    return {}
