"""What a person reads in the Dagster UI: lineage, datasets, checks, ticks, failures.

ATDATA_SCREENSHOTS names a folder for pictures of each station of the walk.
"""

import os
import re
import secrets
from pathlib import Path

import pytest
from playwright.sync_api import expect

from atdata_core import FileIndex
from tests.browser.chromium import NAMES, find_chromium, opened
from tests.browser.location import TYPE
from tests.browser.stage import stage

TIMEOUT = 30_000
# Read here: tests see no settings.
PICTURES = os.environ.get("ATDATA_SCREENSHOTS")


@pytest.fixture(scope="module")
def ui(services, tmp_path_factory):
    """The Dagster UI, with something to see."""
    mine = services.create_account(f"m{secrets.token_hex(5)}")
    theirs = services.create_account(f"t{secrets.token_hex(5)}")
    find_chromium()
    with stage(tmp_path_factory.mktemp("ui"), services, mine, theirs) as found:
        yield found


@pytest.fixture(scope="module")
def page(ui):
    expect.set_options(timeout=TIMEOUT)
    with opened() as page:
        page.set_default_timeout(TIMEOUT)
        yield page


@pytest.fixture
def picture(request, page, tmp_path):
    """Takes a picture of what the test came to, be it good or bad."""
    yield
    folder = Path(PICTURES or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{request.node.originalname.removeprefix('test_')}.png")


def sees(page, *texts):
    """Each text is to be read on the page."""
    for text in texts:
        expect(page.get_by_text(text).filter(visible=True).first).to_be_visible()


def is_shown(image):
    return image.evaluate("image => image.complete && image.naturalWidth > 100")


def test_the_graph_leads_from_layer_to_layer(ui, page, picture):
    page.goto(f"{ui.url}/asset-groups~")
    sees(page, "local", "team", "atmosphere", "inbox")
    page.goto(f"{ui.url}/assets/team/digits?view=lineage")
    sees(page, "webdataset", "S3", "Redis", "atproto", "3 / 3 Passed", "4 / 4 Passed")
    expect(page.get_by_text("Loading…").filter(visible=True)).to_have_count(0)
    assert page.get_by_text("Materialized", exact=True).filter(visible=True).count() == 4


def test_the_page_of_a_dataset_says_what_it_is(ui, page, picture):
    page.goto(f"{ui.url}/assets/atmosphere/digits")
    sees(page, "1,797 handwritten digits from 43 people")
    sees(page, "dtype: uint8", "shape: 8 x 8", re.compile(r"^0 to 16, mean [45]\.\d+ [▁-█]{12}$"))
    thumbnails = page.locator("img[src^='data:image/png']").first
    expect(thumbnails).to_be_visible()
    assert is_shown(thumbnails)
    sees(page, "1,797 rows in 4 shards, 1.84 MB; CC-BY-4.0")
    sees(page, "rows: 1,000 → 1,797 (+797)", "uint8(8 x 8)", "share")
    entry = FileIndex(ui.folder / "local").get_dataset("digits")
    sees(page, entry.cid, entry.shards[0].cid)
    link = page.get_by_role("link").filter(has_text=f"at://{ui.did}/{TYPE}/")
    expect(link.first).to_be_visible()
    link = page.get_by_role("link").filter(has_text="com.atproto.repo.getRecord").first
    record = page.request.get(link.get_attribute("href")).json()
    assert record["value"]["license"] == "CC-BY-4.0"


def test_all_that_was_seen_is_one_click_away(ui, page, picture):
    page.goto(f"{ui.url}/assets/atmosphere/digits?view=events")
    page.get_by_text("[Show Markdown]").click()
    sees(page, re.compile("Numbers come from .* of 1,797 samples"))
    assert is_shown(page.get_by_role("dialog").locator("img").last)


@pytest.mark.parametrize(
    ("layer", "place"), [("local", "file://"), ("team", "s3://atdata/digits/")]
)
def test_each_layer_tells_where_the_dataset_lies(ui, page, picture, layer, place):
    page.goto(f"{ui.url}/assets/{layer}/digits?view=events")
    sees(page, place)


def test_a_check_says_why_it_failed_and_another_that_it_passed(ui, page, picture):
    page.goto(f"{ui.url}/assets/local/weather?view=checks&checkDetail=celsius_range")
    sees(page, "Failed", "field 'celsius' (expected -60 to 60, got 5.01166 to 79.3192)")
    sees(page, re.compile(r"shard 0 .*, sample 000000002"), "Succeeded")
    page.goto(f"{ui.url}/assets/atmosphere/digits?view=checks&checkDetail=record")
    sees(page, "is proven to the level 'bytes'")


def test_a_failed_run_says_what_was_wrong_and_what_to_do(ui, page, picture):
    page.goto(f"{ui.url}/runs/{ui.failed}")
    row = page.get_by_text(re.compile("^short_days, shard 0, sample 000000000, field 'celsius'"))
    expect(row).to_be_visible()
    assert "(expected (24), got (23))" in row.inner_text()
    assert "Give an array of that shape, or declare another one" in row.inner_text()


def test_a_tick_says_what_was_found(ui, page, picture):
    page.goto(f"{ui.url}/locations/atdata/sensors/atmosphere_records")
    page.get_by_role("button", name="0 runs requested").last.click()
    sees(page, "1 records new or changed, 0 gone, 0 refused; caught up; 1 records observed")


def test_what_others_publish_is_made_here_and_says_how_far_it_is_proven(ui, page, picture):
    page.goto(f"{ui.url}/assets/inbox/{TYPE}?view=events")
    # The daemon's two sensors have seen to it: one has observed the record, one asked for a run.
    sees(page, "100 rows in 1 shard", ui.theirs)
    sees(page, "bytes: the account signed the record, and every shard is held to its CID")


def test_a_missing_browser_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(FileNotFoundError, match="apt-get install chromium") as caught:
        find_chromium()
    assert all(name in str(caught.value) for name in NAMES)
