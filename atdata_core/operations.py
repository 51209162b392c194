"""What is done to each sample between its shard and its reader: map, filter, view.

Operations stand in one list and are applied in its order, whoever reads: one by one or in
batches, in order or shuffled.
"""

import contextlib
import typing
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from atdata_core.errors import SampleError, SchemaError
from atdata_core.lens import Lens, find_lens
from atdata_core.sample import PackableSample


@dataclass(frozen=True)
class Operation:
    """One step of the list.

    Args:
        kind: ``map``, ``filter``, or ``view``.
        call: From a sample to what takes its place; for a filter, to whether it stays.
        result: The packable type that it gives; None: not known (map), or unchanged (filter).
    """

    kind: Literal["map", "filter", "view"]
    call: Callable[[Any], Any]
    result: type | None = None

    def over(self, samples: Iterator[Any]) -> Iterator[Any]:
        """The samples after this step; taken one by one, as they are asked for."""
        if self.kind == "filter":
            return filter(self.call, samples)
        if self.kind == "map" and self.result is not None:
            return map(self._checked, samples)
        return map(self.call, samples)

    def _checked(self, sample: Any) -> Any:
        made = self.call(sample)
        if self.result is not None and not isinstance(made, self.result):
            raise SampleError(
                "map gave something else than it says",
                where=str(self),
                expected=self.result.__name__,
                got=type(made).__name__,
            )
        return made

    def __str__(self) -> str:
        if self.kind == "view" and self.result is not None:
            return f"as_type({self.result.__name__})"
        return f"{self.kind}({getattr(self.call, '__name__', repr(self.call))})"


def mapping(function: Callable[[Any], Any], to: type | None = None) -> Operation:
    """The step that puts ``function(sample)`` in a sample's place.

    Args:
        function: Called with each sample.
        to: The packable type that it gives; by default the one that its annotation says, if any.
    """
    return Operation("map", function, to or _annotated_result(function))


def viewing(view_type: type, source_type: type | None, lens: Lens[Any, Any] | None) -> Operation:
    """The step that sees each sample through a lens.

    Args:
        view_type: What it is seen as.
        source_type: What it is; None: each sample tells it.
        lens: The lens; by default the one that leads from the one type to the other.

    Raises:
        LensError: No lens leads there.
        SchemaError: `lens` is one between other types.
    """
    if lens is not None:
        _check_types(lens, source_type, view_type)
        return Operation("view", lens.get, view_type)
    if source_type is not None:
        return Operation("view", find_lens(source_type, view_type).get, view_type)
    return Operation("view", _LateView(view_type), view_type)


def result_type(stored: type, operations: Sequence[Operation]) -> type | None:
    """The type of the samples after all steps; None where a step doesn't tell it."""
    for operation in reversed(operations):
        if operation.kind != "filter":
            return operation.result
    return stored


def applied(operations: Iterable[Operation], samples: Iterator[Any]) -> Iterator[Any]:
    """The samples after all steps, in the order of the list."""
    for operation in operations:
        samples = operation.over(samples)
    return samples


class _LateView:
    """Looks for the lens when it sees what the samples are."""

    def __init__(self, view_type: type) -> None:
        self._view_type = view_type
        self._lenses: dict[type, Lens[Any, Any]] = {}

    def __call__(self, sample: Any) -> Any:
        kind = type(sample)
        if kind not in self._lenses:
            self._lenses[kind] = find_lens(kind, self._view_type)
        return self._lenses[kind].get(sample)


def _check_types(lens: Lens[Any, Any], source_type: type | None, view_type: type) -> None:
    for what, given, wanted in (
        ("samples", lens.source_type, source_type),
        ("view", lens.view_type, view_type),
    ):
        if wanted is not None and given is not wanted:
            raise SchemaError(
                f"lens is for another type of {what}",
                where=repr(lens),
                expected=wanted.__name__,
                got=given.__name__,
            )


def _annotated_result(function: Callable[[Any], Any]) -> type | None:
    if isinstance(function, type):
        found: Any = function
    else:
        found = None
        # An annotation that can't be looked at tells nothing; that is no fault of a map.
        with contextlib.suppress(NameError, TypeError, AttributeError):
            found = typing.get_type_hints(function).get("return")
    return found if isinstance(found, type) and issubclass(found, PackableSample) else None
