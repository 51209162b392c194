"""Strangers' words as Dagster's pages may show them."""

import html
import re
import unicodedata

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+\-.!|~:>])")
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def plain(text: object, limit: int = 80) -> str:
    """Text on one line, without codes that a terminal or a page obeys.

    Args:
        text: Anything; of a long text only the beginning is looked at.
        limit: The most characters.
    """
    short = _ANSI.sub("", (text if isinstance(text, str) else str(text))[: limit * 4])
    shown = "".join(" " if char in "\r\n\t" else char for char in short if _is_shown(char))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def markdown(text: object, limit: int = 80) -> str:
    """`plain` text that Markdown and HTML show as it is."""
    return _MARKDOWN.sub(r"\\\1", html.escape(plain(text, limit)))


def size_text(size: int) -> str:
    """A number of bytes as people say it: 1.8 MB."""
    value, unit = float(size), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{size:,} bytes" if unit == "bytes" else f"{value:.3g} {unit}"


def _is_shown(char: str) -> bool:
    # Controls, directions of writing, surrogates and the like all begin with C.
    return char in "\r\n\t" or unicodedata.category(char)[0] != "C"
