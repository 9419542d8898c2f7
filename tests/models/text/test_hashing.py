import numpy as np

from pipeline.models.text.hashing import HashingEncoder, _features


def test_a_sequel_is_nearer_than_a_stranger() -> None:
    toy, sequel, stranger = HashingEncoder().encode(["Toy Story (1995)", "Toy Story 2 (1999)", "The Godfather (1972)"])
    assert toy @ sequel > 0.5
    assert toy @ sequel > toy @ stranger + 0.3


def test_a_misspelling_stays_near() -> None:
    right, wrong, other = HashingEncoder().encode(["schindler", "shindler", "matrix"])
    assert right @ wrong > right @ other + 0.2


def test_case_and_width_make_no_difference() -> None:
    lower, upper, wide = HashingEncoder().encode(["heat", "HEAT", "ＨＥＡＴ"])
    assert lower.tobytes() == upper.tobytes() == wide.tobytes()


def test_unrelated_texts_are_orthogonal_on_average() -> None:
    vectors = HashingEncoder().encode([f"{i * 7919:06d}" for i in range(200)])
    inner = (vectors @ vectors.T)[np.triu_indices(200, 1)]
    assert abs(inner.mean()) < 0.05


def test_features_of_a_short_word() -> None:
    assert list(_features("Up")) == ["wup", "g<up", "gup>", "g<up>"]


def test_repetition_counts_less_than_linearly() -> None:
    once, often, other = HashingEncoder().encode(["star wars", "star star star star star star wars", "wars"])
    assert often @ other > 0.15
    assert once @ often > 0.8


def test_the_recipe_is_pinned() -> None:
    """Stored vectors rely on it: whoever changes the algorithm must count up the recipe's name."""
    encoder = HashingEncoder()
    vector = encoder.encode(["Toy Story (1995)"])[0]
    assert encoder.identity[:12] == "1609d01198b1"
    assert sorted(np.argsort(-np.abs(vector))[:4].tolist()) == [106, 160, 176, 250]
