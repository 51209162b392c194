"""Datasets as tables, tensors and pipelines, and back."""

import dataclasses
import enum
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Literal

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

import atdata_core as atdata
from atdata_core import Dataset, Shape, errors
from atdata_core.shard import write_shards
from tests.support.samples import Item, Loose, items

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@atdata.packable
class Inner:
    name: str
    data: NDArray[np.int16]
    note: str | None = None


@atdata.packable
class Everything:
    text: str
    whole: int
    real: float
    truth: bool
    raw: bytes
    image: Annotated[NDArray[np.uint8], Shape(2, 3)]
    loose: NDArray
    ragged: NDArray[np.float32]
    odd: NDArray[np.complex64]
    many: list[int]
    arrays: list[NDArray]
    pair: tuple[int, str]
    row: tuple[float, ...]
    table: dict[str, int]
    inner: Inner
    when: datetime
    colour: Colour
    choice: Literal["a", "b"]
    maybe: NDArray[np.float64] | None = None
    word: str | None = None


def everything(count):
    return [
        Everything(
            text=f"é{i}",
            whole=i - 2**40,
            real=i / 3,
            truth=bool(i % 2),
            raw=bytes([i, 0, 255]),
            image=np.full((2, 3), i, np.uint8),
            loose=np.arange(4, dtype=np.int32) * i,
            ragged=np.ones((i % 3 + 1, 2), np.float32) * i,
            odd=np.array([1j * i], np.complex64),
            many=list(range(i)),
            arrays=[np.zeros((i, 2)), np.array(i)],
            pair=(i, "x"),
            row=(1.5,) * i,
            table={"a": i, "b": 2},
            inner=Inner("n", np.array([i], np.int16)),
            when=datetime(2026, 1, 1, i, tzinfo=timezone(timedelta(hours=i))),
            colour=Colour.BLUE,
            choice="a",
            maybe=None if i % 2 else np.array([1.0, i]),
            word=None if i % 3 else "w",
        )
        for i in range(count)
    ]


def stored(samples, folder, **options):
    return Dataset([s.url for s in write_shards(samples, folder, **options)], type(samples[0]))


def test_everything_survives_arrow_parquet_and_shards(tmp_path):
    samples = everything(7)
    dataset = stored(samples, tmp_path, max_samples=3)
    table = dataset.to_arrow(ragged=["ragged"])
    assert table.num_rows == 7
    assert table.schema.field("image").type == pa.fixed_shape_tensor(pa.uint8(), (2, 3))
    assert table.schema.field("when").type == pa.string()
    assert list(Dataset.from_arrow(table, Everything)) == samples
    path = tmp_path / "all.parquet"
    assert dataset.to_parquet(path, row_group=2, ragged=["ragged"]) == 7
    assert pq.ParquetFile(path).num_row_groups == 4
    back = Dataset.from_parquet(path, Everything)
    assert list(back) == samples
    assert len(back) == 7
    assert back[5] == samples[5]
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".part")] == []


def test_the_type_comes_back_with_the_table(tmp_path):
    dataset = stored(everything(3), tmp_path)
    back = Dataset.from_arrow(dataset.to_arrow(ragged=["ragged"]))
    assert back.schema.cid == dataset.schema.cid
    assert [s.text for s in back] == ["é0", "é1", "é2"]


def test_other_readers_of_parquet_see_plain_columns(tmp_path):
    dataset = stored(items(4), tmp_path)
    dataset.to_parquet(tmp_path / "items.parquet")
    table = pq.read_table(tmp_path / "items.parquet")
    assert table.column("text").to_pylist() == [item.text for item in items(4)]
    tensors = table.column("data").combine_chunks().to_numpy_ndarray()
    assert np.array_equal(tensors, np.stack([item.data for item in items(4)]))


def test_ragged_arrays_are_named_before_anything_is_left_behind(tmp_path):
    samples = [Loose(i, np.zeros(i + 1)) for i in range(3)]
    dataset = stored(samples, tmp_path)
    with pytest.raises(errors.SampleError, match=r"column 'data'.*ragged=\['data'\]"):
        dataset.to_arrow()
    with pytest.raises(errors.SampleError):
        dataset.to_parquet(tmp_path / "x.parquet")
    assert not list(tmp_path.glob("*.parquet*"))
    assert not list(tmp_path.glob(".*"))
    assert list(Dataset.from_arrow(dataset.to_arrow(ragged=["data"]), Loose)) == samples
    with pytest.raises(errors.SchemaError, match="no such field of arrays"):
        dataset.to_arrow(ragged=["id"])


def test_arrays_that_change_their_dtype_are_refused(tmp_path):
    samples = [Loose(0, np.zeros(2)), Loose(1, np.zeros(2, np.float32))]
    with pytest.raises(errors.SampleError, match="float32"):
        stored(samples, tmp_path).to_arrow()


def test_numbers_beyond_a_column_are_refused(tmp_path):
    with pytest.raises(errors.SampleError, match="column 'id'"):
        stored([Loose(2**63, np.zeros(1))], tmp_path).to_arrow()


def test_an_empty_dataset_has_columns(tmp_path):
    dataset = Dataset([s.url for s in write_shards([], tmp_path, sample_type=Item)], Item)
    assert dataset.to_arrow().schema.names == ["id", "text", "data"]
    assert dataset.to_dict() == {"id": [], "text": [], "data": []}
    assert list(Dataset.from_arrow(dataset.to_arrow(), Item)) == []


def test_pandas_holds_arrays_in_cells(tmp_path):
    frame = stored(everything(5), tmp_path).to_pandas()
    assert isinstance(frame, pd.DataFrame)
    assert frame.whole.tolist() == [i - 2**40 for i in range(5)]
    assert frame.loose[3].tolist() == [0, 3, 6, 9]
    assert frame.when[2].utcoffset() == timedelta(hours=2)
    assert frame.pair[4] == (4, "x")


def test_columns_and_operations(tmp_path):
    dataset = stored(items(6), tmp_path).filter(lambda item: item.id % 2 == 0)
    assert dataset.to_dict()["id"] == [0, 2, 4]
    assert dataset.to_arrow().num_rows == 3


def test_foreign_tables_get_a_type(tmp_path):
    table = pa.table(
        {
            "label": pa.array([1, 2], pa.int8()),
            "name": pa.array(["a", None]),
            "vector": pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
            "tokens": pa.array([[1, 2, 3], [4]], pa.list_(pa.int64())),
            "words": pa.array([["x"], []]),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC")),
            "kind": pa.array(["u", "v"]).dictionary_encode(),
            "nested": pa.array([{"x": 1}, {"x": 2}]),
        }
    )
    dataset = Dataset.from_arrow(table)
    first, second = list(dataset)
    assert first.label == 1
    assert second.name is None
    assert first.vector.dtype == np.float32
    assert second.tokens.tolist() == [4]
    assert first.words == ["x"]
    assert first.at == datetime(2026, 1, 1, tzinfo=UTC)
    assert second.kind == "v"
    assert second.nested.x == 2
    fields = dataset.describe()["fields"]
    assert fields["label"] == "int"
    assert fields["vector"] == "ndarray[float32, (2)]"


def test_foreign_rows_fit_a_told_type():
    table = pa.table({"id": [1], "text": ["x"], "data": [[0.5, 1.5]], "more": [None]})
    [item] = Dataset.from_arrow(table, Item)
    assert item == Item(1, "x", np.array([0.5, 1.5], np.float32))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": [1], "text": ["x"]}, "row 0: there is no column 'data'"),
        ({"id": ["1"], "text": ["x"], "data": [[1.0]]}, "field 'id'"),
        ({"id": [1], "text": ["x"], "data": [[[1.0], [1.0, 2.0]]]}, "value is no array"),
    ],
)
def test_rows_that_do_not_fit_are_named(columns, message):
    with pytest.raises(errors.SampleError, match=message):
        list(Dataset.from_arrow(pa.table(columns), Item))


def test_numbers_that_would_wrap_are_refused():
    @atdata.packable
    class Byte:
        data: NDArray[np.uint8]

    assert next(iter(Dataset.from_arrow(pa.table({"data": [[255]]}), Byte))).data[0] == 255
    for values in ([[256]], [[-1]], [[1.5]]):
        with pytest.raises(errors.SampleError, match="dtype"):
            list(Dataset.from_arrow(pa.table({"data": values}), Byte))


def test_columns_of_unknown_types_are_named():
    table = pa.table({"x": pa.array([1], pa.duration("s"))})
    with pytest.raises(errors.SchemaError, match=r"column 'x'.*duration"):
        Dataset.from_arrow(table)
    with pytest.raises(errors.SchemaError, match="identifier"):
        Dataset.from_arrow(pa.table({"not a name": [1]}))


def test_a_damaged_schema_in_a_table_is_named():
    table = pa.table({"id": [1]}).replace_schema_metadata({"atdata.schema": "{"})
    with pytest.raises(errors.SchemaError, match="no JSON"):
        Dataset.from_arrow(table)
    lies = json.dumps({"name": "X", "fields": [{"name": "id"}]})
    with pytest.raises(errors.SchemaError):
        Dataset.from_arrow(pa.table({"id": [1]}).replace_schema_metadata({"atdata.schema": lies}))


def test_files_that_are_no_parquet_are_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no")
    with pytest.raises(errors.NotFoundError, match=r"x\.parquet"):
        Dataset.from_parquet(tmp_path / "x.parquet")
    with pytest.raises(errors.NotFoundError):
        Dataset.from_parquet([])


def test_an_index_takes_a_table_as_shards_of_its_own(tmp_path):
    index = atdata.FileIndex(tmp_path / "index")
    table = stored(items(5), tmp_path).to_arrow()
    entry = index.insert_dataset(Dataset.from_arrow(table, Item), name="items")
    assert list(index.open_dataset(entry, Item)) == items(5)
    assert all(shard.cid for shard in entry.shards)


def test_a_huggingface_dataset_becomes_samples(tmp_path):
    features = datasets.Features(
        {
            "label": datasets.ClassLabel(names=["a", "b"]),
            "text": datasets.Value("string"),
            "grid": datasets.Array2D((2, 2), "float32"),
            "tokens": datasets.List(datasets.Value("int32")),
        }
    )
    rows = {
        "label": [0, 1],
        "text": ["x", "y"],
        "grid": [np.eye(2, dtype=np.float32).tolist()] * 2,
        "tokens": [[1], [2, 3]],
    }
    hf = datasets.Dataset.from_dict(rows, features=features)
    dataset = Dataset.from_huggingface(hf)
    assert len(dataset) == 2
    assert dataset[1].label == 1
    assert dataset[1].tokens.dtype == np.int32
    assert next(iter(dataset.ordered(batch_size=2))).grid.shape == (2, 2, 2)
    splits = atdata.DatasetDict.from_huggingface(datasets.DatasetDict({"train": hf, "test": hf}))
    assert list(splits) == ["train", "test"]
    assert splits["test"][0].text == "x"
    with pytest.raises(errors.ConfigurationError, match="DatasetDict"):
        Dataset.from_huggingface(datasets.DatasetDict({"train": hf}))


def test_torch_gets_tensors(tmp_path):
    dataset = stored(everything(4), tmp_path)
    with pytest.raises(errors.SampleError, match="'ragged'"):
        list(dataset.to_torch(batch_size=4))
    dataset = dataset.map(lambda s: dataclasses.replace(s, ragged=s.ragged[:1]), to=Everything)
    [batch] = DataLoader(dataset.to_torch(batch_size=4), batch_size=None)
    assert batch["image"].dtype == torch.uint8
    assert tuple(batch["image"].shape) == (4, 2, 3)
    assert batch["whole"].tolist() == [i - 2**40 for i in range(4)]
    assert batch["real"].dtype == torch.float64
    assert batch["text"] == ["é0", "é1", "é2", "é3"]
    assert isinstance(batch["colour"], list)


@pytest.mark.parametrize("workers", [0, 2])
def test_torch_workers_share_out_every_sample_once(tmp_path, workers):
    dataset = stored(items(50), tmp_path, max_samples=10)
    loader = DataLoader(dataset.to_torch(), batch_size=4, num_workers=workers)
    seen = torch.cat([batch["id"] for batch in loader]).tolist()
    assert sorted(seen) == list(range(50))
    loader = DataLoader(
        dataset.to_torch(batch_size=4, shuffle=True, seed=1), batch_size=None, num_workers=workers
    )
    first, second = ([batch["id"].tolist() for batch in loader] for _ in range(2))
    assert first == second
    assert sorted(i for ids in first for i in ids) == list(range(50))


def test_torch_passes_can_be_taken_up(tmp_path):
    dataset = stored(items(20), tmp_path, max_samples=6)
    whole = dataset.to_torch(shuffle=True, seed=3)
    ids = [sample["id"] for sample in whole]
    half = dataset.to_torch(shuffle=True, seed=3)
    iterator = iter(half)
    taken = [next(iterator)["id"] for _ in range(7)]
    rest = dataset.to_torch(shuffle=True, seed=3)
    rest.load_state_dict(half.state_dict())
    assert taken + [sample["id"] for sample in rest] == ids


def test_torch_epochs(tmp_path):
    dataset = stored(items(3), tmp_path)
    assert [s["id"] for s in dataset.to_torch(epochs=2)] == [0, 1, 2, 0, 1, 2]


def test_webdataset_pipelines(tmp_path):
    dataset = stored(items(9), tmp_path, max_samples=4)
    pipeline = dataset.to_webdataset()
    found = list(pipeline)
    assert [sample["id"] for sample in found] == list(range(9))
    assert len({sample["__key__"] for sample in found}) == 9
    loader = DataLoader(pipeline, batch_size=None, num_workers=2)
    found = list(loader)
    assert sorted(sample["id"] for sample in found) == list(range(9))
    assert len({sample["__key__"] for sample in found}) == 9
    with pytest.raises(errors.SampleError, match="samples only"):
        list(dataset.map(lambda item: item.id).to_webdataset())


def test_ragged_batches_by_choice(tmp_path):
    dataset = stored([Loose(i, np.zeros(i + 1)) for i in range(3)], tmp_path)
    [batch] = dataset.ordered(batch_size=3)
    with pytest.raises(errors.SampleError, match='ragged="list"'):
        _ = batch.data
    [batch] = dataset.ordered(batch_size=3, ragged="list")
    assert [len(array) for array in batch.data] == [1, 2, 3]
    [batch] = dataset.shuffled(batch_size=3, seed=1, ragged="list")
    assert sorted(len(array) for array in batch.data) == [1, 2, 3]
