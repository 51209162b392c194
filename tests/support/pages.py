"""Pages of the documentation as something to follow: their code, and what they say to type."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"(?:`(\S+)`[^`]*?:\n\n)?```(\w+)\n(.*?)```", flags=re.DOTALL)


def read(name):
    """The text of a page, by its path from the root."""
    return (ROOT / name).read_text("utf-8")


def blocks(name, language):
    """The blocks of a language on a page."""
    return [text for _, kind, text in _BLOCK.findall(read(name)) if kind == language]


def typed(text):
    """The commands of a block of a console, without prompts and comments."""
    return [line.removeprefix("$ ").partition("  #")[0] for line in text.splitlines()]


def environment(**settings):
    """The environment of somebody who has set nothing, but has this checkout's Python first."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ATDATA_", "AWS_", "DAGSTER_")) or name == "ATDATA_DEVNET_CACHE"
    }
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        **settings,
    }


def run(lines, folder, env):
    """Runs lines in a shell that stops at the first that fails; the services end with it."""
    script = ["set -e", 'trap "cd $PWD && python -m atdata_dagster.devnet down" EXIT', *lines]
    return subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=folder, env=env, capture_output=True, text=True
    )


def steps(name):
    """What a page says to do, in order: (file, text) to write, or (None, command) to type."""
    for file, kind, text in _BLOCK.findall(read(name)):
        if kind == "console":
            yield from ((None, line) for line in typed(text))
        else:
            assert file, f"{name} has code without the name of its file: {text[:60]}"
            yield file, text
