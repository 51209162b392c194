"""What publishing a dataset would do, before it is done: `Publication`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atdata_core.entry import DatasetEntry
from atdata_core.publishing.manifests import Draft


@dataclass(frozen=True)
class Publication:
    """What publishing a dataset would do.

    Args:
        name: The dataset's name.
        record: The record that would be written, as JSON; without the link to its schema, if that
            would be published with it.
        schema: The schema's record, if it would be written too; else None.
        current: The record that the name stands for now, or None.
        is_new: Whether anything would be written: False where `current` says the same already.
        blobs: How many blobs would be sent at most; those that the PDS has are left out then.
        size: Their bytes.
    """

    name: str
    record: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    current: str | None
    is_new: bool
    blobs: int
    size: int

    @classmethod
    def of(
        cls,
        entry: DatasetEntry,
        draft: Draft,
        *,
        schema: Mapping[str, Any] | None,
        current: str | None,
        is_new: bool,
        blobs: bool,
    ) -> "Publication":
        """The plan for a draft.

        Args:
            entry: The dataset.
            draft: Its record, and the list of shards beside it.
            schema: See the class.
            current: See the class.
            is_new: See the class.
            blobs: Whether its shards would be sent as blobs.
        """
        sent = entry.shards if blobs and is_new else ()
        listed = 1 if draft.manifest is not None and is_new else 0
        return cls(
            name=entry.name,
            record=draft.record,
            schema=schema,
            current=current,
            is_new=is_new,
            blobs=len(sent) + listed,
            size=sum(shard.size or 0 for shard in sent),
        )

    def __str__(self) -> str:
        if not self.is_new:
            return f"{self.current} says this already: nothing would be published"
        licence = self.record.get("license") or "no licence, so that nobody may reuse it"
        parts = [
            f"a record in place of {self.current}" if self.current else "a first record",
            *(["its schema's record"] if self.schema is not None else []),
            *([f"{self.blobs} blobs of {self.size:,} bytes"] if self.blobs else []),
        ]
        return f"would publish {', '.join(parts)}; {licence}"
