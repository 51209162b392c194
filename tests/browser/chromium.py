"""Debian's Chromium, driven by Playwright; nothing is downloaded."""

import contextlib
import os
import shutil
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = (
    "Chromium is needed to look at the Dagster UI, and there is none of "
    f"{', '.join(NAMES)}. Install it (Debian, Ubuntu: apt-get install chromium), or name it: "
    "CHROMIUM=/path/to/it"
)


def find_chromium():
    """The path of the browser.

    Raises:
        FileNotFoundError: There is none; the message says what to install.
    """
    for name in (os.environ.get("CHROMIUM"), *NAMES):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise FileNotFoundError(MISSING)


@contextlib.contextmanager
def opened(width=1400, height=1000):
    """A page of a headless browser."""
    path = find_chromium()
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox can't be had as root, nor in most containers; it sees our own pages alone.
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser.new_page(viewport={"width": width, "height": height})
        finally:
            browser.close()


if __name__ == "__main__":
    # Before the tests begin, so that nobody waits for minutes to be told.
    try:
        find_chromium()
    except FileNotFoundError as missing:
        sys.exit(f"error: {missing}")
