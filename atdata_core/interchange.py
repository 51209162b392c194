"""What a dataset can be turned into, and what can be turned into one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from atdata_core.iteration import Iteration
from atdata_core.schema import Schema
from atdata_core.sources import DataSource, FileSource, expand

T = TypeVar("T")

_ROWS = 1000


class Interchange(ABC, Generic[T]):
    """The part of `Dataset` that knows other libraries; they are loaded when they are needed.

    Their extras: ``arrow``, ``pandas``, ``torch``, ``huggingface``.
    """

    @abstractmethod
    def __init__(self, source: DataSource, sample_type: type[T] | None = None) -> None: ...

    @property
    @abstractmethod
    def schema(self) -> Schema:
        """What the samples are."""

    ordered: Callable[..., Iteration[Any]]
    shuffled: Callable[..., Iteration[Any]]

    @abstractmethod
    def split_by_worker(self) -> Self:
        """The same, divided among whoever reads at once."""

    # --- out

    def to_dict(self) -> dict[str, list[Any]]:
        """All samples as columns: by field, the list of its values. All of it lies in memory."""
        columns: dict[str, list[Any]] = {field.name: [] for field in self.schema.fields}
        for chunk in self._chunks(_ROWS):
            for name, values in chunk.items():
                columns[name].extend(values)
        return columns

    def to_pandas(self) -> Any:
        """All samples as a ``pandas.DataFrame``; a cell of an array field holds its array.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        from atdata_core.conversions.needs import needed

        pandas = needed("pandas", "pandas")
        columns = self.to_dict()
        # A column of lists or arrays has to be told that they are its cells.
        series = {
            name: pandas.Series(values, dtype=object)
            if values and type(values[0]) not in (str, int, float, bool)
            else values
            for name, values in columns.items()
        }
        return pandas.DataFrame(series)

    def to_arrow(self, *, ragged: Collection[str] = ()) -> Any:
        """All samples as a ``pyarrow.Table``.

        Args:
            ragged: The array fields whose arrays differ in shape. They become pairs of shape and
                data; those of others become tensors of one shape.

        Raises:
            SampleError: Arrays of a field differ, and it isn't named in `ragged`.
            ConfigurationError: PyArrow is not installed.
        """
        from atdata_core.conversions import arrow

        return arrow.table(self.schema, self._chunks(_ROWS), ragged)

    def to_parquet(
        self,
        path: str | PathLike[str],
        *,
        row_group: int = _ROWS,
        ragged: Collection[str] = (),
        compression: str = "zstd",
    ) -> int:
        """Writes all samples to a Parquet file, in the memory of one row group.

        Args:
            path: The file. It appears when it is whole.
            row_group: Samples a row group.
            ragged: See `to_arrow`.
            compression: Parquet's own name for it, or ``"none"``.

        Returns:
            The number of samples.

        Raises:
            SampleError: Arrays of a field differ, and it isn't named in `ragged`.
            ConfigurationError: PyArrow is not installed.
        """
        from atdata_core.conversions import arrow

        chunks = self._chunks(row_group)
        return arrow.write_parquet(Path(path), self.schema, chunks, ragged, compression)

    def to_torch(
        self,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int | None = None,
        epochs: int | None = 1,
    ) -> Any:
        """The samples as a ``torch.utils.data.IterableDataset`` of maps from field to tensor.

        Workers and ranks share the samples out without overlap. With `batch_size`, batches are
        made here, which is much faster than collating samples: ``DataLoader(…, batch_size=None)``.

        Args:
            batch_size: Samples a batch; None: single samples, for the ``DataLoader`` to collate.
            shuffle: Whether in random order.
            seed: Of that order; each epoch has one of its own.
            epochs: How often the samples are gone through; None: without end.

        Raises:
            ConfigurationError: PyTorch is not installed.
        """
        from atdata_core.conversions import pytorch

        divided = self.split_by_worker()
        iteration = (
            divided.shuffled(batch_size=batch_size, seed=seed)
            if shuffle
            else divided.ordered(batch_size)
        )
        return pytorch.TorchDataset(iteration if epochs == 1 else iteration.repeat(epochs))

    def to_webdataset(self, *, shuffle: bool = False, seed: int | None = None) -> Any:
        """The samples as a ``webdataset.DataPipeline`` of maps from field to value.

        Its ``__key__`` is the sample's number. Workers and ranks share the samples out.

        Args:
            shuffle: Whether in random order.
            seed: Of that order.
        """
        from atdata_core.conversions import wds

        divided = self.split_by_worker()
        return wds.pipeline(divided.shuffled(seed=seed) if shuffle else divided.ordered())

    def _chunks(self, size: int) -> Iterator[Mapping[str, Any]]:
        names = [field.name for field in self.schema.fields]
        for batch in self.ordered(size, ragged="list"):
            yield {name: getattr(batch, name) for name in names}

    # --- in

    @classmethod
    def from_arrow(cls, table: Any, sample_type: type[T] | None = None) -> Self:
        """The rows of a ``pyarrow.Table`` as a dataset.

        What `to_arrow` gave comes back as it was. Nothing is copied until it is read; an index
        that takes the dataset (``index.insert_dataset``) writes shards of its own.

        Args:
            table: The table.
            sample_type: The packable type of its rows; by default one made from its columns.

        Raises:
            SchemaError: No type can be made from the columns.
            ConfigurationError: PyArrow is not installed.
        """
        from atdata_core.conversions import arrow

        return cls(*arrow.table_source(table, sample_type))

    @classmethod
    def from_parquet(
        cls, paths: str | PathLike[str] | Iterable[str], sample_type: type[T] | None = None
    ) -> Self:
        """The rows of Parquet files as a dataset; read a row group at a time.

        Args:
            paths: The files: one text with braces or wildcards in it, or a list.
            sample_type: The packable type of the rows; by default one made from the columns.

        Raises:
            NotFoundError: A file can't be read, or isn't Parquet.
            SchemaError: No type can be made from the columns.
            ConfigurationError: PyArrow is not installed.
        """
        from atdata_core.conversions import arrow

        if isinstance(paths, (str, PathLike)):
            paths = expand(fspath(paths), "*.parquet")
        return cls(*arrow.parquet_source([fspath(path) for path in paths], sample_type))

    @classmethod
    def from_huggingface(cls, rows: Any, sample_type: type[T] | None = None) -> Self:
        """The rows of a Hugging Face ``datasets.Dataset`` as a dataset.

        Args:
            rows: One split; `DatasetDict.from_huggingface` takes several.
            sample_type: The packable type of the rows; by default one made from the features.

        Raises:
            ConfigurationError: It is no such dataset, or ``datasets`` is not installed.
            SchemaError: No type can be made from the features.
        """
        from atdata_core.conversions import huggingface

        return cls(*huggingface.rows_source(rows, sample_type))

    @classmethod
    def from_webdataset(
        cls,
        source: DataSource | str | PathLike[str] | Sequence[str],
        sample_type: type[T],
        *,
        decoders: Mapping[str, Callable[[bytes], Any]] | None = None,
        members: Mapping[str, str] | None = None,
    ) -> Self:
        """Tars in WebDataset's own layout, one member a field, as a dataset.

        For example::

            Dataset.from_webdataset(
                "train-{000000..000099}.tar",
                Photo,
                members={"image": "jpg;png", "label": "cls"},
                decoders={ext: lambda data: np.asarray(Image.open(BytesIO(data)))
                          for ext in ("jpg", "png")},
            )

        Members ``.npy``, ``.json``, ``.txt`` and ``.cls`` need no decoder, and any member can fill
        a field of bytes. Pickled ones are never read. Keys become numbers.

        Args:
            source: A `DataSource`, or paths as for `Dataset`. The tars aren't compressed.
            sample_type: The packable type.
            decoders: By extension, what turns a member's bytes into the field's value.
            members: By field, the extension of the member that holds it, or several with ``;``
                between them; ``__key__`` is the sample's key. By default a field ``x`` is held by
                ``.x``, ``.x.npy`` and so on.

        Raises:
            ConfigurationError: `members` names no field, or a decoder is for pickled members.
        """
        from atdata_core.conversions import foreign_tar

        if isinstance(source, (str, PathLike)):
            source = FileSource(expand(fspath(source)))
        elif not isinstance(source, DataSource):
            source = FileSource(list(source))
        made = foreign_tar.tar_source(source, sample_type, decoders or {}, members or {})
        return cls(made, sample_type)
