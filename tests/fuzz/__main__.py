"""``python -m tests.fuzz TARGET [SECONDS]``: a run guided by coverage, until a fault or the end.

It needs atheris, which `make fuzz` installs, and whose own memory grows while it runs; what a
target takes is measured by the tests.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["atdata_core"]):
    from atdata_core.errors import AtdataError
    from tests.fuzz.targets import TARGETS, digest


def main() -> None:
    """Fuzzes one target; libFuzzer ends the process, with another code than 0 after a fault."""
    name, seconds = sys.argv[1], (sys.argv[2:] or ["600"])[0]
    [target] = [target for target in TARGETS if target.__name__ == name]

    def one(data: bytes) -> None:
        try:
            target(data)
        except AtdataError:
            pass

    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for seed in TARGETS[target]:
        (corpus / digest(seed)).write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4000", "-max_len=65536"]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={corpus}-", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
