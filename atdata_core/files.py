"""Files of this machine among streams."""

import io
import os
import stat
from typing import IO


def file_number(stream: IO[bytes]) -> int | None:
    """The descriptor of a stream that is a regular file, open for reading; else None."""
    # A spool has a number as well, but asking for it would move it to the disk.
    if not isinstance(stream, (io.BufferedReader, io.FileIO)):
        return None
    try:
        number = stream.fileno()
    except OSError:
        return None
    return number if stat.S_ISREG(os.fstat(number).st_mode) else None
