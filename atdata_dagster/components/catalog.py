"""`CatalogComponent`: what an index lists, as assets that others make."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components import DefsStateConfig, DefsStateConfigArgs, ResolvedDefsStateConfig
from pydantic import BaseModel, Field

from atdata_core import AbstractIndex, AtmosphereIndex, DatasetEntry, Schema
from atdata_core.errors import AtdataError
from atdata_dagster.metadata import column_schema
from atdata_dagster.names import KIND, NAME, Layer, dataset_key
from atdata_dagster.resources import AtmosphereResource, LayerResource, LocalResource, TeamResource
from atdata_dagster.text import markdown, plain
from atdata_dagster.translator import KINDS

MAX_ENTRIES = 1000
"""More datasets than these are not shown: Dagster's pages, and people, are for fewer."""

# Dagster's own default asks the server whenever definitions load on a developer's machine.
_KEPT_IN_A_FILE = DefsStateConfigArgs(
    management_type=DefsStateConfigArgs.local_filesystem().management_type, refresh_if_dev=False
)


class CatalogScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    layer: Layer = Field(default="team", description="The layer whose index is shown.")
    repo: str | None = Field(
        default=None, description="Handle or DID of an account, for the atmosphere."
    )


class CatalogScaffolder(dg.Scaffolder[CatalogScaffoldParams]):
    """Writes ``defs.yaml``."""

    @classmethod
    def get_scaffold_params(cls) -> type[CatalogScaffoldParams]:
        """See `CatalogScaffoldParams`."""
        return CatalogScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[CatalogScaffoldParams]) -> None:
        """Writes the file."""
        params = request.params or CatalogScaffoldParams()
        attributes: dict[str, Any] = {"layer": params.layer}
        if params.repo is not None:
            attributes["repo"] = params.repo
        dg.scaffold_component(request, attributes)


@dg.scaffold_with(CatalogScaffolder)
class CatalogComponent(dg.StateBackedComponent, dg.Resolvable, dg.Model):
    """The datasets that an index lists, as external assets with fields, rows and licence.

    Loading the definitions asks no server: ``dg utils refresh-defs-state`` reads the index, and
    what it found is kept beside the project. Without it there are no assets.
    """

    layer: Layer = Field(description="The layer whose index is shown.")
    repo: str | None = Field(
        default=None,
        description="For the atmosphere: whose datasets, as handle or DID; by default one's own.",
        examples=["alice.example.org"],
    )
    prefix: str = Field(default="", description="Only datasets whose names begin so.")
    group_name: str | None = Field(default=None, description="By default the layer's name.")
    owners: list[str] = Field(default_factory=list)
    defs_state: ResolvedDefsStateConfig = Field(default_factory=lambda: _KEPT_IN_A_FILE)

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg`` shows of the component."""
        return dg.ComponentTypeSpec(
            description="The datasets that an index lists, as external assets.",
            tags=["atdata", "catalogue"],
            owners=[],
            metadata={},
            produces=["asset"],
        )

    @property
    def defs_state_config(self) -> DefsStateConfig:
        """How the state is kept."""
        key = "-".join(filter(None, ["AtdataCatalog", self.layer, self.repo, self.prefix]))
        return DefsStateConfig.from_args(self.defs_state, default_key=key)

    def write_state_to_path(self, state_path: Path) -> None:
        """Reads the index, and writes down what it lists.

        Raises:
            AtdataError: The index can't be read.
        """
        with self._index() as index:
            entries = (
                index.list_datasets(self.repo)
                if isinstance(index, AtmosphereIndex)
                else index.list_datasets()
            )
            chosen = [entry for entry in entries if entry.name.startswith(self.prefix)]
            state = [_described(index, entry) for entry in chosen[:MAX_ENTRIES]]
        state_path.parent.mkdir(parents=True, exist_ok=True)
        state_path.write_text(json.dumps({"v": 1, "datasets": state}, indent=1), "utf-8")

    def build_defs_from_state(
        self,
        context: dg.ComponentLoadContext,  # noqa: ARG002
        state_path: Path | None,
    ) -> dg.Definitions:
        """An external asset for each dataset; none if nobody has read the index yet."""
        if state_path is None:
            return dg.Definitions()
        state = json.loads(state_path.read_text("utf-8"))
        return dg.Definitions(assets=[self.get_asset_spec(body) for body in state["datasets"]])

    def get_asset_spec(self, data: dict[str, Any]) -> dg.AssetSpec:
        """What a dataset of the index is in Dagster; override it at will.

        Args:
            data: What was written down of it: name, uri, cid, schema, rows, bytes, license, ….
        """
        known = {
            "dagster/row_count": data["rows"],
            "dagster/uri": data["uri"],
            "atdata/cid": data["cid"],
            "atdata/bytes": data["bytes"],
            "atdata/license": data["license"] and plain(data["license"], 200),
        }
        metadata: dict[str, Any] = {k: v for k, v in known.items() if v is not None}
        if data["schema"] is not None:
            metadata["dagster/column_schema"] = column_schema(Schema.from_json(data["schema"]))
        # A dataset of somebody else's is found by its URI alone.
        metadata[NAME] = data["uri"] if self.repo else data["name"]
        metadata[KIND] = "dataset"
        key = dataset_key(data["name"], self.layer)
        if self.repo:
            key = dg.AssetKey([self.layer, self.repo, *data["name"].split("/")])
        return dg.AssetSpec(
            key=key,
            description=markdown(data["description"], 2000) if data["description"] else None,
            group_name=self.group_name or self.layer,
            kinds=set(KINDS[self.layer]),
            owners=self.owners,
            metadata=metadata,
        ).with_io_manager_key(self.layer)

    @contextlib.contextmanager
    def _index(self) -> Iterator[AbstractIndex]:
        if self.layer == "atmosphere" and self.repo:
            # Public records need no account.
            from atdata_core.atmosphere import AtmosphereClient

            index: AbstractIndex = AtmosphereIndex(AtmosphereClient())
        else:
            resources: dict[Layer, type[LayerResource]] = {
                "local": LocalResource,
                "team": TeamResource,
                "atmosphere": AtmosphereResource,
            }
            index = resources[self.layer]().make_index()
        with index:
            yield index


def _described(index: AbstractIndex, entry: DatasetEntry) -> dict[str, Any]:
    try:
        schema = index.load_schema(entry.schema_ref).to_json()
    except AtdataError:  # a dataset of others whose schema is gone is a dataset nevertheless
        schema = None
    return {
        "name": entry.name,
        "uri": entry.uri,
        "cid": entry.cid,
        "schema": schema,
        "rows": entry.rows,
        "bytes": entry.size,
        "license": entry.license,
        "description": entry.description,
    }
