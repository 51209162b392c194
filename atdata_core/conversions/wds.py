"""Datasets as pipelines of WebDataset."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from atdata_core.conversions.needs import needed
from atdata_core.errors import SampleError
from atdata_core.iteration import Iteration
from atdata_core.sample import PackableSample
from atdata_core.shares import worker_share

wds = needed("webdataset", "webdataset")


def pipeline(iteration: Iteration[Any]) -> Any:
    """A ``webdataset.DataPipeline`` of one map a sample; see `Dataset.to_webdataset`."""
    return wds.DataPipeline(_Samples(iteration))


class _Samples(wds.PipelineStage):  # type: ignore[misc,name-defined]
    """The first stage of a pipeline; a class, so that workers can be sent it."""

    def __init__(self, iteration: Iteration[Any]) -> None:
        self._iteration = iteration

    def run(self) -> Iterator[dict[str, Any]]:
        share = worker_share()
        for number, sample in enumerate(self._iteration):
            if not isinstance(sample, PackableSample):
                raise SampleError("a pipeline takes samples only", got=type(sample).__name__)
            # WebDataset wants keys that no other worker gives.
            key = f"{number * share.count + share.index:09d}"
            fields = dataclasses.fields(sample)  # type: ignore[arg-type]
            yield {"__key__": key, **{f.name: getattr(sample, f.name) for f in fields}}
