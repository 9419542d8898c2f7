"""Small logs of kinds that are easily read wrongly: columns taken for another thing, rows lost or forged."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.readers.options import read_options
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import DataError

HEADER = "user_id,item_id,timestamp\n"


def read(path: Path, text: str, **options: object) -> Dataset:
    path.write_text(text, encoding="utf-8", newline="")
    return read_dataset(path, ReadOptions(**options))


def rows(dataset: Dataset) -> list[tuple[str, str, float, float | None]]:
    return [(e.user_id, e.item_id, e.timestamp, e.value) for e in dataset.interactions]


def settled(message: str) -> ReadOptions:
    """Return the options that a message advises to `--set`."""
    words = message.partition("the guess is: ")[2].split()
    columns = dict(word.removeprefix("data.columns.").split("=") for word in words if word.startswith("data."))
    return read_options({name: column.rstrip(".") for name, column in columns.items()})


# D: a column taken for another thing.


@pytest.mark.parametrize(
    "log",
    [
        "1,2014-04-07T10:51:09.277Z,214536502,0\n2,2014-04-07T10:52:09.277Z,214536500,0\n",
        "1\t2014-04-07T10:51:09.277Z\t214536502\t0\n",
        "1::2014-04-07T10:51:09.277Z::214536502::0\n",
        "1;2014-04-07 10:51:09.277 UTC;214536502;0;12\n",
    ],
)
def test_an_unusual_order_without_a_header_is_not_guessed_but_asked(tmp_path, log):
    path = tmp_path / "clicks.dat"
    with pytest.raises(DataError, match=r"no names .* --set data.columns.user_id=1 .*item_id=3 .*timestamp=2") as error:
        read(path, log)
    assert ("1", "214536502", 1396867869.277, None) in rows(read_dataset(path, settled(str(error.value))))


@pytest.mark.parametrize("log", ["1,2,3\n4,5,4\n", "ann,2,good,1500000000\n", "a,b\n", "1,2,3,4,1500000000\n"])
def test_columns_that_may_not_be_what_they_are_taken_for_are_an_error(tmp_path, log):
    with pytest.raises(DataError, match=r"--set data\.columns"):
        read(tmp_path / "log.csv", log)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("ann,i1,2019-10-01T00:00:00Z\nbob,i2,2019-10-01T00:00:01Z\n", ("ann", "i1", 1569888000.0, None)),
        ("ann,i1,3.5,2019-10-01 00:00:00\n", ("ann", "i1", 1569888000.0, 3.5)),
        ("1 2 5 1100000000\n3 4 5 1100000001\n", ("1", "2", 1100000000.0, 5.0)),
    ],
)
def test_the_usual_orders_without_a_header_are_read(tmp_path, log, expected):
    assert rows(read(tmp_path / "log.csv", log))[0] == expected


def test_a_mapped_column_has_one_meaning(tmp_path):
    log = "member_id,event_id,time\n" + "".join(f"m{n % 5},e{n % 8},{1_500_000_000 + n}\n" for n in range(60))
    dataset = read(tmp_path / "log.csv", log, user_id="member_id", item_id="event_id")
    assert len(dataset.interactions) == 60
    assert dataset.refused.total == 0
    (use,) = dataset.columns
    assert use.taken == (("member_id", "user"), ("event_id", "item"), ("time", "time"))


@pytest.mark.parametrize("columns", ["user,customer_id,item,ts", "user_id,userId,item,ts", "user_id,item,ts,time"])
def test_two_columns_of_one_meaning_are_an_error_that_names_both(tmp_path, columns):
    with pytest.raises(DataError, match=r"Choose one: --set data\.columns\.\w+=\w+ or --set"):
        read(tmp_path / "log.csv", f"{columns}\na,b,1500000000,1500000001\n")


def test_a_sure_name_beats_a_weak_one(tmp_path):
    dataset = read(tmp_path / "log.csv", "session,user_id,date,timestamp,asin,item_id\ns,u,2019-01-01,5,a,i\n")
    assert rows(dataset) == [("u", "i", 5.0, None)]
    assert dataset.columns[0].ignored == ("session", "date", "asin")


@pytest.mark.parametrize("more", ["", ",summary"])
def test_the_title_of_a_review_is_no_text_of_the_item(tmp_path, more):
    cell = ",short" if more else ""
    log = f"user_id,asin,title,timestamp{more}\n" + "".join(
        f"u{n},i{n % (9 if more else 3)},Review {n} of it,{1_500_000_000 + n}{cell}\n" for n in range(9)
    )
    dataset = read(tmp_path / "log.csv", log)
    assert {item.text for item in dataset.items.values()} == {""}
    assert "title" in dataset.columns[0].ignored
    assert more or "differ between their rows" in dataset.columns[0].notes[0]


@pytest.mark.parametrize(
    ("name", "log"),
    [
        ("reviews.csv", "user_id,asin,title,timestamp\nu,i,Broke in a day,1500000000\n"),
        ("log.csv", "user_id,asin,rating,title,text,timestamp\nu,i,1,Broke in a day,xx,1500000000\n"),
    ],
)
def test_the_title_of_a_single_review_is_known_by_what_stands_beside_it(tmp_path, name, log):
    dataset = read(tmp_path / name, log)
    assert dataset.items["i"].text == ""
    assert "--set data.columns.text=title uses it" in dataset.columns[0].notes[0]
    assert read_dataset(tmp_path / name, ReadOptions(text=("title",))).items["i"].text == "Broke in a day"


def test_columns_of_the_same_name_are_to_be_renamed(tmp_path):
    with pytest.raises(DataError, match="several columns named user_id: rename all but one"):
        read(tmp_path / "log.csv", "user_id,user_id,item_id,timestamp\nu,v,i,1500000000\n")


def test_titles_that_agree_but_for_one_item_are_texts(tmp_path):
    log = "user,item,title,ts\n" + "".join(f"u{n},i{n % 50},Title {n % 50},{1_500_000_000 + n}\n" for n in range(200))
    dataset = read(tmp_path / "log.csv", log + "u,i7,Another title,1500001000\n")
    assert (dataset.items["i7"].text, dataset.items["i8"].text) == ("", "Title 8")
    named = read_dataset(tmp_path / "log.csv", ReadOptions(text=("title",)))
    assert named.items["i7"].text == "Title 7"


def test_labels_of_recbole_are_values(tmp_path):
    log = "user_id:token\titem_id:token\tlabel:float\ttimestamp:float\n"
    dataset = read(tmp_path / "x.inter", log + "u\ta\t1\t1500000000\nu\tb\t0.0\t1500000001\n")
    assert [value for *_, value in rows(dataset)] == [1.0, 0.0]
    assert dataset.positive_from == 1
    rated = read(tmp_path / "y.inter", log.replace("label", "rating:float\tlabel") + "u\ta\t3\t1\t1500000000\n")
    assert rated.positive_from is None
    assert "label" in rated.columns[0].ignored


@pytest.mark.parametrize(
    ("cell", "date"),
    [("20240501", datetime(2024, 5, 1, tzinfo=UTC)), ("20240501123000", datetime(2024, 5, 1, 12, 30, tzinfo=UTC))],
)
@pytest.mark.parametrize("name", ["date", "timestamp"])
def test_dates_as_numbers_are_dates(tmp_path, cell, date, name):
    log = f"user_id,item_id,{name}\nu,i,{cell}\nv,i,{cell}\nw,i,{cell}.0\n"
    assert {t for _, _, t, _ in rows(read(tmp_path / "log.csv", log))} == {date.timestamp()}
    lines = [json.dumps({"user_id": user, "item_id": "i", name: int(cell)}) for user in "uv"]
    assert {t for _, _, t, _ in rows(read(tmp_path / "log.jsonl", "\n".join(lines)))} == {date.timestamp()}


def test_seconds_of_1970_are_not_dates(tmp_path):
    log = HEADER + "".join(f"u,i{n},{20_000_000 + 97 * n}\n" for n in range(500))
    assert rows(read(tmp_path / "log.csv", log))[0] == ("u", "i0", 20_000_000.0, None)


@pytest.mark.parametrize("log", ["0,1,2\n7,8,1500000000\n9,8,1500000001\n", ",0,1,2\n0,7,8,1500000000\n"])
def test_a_header_of_numbers_is_no_event(tmp_path, log):
    assert rows(read(tmp_path / "log.csv", log))[0] == ("7", "8", 1500000000.0, None)


@pytest.mark.parametrize("header", ['"userId","movieId","rating","timestamp"', "userId, movieId, rating, timestamp"])
def test_movielens_with_a_quoted_header_keeps_its_threshold(tmp_path, header):
    assert read(tmp_path / "ratings.csv", f"{header}\n1,2,3.5,1500000000\n").positive_from == 4


@pytest.mark.parametrize("absent", ["NA", "nan", "NaN", "null", "None", "N/A", "", "  ", '"NULL"'])
@pytest.mark.parametrize("field", ["user_id", "item_id"])
def test_an_id_that_stands_for_none_is_refused_and_named(tmp_path, absent, field):
    broken = f"{absent},i" if field == "user_id" else f"u,{absent}"
    dataset = read(tmp_path / "log.csv", f"{HEADER}u,i,1500000000\n{broken},1500000001\n{broken},1500000002\n")
    assert dataset.refused.counts == {f"missing_{field}": 2}
    assert absent.strip('" ') in dataset.refused.examples[0].detail
    assert dataset.refused.examples[0].line == 3


# E: rows lost, forged or torn apart.


def test_a_key_that_occurs_late_is_a_column(tmp_path):
    events = [{"user_id": "u", "item_id": f"i{n}", "timestamp": 1_500_000_000 + n} for n in range(1500)]
    events[1400]["rating"] = 4
    dataset = read(tmp_path / "log.jsonl", "\n".join(map(json.dumps, events)))
    assert [value for *_, value in rows(dataset) if value is not None] == [4.0]


@pytest.mark.parametrize("delimiter", ["\t", "::"])
def test_quotes_are_text_where_cells_are_not_quoted(tmp_path, delimiter):
    items = ['"weird al" yankovic', '"Heroes', 'a "b', '"', "plain"]
    log = "".join(delimiter.join(("u", item, str(1_500_000_000 + n))) + "\n" for n, item in enumerate(items))
    header = delimiter.join(("user_id", "item_id", "timestamp")) + "\n"
    name = "log.tsv" if delimiter == "\t" else "log.dat"
    assert [item for _, item, _, _ in rows(read(tmp_path / name, header + log))] == items


def test_a_tab_separated_file_whose_names_are_all_quoted_has_quoted_cells(tmp_path):
    log = '"user_id"\t"item_id"\t"timestamp"\n"u"\t"i 1"\t1500000000\n'
    assert rows(read(tmp_path / "log.tsv", log)) == [("u", "i 1", 1500000000.0, None)]


@pytest.mark.parametrize("length", [2, 50, 51, 3000])
@pytest.mark.parametrize("quotes", ["", 'said "yes", '])
def test_lines_inside_a_quoted_cell_are_never_rows(tmp_path, length, quotes):
    review = "\n".join(f"mallory,i{n},1700000001,y{quotes}" for n in range(length))
    with (tmp_path / "log.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [
                ("user_id", "item_id", "timestamp", "text"),
                ("u", "i", 1_500_000_000, review),
                ("v", "i", 1_500_000_001, "x"),
            ]
        )
    dataset = read_dataset(tmp_path / "log.csv")
    assert [e.user_id for e in dataset.interactions] == ["u", "v"]
    assert dataset.refused.total == 0


@pytest.mark.parametrize(
    "cell",
    [
        r'"He said \"no\", and' + "\nmallory,i1,1700000001,y\n" + 'went"',
        '"the 6" pipe\nmallory,i1,1700000001,y\nis short"',
        '"He said "no" and\nmallory,i1,1700000001,y\nwent"',
        ' "spaced\nmallory,i1,1700000001,y"',
        '"' + "x" * 140_000 + '\nmallory,i1,1700000001,y\n"',
    ],
)
def test_lines_inside_a_badly_quoted_cell_are_never_rows_either(tmp_path, cell):
    log = f"user_id,item_id,timestamp,text\nu,i,1500000000,{cell}\nv,i,1500000001,x\n"
    users = [e.user_id for e in read(tmp_path / "log.csv", log).interactions]
    assert "mallory" not in users
    assert "v" in users


def test_a_cell_beyond_the_limit_is_one_refused_row(tmp_path):
    cell = '"' + "mallory,i1,1700000001,y\n" * 6000 + '"'
    dataset = read(tmp_path / "log.csv", f"user_id,item_id,timestamp,text\nu,i,1500000000,{cell}\nv,i,1500000001,x\n")
    assert [e.user_id for e in dataset.interactions] == ["v"]
    assert dataset.refused.counts == {"bad_quotes": 1}
    assert dataset.refused.examples[0].line == 2


def test_many_stray_quotes_cost_their_lines_and_no_time(tmp_path):
    log = HEADER + "".join(f'u,"Heroes {n},15000\n' for n in range(20_000)) + "v,i,1500000000\n"
    dataset = read(tmp_path / "log.csv", log)
    assert dataset.refused.counts == {"bad_quotes": 20_000}
    assert [e.user_id for e in dataset.interactions] == ["v"]


def test_refused_and_used_rows_are_all_rows(tmp_path):
    lines = ["u,i,1500000000", "u,i", "", "   ", 'u,"i,1500000001', "v,j,soon", "w,k,1500000003,9", "x,l,1500000004"]
    dataset = read(tmp_path / "log.csv", HEADER + "\n".join(lines))
    assert len(dataset.interactions) + dataset.refused.total == len([line for line in lines if line.strip()])
    assert [(e.reason, e.line) for e in dataset.refused.examples] == [
        *[("wrong_columns", 3), ("bad_quotes", 6), ("bad_timestamp", 7), ("wrong_columns", 8)]
    ]
