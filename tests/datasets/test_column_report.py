"""The use of the columns is shown before anything else, and the options of the command line reach the readers."""

from rich.console import Console

from pipeline.config import load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.describe import render_columns
from pipeline.datasets.readers.rows import ReadOptions
from tests.replay.small import raie

ROWS = "".join(f"ann,i{n % 7},{1_500_000_000 + 60 * n},x\n" for n in range(30))
LOG = f"buyer,item_id,ts,note\n{ROWS}"
BUYER = ("--set", "data.columns.user_id=buyer")


def test_the_table_names_taken_and_ignored_columns(tmp_path):
    (tmp_path / "orders.csv").write_text(LOG)
    dataset = read_dataset(tmp_path, ReadOptions(user_id="buyer"))
    console = Console(width=80)
    with console.capture() as shown:
        console.print(render_columns(dataset.columns))
    text = shown.get()
    for part in ("column of orders.csv", "taken for", "buyer", "user", "note", "ignored"):
        assert part in text


def test_describe_shows_columns_first_and_reads_named_items(capsys, tmp_path):
    (tmp_path / "orders.csv").write_text(LOG)
    (tmp_path / "shop.csv").write_text("item_id,title\ni0,Heat\n")
    ended = raie(capsys, "data", "describe", tmp_path / "orders.csv", "--items", tmp_path / "shop.csv", *BUYER)
    assert ended.code == 0
    assert ended.out.index("column of orders.csv") < ended.out.index("column of shop.csv") < ended.out.index("span")
    assert "14.3%" in ended.out


def test_a_log_that_cannot_be_cut_still_shows_its_columns(capsys, tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\nann,i1,1500000000\n")
    ended = raie(capsys, "data", "describe", tmp_path)
    assert ended.code == 2
    assert "column of log.csv" in ended.out
    assert "would be empty" in ended.err


def test_replay_and_setup_show_columns_first(capsys, tmp_path):
    (tmp_path / "orders.csv").write_text(LOG)
    for command in ("replay", "setup"):
        ended = raie(capsys, command, "--data", tmp_path / "orders.csv", "--out", tmp_path / command, *BUYER)
        assert "column of orders.csv" in ended.out.splitlines()[1]
        assert "raie: " in ended.err


def test_settings_of_the_readers():
    data = load_config(overrides=["data.columns.user_id=1", "data.items=shop.csv", "data.repeats=keep"]).data
    assert (data.columns, data.items, data.repeats) == ({"user_id": "1"}, "shop.csv", "keep")
