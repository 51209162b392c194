"""Where datasets are listed: a folder, Redis, the atmosphere."""

from atdata_core.indexes.atmosphere import AtmosphereIndex
from atdata_core.indexes.base import AbstractIndex
from atdata_core.indexes.files import FileIndex
from atdata_core.indexes.insertion import Insertion
from atdata_core.indexes.local import LocalIndex

__all__ = ["AbstractIndex", "AtmosphereIndex", "FileIndex", "Insertion", "LocalIndex"]
