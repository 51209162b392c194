"""What YAML says, as Python means it: things by dotted path, partitions, automation, sizes."""

import importlib
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import dagster as dg
from dagster.components import ResolutionContext

from atdata_core.errors import ConfigurationError
from atdata_dagster.automation import promote_on_content_change

Automation = Literal["manual", "eager", "on_missing", "on_content_change"]

_SIZE = re.compile(r"(\d+)\s*(B|kB|MB|GB|KiB|MiB|GiB)?", re.ASCII)
_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS |= {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def import_path(path: str, module: str | None = None) -> Any:
    """What a dotted path names.

    Args:
        path: ``package.module.name``; with a dot in front, from `module`.
        module: The module that a path with a dot in front starts from.

    Raises:
        ConfigurationError: There is no such module, or no such name in it.
    """
    place, _, name = path.rpartition(".")
    if path.startswith(".") and module is not None:
        place = f"{module}{place}" if place.strip(".") else module
    if not place or not name.isidentifier():
        raise ConfigurationError(
            "text is no dotted path", expected="package.module.name", got=repr(path)
        )
    try:
        found = importlib.import_module(place)
    except ModuleNotFoundError as error:
        # A module that is there and lacks another one tells better by itself.
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError("there is no such module", where=path, got=place) from error
    if not hasattr(found, name):
        raise ConfigurationError("module has no such name", where=path, got=name)
    return getattr(found, name)


def parse_size(text: int | str) -> int:
    """A number of bytes, as ``25000000`` or ``"256MiB"``; raises `ConfigurationError`."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None:
        raise ConfigurationError(
            "text is no size", expected="bytes, or a number with kB, MB, GiB, …", got=repr(text)
        )
    return int(match[1]) * _UNITS[match[2] or "B"]


def automation_of(name: Automation) -> dg.AutomationCondition[Any] | None:
    """The condition that a word stands for; None for ``manual``."""
    match name:
        case "eager":
            return dg.AutomationCondition.eager()
        case "on_missing":
            return dg.AutomationCondition.on_missing()
        case "on_content_change":
            return promote_on_content_change()
    return None


class StaticPartitions(dg.Resolvable, dg.Model):
    """Partitions with these keys."""

    type: Literal["static"] = "static"
    keys: Sequence[str]


class TimePartitions(dg.Resolvable, dg.Model):
    """A partition for each hour, day, week or month."""

    type: Literal["hourly", "daily", "weekly", "monthly"]
    start_date: str
    end_date: str | None = None
    timezone: str | None = None


class DynamicPartitions(dg.Resolvable, dg.Model):
    """Partitions that are added while the location runs."""

    type: Literal["dynamic"] = "dynamic"
    name: str


class MultiPartitions(dg.Resolvable, dg.Model):
    """Each partition of one dimension with each of the other."""

    type: Literal["multi"] = "multi"
    dimensions: dict[str, StaticPartitions | TimePartitions | DynamicPartitions]


PartitionsModel = StaticPartitions | TimePartitions | DynamicPartitions | MultiPartitions


def partitions_of(model: Any) -> dg.PartitionsDefinition[Any] | None:
    """The partitions that YAML describes.

    Args:
        model: One of the models above, or None.
    """
    if model is None:
        return None
    if model.type == "static":
        return dg.StaticPartitionsDefinition(list(model.keys))
    if model.type == "dynamic":
        return dg.DynamicPartitionsDefinition(name=model.name)
    if model.type == "multi":
        dimensions = {name: partitions_of(part) for name, part in model.dimensions.items()}
        return dg.MultiPartitionsDefinition(dimensions)  # type: ignore[arg-type]
    kinds: dict[str, Any] = {
        "hourly": dg.HourlyPartitionsDefinition,
        "daily": dg.DailyPartitionsDefinition,
        "weekly": dg.WeeklyPartitionsDefinition,
        "monthly": dg.MonthlyPartitionsDefinition,
    }
    definition: dg.PartitionsDefinition[Any] = kinds[model.type](
        start_date=model.start_date, end_date=model.end_date, timezone=model.timezone
    )
    return definition


def _resolve_partitions(context: ResolutionContext, model: Any) -> Any:
    return partitions_of(context.resolve_value(model))


ResolvedPartitions = Annotated[
    dg.PartitionsDefinition | None,  # pydantic takes no parameters
    dg.Resolver(
        _resolve_partitions,
        model_field_type=PartitionsModel | None,
        description="static, hourly, daily, weekly, monthly, dynamic, or multi of two of them.",
        examples=[{"type": "static", "keys": ["train", "test"]}],
    ),
]
