"""Two datasets: the digits that scikit-learn ships, and their principal components."""

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from atdata_core import Dataset, Shape, packable
from atdata_dagster import dataset_asset

EMBEDDING_DIMS = 16


@packable
class Digit:
    """A handwritten digit: 8 x 8 pixels, each from 0 (paper) to 16 (ink), and what it means."""

    image: Annotated[NDArray[np.uint8], Shape(8, 8)]
    label: int


@packable
class DigitEmbedding:
    """A digit's coordinates along the first 16 principal components of all digits."""

    vector: Annotated[NDArray[np.float32], Shape(EMBEDDING_DIMS)]
    label: int


@dataset_asset(
    Digit,
    promote=("team", "atmosphere"),
    license="CC-BY-4.0",
    dataset_tags=["images", "handwriting", "uci"],
    dataset_metadata={
        "source": "UCI Optical Recognition of Handwritten Digits, doi:10.24432/C50P49"
    },
    max_samples=500,
)
def digits() -> Iterator[Digit]:
    """1,797 handwritten digits from 43 people (UCI, test part), as scikit-learn ships them."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    for image, label in zip(bunch.images, bunch.target, strict=True):
        yield Digit(image=image.astype(np.uint8), label=int(label))


@dataset_asset(
    DigitEmbedding,
    promote=("team", "atmosphere"),
    license="CC-BY-4.0",
    dataset_tags=["embeddings", "handwriting"],
)
def digit_embeddings(digits: Dataset[Digit]) -> Iterator[DigitEmbedding]:
    """The digits projected on their first 16 principal components, in two streaming passes."""
    mean, components = _principal_components(digits)
    for digit in digits:
        vector = components @ (digit.image.reshape(-1) - mean)
        yield DigitEmbedding(vector=vector.astype(np.float32), label=digit.label)


def _principal_components(
    digits: Dataset[Digit],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean (64) and components (16 x 64) of the pixels."""
    # Sums of whole numbers are exact, so the result doesn't depend on the size of the batches.
    count, total, products = 0, np.zeros(64, np.int64), np.zeros((64, 64), np.int64)
    for batch in digits.ordered(batch_size=256):
        pixels = batch.image.reshape(len(batch), -1).astype(np.int64)
        count += len(batch)
        total += pixels.sum(axis=0)
        products += pixels.T @ pixels
    mean = total / count
    _, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    components = vectors[:, ::-1].T[:EMBEDDING_DIMS]
    # An eigenvector's sign is arbitrary: make its largest entry positive.
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(EMBEDDING_DIMS), largest])
    return mean, components * signs[:, None]
