import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import DataError

EXPECTED = {("1", "10", 1_000_000_000.0), ("1", "20", 1_000_000_100.0), ("2", "10", 1_000_000_050.0)}
RATED = [(1, 10, 4, 1_000_000_000), (1, 20, 5, 1_000_000_100), (2, 10, 3, 1_000_000_050)]


def folder(tmp_path, **files):
    for name, content in files.items():
        path = tmp_path / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def lines(delimiter, rows, header=()):
    return "".join(delimiter.join(map(str, row)) + "\n" for row in ([header] if header else []) + list(rows))


def met(dataset):
    return {(e.user_id, e.item_id, e.timestamp) for e in dataset.interactions}


def texts(dataset):
    return {i: item.text for i, item in dataset.items.items()}


def test_movielens_csv(tmp_path):
    ratings = lines(",", RATED, ["userId", "movieId", "rating", "timestamp"])
    movies = 'movieId,title,genres\n10,"Heat, The (1995)",Action|Crime\n30,Solo,(no genres listed)\n'
    dataset = read_dataset(folder(tmp_path, ratings__csv=ratings, movies__csv=movies))
    assert met(dataset) == EXPECTED
    assert dataset.positive_from == 4
    assert texts(dataset) == {"10": "Heat, The (1995). Action, Crime", "20": "", "30": "Solo"}


def test_movielens_double_colon_in_latin_1(tmp_path):
    movies = "10::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1") + "20::Amélie (2001)::Comedy\n".encode()
    dataset = read_dataset(folder(tmp_path, ratings__dat=lines("::", RATED), movies__dat=movies))
    assert met(dataset) == EXPECTED
    assert dataset.positive_from == 4
    assert texts(dataset) == {"10": "Misérables, Les (1995). Drama, Musical", "20": "Amélie (2001). Comedy"}


@pytest.mark.parametrize(
    "rows",
    [
        [(1, "0104257", 8, 1_000_000_000), (2, "0104257", 2, 1_000_000_001)],
        [(1, "1074638", 4, 1_000_000_000), (2, "0104257", 2, 1_000_000_001)],
        [(1, 10, 9, 1_000_000_000), (2, 11, 2, 1_000_000_001)],
    ],
)
def test_movietweetings_is_told_by_its_scale_or_its_ids(tmp_path, rows):
    assert read_dataset(folder(tmp_path, ratings__dat=lines("::", rows))).positive_from == 7


def test_one_broken_rating_does_not_change_the_scale(tmp_path):
    rows = [(u, 10, 3, 1_000_000_000) for u in range(100)] + [(200, 10, 88, 1_000_000_000)]
    assert read_dataset(folder(tmp_path, ratings__dat=lines("::", rows))).positive_from == 4


def test_double_colon_without_ratings_or_with_a_header(tmp_path):
    bare = [(u, i, t) for u, i, _, t in RATED]
    dataset = read_dataset(folder(tmp_path, ratings__dat=lines("::", bare)))
    assert met(dataset) == EXPECTED
    assert dataset.positive_from is None
    headed = lines("::", RATED, ["UserID", "MovieID", "Rating", "Timestamp"])
    assert met(read_dataset(folder(tmp_path, ratings__dat=headed))) == EXPECTED


def test_recbole(tmp_path):
    inter = lines("\t", RATED, ["user_id:token", "item_id:token", "rating:float", "timestamp:float"])
    item = lines(
        "\t",
        [(10, 'The "Heat"', 1995, "Action Crime"), (20, "", "", "")],
        ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"],
    )
    dataset = read_dataset(folder(tmp_path, shop__inter=inter, shop__item=item))
    assert met(dataset) == EXPECTED
    assert texts(dataset) == {"10": 'The "Heat" (1995). Action, Crime', "20": ""}


def test_recbole_parts_are_read_together(tmp_path):
    header = ["user_id:token", "item_id:token", "timestamp:float"]
    rows = [(u, i, t) for u, i, _, t in RATED]
    parts = {"a__train__inter": lines("\t", rows[:2], header), "a__test__inter": lines("\t", rows[2:], header)}
    assert met(read_dataset(folder(tmp_path, **parts))) == EXPECTED


@pytest.mark.parametrize(("name", "delimiter"), [("csv", ","), ("csv", ";"), ("tsv", "\t"), ("txt", "|")])
def test_delimited_with_aliases_and_milliseconds(tmp_path, name, delimiter):
    rows = [(t * 1000, u, i) for u, i, _, t in RATED]
    path = tmp_path / f"interactions.{name}"
    path.write_text("\ufeff" + lines(delimiter, rows, ["ts", "User", "SKU"]), encoding="utf-8")
    assert met(read_dataset(tmp_path)) == EXPECTED
    assert met(read_dataset(path)) == EXPECTED


def test_delimited_without_header(tmp_path):
    (tmp_path / "u.data").write_text(lines("\t", RATED))
    dataset = read_dataset(tmp_path)
    assert met(dataset) == EXPECTED
    assert [e.value for e in dataset.interactions] == [4.0, 3.0, 5.0]


def test_iso_times_with_and_without_zone(tmp_path):
    rows = [(1, 10, "2001-09-09T01:46:40Z"), (1, 20, "2001-09-09 01:48:20"), (2, 10, "2001-09-09T03:47:30+02:00")]
    path = tmp_path / "log.csv"
    path.write_text(lines(",", rows, ["user", "item", "datetime"]))
    assert met(read_dataset(path)) == EXPECTED


def test_json_lines_with_items(tmp_path):
    events = [{"uid": u, "iid": i, "score": v, "time": t} for u, i, v, t in RATED]
    items = [{"id": 10, "title": "Heat", "tags": ["fast", "cold"], "price": 3}]
    dataset = read_dataset(
        folder(
            tmp_path,
            interactions__jsonl="\n".join(map(json.dumps, events)),
            items__jsonl="\n".join(map(json.dumps, items)),
        )
    )
    assert met(dataset) == EXPECTED
    assert texts(dataset)["10"] == "Heat. fast, cold"
    assert dataset.items["10"].attributes == {"price": "3"}


@pytest.mark.parametrize("unit", [pa.timestamp("ms"), pa.timestamp("ns", "Europe/Paris"), pa.int64()])
def test_parquet_with_times_and_ids_turned_floats(tmp_path, unit):
    rows = {
        "user": [1.0, 1.0, 2.0, None],
        "item": [10, 20, 10, 10],
        "time": pa.array([t * 1000 for *_, t in RATED] + [0]).cast(pa.timestamp("ms")),
    }
    rows["time"] = rows["time"].cast(unit)
    pq.write_table(pa.table(rows), tmp_path / "interactions.parquet")
    dataset = read_dataset(tmp_path)
    assert met(dataset) == EXPECTED
    assert [(r.reason, r.line) for r in dataset.refused.examples] == [("missing_user_id", 4)]


def test_a_damaged_parquet_file_says_so(tmp_path):
    (tmp_path / "interactions.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_dataset(tmp_path)


def test_a_mapping_overrules_the_names(tmp_path):
    rows = [("x", u, i, t, f"Item {i}") for u, i, _, t in RATED]
    path = tmp_path / "log.csv"
    path.write_text(lines(",", rows, ["user_id", "who", "what", "when", "label"]))
    options = ReadOptions(user_id="who", item_id="what", timestamp="when", text=("label",))
    dataset = read_dataset(path, options)
    assert met(dataset) == EXPECTED
    assert texts(dataset) == {"10": "Item 10", "20": "Item 20"}


def test_titles_in_the_interactions_describe_the_items(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("user,item,ts,title\n1,10,1000000000,Heat\n2,10,1000000050,Heat\n")
    assert texts(read_dataset(path)) == {"10": "Heat"}


def test_a_missing_column_names_those_found_and_the_way_out(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("who,item,ts\n1,10,1000000000\n")
    with pytest.raises(DataError, match=r"user_id; its columns are: who, item, ts\. .*user_id=COLUMN"):
        read_dataset(path)
    with pytest.raises(DataError, match="no column 'nobody'; it has: who, item, ts"):
        read_dataset(path, ReadOptions(user_id="nobody"))


def test_an_unknown_format_and_a_missing_path_say_so(tmp_path):
    (tmp_path / "readme.md").write_text("hello")
    with pytest.raises(DataError, match=r"no known format \(found: readme.md\)"):
        read_dataset(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read_dataset(tmp_path / "nowhere")


def test_parquet_times_need_not_fit_python(tmp_path):
    times = pa.array([1_000_000_000_000_000_001, 9_000_000_000_000_000_000], pa.timestamp("ns"))
    pq.write_table(pa.table({"user": ["a", "b"], "item": ["x", "y"], "ts": times}), tmp_path / "events.parquet")
    assert [e.timestamp for e in read_dataset(tmp_path).interactions] == [1e9, 9e9]


def test_items_without_header(tmp_path):
    dataset = read_dataset(folder(tmp_path, ratings__csv=lines(",", RATED), items__csv="10,Heat,Action|Crime\n"))
    assert texts(dataset) == {"10": "Heat. Action, Crime", "20": ""}


def test_the_name_of_a_user_is_no_title(tmp_path):
    (tmp_path / "log.csv").write_text("user,name,item,ts\n1,Ann,10,1000000000\n")
    assert texts(read_dataset(tmp_path)) == {"10": ""}


def test_json_with_colons_in_it_is_json(tmp_path):
    (tmp_path / "log.json").write_text('{"user": "a::b::c::d::e", "item": 1, "ts": 1000000000}\n')
    assert [e.user_id for e in read_dataset(tmp_path).interactions] == ["a::b::c::d::e"]
