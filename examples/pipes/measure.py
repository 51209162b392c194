"""Runs where the instruments are: writes a dataset into the team's layer and tells Dagster.

It needs `atdata_core` and `dagster_pipes`, which has no dependencies; Dagster isn't there.
"""

import os

from dagster_pipes import open_dagster_pipes
from readings import Reading, measure

from atdata_core import LocalIndex, S3DataStore

with open_dagster_pipes() as pipes, LocalIndex(data_store=S3DataStore()) as team:
    entry = team.write_samples(
        measure(), name="readings", sample_type=Reading, license="CC0-1.0"
    ).entry
    pipes.log.info("%d rows in %d shards", entry.rows, len(entry.shards))
    pipes.report_asset_materialization(
        # What Dagster calls the version is the content's CID, as in every chain.
        data_version=entry.cid,
        metadata={
            "dagster/row_count": entry.rows,
            "dagster/uri": f"s3://{os.environ['ATDATA_S3_BUCKET']}/{entry.name}/",
            "atdata/cid": entry.cid,
            "atdata/bytes": entry.size,
            "atdata/shards": len(entry.shards),
        },
    )
