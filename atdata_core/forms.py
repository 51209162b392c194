"""What the bytes before an array's data say, looked up by these bytes.

Two arrays of one field nearly always begin with the same bytes, or with one of a few. (Loaded by
NumPy, an array of 65 numbers takes 32 us; looked up, 0.6.)
"""

import functools
from collections.abc import Callable
from typing import Any, Literal

from atdata_core.arrays import MAX_HEAD, array_header
from atdata_core.errors import SampleError
from atdata_core.fieldtypes import NDArrayType

Form = tuple[int, Any, tuple[int, ...], Literal["C", "F"]]
"""Where an array's data begin behind its header, its dtype, shape and order."""

_LIKELY = 128
"""As long as the header of nearly every array, so that its bytes say which one it is."""


@functools.lru_cache(maxsize=1024)
def forms_of(kind: NDArrayType) -> Callable[[memoryview], Form]:
    """What tells the form of an array of some kind from all its bytes.

    It raises `SampleError` if they hold none of this kind.
    """
    form = functools.lru_cache(maxsize=4096)(functools.partial(_form, kind))
    # A few KB each, of which not thousands are kept: a stranger may send many.
    long_form = functools.lru_cache(maxsize=64)(functools.partial(_form, kind))

    def form_of(data: memoryview) -> Form:
        found = form(bytes(data[:_LIKELY]), len(data))
        if found is None:
            found = long_form(bytes(data[:MAX_HEAD]), len(data))
        assert found is not None  # only of `_LIKELY` bytes
        return found

    return form_of


def _form(kind: NDArrayType, head: bytes, length: int) -> Form | None:
    """The form of an array of so many bytes; None if more of them are needed to tell."""
    try:
        start, dtype, shape, fortran = array_header(head, length, "")
    except SampleError:
        if len(head) == _LIKELY < length:
            return None
        raise
    kind.check(dtype, shape, "")
    return start, dtype, shape, "F" if fortran else "C"
