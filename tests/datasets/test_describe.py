import pytest
from rich.console import Console

from consumers.cli.data import describe_dataset, list_datasets
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.describe import describe
from pipeline.errors import DataError

DAY = 86_400

# Ten liked moments, one a day, and a disliked one; "late" is met first after S, "[b]" looks like markup.
ROWS = [
    *[("a", "i1", 5, 0), ("b", "i2", 5, 1), ("a", "i2", 5, 2), ("b", "i1", 5, 3), ("c", "i1", 5, 4)],
    *[("c", "i2", 5, 5), ("a", "late", 5, 6), ("d", "i1", 5, 7), ("d", "late", 5, 8), ("e", "last", 5, 9)],
    ("e", "hated", 1, 3),
]


@pytest.fixture
def log(tmp_path):
    rows = "".join(f"{u},{i},{v},{1_500_000_000 + day * DAY}\n" for u, i, v, day in ROWS)
    (tmp_path / "interactions.csv").write_text(f"user,item,rating,ts\n{rows}x,y,[b],1\n")
    (tmp_path / "items.csv").write_text("item,title\ni1,One\ni2,Two\nnever,Met\n")
    return tmp_path


def test_the_numbers_are_those_of_the_log(log):
    description = describe(read_dataset(log), positive_from=4)
    assert (description.interactions, description.positives, description.users) == (11, 10, 5)
    assert (description.items, description.items_met) == (6, 5)
    assert description.with_text == 0.5
    assert description.median_history == 2
    assert description.refused.counts == {"bad_value": 1}
    assert description.drifts is None


def test_slices_count_windows_and_what_setup_never_saw(log):
    setup, finetune, test = describe(read_dataset(log), positive_from=4).slices
    assert (setup.name, setup.interactions, setup.windows, setup.users, setup.items) == ("S", 6, 3, 3, 2)
    assert (finetune.interactions, finetune.windows, finetune.users) == (3, 2, 2)
    assert (setup.unseen, finetune.unseen, test.unseen) == (0, 2 / 3, 1)
    assert test.windows == 0


def test_the_tables_show_it_all_without_reading_markup_into_it(log):
    console = Console(width=160)
    with console.capture() as shown:
        console.print(describe_dataset(log, positive_from=4))
    text = shown.get()
    for part in ("2017-07-14 to 2017-07-23", "value >= 4", "66.7%", "interactions.csv:13", "bad_value", "[b]"):
        assert part in text


def test_the_threshold_of_the_format_is_the_default(tmp_path):
    rows = "".join(f"{day},1,{5 if day % 2 else 3},{day}\n" for day in range(20))
    (tmp_path / "ratings.csv").write_text(f"userId,movieId,rating,timestamp\n{rows}")
    console = Console(width=160)
    with console.capture() as shown:
        console.print(describe_dataset(tmp_path))
    assert "positive (value >= 4)" in shown.get()


def test_a_threshold_above_everything_is_an_error(log):
    with pytest.raises(DataError, match="lower the threshold"):
        describe(read_dataset(log), positive_from=9)


def test_the_list_names_every_dataset_with_its_terms():
    console = Console(width=200)
    with console.capture() as shown:
        console.print(list_datasets())
    for part in ("ml-latest-small", "ml-1m", "movietweetings", "MIT", "research use", "give --sha256"):
        assert part in shown.get()
