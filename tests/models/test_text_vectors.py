"""Text embeddings in single and half precision."""

import numpy as np
import pytest

from pipeline.models.text_vectors import TextVectors, kept_texts

EVERY_HALF = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
"""All numbers of half precision, infinities and NaN among them."""


def test_every_half_is_read_as_the_same_single() -> None:
    finite = EVERY_HALF[np.isfinite(EVERY_HALF)].reshape(-1, 16)
    texts = TextVectors(finite)
    expected = finite.astype(np.float32)
    rows = np.arange(len(finite))[::-1]
    assert texts.of(rows).dtype == np.float32
    assert texts.of(rows).tobytes() == expected[::-1].tobytes()
    assert texts.all().tobytes() == expected.tobytes()


@pytest.mark.parametrize("precision", [np.float32, np.float16])
def test_the_first_rows_are_those_of_all(precision: type[np.floating]) -> None:
    stored = np.random.default_rng(0).normal(size=(9, 5)).astype(precision)
    texts = TextVectors(stored)
    assert (len(texts), texts.dimensions, len(texts.first(4))) == (9, 5, 4)
    assert np.array_equal(texts.first(4).of(np.array([3, 0, 3])), stored[[3, 0, 3]])
    assert texts.of(np.zeros(0, dtype=np.int64)).shape == (0, 5)


def test_a_set_up_keeps_single_precision_up_to_a_number_of_items() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    assert kept_texts(vectors, 9) is vectors
    assert kept_texts(vectors, 8).dtype == np.float16
    assert np.allclose(kept_texts(vectors, 8), vectors, rtol=2**-11)
