"""Checks of datasets: what holds before others may rely on them.

    checks = build_dataset_checks(digits, layer="team", include=("schema", "rows", "shards"))
    defs = build_definitions(digits, asset_checks=checks)

A check opens the dataset through the resource of its layer, so it runs in any process, and alone as
well as in a run that materializes. The checks of one call are one step.
"""

import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg

from atdata_core.errors import ConfigurationError, NotFoundError
from atdata_dagster import looks
from atdata_dagster.chain import DatasetChain
from atdata_dagster.history import latest_materialization, partitions_of_run, plain_metadata
from atdata_dagster.looks import Finding, Look, Subject
from atdata_dagster.names import LAYERS, Layer, parse_key, partition_name

DEFAULT_CHECKS = ("schema", "rows", "same_content")
"""What `dataset_asset` checks in each layer unless it is told otherwise: what reads no shard."""

Target = DatasetChain | dg.AssetKey | Sequence[str] | str
"""What can be checked: what `dataset_asset` gave, or an asset key."""

_TOLD = 5


@dataclass(frozen=True)
class DatasetCheck:
    """One check, before it is bound to an asset.

    Args:
        name: Its name, unique for the asset.
        look: What it does.
        description: For people.
        layers: Further layers that it looks at.
    """

    name: str
    look: Look
    description: str
    layers: tuple[Layer, ...] = ()


def build_dataset_checks(
    target: Target,
    *,
    layer: Layer | None = None,
    name: str | None = None,
    include: Sequence[str | DatasetCheck] = DEFAULT_CHECKS,
    blocking: bool | None = None,
    sample_type: type | None = None,
    min_rows: int = 1,
    max_rows: int | None = None,
) -> list[dg.AssetChecksDefinition]:
    """Checks of a dataset in a layer, as one step.

    ============== ==========================================================================
    name           what it finds wrong
    ============== ==========================================================================
    schema         the samples are registered as something else than the code says
    rows           too few or too many rows, or others than Dagster was told
    same_content   another CID than in the layer before, or than was materialized
    present        a shard, object or blob that isn't where the index says (reads no shard)
    shards         a shard whose bytes, size or rows aren't those told (reads every shard)
    record         a record that nobody finds, isn't proven, or says something else (atmosphere)
    publication    why it couldn't be published; else it shows what would be, and publishes nothing
    ============== ==========================================================================

    Args:
        target: What `dataset_asset` gave, or an asset key.
        layer: The layer; by default the chain's first, or the one that the key begins with.
        name: The dataset's name, where its key doesn't tell.
        include: Names out of the table, and what `check_values` and `check_samples` give.
        blocking: Whether a failed one holds what comes after. By default those before a public
            layer do.
        sample_type: What the samples should be; a chain knows it.
        min_rows: The fewest rows.
        max_rows: The most rows.

    Raises:
        ConfigurationError: A name is not known, or has no meaning in this layer.
    """
    bound = _target(target, layer, sample_type, name)
    known = {
        "schema": DatasetCheck("schema", looks.look_at_schema, "Samples are what the code says."),
        "rows": DatasetCheck(
            "rows", looks.rows_look(min_rows, max_rows), "Rows are within bounds, and those told."
        ),
        "same_content": DatasetCheck(
            "same_content", looks.look_at_content, "The content is that of the layer before."
        ),
        "present": DatasetCheck(
            "present", looks.look_at_presence, "Every shard is where the index says."
        ),
        "shards": DatasetCheck(
            "shards", looks.look_at_shards, "Every shard hashes to its CID; all bytes are read."
        ),
        "record": DatasetCheck(
            "record",
            looks.look_at_record,
            "Anybody finds the record that was materialized, proven.",
        ),
    }
    known["publication"] = DatasetCheck(
        "publication",
        looks.look_at_publication,
        "A dry run: what would be published.",
        layers=("atmosphere",),
    )
    del known["publication" if bound.layer == "atmosphere" else "record"]
    chosen = []
    for item in include:
        check = known.get(item) if isinstance(item, str) else item
        if check is None:
            raise ConfigurationError(
                "there is no such check of this layer",
                where="/".join(bound.key.path),
                expected=", ".join(known),
                got=repr(item),
            )
        chosen.append(check)
    if not chosen:
        return []
    return [_assemble(bound, chosen, bound.public if blocking is None else blocking)]


def check_values(
    predicate: Callable[[Any], object],
    *,
    name: str | None = None,
    description: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
) -> DatasetCheck:
    """A check of each sample, for `build_dataset_checks`.

    What is wrong is said best by the predicate itself::

        check_values(lambda digit: digit.image.max() <= 16 or f"ink is {digit.image.max()}")

    Args:
        predicate: From a sample (or a batch) to whether it is right; a text says what is wrong.
        name: The check's name; by default the function's.
        description: For people; by default the function's docstring.
        batch_size: Samples a batch; None: they are looked at one by one.
        limit: Look at no more samples (or batches) than so many from the start.
    """
    return _custom(predicate, looks.values_look(predicate, batch_size, limit), name, description)


def check_samples(
    function: Callable[[Iterable[Any]], object],
    *,
    name: str | None = None,
    description: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
) -> DatasetCheck:
    """A check of all samples together, streamed, for `build_dataset_checks`.

    Args:
        function: From the iterable of samples (or batches) to whether they are right; a text says
            what is wrong, a map of numbers is shown and right, a `Finding` says both.
        name: The check's name; by default the function's.
        description: For people; by default the function's docstring.
        batch_size: Samples a batch; None: one by one.
        limit: Read no more samples (or batches) than so many from the start.
    """
    return _custom(function, looks.samples_look(function, batch_size, limit), name, description)


def check_range(field: str, low: float, high: float) -> DatasetCheck:
    """A check that a number or an array's elements lie within bounds, both included.

    Args:
        field: The field.
        low: The lowest right value.
        high: The highest right value.
    """
    import numpy as np

    def within(sample: Any) -> bool | str:
        values = np.asarray(getattr(sample, field))
        if values.size == 0:
            return True
        least, most = values.min(), values.max()
        # Written so that NaN, which compares false with everything, is out of bounds.
        if least >= low and most <= high:
            return True
        got = f"{_number(least)} to {_number(most)}"
        return f"field {field!r} (expected {low} to {high}, got {got})"

    return check_values(within, name=f"{field}_range", description=f"{low} ≤ {field} ≤ {high}")


def _number(value: Any) -> str:
    return f"{value:.6g}" if value.dtype.kind == "f" else str(value)


def check_balance(field: str, max_share: float) -> DatasetCheck:
    """A check that no label has more than its share of the samples.

    Args:
        field: The field that holds the label; its values are counted, so there should be few.
        max_share: The largest share of one label, from 0 to 1.
    """

    def balanced(samples: Iterable[Any]) -> Finding:
        counts: dict[Any, int] = {}
        for sample in samples:
            label = getattr(sample, field)
            counts[label] = counts.get(label, 0) + 1
        total = sum(counts.values())
        label, count = max(counts.items(), key=lambda item: item[1], default=(None, 0))
        share = count / total if total else 0.0
        found = Finding(facts={"atdata/labels": len(counts), "atdata/largest_share": share})
        if share > max_share:
            found.problems.append(
                f"field {field!r}: label {label!r} has too large a share "
                f"(expected at most {max_share}, got {share:.3f})"
            )
        return found

    return check_samples(
        balanced, name=f"{field}_balance", description=f"No {field} is over {max_share:.0%}."
    )


def build_freshness_checks(
    target: Target,
    *,
    lower_bound_delta: timedelta,
    layer: Layer | None = None,
    deadline_cron: str | None = None,
) -> list[dg.AssetChecksDefinition]:
    """Dagster's own check of when a dataset was last materialized or observed.

    ``dg.build_sensor_for_freshness_checks`` makes the sensor that runs them.

    Args:
        target: What `dataset_asset` gave, or an asset key.
        lower_bound_delta: How old it may be.
        layer: See `build_dataset_checks`.
        deadline_cron: By when it has to be there.
    """
    with warnings.catch_warnings():
        # Superseded by FreshnessPolicy, which counts no observation: external datasets have
        # nothing else.
        warnings.filterwarnings("ignore", message=".*build_last_update_freshness_checks")
        checks = dg.build_last_update_freshness_checks(
            assets=[_target(target, layer).key],
            lower_bound_delta=lower_bound_delta,
            deadline_cron=deadline_cron,
        )
    return list(checks)


@dataclass(frozen=True)
class _Target:
    key: dg.AssetKey
    name: str
    layer: Layer
    before: Layer | None
    sample_type: type | None
    public: bool


def _target(
    target: Target,
    layer: Layer | None,
    sample_type: type | None = None,
    name: str | None = None,
) -> _Target:
    if not isinstance(target, DatasetChain):
        key = dg.AssetKey.from_coercible(target)
        found = layer or (key.path[0] if key.path[0] in LAYERS else "local")
        return _Target(key, name or parse_key(key).name, found, None, sample_type, public=False)
    layers = list(target.datasets)
    layer = layer or target.first
    if layer not in layers:
        raise ConfigurationError(
            "dataset has no such layer",
            where=target.name,
            expected=", ".join(layers),
            got=repr(layer),
        )
    place = layers.index(layer)
    return _Target(
        key=target.key(layer),
        name=target.name,
        layer=layer,
        before=layers[place - 1] if place else None,
        sample_type=sample_type or target.sample_type,
        public="atmosphere" in layers[place + 1 :],
    )


def _custom(
    function: Callable[..., object], look: Look, name: str | None, description: str | None
) -> DatasetCheck:
    own = re.sub(r"\W", "_", name or looks.predicate_name(function)).strip("_")
    text = description or (function.__doc__ or "").strip() or f"{own} holds."
    return DatasetCheck(own or "check", look, text)


def _assemble(
    target: _Target, checks: Sequence[DatasetCheck], blocking: bool
) -> dg.AssetChecksDefinition:
    by_name = {check.name: check for check in checks}
    layers = {target.layer, target.before} - {None}
    layers |= {layer for check in checks for layer in check.layers}

    @dg.multi_asset_check(
        name=re.sub(r"\W", "_", "__".join([*target.key.path, "check", *by_name])),
        specs=[
            dg.AssetCheckSpec(
                check.name, asset=target.key, description=check.description, blocking=blocking
            )
            for check in by_name.values()
        ],
        required_resource_keys={str(layer) for layer in layers},
        can_subset=True,
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        wanted = [key.name for key in context.selected_asset_check_keys]
        partitions = partitions_of_run(context.instance, context.run, target.key)
        for name in (name for name in by_name if name in wanted):
            findings = {
                partition: _look(context, target, by_name[name], partition)
                for partition in partitions
            }
            yield _result(target.key, name, findings)

    return check


def _look(
    context: dg.AssetCheckExecutionContext,
    target: _Target,
    check: DatasetCheck,
    partition: str | None,
) -> Finding:
    name = partition_name(target.name, partition)

    def index_of(layer: Layer) -> Any:
        return getattr(context.resources, layer).layer.get_index()

    stored = plain_metadata(latest_materialization(context.instance, target.key, partition))
    try:
        index = index_of(target.layer)
        subject = Subject(
            name=name,
            index=index,
            entry=index.get_dataset(name),
            sample_type=target.sample_type,
            stored=stored,
            other=index_of(target.before).get_dataset(name) if target.before else None,
            public=index_of("atmosphere") if "atmosphere" in check.layers else None,
        )
        return check.look(subject)
    except NotFoundError as error:
        materialized = stored.get("dagster/uri")
        return Finding([f"{materialized}: {error}" if materialized else str(error)])


def _result(
    key: dg.AssetKey, name: str, findings: dict[str | None, Finding]
) -> dg.AssetCheckResult:
    problems = [
        f"partition {partition}: {problem}" if partition is not None else problem
        for partition, finding in findings.items()
        for problem in finding.problems
    ]
    facts: dict[str, float] = {}
    for finding in findings.values():
        for fact, value in finding.facts.items():
            facts[fact] = facts.get(fact, 0) + value
    documents = {
        name: dg.MetadataValue.json(document)
        for finding in findings.values()
        for name, document in finding.documents.items()
    }
    told = problems[:_TOLD] or [finding.note for finding in findings.values() if finding.note]
    if len(problems) > _TOLD:
        told.append(f"and {len(problems) - _TOLD} more")
    if None not in findings:
        facts["atdata/partitions"] = len(findings)
    return dg.AssetCheckResult(
        passed=not problems,
        asset_key=key,
        check_name=name,
        description="\n".join(told) or None,
        metadata={**facts, **documents, "atdata/problems": len(problems)},
    )
