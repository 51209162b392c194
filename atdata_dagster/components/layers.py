"""`LayersComponent`: where the layers and the catalogue are, in YAML that holds no secret."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import dagster as dg
from dagster.components import ResolutionContext
from pydantic import BaseModel, Field

from atdata_core.errors import ConfigurationError
from atdata_dagster.io_managers import AtmosphereIOManager, LocalIOManager, TeamIOManager
from atdata_dagster.resources import (
    AtmosphereResource,
    CatalogueResource,
    LocalResource,
    TeamResource,
)

_NAME = re.compile(r"[A-Z_][A-Z0-9_]*", re.ASCII)


def _name(context: ResolutionContext, value: Any) -> str | None:
    found = context.resolve_value(value)
    if found is None or (isinstance(found, str) and _NAME.fullmatch(found)):
        return found
    # What is no name may be a secret that was written in the wrong place: it is not repeated.
    raise ConfigurationError(
        "setting of a layer is no name of an environment variable",
        expected="a name in capitals, such as ATDATA_REDIS_URL; values stay out of YAML",
        got=f"{len(str(found))} other characters",
    )


Variable = Annotated[str | None, dg.Resolver(_name, model_field_type=str | None)]
"""The name of an environment variable that holds a setting."""

_LITERAL = ("storage", "allow_private", "shared", "name")


class _Layer(dg.Resolvable, dg.Model):
    def settings(self) -> dict[str, Any]:
        """The settings as a resource takes them, read from the environment when they are needed."""
        return {
            field: value if field in _LITERAL else dg.EnvVar(value)
            for field, value in self
            if value is not None
        }


class LocalLayer(_Layer):
    """The local layer."""

    root: Variable = Field(default=None, description="The variable that holds the folder.")
    shared: bool | None = Field(
        default=None, description="Whether every machine that executes steps mounts the folder."
    )


class TeamLayer(_Layer):
    """The team's layer."""

    redis_url: Variable = Field(default=None, description="The variable that holds redis://….")
    s3_bucket: Variable = Field(default=None, description="The variable that holds the bucket.")
    s3_endpoint: Variable = Field(default=None, description="… the S3 server.")
    aws_access_key_id: Variable = None
    aws_secret_access_key: Variable = None
    aws_region: Variable = None


class AtmosphereLayer(_Layer):
    """The public layer."""

    pds_url: Variable = Field(default=None, description="The variable that holds the PDS.")
    handle: Variable = Field(default=None, description="The variable that holds the account.")
    app_password: Variable = Field(
        default=None, description="The variable that holds an app password."
    )
    storage: Literal["blobs", "urls"] = "blobs"
    allow_private: bool = False


class CataloguePlace(_Layer):
    """Where it is kept what others publish."""

    place: Variable = Field(
        default=None, description="The variable that holds redis://… or the path of a file."
    )
    name: str = Field(default="main", description="Which one of that Redis.")


class LayersScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    prefix: str = Field(
        default="ATDATA_", description="How the names of the environment variables begin."
    )


class LayersScaffolder(dg.Scaffolder[LayersScaffoldParams]):
    """Writes ``defs.yaml`` with the names of all variables."""

    @classmethod
    def get_scaffold_params(cls) -> type[LayersScaffoldParams]:
        """See `LayersScaffoldParams`."""
        return LayersScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[LayersScaffoldParams]) -> None:
        """Writes the file."""
        prefix = (request.params or LayersScaffoldParams()).prefix
        dg.scaffold_component(
            request,
            {
                "local": {"root": f"{prefix}ROOT"},
                "team": {
                    name: f"{prefix}{name.upper()}"
                    for name in ("redis_url", "s3_bucket", "s3_endpoint")
                },
                "atmosphere": {
                    name: f"{prefix}{name.upper()}"
                    for name in ("pds_url", "handle", "app_password")
                },
            },
        )


@dg.scaffold_with(LayersScaffolder)
class LayersComponent(dg.Component, dg.Resolvable, dg.Model):
    """Where the layers are: the names of environment variables, never their values.

    A setting that is left out is read from the variable that the README names.
    """

    local: LocalLayer = Field(default_factory=LocalLayer, description="The folder.")
    team: TeamLayer = Field(default_factory=TeamLayer, description="Redis and S3.")
    atmosphere: AtmosphereLayer = Field(
        default_factory=AtmosphereLayer, description="The account and its PDS."
    )
    catalogue: CataloguePlace = Field(
        default_factory=CataloguePlace,
        description="Where it is kept what others publish; by default in the team's Redis.",
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg`` shows of the component."""
        return dg.ComponentTypeSpec(
            description="Where the layers local, team and atmosphere, and the catalogue of others' "
            "records, are; no secret in YAML.",
            tags=["atdata", "resources"],
            owners=[],
            metadata={},
            produces=["resource"],
        )

    def build_resources(self) -> Mapping[str, Any]:
        """An IO manager for each layer, and the catalogue."""
        return {
            "local": LocalIOManager(layer=LocalResource(**self.local.settings())),
            "team": TeamIOManager(layer=TeamResource(**self.team.settings())),
            "atmosphere": AtmosphereIOManager(
                layer=AtmosphereResource(**self.atmosphere.settings())
            ),
            "catalogue": CatalogueResource(**self.catalogue.settings()),
        }

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """The resources; nothing is opened for them."""
        return dg.Definitions(resources=dict(self.build_resources()))
