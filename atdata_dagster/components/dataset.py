"""`DatasetComponent`: a dataset and its promotion, in YAML."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from atdata_core.shard import DEFAULT_MAX_SAMPLES
from atdata_dagster.assets import DEFAULT_POOLS, dataset_asset
from atdata_dagster.chain import DatasetChain
from atdata_dagster.components.resolving import (
    Automation,
    ResolvedPartitions,
    automation_of,
    import_path,
    parse_size,
)
from atdata_dagster.names import Layer
from atdata_dagster.translator import DatasetAsset, DatasetTranslator


class DatasetScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    name: str | None = Field(default=None, description="The dataset's name.")
    sample_type: str | None = Field(
        default=None, description="Dotted path of a packable type. Left out: one is begun."
    )
    source: str | None = Field(
        default=None, description="Dotted path of the function. Left out: one is begun."
    )
    first: Layer = Field(default="local", description="The layer where it begins.")
    promote: str = Field(
        default="", description="The layers that it goes to, e.g. team,atmosphere."
    )


class DatasetScaffolder(dg.Scaffolder[DatasetScaffoldParams]):
    """Writes ``defs.yaml``, and a ``source.py`` to begin with."""

    @classmethod
    def get_scaffold_params(cls) -> type[DatasetScaffoldParams]:
        """See `DatasetScaffoldParams`."""
        return DatasetScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[DatasetScaffoldParams]) -> None:
        """Writes the files."""
        params = request.params or DatasetScaffoldParams()
        attributes: dict[str, Any] = {
            "name": params.name or request.target_path.name,
            "sample_type": params.sample_type or ".source.Sample",
            "source": params.source or ".source.samples",
        }
        if params.first != "local":
            attributes["first"] = params.first
        layers = [layer.strip() for layer in params.promote.split(",") if layer.strip()]
        if layers:
            attributes["promote"] = layers
        dg.scaffold_component(request, attributes)
        if params.sample_type is None and params.source is None:
            (request.target_path / "source.py").write_text(_SOURCE, "utf-8")


_SOURCE = textwrap.dedent(
    '''\
    """What the samples are, and where they come from."""

    from collections.abc import Iterator

    from atdata_core import packable


    @packable
    class Sample:
        """One sample."""

        value: int


    def samples() -> Iterator[Sample]:
        """Ten samples."""
        for value in range(10):
            yield Sample(value)
    '''
)


class _OfComponent(DatasetTranslator):
    def __init__(self, component: "DatasetComponent") -> None:
        self._component = component

    def get_asset_spec(self, data: DatasetAsset) -> dg.AssetSpec:
        return self._component.get_asset_spec(data)


@dg.scaffold_with(DatasetScaffolder)
class DatasetComponent(dg.Component, dg.Resolvable, dg.Model):
    """A dataset of typed samples, written by a function and promoted from layer to layer.

    The layers themselves come from one `LayersComponent` of the project.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str = Field(description="The dataset's name.", examples=["digits"])
    sample_type: str = Field(
        description="Dotted path of the packable type of its samples; with a dot in front, from "
        "the component's own folder.",
        examples=[".source.Digit", "my_package.samples.Digit"],
    )
    source: str = Field(
        description="Dotted path of the function that yields the samples. Its parameters may be "
        "other datasets, the context, and resources.",
        examples=[".source.digits"],
    )
    first: Layer = Field(
        default="local",
        description="The layer where it begins; team where steps run on several machines.",
    )
    promote: Sequence[Layer] = Field(
        default=(), description="The layers that it goes to from there, in order."
    )
    columns: dict[str, str | Sequence[str]] = Field(
        default_factory=dict,
        description="Which field comes from which one of a parameter's dataset.",
        examples=[{"label": "digits.label"}],
    )
    description: str | None = Field(
        default=None, description="By default the docstring of the function."
    )
    license: str | None = Field(default=None, description="An SPDX identifier.")
    dataset_tags: Sequence[str] = Field(
        default=(), description="Words to find the dataset by, in every layer."
    )
    dataset_metadata: Mapping[str, Any] = Field(
        default_factory=dict, description="Whatever else belongs to the dataset, in every layer."
    )
    schemas: bool | Sequence[Layer] = Field(
        default=True,
        description="Whether, or in which layers, the schema's assets are this component's; of "
        "several datasets of one type, one has them.",
    )
    schema_version: str | None = Field(
        default=None, description="The semantic version of the sample type."
    )
    max_samples: int = Field(default=DEFAULT_MAX_SAMPLES, description="The most samples a shard.")
    max_shard_bytes: int | str | None = Field(
        default=None, description="The most bytes a shard; 25 MB by default.", examples=["256MiB"]
    )
    automation: dict[Layer, Automation] = Field(
        default_factory=dict,
        description="When the dataset is materialized in a layer: manual (the default), eager, "
        "on_missing, or on_content_change.",
        examples=[{"team": "on_content_change"}],
    )
    partitions_def: ResolvedPartitions = None
    max_partitions_per_run: int | None = Field(
        default=None,
        description="In a backfill; the function then returns a dict of streams by partition key.",
    )
    checks: bool | Sequence[str] = Field(
        default=True, description="The checks of each layer: true, false, or their names."
    )
    preview: bool = Field(default=True, description="Whether Dagster shows a few samples.")
    owners: Sequence[str] | None = Field(default=None, examples=[["team:vision"]])
    group_name: str | None = Field(default=None, description="By default the layer's name.")
    tags: dict[str, str] = Field(default_factory=dict, description="Dagster's tags of the assets.")
    pools: dict[Layer, str] | None = Field(
        default_factory=lambda: dict(DEFAULT_POOLS),
        description="The concurrency pool of each layer.",
    )
    translator: str | None = Field(
        default=None, description="Dotted path of a subclass of DatasetTranslator."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg`` shows of the component."""
        return dg.ComponentTypeSpec(
            description="A dataset of typed samples, promoted from layer to layer.",
            tags=["atdata", "dataset", "webdataset", "atproto"],
            owners=[],
            metadata={},
            produces=["asset", "asset_check"],
        )

    def get_asset_spec(self, data: DatasetAsset) -> dg.AssetSpec:
        """What an asset of the dataset, or of its schema, is in Dagster; override it at will.

        Args:
            data: What the asset stands for.
        """
        translator = DatasetTranslator
        if self.translator is not None:
            translator = import_path(self.translator)
        return translator().get_asset_spec(data)

    def build_chain(self, module: str | None = None) -> DatasetChain:
        """The assets and checks.

        Args:
            module: The module from which paths with a dot in front start.
        """
        options: dict[str, Any] = {
            "owners": self.owners,
            "group_name": self.group_name,
            "tags": self.tags,
            "partitions_def": self.partitions_def,
        }
        if self.max_partitions_per_run is not None:
            options["backfill_policy"] = dg.BackfillPolicy.multi_run(self.max_partitions_per_run)
        conditions = {layer: automation_of(word) for layer, word in self.automation.items()}
        return dataset_asset(
            import_path(self.sample_type, module),
            name=self.name,
            first=self.first,
            columns=self.columns,
            promote=self.promote,
            description=self.description,
            license=self.license,
            dataset_tags=self.dataset_tags,
            dataset_metadata=self.dataset_metadata,
            schema_version=self.schema_version,
            max_samples=self.max_samples,
            max_shard_bytes=(
                None if self.max_shard_bytes is None else parse_size(self.max_shard_bytes)
            ),
            checks=self.checks,
            preview=self.preview,
            translator=_OfComponent(self),
            pools=self.pools,
            automation_condition=conditions,
            **{key: value for key, value in options.items() if value},
        )(import_path(self.source, module))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions; nothing is opened or asked for them."""
        folder = context.path if context.path.is_dir() else context.path.parent
        chain = self.build_chain(context.defs_relative_module_name(folder))
        schemas = [
            asset
            for layer, asset in chain.schemas.items()
            if (layer in self.schemas if isinstance(self.schemas, Sequence) else self.schemas)
        ]
        return dg.Definitions(
            assets=[*schemas, *chain.datasets.values()], asset_checks=chain.checks
        )
