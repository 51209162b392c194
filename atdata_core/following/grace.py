"""Accounts that are gone: hidden at once, and purged when they are still gone after a while.

A server that was set up anew, or that an account is just moving to, says of an account that it
isn't there. That shall not cost what is known of it.
"""

import json
import time
from collections.abc import Sequence

from atdata_core.discovery.catalogue import Catalogue, Change, SetStatus

LEAVING = "leaving"
"""The status of an account that is gone, until it is purged."""

_SOURCE = "leaving"


class Grace:
    """Since when accounts are gone.

    Args:
        catalogue: Where that is kept.
        hours: After how long they are purged.
    """

    def __init__(self, catalogue: Catalogue, hours: float) -> None:
        self._seconds = hours * 3600
        self._catalogue = catalogue
        text = catalogue.cursor(_SOURCE) or "{}"
        self._since: dict[str, float] = json.loads(text)

    def due(self) -> list[str]:
        """The accounts to be looked at again, and purged if they are still gone."""
        return sorted(did for did in self._since if self._is_over(did))

    def _is_over(self, did: str) -> bool:
        # A clock that was put back makes it begin anew.
        passed = time.time() - self._since[did]
        if passed < 0:
            self._since[did] = time.time()
        return passed >= self._seconds

    def tempered(self, changes: Sequence[Change]) -> tuple[list[Change], dict[str, str]]:
        """The changes with purging put off, and a cursor to be written with them."""
        found: list[Change] = []
        before = json.dumps(self._since)
        for change in changes:
            if not isinstance(change, SetStatus):
                found.append(change)
            elif change.status != "deleted":
                self._since.pop(change.did, None)
                found.append(change)
            elif self._catalogue.status(change.did) == "deleted":
                found.append(change)  # It was purged already.
            else:
                self._since.setdefault(change.did, time.time())
                over = self._is_over(change.did)
                if over:
                    del self._since[change.did]
                found.append(SetStatus(change.did, "deleted" if over else LEAVING))
        after = json.dumps(self._since)
        return found, {} if after == before else {_SOURCE: after}
