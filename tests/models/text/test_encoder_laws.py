"""Laws that every text encoder keeps."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.models.text import TextEncoder
from pipeline.models.text.cache import CachedEncoder
from pipeline.models.text.hashing import HashingEncoder
from pipeline.models.text.huggingface import TransformerEncoder

TEXTS = [
    "Toy Story (1995)",
    "",
    "Heat",
    "the godfather",
    "  \t",
    "???",
    "Amélie",
    "映画",
    "lone \ud800 surrogate",
    "Heat",
]
BLANK = [1, 4]

Make = Callable[[], TextEncoder]


@pytest.fixture(params=["hashing", "transformer", "cached"])
def make(request: pytest.FixtureRequest, tiny_bert: Path, tmp_path: Path) -> Make:
    makers: dict[str, Make] = {
        "hashing": HashingEncoder,
        "transformer": lambda: TransformerEncoder(str(tiny_bert)),
        "cached": lambda: CachedEncoder(HashingEncoder(), tmp_path),
    }
    return makers[request.param]


def test_every_text_gets_a_unit_vector_and_a_blank_one_zero(make: Make) -> None:
    encoder = make()
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimensions)
    assert vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[BLANK].tolist() == [0.0, 0.0]
    np.testing.assert_allclose(np.delete(lengths, BLANK), 1.0, atol=1e-6)


def test_a_vector_depends_on_its_text_alone(make: Make) -> None:
    together = make().encode(TEXTS)
    alone = np.concatenate([make().encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert together[2].tobytes() == together[9].tobytes()


def test_a_second_instance_is_the_same_function(make: Make) -> None:
    first, second = make(), make()
    assert first.identity == second.identity
    assert len(first.identity) == 64
    assert first.encode(TEXTS).tobytes() == second.encode(TEXTS).tobytes()


def test_no_texts_make_no_vectors(make: Make) -> None:
    encoder = make()
    assert encoder.encode([]).shape == (0, encoder.dimensions)
