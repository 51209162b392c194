"""The page on features names tests that exist, and every feature has one or says why not."""

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "features.md").read_text("utf-8")
NAMED = re.compile(r"`(tests/[^`\s]+?\.py)(?:::([^`]+))?`")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line][1:]


@functools.cache
def functions(path):
    """The names of the tests in a file, read without importing it."""
    tree = ast.parse((ROOT / path).read_text("utf-8"), path)
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def missing(text):
    """What a text names that doesn't exist."""
    return [
        f"{path}::{name}" if name else path
        for path, name in NAMED.findall(text)
        if not (ROOT / path).is_file() or (name and name not in functions(path))
    ]


def test_every_test_that_is_named_exists():
    assert len(NAMED.findall(PAGE)) > 40
    assert missing(PAGE) == []


@pytest.mark.parametrize(
    "name", ["tests/dagster/test_features.py::test_none", "tests/dagster/test_none.py"]
)
def test_a_test_that_is_gone_is_noticed(name):
    assert missing(f"| feature | here | `{name}` |") == [name]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_feature_has_a_test_or_says_why_not(row):
    _, here, shown = (cell.strip() for cell in row.strip("| ").split(" | "))
    assert NAMED.search(shown) or (here.startswith("no: ") and shown.startswith("none: "))
