"""The page on compatibility names tests that exist, and every fault and feature has one."""

import re

import pytest

from tests.support.named import NAMED, ROOT, missing

PAGE = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line]
HEADS = ("| feature |", "| fault of public `atdata` |", "| name |")


def test_every_test_that_is_named_exists():
    assert len(NAMED.findall(PAGE)) > 100
    assert missing(PAGE) == []


@pytest.mark.parametrize(
    "name",
    [
        "tests/unit/test_docs.py::test_nothing_of_that_name",
        "tests/unit/test_docs.py::functions_too",
        "tests/unit/test_none.py::test_every_test_that_is_named_exists",
        "tests/unit/test_none.py",
    ],
)
def test_a_test_that_is_gone_is_noticed(name):
    assert missing(f"| fault | `{name}` |") == [name]


def test_what_looks_like_a_test_is_understood():
    assert PAGE.count("::test_") == sum(bool(name) for _, name in NAMED.findall(PAGE))


def test_every_row_has_a_test_or_says_why_not():
    rows = [row for row in ROWS if not row.startswith(HEADS)]
    tables = PAGE.partition("## Where public names")[0]
    for row in rows:
        if row in tables:
            last = row.strip("| ").rpartition(" | ")[2]
            reason = "left out" in row or last.startswith("none: ")
            assert NAMED.search(last) or reason, row


def test_tables_have_as_many_cells_as_their_heads():
    width = 0
    for row in ROWS:
        cells = len(re.findall(r"(?<!\\)\|", row))
        width = cells if row.startswith(HEADS) else width
        assert cells == width, row


def test_the_page_of_settings_names_those_that_there_are():
    name = re.compile(r"ATDATA_[A-Z0-9_]+")
    code = [
        path.read_text("utf-8")
        for folder in ("atdata_core", "atdata_dagster")
        for path in (ROOT / folder).rglob("*.py")
    ]
    page = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert set(name.findall(page)) == {found for text in code for found in name.findall(text)}
