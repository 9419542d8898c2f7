"""The longest files come first, and the order names no file that is gone."""

from types import SimpleNamespace

from tests.order import LONGEST, PLACES, pytest_collection_modifyitems


def test_every_file_of_the_order_exists() -> None:
    assert [path for path in PLACES if not path.is_file()] == []


def test_the_longest_files_come_first_and_all_else_stays_in_order() -> None:
    longest = list(PLACES)
    paths = [longest[1].parent / "test_a.py", longest[1], longest[1].parent / "test_b.py", longest[0], longest[1]]
    items = [SimpleNamespace(path=path, number=number) for number, path in enumerate(paths)]
    pytest_collection_modifyitems(items)  # type: ignore[arg-type]
    assert [item.number for item in items] == [3, 1, 4, 0, 2]
    assert len(PLACES) == len(LONGEST)
