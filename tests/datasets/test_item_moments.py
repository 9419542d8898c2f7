"""The moments of items: their columns, refused cells, their part in the hash, and the way through a simulated log."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.event_ids import content_hash
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.datasets.simulator.simulate import simulate, write
from pipeline.events.interactions import Interactions
from pipeline.events.item import Item

LOG = "user_id,item_id,timestamp\nann,i1,1500000000\n"
MAY = 1_714_521_600.0
"""2024-05-01, in seconds."""


def read(folder, items: str, options: ReadOptions | None = None) -> Dataset:
    (folder / "interactions.csv").write_text(LOG)
    (folder / "items.csv").write_text(items)
    return read_dataset(folder, options)


@pytest.mark.parametrize("name", ["expires", "Expires_At", "validUntil"])
def test_columns_of_moments_are_read_and_shown(tmp_path, name):
    dataset = read(
        tmp_path, f"item_id,title,available_from,{name},year\ni1,Heat,2024-05-01,1714521601,1995\ni2,Solo,,,\n"
    )
    assert dataset.items["i1"] == Item("i1", "Heat (1995)", {}, MAY, MAY + 1)
    assert dataset.items["i2"] == Item("i2", "Solo")
    shown = dict(dataset.columns[1].taken)
    assert shown["available_from"] == "moment from which the item exists"
    assert shown[name] == "moment at which it ends"


def test_other_dates_stay_attributes(tmp_path):
    dataset = read(tmp_path, "item_id,title,release_date,available\ni1,Heat,01-Jan-1995,1\n")
    assert dataset.items["i1"] == Item("i1", "Heat", {"release_date": "01-Jan-1995", "available": "1"})


def test_a_moment_is_no_text_of_an_item(tmp_path):
    assert read(tmp_path, "item_id,label,expires\ni1,Heat,2024-05-01\n").items["i1"] == Item("i1", "Heat", expires=MAY)
    named = read(tmp_path, "item_id,label,expires\ni1,Heat,soon\n", ReadOptions(text=("label", "expires")))
    assert named.items["i1"] == Item("i1", "Heat. soon")


def test_a_cell_that_is_no_moment_costs_its_item(tmp_path):
    rows = ["i1,Heat,soon,", "i2,Solo,2024-05-01,2024-04-30", "i3,Ran,2024-05-01,", "i4,Big,,9999-12-31"]
    dataset = read(tmp_path, "\n".join(["item_id,title,available_from,expires", *rows]))
    assert dataset.items["i3"] == Item("i3", "Ran", available_from=MAY)
    # An item of the log stays, without its text.
    assert dataset.items["i1"] == Item("i1")
    assert set(dataset.items) == {"i1", "i3"}
    found = [(one.reason, one.line) for one in dataset.refused.examples if one.file == "items.csv"]
    assert found == [("bad_available_from", 2), ("bad_expires", 3), ("bad_expires", 5)]


def test_moments_of_a_parquet_file(tmp_path):
    (tmp_path / "interactions.csv").write_text(LOG)
    begins = pa.array([int(MAY * 1000), None]).cast(pa.timestamp("ms"))
    columns = {"item_id": [1, 2], "title": ["Heat", "Solo"], "available_from": begins, "expires": [MAY + 1, None]}
    pq.write_table(pa.table(columns), tmp_path / "items.parquet")
    items = read_dataset(tmp_path).items
    assert (items["1"], items["2"]) == (Item("1", "Heat", {}, MAY, MAY + 1), Item("2", "Solo"))


def test_only_moments_that_are_given_change_the_hash():
    events = Interactions.of([])
    plain = Item("i1", "Heat", {"a": "b"})
    assert content_hash(events, [plain]) == "0a45c475dc29da8cc184d407d0f07c2d6500db413a5167c48361ac32f37c5d28"
    one, other = replace(plain, available_from=MAY), replace(plain, expires=MAY)
    assert len({content_hash(events, [item]) for item in (plain, one, other, replace(one, expires=MAY + 1))}) == 4


def test_a_simulated_log_has_columns_for_the_moments_that_occur(tmp_path):
    simulation = simulate("quiet", 0, 1_000)
    first = next(iter(simulation.items))
    item = replace(simulation.items[first], expires=MAY + 0.25)
    timed = replace(simulation, items={**simulation.items, first: item})
    headers = []
    for log in (simulation, timed):
        write(log, tmp_path)
        headers.append((tmp_path / "items.csv").read_text().splitlines()[0])
        assert read_dataset(tmp_path).items == log.items
    assert headers == ["item_id,text", "item_id,text,expires"]
