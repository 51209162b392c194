"""One IO manager a layer.

Each takes what a step naturally has: a `SampleStream`, a lazy `Dataset` (also one of another
layer, whose shards are then copied by their CIDs), or a sample type. Each hands the next step a
lazy `Dataset`, or the `DatasetEntry` or `Schema` if the parameter says so. The data version of
what it stores is the CID of the content.
"""

import time
from typing import Any

import dagster as dg

from atdata_core import AbstractIndex, Dataset, DatasetEntry, Schema, Shard
from atdata_core.errors import ConfigurationError, NotFoundError
from atdata_core.indexes import Insertion
from atdata_dagster.metadata import dataset_metadata, schema_metadata
from atdata_dagster.names import AssetName, parse_key
from atdata_dagster.resources import (
    AtmosphereResource,
    LayerResource,
    LocalResource,
    TeamResource,
)
from atdata_dagster.streams import SampleStream

_REPORT_EVERY_S = 10.0


class DatasetIOManager(dg.ConfigurableIOManager):
    """What the layers' IO managers have in common; they differ in their `layer` alone."""

    layer: LayerResource

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Stores a dataset or registers a schema, unless equal content is there already.

        Raises:
            ConfigurationError: `obj` is nothing that this layer can store.
            AtdataError: Whatever the layer's index and store raise.
        """
        name = _name_of(context)
        index = self.layer.get_index()
        if name.kind == "schema" or isinstance(obj, (type, Schema)):
            self._put_schema(context, index, name, obj)
            return
        insertion, schema = _store(context, index, name.name, obj)
        for key, value in dataset_metadata(insertion, schema, self.layer).items():
            context.add_output_metadata({key: value})
        if insertion.entry.cid is not None:
            set_data_version(context, insertion.entry.cid)
        context.log.info(_summary(insertion, self.layer))

    def load_input(self, context: dg.InputContext) -> Any:
        """The dataset, lazy; a dict of them by partition key, where there are several.

        Raises:
            NotFoundError: The layer doesn't have it (yet).
        """
        index = self.layer.get_index()
        if not context.has_asset_partitions or not context.asset_partition_keys:
            return self._load(context, index, parse_key(context.asset_key))
        loaded = {
            key: self._load(context, index, parse_key(context.asset_key, key))
            for key in context.asset_partition_keys
        }
        return loaded if len(loaded) > 1 else next(iter(loaded.values()))

    def _load(self, context: dg.InputContext, index: AbstractIndex, name: AssetName) -> Any:
        try:
            if name.kind == "schema":
                versions = index.versions_of(name.name)
                if not versions:
                    raise NotFoundError("schema is not registered", where=name.name)
                return versions[-1]
            entry = index.get_dataset(name.name)
        except NotFoundError as error:
            error.remedy = f"Materialize {context.asset_key.to_user_string()} first"
            raise
        if context.dagster_type.typing_type is DatasetEntry:
            return entry
        return index.open_dataset(entry, getattr(context.dagster_type, "sample_type", None))

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


class TeamIOManager(DatasetIOManager):
    """Datasets as shards in S3, with their entry in Redis."""

    layer: TeamResource


class AtmosphereIOManager(DatasetIOManager):
    """Datasets as public records in an account's repository. Whatever this stores, all can read."""

    layer: AtmosphereResource


def set_data_version(context: dg.OutputContext, version: str) -> None:
    """Makes `version` the data version of what an IO manager stores.

    Dagster has no public call for it (https://github.com/dagster-io/dagster/issues/15584); the
    step's context has one, and this is the only place that uses it.
    """
    context.step_context.set_data_version(context.asset_key, dg.DataVersion(version))


class ProgressLog:
    """Tells a step's log how far a long copy has come, at most every ten seconds.

    Args:
        context: Whose log.
        total: The number of shards, if it is known.
    """

    def __init__(self, context: dg.OutputContext, total: int | None) -> None:
        self._log = context.log
        self._total = total
        self._start = self._told = time.monotonic()
        self._shards = self._bytes = 0

    def __call__(self, shard: Shard, moved: bool) -> None:
        """One more shard is in its place."""
        self._shards += 1
        self._bytes += (shard.size or 0) if moved else 0
        now = time.monotonic()
        if now - self._told < _REPORT_EVERY_S:
            return
        self._told = now
        rate = self._bytes / (now - self._start) / 1e6
        of = f" of {self._total}" if self._total else ""
        self._log.info(f"{self._shards}{of} shards, {self._bytes:,} bytes, {rate:.1f} MB/s")


def _store(
    context: dg.OutputContext, index: AbstractIndex, name: str, obj: Any
) -> tuple[Insertion, Schema]:
    if isinstance(obj, Dataset):
        progress = ProgressLog(context, len(obj.list_shards()))
        return index.insert(obj, name=name, progress=progress), obj.schema
    if isinstance(obj, SampleStream):
        insertion = index.write_samples(
            obj.samples,
            name=name,
            sample_type=obj.sample_type,
            description=obj.description,
            tags=obj.tags,
            license=obj.license,
            metadata=obj.metadata,
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


def _name_of(context: dg.OutputContext) -> AssetName:
    if not context.has_asset_partitions:
        return parse_key(context.asset_key)
    keys = context.asset_partition_keys
    if len(keys) != 1:
        raise ConfigurationError(
            "one run can't store several partitions of a dataset",
            where=context.asset_key.to_user_string(),
            got=f"{len(keys)} partitions",
            remedy="Use BackfillPolicy.multi_run()",
        )
    return parse_key(context.asset_key, keys[0])


def _summary(insertion: Insertion, layer: LayerResource) -> str:
    entry = insertion.entry
    what = f"{entry.name}: {entry.rows} rows in {len(entry.shards)} shards, {entry.cid}"
    if not insertion.created:
        return f"{what}; unchanged in the {layer.layer} layer, {insertion.moved:,} bytes moved"
    return f"{what}; now in the {layer.layer} layer, {insertion.moved:,} bytes moved"
