"""Ways through a dataset that can be gone again, and taken up where they were left."""

import collections
import itertools
from collections.abc import Generator, Iterable, Mapping
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar, cast

from atdata_core.errors import ConfigurationError
from atdata_core.passes import run
from atdata_core.plan import Cursor, Plan

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)


class Pass(itertools.chain[V]):
    """One pass over a dataset: an iterator that knows where it stands.

    (A `chain` of stretches, so that Python's own code hands out the items.)

    What it has open is closed at its end, by `close`, and when nobody holds the pass any more.
    """

    _plan: Plan
    _cursor: Cursor
    _stretches: Generator[Iterable[V], None, None]

    @classmethod
    def over(cls, plan: Plan, cursor: Cursor) -> Self:
        """A pass.

        Args:
            plan: What is read, and how.
            cursor: Where to begin; it moves along.
        """
        stretches = run(plan, cursor)
        made = cast("Self", cls.from_iterable(stretches))
        made._plan, made._cursor, made._stretches = plan, cursor, stretches
        return made

    def state_dict(self) -> dict[str, Any]:
        """Where the pass stands, as JSON; `Iteration.load_state_dict` goes on from there."""
        return _state(self._plan, self._cursor)

    def close(self) -> None:
        """Ends the pass."""
        self._cursor.rest()
        self._stretches.close()
        collections.deque(self, maxlen=0)  # what is left of the last stretch


class Iteration(Generic[V_co]):
    """A way through a dataset: each ``for`` goes it from the beginning.

    Shuffled with a seed, every epoch has an order of its own, the same on every machine. `repeat`
    goes through several. To stop in the middle and go on later, maybe in another process, keep
    `state_dict`::

        batches = dataset.shuffled(batch_size=32, seed=7).repeat(3)
        for batch in batches:
            ...
            path.write_text(json.dumps(batches.state_dict()))

        batches = dataset.shuffled(batch_size=32, seed=7).repeat(3)
        batches.load_state_dict(json.loads(path.read_text()))
        for batch in batches:  # begins with the batch after the last one
            ...

    Args:
        plan: What is read, and how.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._loaded: dict[str, Any] | None = None
        self._latest: tuple[Plan, Cursor] | None = None

    def __iter__(self) -> Pass[V_co]:
        plan = self._plan.divided()
        loaded, self._loaded = self._loaded, None
        cursor = Cursor.at_start(plan) if loaded is None else _cursor(plan, loaded)
        self._latest = (plan, cursor)
        return Pass.over(plan, cursor)

    def repeat(self, epochs: int | None = None) -> "Iteration[V_co]":
        """The same for several epochs; no batch holds samples of two of them.

        Args:
            epochs: How many; None: without end.
        """
        if epochs is not None and epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {epochs}")
        return Iteration(replace(self._plan, epochs=epochs))

    def state_dict(self) -> dict[str, Any]:
        """Where the pass that was begun last stands, as JSON: after what it handed out last.

        Where several passes go on at once, each has a `state_dict` of its own: ``iter(…)`` gives
        a `Pass`.
        """
        if self._loaded is not None:
            return dict(self._loaded)
        if self._latest is not None:
            return _state(*self._latest)
        plan = self._plan.divided()
        return _state(plan, Cursor(plan.epoch, plan.seed))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Makes the next ``for`` go on where a pass stood; those after it begin anew.

        Batches may have another size than before. Shards, order, buffers, seed and share have to
        be the same.

        Raises:
            ConfigurationError: The state is none, or one of a pass over other shards or in
                another order.
        """
        _cursor(self._plan.divided(), state)
        self._loaded = dict(state)

    def __repr__(self) -> str:
        plan = self._plan
        seed = f", seed={plan.seed}" if plan.seed is not None else ""
        order = f"shuffled{seed}" if plan.shuffled else "ordered"
        size = "" if plan.batch_size is None else f", batches of {plan.batch_size}"
        return f"Iteration({plan.source!r}, {order}{size})"


def _state(plan: Plan, cursor: Cursor) -> dict[str, Any]:
    return plan.identity() | cursor.to_json()


def _cursor(plan: Plan, state: Mapping[str, Any]) -> Cursor:
    """The place that a state tells, if it is one of this plan's."""
    expected: dict[str, Any] = plan.identity()
    if plan.seed is not None:
        expected["seed"] = plan.seed
    for key, value in expected.items():
        if key in state and state[key] == value:
            continue
        raise ConfigurationError(
            "state is not one of this iteration",
            where=f"{key!r} of the state",
            expected=str(value),
            got=str(state[key]) if key in state else "nothing",
            remedy="Load it into the same call on the same dataset that it was taken from",
        )
    cursor = _parsed(state)
    if plan.shuffled and cursor.seed is None:
        cursor.seed = Cursor.at_start(plan).seed
    return cursor


def _parsed(state: Mapping[str, Any]) -> Cursor:
    rows, seed = state.get("rows"), state.get("seed")
    numbers = [state.get("epoch"), state.get("row"), state.get("emitted")]
    numbers += rows if isinstance(rows, list) else [None]
    if not all(type(n) is int and n >= 0 for n in numbers) or type(seed) not in (int, type(None)):
        raise ConfigurationError("state is damaged", got=str(dict(state))[:200])
    epoch, row, emitted, *counts = numbers
    return Cursor(epoch, seed, counts, row, emitted)  # type: ignore[arg-type]
