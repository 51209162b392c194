"""Lenses: one sample type seen as another, and changed through what is seen.

A lens *gets* a view from a source, and *puts* a changed view back into one. A well-behaved one
keeps two laws (`atdata_core.testing.assert_lens_laws` tries them)::

    put(get(source), source) == source      what wasn't changed stays
    get(put(view, source)) == view          what was put is there
"""

import dataclasses
import inspect
import typing
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from atdata_core.errors import LensError
from atdata_core.fields import fields_of

S = TypeVar("S")
V = TypeVar("V")
W = TypeVar("W")


class Lens(Generic[S, V]):
    """A way to see samples of one type as another.

    Args:
        get: From a source to its view; both types are taken from its annotations, where they
            aren't given.
        put: From a changed view and the source that it was of, to the changed source. None: the
            lens is for looking only.
        source_type: The type of sources.
        view_type: The type of views.

    Raises:
        LensError: A type is neither given nor annotated.
    """

    def __init__(
        self,
        get: Callable[[S], V],
        put: Callable[[V, S], S] | None = None,
        *,
        source_type: type[S] | None = None,
        view_type: type[V] | None = None,
    ) -> None:
        if source_type is None or view_type is None:
            annotated = _annotated_types(get)
            source_type, view_type = source_type or annotated[0], view_type or annotated[1]
        self.source_type: type[S] = source_type
        self.view_type: type[V] = view_type
        self._get = get
        self._put = put
        self.__name__ = getattr(get, "__name__", "lens")
        self.__doc__ = get.__doc__

    def get(self, source: S) -> V:
        """The view of a source."""
        return self._get(source)

    __call__ = get

    @property
    def can_put(self) -> bool:
        """Whether the lens has a putter."""
        return self._put is not None

    def put(self, view: V, source: S) -> S:
        """The source, changed so that its view is `view`; `LensError` without a putter."""
        if self._put is None:
            raise LensError(
                "lens has no putter",
                where=repr(self),
                remedy=f"Give it one: @{self.__name__}.putter",
            )
        return self._put(view, source)

    def putter(self, put: Callable[[V, S], S]) -> Callable[[V, S], S]:
        """Decorates the function that puts a view back::

            @lens
            def label(digit: Digit) -> Label:
                return Label(digit.label)

            @label.putter
            def _(label: Label, digit: Digit) -> Digit:
                return dataclasses.replace(digit, label=label.label)

        Raises:
            LensError: It is annotated with other types than the lens has.
        """  # noqa: D415 - an example ends it
        hints = _hints(put)
        names = list(inspect.signature(put).parameters)
        expected = dict(zip([*names[:2], "return"], [self.view_type, *[self.source_type] * 2]))  # noqa: B905
        for name, kind in expected.items():
            if hints.get(name, kind) is not kind:
                raise LensError(
                    f"putter's {name} has another type than the lens",
                    where=repr(self),
                    expected=kind.__name__,
                    got=_type_name(hints[name]),
                )
        self._put = put
        return put

    def then(self, other: "Lens[V, W]") -> "Lens[S, W]":
        """This lens, and another one upon its view; also written ``self | other``.

        Raises:
            LensError: The other one isn't for views of this one.
        """
        if other.source_type is not self.view_type:
            raise LensError(
                "lenses don't fit together",
                where=f"{self!r} | {other!r}",
                expected=f"a lens on {self.view_type.__name__}",
                got=f"one on {other.source_type.__name__}",
            )

        def get(source: S) -> W:
            return other.get(self.get(source))

        def put(view: W, source: S) -> S:
            return self.put(other.put(view, self.get(source)), source)

        composed = Lens(
            get,
            put if self.can_put and other.can_put else None,
            source_type=self.source_type,
            view_type=other.view_type,
        )
        composed.__name__ = f"{self.__name__}|{other.__name__}"
        composed.__doc__ = None
        return composed

    def __or__(self, other: "Lens[V, W]") -> "Lens[S, W]":
        return self.then(other) if isinstance(other, Lens) else NotImplemented

    def __matmul__(self, other: "Lens[W, S]") -> "Lens[W, V]":
        """``outer @ inner``: `inner` first, as functions are composed."""
        return other.then(self) if isinstance(other, Lens) else NotImplemented

    @staticmethod
    def identity(sample_type: type[S]) -> "Lens[S, S]":
        """The lens that sees a sample as it is."""

        def same(source: S) -> S:
            return source

        return Lens(same, lambda view, _: view, source_type=sample_type, view_type=sample_type)

    def __repr__(self) -> str:
        return f"Lens[{self.source_type.__name__}, {self.view_type.__name__}]({self.__name__})"


class LensNetwork:
    """Lenses, and the ways between types that they make together.

    `lens` adds to the one network of the process; `find_lens` searches it.
    """

    def __init__(self) -> None:
        self._lenses: dict[type, dict[type, Lens[Any, Any]]] = {}

    def register(self, lens: Lens[Any, Any]) -> None:
        """Adds a lens; another one between the same two types takes its place."""
        self._lenses.setdefault(lens.source_type, {})[lens.view_type] = lens

    def find(self, source_type: type[S], view_type: type[V]) -> Lens[S, V] | None:
        """The lens from one type to another: registered, or composed of as few as possible."""
        if source_type is view_type:
            return cast("Lens[S, V]", Lens.identity(source_type))
        paths: deque[Lens[Any, Any]] = deque(self._lenses.get(source_type, {}).values())
        seen: set[type] = {source_type}
        while paths:
            path = paths.popleft()
            if path.view_type is view_type:
                return path
            if path.view_type not in seen:
                seen.add(path.view_type)
                steps = list(self._lenses.get(path.view_type, {}).values())  # others may register
                paths += [path | step for step in steps]
        return None


NETWORK = LensNetwork()
"""The lenses that were made with `lens` in this process."""


def lens(get: Callable[[S], V]) -> Lens[S, V]:
    """Makes a function from one packable type to another a lens, and registers it.

    Raises:
        LensError: The parameter or the result isn't annotated.
    """
    found = Lens(get)
    NETWORK.register(found)
    return found


def find_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V]:
    """The lens from one type to another.

    That is the registered one, or the shortest composition of registered ones, or, where there is
    none and all fields of the view are in the source too, the one that selects them.

    Raises:
        LensError: There is none, and the types' fields don't allow to make one.
    """
    return NETWORK.find(source_type, view_type) or structural_lens(source_type, view_type)


def structural_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V]:
    """The lens that selects fields: each of the view's is one of the source's, of the same type.

    Raises:
        LensError: A field of the view isn't in the source, or of another type there.
    """
    there = {field.name: field for field in fields_of(source_type)}
    names = [field.name for field in fields_of(view_type)]
    for field in fields_of(view_type):
        known = there.get(field.name)
        if known is None or known.type != field.type or (known.optional and not field.optional):
            raise LensError(
                f"no lens leads from {source_type.__name__} to {view_type.__name__}",
                expected=f"a field {field.name!r} of type {field.type} in {source_type.__name__}",
                got="none" if known is None else str(known.type),
                remedy="Define one with @lens",
            )

    def select(source: S) -> V:
        return view_type(**{name: getattr(source, name) for name in names})

    def put(view: V, source: S) -> S:
        changed = {name: getattr(view, name) for name in names}
        return cast("S", dataclasses.replace(cast("Any", source), **changed))

    return Lens(select, put, source_type=source_type, view_type=view_type)


def _annotated_types(get: Callable[..., Any]) -> tuple[Any, Any]:
    hints = _hints(get)
    names = list(inspect.signature(get).parameters)
    source = hints.get(names[0]) if len(names) == 1 else None
    view = hints.get("return")
    if not isinstance(source, type) or not isinstance(view, type):
        raise LensError(
            "lens doesn't know its types",
            where=getattr(get, "__qualname__", repr(get)),
            expected="one parameter and a result, both annotated with packable types",
            remedy="def view(source: Source) -> View: …",
        )
    return source, view


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise LensError(
            f"annotations can't be resolved: {error}",
            where=getattr(function, "__qualname__", repr(function)),
        ) from error


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind)
