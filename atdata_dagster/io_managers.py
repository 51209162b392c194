"""One IO manager a layer.

Each takes what a step naturally has: a `SampleStream`, a lazy `Dataset` (also one of another
layer, whose shards are then copied by their CIDs), or a sample type. Each hands the next step a
lazy `Dataset`, or the `DatasetEntry` or `Schema` if the parameter says so. The data version of
what it stores is the CID of the content.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from atdata_core import AbstractIndex, Dataset, DatasetEntry, Schema
from atdata_core.cid import dag_cbor_cid
from atdata_core.errors import AtdataError, ConfigurationError, NotFoundError, RateLimitedError
from atdata_core.indexes import Insertion
from atdata_dagster.history import plain_metadata
from atdata_dagster.lineage import LINEAGE
from atdata_dagster.metadata import (
    change_metadata,
    dataset_metadata,
    in_reading_order,
    proven_text,
    schema_metadata,
)
from atdata_dagster.names import FILES, FROM, AssetName, name_of
from atdata_dagster.places import PLACE, refuse_elsewhere, written_elsewhere
from atdata_dagster.preview import KEPT_ON_PROMOTION, Preview, previews_are_on
from atdata_dagster.resources import (
    AtmosphereResource,
    LayerResource,
    LocalResource,
    TeamResource,
)
from atdata_dagster.steps import (
    ProgressLog,
    add_metadata,
    ask_again_later,
    last_materialization,
    say_why,
    set_data_version,
)
from atdata_dagster.streams import SampleStream, expand_all

__all__ = [
    "AtmosphereIOManager",
    "DatasetIOManager",
    "LocalIOManager",
    "ProgressLog",
    "TeamIOManager",
    "set_data_version",
]


class DatasetIOManager(dg.ConfigurableIOManager):
    """What the layers' IO managers have in common; they differ in their `layer` alone."""

    layer: LayerResource

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Stores a dataset or registers a schema, unless equal content is there already.

        A dict of datasets by partition key stores each as that partition.

        Raises:
            ConfigurationError: `obj` is nothing that this layer can store.
            RetryRequested: A server asks to wait; Dagster runs the step again after that time.
            AtdataError: Whatever the layer's index and store raise.
        """
        try:
            self._handle_output(context, obj)
        except RateLimitedError as error:
            raise ask_again_later(error) from error
        except AtdataError as error:
            say_why(context, error)
            raise

    def load_input(self, context: dg.InputContext) -> Any:
        """The dataset, lazy; a dict of them by partition key, where there are several.

        Raises:
            NotFoundError: The layer doesn't have it (yet).
            RetryRequested: A server asks to wait.
        """
        try:
            return self._load_input(context)
        except RateLimitedError as error:
            raise ask_again_later(error) from error
        except AtdataError as error:
            say_why(context, error)
            raise

    def _handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        metadata = context.definition_metadata
        name = name_of(context.asset_key, metadata)
        index = self.layer.get_index()
        if name.kind == "schema" or isinstance(obj, (type, Schema)):
            self._put_schema(context, index, name, obj)
            return
        cids: dict[str, str | None] = {}
        for partition, part in _parts(context, obj).items():
            own = name_of(context.asset_key, metadata, partition)
            cids[partition or ""] = self._put_dataset(context, index, own, part, partition)
        if None not in cids.values():
            set_data_version(context, _data_version(cids))

    def _put_dataset(
        self,
        context: dg.OutputContext,
        index: AbstractIndex,
        name: AssetName,
        obj: Any,
        partition: str | None,
    ) -> str | None:
        preview = _preview_of(obj)
        insertion, schema = _store(context, index, name.name, obj, preview)
        before = last_materialization(context, context.asset_key, partition)
        seen = preview.metadata(insertion.entry.rows) if preview else {}
        if isinstance(obj, Dataset):
            seen = _upstream_preview(context, insertion.entry, partition) | _verification(obj)
        metadata = {
            **dataset_metadata(insertion, schema, self.layer, seen),
            **seen,
            **change_metadata(plain_metadata(before), insertion, schema, index),
            **{key: said for key, said in context.definition_metadata.items() if key == LINEAGE},
        }
        add_metadata(context, in_reading_order(metadata), partition)
        context.log.info(_summary(insertion, self.layer))
        return insertion.entry.cid

    def _load_input(self, context: dg.InputContext) -> Any:
        upstream = context.upstream_output
        metadata = {
            **(upstream.definition_metadata if upstream else {}),
            **context.definition_metadata,
        }
        if FILES in metadata:
            return _open_files(context, metadata[FILES])
        index = self.layer.get_index()
        if not context.has_asset_partitions or not context.asset_partition_keys:
            return self._load(context, index, metadata, None)
        loaded = {
            key: self._load(context, index, metadata, key) for key in context.asset_partition_keys
        }
        return loaded if len(loaded) > 1 else next(iter(loaded.values()))

    def _load(
        self,
        context: dg.InputContext,
        index: AbstractIndex,
        metadata: Mapping[str, Any],
        partition: str | None,
    ) -> Any:
        name = name_of(context.asset_key, metadata, partition)
        try:
            if name.kind == "schema":
                versions = index.versions_of(name.name)
                if not versions:
                    raise NotFoundError("schema is not registered", where=name.name)
                return versions[-1]
            entry = index.get_dataset(name.name)
        except NotFoundError as error:
            error.remedy = f"Materialize {context.asset_key.to_user_string()} first"
            better = self._why_missing(context, partition)
            if better is None:
                raise
            raise better from error
        if context.dagster_type.typing_type is DatasetEntry:
            return entry
        return index.open_dataset(entry, getattr(context.dagster_type, "sample_type", None))

    def _why_missing(
        self,
        context: dg.InputContext,  # noqa: ARG002
        partition: str | None,  # noqa: ARG002
    ) -> NotFoundError | None:
        """A better reason why an asset isn't there than that it was never made."""
        return None

    def _put_schema(
        self, context: dg.OutputContext, index: AbstractIndex, name: AssetName, obj: Any
    ) -> None:
        schema = obj if isinstance(obj, Schema) else index.with_version(Schema.of(obj))
        if schema.name != name.name:
            raise ConfigurationError(
                "asset holds another schema than its key says",
                where=context.asset_key.to_user_string(),
                expected=name.name,
                got=schema.name,
            )
        ref = index.put_schema(schema)
        context.add_output_metadata(schema_metadata(schema, ref, self.layer))
        set_data_version(context, schema.cid)


class LocalIOManager(DatasetIOManager):
    """Datasets as tar shards in a folder on this machine."""

    layer: LocalResource

    def _handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        if not self.layer.is_shared:
            refuse_elsewhere(context.asset_key)
        super()._handle_output(context, obj)

    def _load_input(self, context: dg.InputContext) -> Any:
        if not self.layer.is_shared:
            refuse_elsewhere(context.asset_key)
        return super()._load_input(context)

    def _why_missing(self, context: dg.InputContext, partition: str | None) -> NotFoundError | None:
        made = plain_metadata(last_materialization(context, context.asset_key, partition))
        place, here = made.get(PLACE), self.layer.facts()[PLACE]
        if place is None or place == here:
            return None
        return written_elsewhere(context.asset_key, str(place), here)


class TeamIOManager(DatasetIOManager):
    """Datasets as shards in S3, with their entry in Redis."""

    layer: TeamResource


class AtmosphereIOManager(DatasetIOManager):
    """Datasets as public records in an account's repository. Whatever this stores, all can read."""

    layer: AtmosphereResource


def _open_files(context: dg.InputContext, files: Sequence[str]) -> Any:
    """The dataset of an external asset, read from somebody else's files."""
    sample_type = getattr(context.dagster_type, "sample_type", None)
    if sample_type is None:
        raise ConfigurationError(
            "parameter doesn't say what the samples of these files are",
            where=context.asset_key.to_user_string(),
            remedy="Annotate it: Dataset[MySample]",
        )
    return Dataset(expand_all(files), sample_type)


def _store(
    context: dg.OutputContext,
    index: AbstractIndex,
    name: str,
    obj: Any,
    preview: Preview | None,
) -> tuple[Insertion, Schema]:
    if isinstance(obj, Dataset):
        progress = ProgressLog(context, len(obj.list_shards()))
        return index.insert(obj, name=name, progress=progress), obj.schema
    if isinstance(obj, SampleStream):
        insertion = index.write_samples(
            preview.watch(obj.samples) if preview else obj.samples,
            name=name,
            sample_type=obj.sample_type,
            description=obj.description,
            tags=obj.tags,
            license=obj.license,
            metadata=obj.metadata,
            derived_from=obj.derived_from,
            max_samples=obj.max_samples,
            max_bytes=obj.max_bytes,
            progress=ProgressLog(context, None),
        )
        return insertion, Schema.of(obj.sample_type)
    raise ConfigurationError(
        "a step's output is no dataset",
        where=context.asset_key.to_user_string(),
        expected="a SampleStream, a Dataset, or a packable type",
        got=type(obj).__name__,
        remedy="Return dg.Output(SampleStream(MySample, samples)), or use @dataset_asset",
    )


def _preview_of(obj: Any) -> Preview | None:
    wanted = isinstance(obj, SampleStream) and obj.preview and previews_are_on()
    return Preview(obj.sample_type) if wanted else None


def _upstream_preview(
    context: dg.OutputContext, entry: DatasetEntry, partition: str | None
) -> dict[str, Any]:
    """What was seen of equal content when it was written: a promotion decodes no sample."""
    key = context.definition_metadata.get(FROM)
    if not key or entry.cid is None:
        return {}
    found = last_materialization(context, dg.AssetKey.from_user_string(str(key)), partition)
    if found is None or plain_metadata(found).get("atdata/cid") != entry.cid:
        return {}
    return {
        key: value for key, value in found.metadata.items() if key.startswith(KEPT_ON_PROMOTION)
    }


def _verification(dataset: Any) -> dict[str, Any]:
    """How far what was read is proven, where the dataset tells."""
    found = getattr(dataset, "verification", None)
    if found is None:
        return {}
    return {"atdata/verification": proven_text(getattr(found, "level", found))}


def _parts(context: dg.OutputContext, obj: Any) -> Mapping[str | None, Any]:
    """What is to be stored, by partition key; by None where there are no partitions."""
    keys = list(context.asset_partition_keys) if context.has_asset_partitions else []
    where = context.asset_key.to_user_string()
    if isinstance(obj, Mapping):
        if set(obj) != set(keys):
            raise ConfigurationError(
                "a dict of datasets has other keys than the partitions of the run",
                where=where,
                expected=_listed(keys),
                got=_listed(list(obj)),
            )
        return dict(obj)
    if len(keys) > 1:
        raise ConfigurationError(
            "one run can't store several partitions of a dataset",
            where=where,
            expected=f"a dict with a stream for each of {len(keys)} partition keys",
            got=type(obj).__name__,
            remedy="Return such a dict, or use BackfillPolicy.multi_run()",
        )
    return {keys[0] if keys else None: obj}


def _listed(keys: list[Any]) -> str:
    return ", ".join(map(repr, keys[:10])) + (" …" if len(keys) > 10 else "") or "none"


def _data_version(cids: Mapping[str, str | None]) -> str:
    """The CID of the content; of several partitions, the CID over theirs, by key."""
    # Dagster keeps one data version a step, whatever the number of partitions
    # (https://github.com/dagster-io/dagster/issues/18649).
    if len(cids) == 1:
        return str(next(iter(cids.values())))
    return dag_cbor_cid({key: {"$link": cid} for key, cid in cids.items()})


def _summary(insertion: Insertion, layer: LayerResource) -> str:
    entry = insertion.entry
    what = f"{entry.name}: {entry.rows} rows in {len(entry.shards)} shards, {entry.cid}"
    if not insertion.created:
        return f"{what}; unchanged in the {layer.layer} layer, {insertion.moved:,} bytes moved"
    return f"{what}; now in the {layer.layer} layer, {insertion.moved:,} bytes moved"
