"""Open catalogue: when items begin and end, which rows they have, and which event is the first to see that."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.events.existence import Change
from pipeline.events.item import WHEN_TAKEN, Item
from pipeline.events.windows import History
from pipeline.models.catalogue import make_catalogue
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.text import open_text_encoder
from pipeline.models.text.hashing import HashingEncoder

TEXTS = {"a": "red shoes", "b": "blue shoes", "c": "green hat"}


@pytest.fixture
def catalogue() -> OpenCatalogue:
    """Three items of set-up, in rows 1 to 3."""
    encoder = open_text_encoder("hashing", None)
    items = {item_id: Item(item_id, text) for item_id, text in TEXTS.items()}
    return OpenCatalogue(make_catalogue("abc", items, encoder), encoder)


def there(catalogue: OpenCatalogue) -> list[str]:
    return [catalogue.ids[row] for row in np.flatnonzero(catalogue.existing())]


def test_an_item_begins_at_its_moment_and_ends_when_it_expires(catalogue: OpenCatalogue) -> None:
    assert catalogue.describe(Item("x", expires=30.0), 20.0) is None
    assert catalogue.advance(19.0) == []
    assert "x" not in catalogue.row_of
    assert catalogue.advance(20.0) == [Change(0, 4, True)]
    assert there(catalogue) == ["a", "b", "c", "x"]
    assert catalogue.advance(30.0) == [Change(0, 4, False)]
    assert catalogue.known_rows(["x"]) == [4]  # windows of those who took it keep it
    assert not catalogue.exists("x")


def test_an_item_of_set_up_ends_and_comes_back_with_a_later_record(catalogue: OpenCatalogue) -> None:
    catalogue.describe(Item("a", expires=5.0), 0.0)
    assert catalogue.advance(6.0) == [Change(0, 1, False)]
    assert catalogue.describe(Item("a"), 0.0) == Change(0, 1, True)


def test_a_tombstone_ends_an_item_until_a_later_record_whoever_takes_it(catalogue: OpenCatalogue) -> None:
    assert catalogue.withdraw("b") == Change(0, 2, False)
    assert catalogue.is_withdrawn("b")
    assert catalogue.take("b") is None
    assert not catalogue.exists("b")
    assert catalogue.describe(Item("b", "blue again"), WHEN_TAKEN) == Change(0, 2, True)


def test_an_item_taken_before_its_moment_waits_for_it(catalogue: OpenCatalogue) -> None:
    catalogue.describe(Item("x"), 20.0)
    assert catalogue.take("x") is None
    assert catalogue.known_rows(["x"]) == [4]
    assert not catalogue.exists("x")
    assert catalogue.advance(20.0) == [Change(0, 4, True)]


def test_the_event_at_the_moment_sees_an_item_and_only_the_one_after_it_sees_a_first_interaction(
    catalogue: OpenCatalogue,
) -> None:
    catalogue.describe(Item("x"), 20.0)
    changes = catalogue.pass_events([10.0, 20.0, 21.0], ["new", "x", "a"])
    assert changes == [Change(1, 4, True), Change(1, 5, True)]
    assert catalogue.ids[4:] == ["new", "x"]
    assert catalogue.pass_events([22.0], ["last"]) == [Change(1, 6, True)]


def test_another_text_is_another_vector_and_the_same_text_changes_nothing(catalogue: OpenCatalogue) -> None:
    before = catalogue.vectors([1])[0]
    catalogue.describe(Item("a", TEXTS["a"]), WHEN_TAKEN)
    np.testing.assert_array_equal(catalogue.vectors([1])[0], before)
    catalogue.take_changes()
    catalogue.describe(Item("a", "a green hat"), WHEN_TAKEN)
    assert catalogue.take_changes() == [1]
    assert not np.array_equal(catalogue.vectors([1])[0], before)
    catalogue.evict(["a"])
    np.testing.assert_array_equal(catalogue.vectors([1])[0], before)


def test_texts_that_set_up_lacks_are_encoded_together(catalogue: OpenCatalogue) -> None:
    asked: list[list[str]] = []
    for item_id in ("x", "y", "z"):
        catalogue.describe(Item(item_id, "" if item_id == "y" else f"the text of {item_id}"), 0.0)
    catalogue.advance(1.0)
    rows = catalogue.known_rows(["x", "a", "y", "z"])
    one_by_one = [catalogue.vectors([row])[0] for row in rows]
    encode = HashingEncoder.encode

    def noted(encoder: HashingEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
        asked.append(list(texts))
        return encode(encoder, texts)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HashingEncoder, "encode", noted)
        together = catalogue.vectors(rows)
    np.testing.assert_array_equal(together, np.stack(one_by_one))
    assert asked == [["the text of x", "the text of z"]]
    assert together[[0, 1, 3]].any(axis=1).all() and not together[2].any()


def test_an_evicted_item_frees_its_row_for_the_next_one_lowest_first(catalogue: OpenCatalogue) -> None:
    for item_id in "uvwx":
        catalogue.take(item_id)
    catalogue.describe(Item("v", "a text"), WHEN_TAKEN)
    catalogue.take_changes()
    assert catalogue.evict(["w", "v", "nobody"]) == [6, 5]
    assert catalogue.others() == ["u", "", "", "x"]
    assert catalogue.item("v") is None
    assert not catalogue.vectors([5]).any()
    assert catalogue.take_changes() == [5, 6]
    assert [catalogue.take("y"), catalogue.take("v"), catalogue.take("z")] == [
        Change(0, row, True) for row in (5, 6, 8)
    ]
    assert catalogue.rows == 8


def test_an_item_of_set_up_keeps_its_row_and_comes_back(catalogue: OpenCatalogue) -> None:
    assert catalogue.evict(["a"]) == []
    assert there(catalogue) == ["b", "c"]
    assert catalogue.untaken() == ["a"]
    assert catalogue.take("a") == Change(0, 1, True)


def test_rows_that_were_written_down_are_restored_with_what_exists(catalogue: OpenCatalogue) -> None:
    encoder = open_text_encoder("hashing", None)
    again = OpenCatalogue(catalogue.setup, encoder)
    for one in (catalogue, again):
        one.describe(Item("later", "x"), 40.0)
        one.describe(Item("over", expires=9.0), 1.0)
    catalogue.pass_events([5.0, 6.0, 10.0], ["u", "v", "w"])
    catalogue.evict(["v", "b"])
    again.take("other")
    again.restore(catalogue.others(), catalogue.untaken(), catalogue.now)
    for one in (catalogue, again):
        one.advance(41.0)
        one.take("y")
    assert again.ids == catalogue.ids == ["", "a", "b", "c", "over", "u", "later", "w", "y"]
    assert there(again) == there(catalogue) == ["a", "c", "u", "later", "w", "y"]
    assert again.row_of == catalogue.row_of


def test_a_thousand_announcements_of_one_item_take_no_memory(catalogue: OpenCatalogue) -> None:
    catalogue.describe(Item("x"), 5_000.0)
    for number in range(1_000):
        catalogue.describe(Item("x", str(number)), 5_000.0 + number)
        catalogue.withdraw("x")
        catalogue.describe(Item("x"), 5_000.0)
    assert len(catalogue._moments) < 20
    assert catalogue.advance(5_000.0) == [Change(0, 4, True)]
    assert catalogue.advance(math.inf) == []


def test_a_history_is_read_without_the_items_that_are_not_known(catalogue: OpenCatalogue) -> None:
    catalogue.take("x")
    histories = [History(("gone", "a", "x", "gone", "b"), 3), History(("a", "b", "c", "x"), 1), History(("gone",), 1)]
    rows, since = catalogue.contexts(histories, 3)
    assert rows.tolist() == [[1, 4, 2], [2, 3, 4], [0, 0, 0]]
    assert since.tolist() == [2, 1, 0]
