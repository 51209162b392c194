"""``python -m definitions run`` and ``dev``: what ``make run`` and ``make dev`` do."""

import argparse
import sys
from pathlib import Path

from atdata_core.errors import AtdataError
from atdata_dagster.devnet import DevnetError
from definitions.journey import open_ui, run


def main() -> int:
    """Runs the command that the arguments name; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m definitions", description=__doc__)
    parser.add_argument("command", choices=["run", "dev"])
    parser.add_argument(
        "--dir",
        type=Path,
        default=Path(__file__).resolve().parent.parent,
        help="where the data of the services and of Dagster go; by default the checkout",
    )
    options = parser.parse_args()
    try:
        return {"run": run, "dev": open_ui}[options.command](options.dir.resolve())
    except (AtdataError, DevnetError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
