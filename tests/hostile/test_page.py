"""The page on hostile input is what its table says, and names tests that exist."""

import ast
import functools
from pathlib import Path

from tests.hostile.rows import ROWS, page

ROOT = Path(__file__).parents[2]


@functools.cache
def functions(path):
    """The names of the tests in a file, read without importing it."""
    tree = ast.parse((ROOT / path).read_text("utf-8"), path)
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_the_page_is_made_from_the_table():
    assert (ROOT / "docs" / "hostile-input.md").read_text("utf-8") == page()


def test_every_row_has_tests_that_exist():
    named = [test for rows in ROWS.values() for *_, tests in rows for test in tests]
    assert len(named) > 90
    assert all(tests for rows in ROWS.values() for *_, tests in rows)
    missing = []
    for test in named:
        path, _, name = test.partition("::")
        if not (ROOT / path).is_file() or name not in functions(path):
            missing.append(test)
    assert missing == []
