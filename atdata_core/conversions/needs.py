"""Libraries that not everybody has."""

import importlib
from typing import Any

from atdata_core.errors import ConfigurationError


def needed(module: str, extra: str) -> Any:
    """A module of an optional library.

    Args:
        module: Its name.
        extra: The extra of this package that brings it.

    Raises:
        ConfigurationError: The library isn't installed; the message says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        raise ConfigurationError(
            f"{error.name} is not installed", remedy=f"pip install 'atdata-dagster[{extra}]'"
        ) from error
