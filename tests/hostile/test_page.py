"""The page on hostile input is what its table says, and names tests that exist."""

from tests.hostile.rows import ROWS, page
from tests.support.named import NAMED, ROOT, missing


def test_the_page_is_made_from_the_table():
    assert (ROOT / "docs" / "hostile-input.md").read_text("utf-8") == page()


def test_every_row_has_tests_that_exist():
    assert len(NAMED.findall(page())) > 100
    assert all(tests for rows in ROWS.values() for *_, tests in rows)
    assert missing(page()) == []
