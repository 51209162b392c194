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


def _is_shown(char: str) -> bool:
    # Controls, directions of writing, surrogates and the like all begin with C.
    return char in "\r\n\t" or unicodedata.category(char)[0] != "C"
