"""Long answers read page by page, within bounds that no server can move."""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from atdata_core.atproto.web import get_json
from atdata_core.errors import ServiceError

_log = logging.getLogger(__name__)
_EMPTY_PAGES = 3


class Pages:
    """The items of an answer that comes in pages.

    It ends early, with a warning and `truncated`, where the server repeats a cursor, sends several
    empty pages on end, or has more pages than `max_pages`.

    Args:
        url: What is asked.
        params: With which parameters, besides the cursor.
        field: The name of the list in the answer.
        max_pages: The most pages to read.
    """

    def __init__(
        self, url: str, params: Mapping[str, str | int], field: str, max_pages: int
    ) -> None:
        self.truncated = False
        self._url = url
        self._params = dict(params)
        self._field = field
        self._max_pages = max_pages

    def __iter__(self) -> Iterator[Any]:
        seen: set[str] = set()
        empty = 0
        for _ in range(self._max_pages):
            answer = get_json(self._url, self._params)
            items = answer.get(self._field) if isinstance(answer, dict) else None
            if not isinstance(items, list):
                raise ServiceError(
                    "answer is not a list in pages", where=self._url, expected=self._field
                )
            yield from items
            cursor = answer.get("cursor")
            empty = 0 if items else empty + 1
            if not cursor or not isinstance(cursor, str):
                return
            if cursor in seen:
                return self._stop("it repeats a cursor")
            if empty == _EMPTY_PAGES:
                return self._stop(f"{empty} pages on end were empty")
            seen.add(cursor)
            self._params["cursor"] = cursor
        return self._stop(f"it has more than {self._max_pages} pages")

    def _stop(self, why: str) -> None:
        self.truncated = True
        _log.warning("%s: not read to its end, since %s", self._url, why)
