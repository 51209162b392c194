"""``python -m tests.browser docs/pictures``: the pictures of the documentation, taken anew."""

import sys
import tempfile
from pathlib import Path

from atdata_dagster.devnet import Devnet
from tests.browser.chromium import find_chromium, opened
from tests.browser.stage import stage

WIDTH = 1600
MAX_BYTES = 250_000


def take(folder, ui):
    """The lineage of a dataset, and the page of what is published of it."""
    with opened(WIDTH, 1000) as page:
        page.goto(
            f"{ui.url}/assets/local/digits?view=lineage&lineageScope=downstream&lineageDepth=3"
        )
        page.get_by_text("3 / 3 Passed").last.wait_for()
        page.get_by_text("4 / 4 Passed").last.wait_for()
        for loading in page.get_by_text("Loading…").all():
            loading.wait_for(state="hidden")
        _save(page, folder / "lineage.png", left=300, top=350, width=1240, height=450)
        page.set_viewport_size({"width": WIDTH, "height": 1480})
        page.goto(f"{ui.url}/assets/atmosphere/digits")
        page.locator("img[src^='data:image/png']").first.wait_for()
        _save(page, folder / "dataset.png", left=240, top=0, width=1360, height=1410)


def _save(page, path, left, top, width, height):
    page.wait_for_timeout(1000)  # for what moves while it appears
    clip = {"x": left, "y": top, "width": width, "height": height}
    page.screenshot(path=path, clip=clip)
    assert path.stat().st_size < MAX_BYTES, f"{path}: {path.stat().st_size} bytes are too many"


def main():
    find_chromium()
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="atdata-") as base:
        for name in ("ui", "services"):
            (Path(base) / name).mkdir()
        with Devnet(Path(base) / "services").running() as net:
            mine, theirs = net.create_account("carol"), net.create_account("bob")
            with stage(Path(base) / "ui", net, mine, theirs) as ui:
                take(folder, ui)


if __name__ == "__main__":
    main()
