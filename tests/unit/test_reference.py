"""docs/reference.md says what the docstrings say, of every public name."""

import re

import pytest

import atdata_core
import atdata_dagster
from tests.support.reference import PACKAGES, PAGE, page

TEXT = PAGE.read_text("utf-8")


def test_the_page_is_made_from_the_docstrings():
    assert page() == TEXT, "make reference"


@pytest.mark.parametrize("package", [atdata_core, atdata_dagster], ids=lambda each: each.__name__)
def test_every_public_name_is_there_and_described(package):
    section = TEXT.partition(f"\n## `{package.__name__}`\n")[2].partition("\n## ")[0]
    entries = dict(
        re.findall(r"^### `(\w+)`\n(.*?)(?=^### |\Z)", section, re.DOTALL | re.MULTILINE)
    )
    modules = {name.rpartition(".")[2] for name in PACKAGES}
    assert set(entries) == set(package.__all__) - modules
    for name, text in entries.items():
        words = re.sub(r"```.*?```", "", text, flags=re.DOTALL).split()
        assert len(words) > 3, name


def test_what_is_code_ends():
    assert TEXT.count("```") % 2 == 0
    assert (
        re.search(r"^=+ +=+$", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
        is None
    )
