"""The types of records: what is written, and what is read.

Public ``atdata`` has called its types by two namespaces. Which one is written is a setting; both
are read, always.
"""

import os
from dataclasses import dataclass

from atdata_core.errors import ConfigurationError

SEED_NAMESPACE = "ac.foundation.dataset"
"""The namespace that is written by default."""

PUBLIC_NAMESPACE = "science.alt.dataset"
"""The namespace of public ``atdata`` since 0.6: write it for readers that use that package."""

NAMESPACES = (SEED_NAMESPACE, PUBLIC_NAMESPACE)

SCHEMA_TYPES = (
    f"{SEED_NAMESPACE}.sampleSchema",
    f"{SEED_NAMESPACE}.schema",
    f"{PUBLIC_NAMESPACE}.schema",
)
"""Every type of schema record that is read."""

DATASET_TYPES = (f"{SEED_NAMESPACE}.record", f"{PUBLIC_NAMESPACE}.entry")
"""Every type of dataset record that is read."""

LABEL_TYPES = (f"{SEED_NAMESPACE}.label", f"{PUBLIC_NAMESPACE}.label")
"""Every type of label record that is read."""

LENS_TYPES = (f"{SEED_NAMESPACE}.lens", f"{PUBLIC_NAMESPACE}.lens")
"""Every type of lens record that is read."""

ATTESTATION_TYPES = (f"{SEED_NAMESPACE}.attestation", f"{PUBLIC_NAMESPACE}.attestation")
"""Every type of attestation record that is read."""


@dataclass(frozen=True)
class Names:
    """The types of the records that are written.

    Args:
        namespace: What their names begin with.
        schema: The type of schema records.
        dataset: The type of dataset records.
    """

    namespace: str
    schema: str
    dataset: str

    @property
    def label(self) -> str:
        """The type of label records."""
        return f"{self.namespace}.label"

    @property
    def lens(self) -> str:
        """The type of lens records."""
        return f"{self.namespace}.lens"

    @property
    def attestation(self) -> str:
        """The type of records that say who has checked a dataset."""
        return f"{self.namespace}.attestation"

    @property
    def part(self) -> str:
        """The type of the records that keep blobs for a dataset with very many."""
        return f"{self.namespace}.part"

    def storage(self, kind: str) -> str:
        """The type of one way to say where shards lie: ``Blobs``, ``External``, ``Http``, …."""
        return f"{self.namespace}.storage{kind}"

    @property
    def is_public(self) -> bool:
        """Whether this is the namespace of today's public ``atdata``."""
        return self.namespace == PUBLIC_NAMESPACE


_NAMES = {
    SEED_NAMESPACE: Names(SEED_NAMESPACE, SCHEMA_TYPES[0], DATASET_TYPES[0]),
    PUBLIC_NAMESPACE: Names(PUBLIC_NAMESPACE, SCHEMA_TYPES[2], DATASET_TYPES[1]),
}


def names_of(namespace: str | None = None) -> Names:
    """The types of a namespace.

    Args:
        namespace: One of `NAMESPACES`; by default ``ATDATA_NAMESPACE``, else the seed's.

    Raises:
        ConfigurationError: There is no such namespace.
    """
    wanted = namespace or os.environ.get("ATDATA_NAMESPACE") or SEED_NAMESPACE
    if wanted not in _NAMES:
        raise ConfigurationError(
            "records of this namespace can't be written",
            where="namespace=…" if namespace else "ATDATA_NAMESPACE",
            expected=" or ".join(NAMESPACES),
            got=repr(wanted),
        )
    return _NAMES[wanted]
