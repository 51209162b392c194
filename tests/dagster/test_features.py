"""The page on features names tests that exist, and every feature has one or says why not."""

import pytest

from tests.support.named import NAMED, ROOT, missing

PAGE = (ROOT / "docs" / "features.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and "---" not in line][1:]


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
