"""Helpers for the tests of those who use this library."""

from collections.abc import Iterable
from typing import TypeVar

from atdata_core.lens import Lens

S = TypeVar("S")
V = TypeVar("V")


def assert_lens_laws(lens: Lens[S, V], sources: Iterable[S], views: Iterable[V] = ()) -> None:
    """Tries the laws of a lens on samples.

    - what wasn't changed stays: ``put(get(source), source) == source``
    - what was put is there: ``get(put(view, source)) == view``
    - the last one counts: ``put(view, put(other, source)) == put(view, source)``

    Args:
        lens: A lens with a putter.
        sources: Some sources.
        views: Views to put; by default those of the sources.

    Raises:
        AssertionError: A law doesn't hold; the message names it and the samples.
        LensError: The lens has no putter.
        ValueError: There are no sources.
    """
    given = list(sources)
    if not given:
        raise ValueError("the laws of a lens are tried on samples, and there are none")
    changed = list(views) or [lens.get(source) for source in given]
    for source in given:
        back = lens.put(lens.get(source), source)
        if back != source:
            raise AssertionError(
                f"{lens!r}: putting back what was got changes {source!r}: {back!r}"
            )
        for view in changed:
            put = lens.put(view, source)
            if lens.get(put) != view:
                raise AssertionError(
                    f"{lens!r}: what was put isn't got again: {view!r}, got {lens.get(put)!r}"
                )
            for other in changed:
                twice = lens.put(view, lens.put(other, source))
                if twice != put:
                    raise AssertionError(
                        f"{lens!r}: a put depends on the one before: {twice!r}, expected {put!r}"
                    )
