"""Tests that a page of the documentation names."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[^`\s]+?\.py)(?:::([^`]+))?`")


@functools.cache
def functions(path):
    """The names of the tests in a file, read without importing it."""
    tree = ast.parse((ROOT / path).read_text("utf-8"), path)
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def missing(text):
    """What a text names that doesn't exist."""
    return [
        f"{path}::{name}" if name else path
        for path, name in NAMED.findall(text)
        if not (ROOT / path).is_file() or (name and name not in functions(path))
    ]
