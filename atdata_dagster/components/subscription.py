"""`SubscriptionComponent`: who is followed, in YAML, and their datasets as assets."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import dagster as dg
from pydantic import BaseModel, ConfigDict, Field

from atdata_core.atproto.records import DATASET_TYPES
from atdata_core.errors import ConfigurationError
from atdata_core.following import Subscription
from atdata_dagster.components.resolving import parse_size
from atdata_dagster.inbound import build_inbox_definitions
from atdata_dagster.translator import KINDS

_FOLLOWED = ("dids", "handles", "relay")


class SubscriptionScaffoldParams(BaseModel):
    """What ``dg scaffold defs`` asks for."""

    handles: str = Field(
        default="alice.example.org", description="Whom to follow, with commas between."
    )
    source: str | None = Field(
        default=None, description="Where changes are heard of: poll, firehose:…, jetstream:…."
    )
    grace_hours: float = Field(
        default=72.0, description="For how many hours an account that is gone is only hidden."
    )
    tombstone_days: float = Field(
        default=30.0, description="For how many days it is remembered that a record is gone."
    )
    layer: Literal["local", "team"] = Field(
        default="local", description="Where their datasets are made."
    )


class SubscriptionScaffolder(dg.Scaffolder[SubscriptionScaffoldParams]):
    """Writes ``defs.yaml``."""

    @classmethod
    def get_scaffold_params(cls) -> type[SubscriptionScaffoldParams]:
        """See `SubscriptionScaffoldParams`."""
        return SubscriptionScaffoldParams

    def scaffold(self, request: dg.ScaffoldRequest[SubscriptionScaffoldParams]) -> None:
        """Writes the file."""
        params = request.params or SubscriptionScaffoldParams()
        handles = [handle.strip() for handle in params.handles.split(",") if handle.strip()]
        attributes: dict[str, Any] = {"handles": handles}
        if params.source is not None:
            attributes["source"] = params.source
        if params.layer != "local":
            attributes["layer"] = params.layer
        dg.scaffold_component(request, attributes)


@dg.scaffold_with(SubscriptionScaffolder)
class SubscriptionComponent(dg.Component, dg.Resolvable, dg.Model):
    """What others publish: their records observed by a sensor, and verified copies as assets.

    A project has one of these, and one `LayersComponent`, which says where the layers and the
    catalogue are. What is changed here counts once the code location is loaded again.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    dids: Sequence[str] = Field(default=(), description="Accounts by DID.")
    handles: Sequence[str] = Field(
        default=(), description="Accounts by handle.", examples=[["alice.example.org"]]
    )
    relay: str | None = Field(
        default=None,
        description="The origin of a relay: everybody is followed who publishes datasets.",
        examples=["https://bsky.network"],
    )
    blocked: Sequence[str] = Field(
        default=(), description="DIDs that are not followed, whoever names them."
    )
    collections: Sequence[str] = Field(
        default=DATASET_TYPES, description="The types of records; each has its own two assets."
    )
    tags: Sequence[str] = Field(
        default=(), description="Words of which a dataset must have one; none: any dataset."
    )
    max_bytes: int | str | None = Field(
        default=None,
        description="The largest dataset; one that doesn't tell its size is too large.",
        examples=["1GB"],
    )
    level: Literal["transport", "signed", "pinned", "bytes", "attested"] | None = Field(
        default=None,
        description="How far a dataset must be proven at least; by default what ATDATA_VERIFY "
        "says, else signed.",
    )
    quota: int = Field(default=1000, description="The most records of one account.")
    source: str | Sequence[str] = Field(
        default="poll",
        description="Where changes are heard of: poll, firehose:wss://host, or "
        "jetstream:wss://host/path.",
    )
    sweep_hours: float = Field(
        default=24.0,
        description="After how many hours everything is read anew, whatever the source told.",
    )
    grace_hours: float = Field(
        default=72.0, description="For how many hours an account that is gone is only hidden."
    )
    tombstone_days: float = Field(
        default=30.0, description="For how many days it is remembered that a record is gone."
    )
    layer: Literal["local", "team"] = Field(
        default="local", description="Where the copies are made; team on several machines."
    )
    fresh_within_hours: float | None = Field(
        default=None, description="A check tells whether anything was observed within that time."
    )
    running: bool = Field(
        default=False, description="Whether both sensors run before somebody starts them."
    )
    max_events: int = Field(default=200, description="The most events to take up in a tick.")
    minimum_interval_seconds: int = Field(default=30, description="The least time between ticks.")
    group_name: str = Field(default="inbox", description="Of the copies.")
    owners: Sequence[str] = Field(default=(), examples=[["team:vision"]])

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """What ``dg`` shows of the component."""
        return dg.ComponentTypeSpec(
            description="What others publish, observed, and verified copies of it as assets.",
            tags=["atdata", "atproto", "inbound"],
            owners=[],
            metadata={},
            produces=["asset", "asset_check", "sensor"],
        )

    def get_asset_spec(self, spec: dg.AssetSpec) -> dg.AssetSpec:
        """What the copies of a type of records are in Dagster; override it, but for the key.

        Args:
            spec: What they are otherwise.
        """
        return spec

    def build_subscription(self) -> Subscription:
        """Who and what is followed.

        Raises:
            ConfigurationError: Nobody is followed, or something can't be.
        """
        said = {name: getattr(self, name) for name in Subscription.model_fields}
        if not any(said[name] for name in _FOLLOWED):
            raise ConfigurationError(
                "subscription follows nobody", expected=f"one of {', '.join(_FOLLOWED)}"
            )
        size = self.max_bytes
        return Subscription.of({**said, "max_bytes": None if size is None else parse_size(size)})

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:  # noqa: ARG002
        """Assets, checks and sensors; nobody is asked for them."""
        fresh = self.fresh_within_hours
        status = dg.DefaultSensorStatus
        options: dict[str, Any] = {
            "io_manager_key": self.layer,
            "kinds": {"atproto", *KINDS[self.layer]},
            "group_name": self.group_name,
            "owners": list(self.owners),
            "description": f"Verified copies, in the {self.layer} layer, of what others publish.",
        }
        built = build_inbox_definitions(
            self.build_subscription(),
            collections=tuple(self.collections),
            fresh_within=None if fresh is None else timedelta(hours=fresh),
            asset_options=options,
            default_status=status.RUNNING if self.running else status.STOPPED,
            max_events=self.max_events,
            minimum_interval_seconds=self.minimum_interval_seconds,
        )
        assets: list[Any] = []
        for asset in built.assets or ():
            if isinstance(asset, dg.AssetsDefinition):
                assets += dg.map_asset_specs(self.get_asset_spec, [asset])
            else:
                assets.append(asset)
        # Without its resources: those are the project's, from its `LayersComponent`.
        return dg.Definitions(assets=assets, asset_checks=built.asset_checks, sensors=built.sensors)
