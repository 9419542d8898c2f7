"""Common forms of logs: compressed, in parts, in other encodings, with comments, decimals and repeats."""

import bz2
import gzip
import json
import zipfile
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.readers.names import RANKS, TIERS
from pipeline.datasets.readers.rows import ReadOptions
from pipeline.errors import DataError

LOG = "user_id,item_id,timestamp\nann,i1,1500000000\nbob,i2,1500000001\n"
EXPECTED = [("ann", "i1", 1500000000.0), ("bob", "i2", 1500000001.0)]


def met(dataset: Dataset) -> list[tuple[str, str, float]]:
    return [(e.user_id, e.item_id, e.timestamp) for e in dataset.interactions]


def folder(path: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        file = path / name.replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", ".").replace("_SLASH_", "/"), content)
    return path


@pytest.mark.parametrize(
    ("ending", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("zst", None), ("GZ", gzip.compress)]
)
@pytest.mark.parametrize("as_folder", [True, False])
def test_compressed_files(tmp_path, ending, compress, as_folder):
    path = tmp_path / f"interactions.csv.{ending}"
    if compress:
        path.write_bytes(compress(LOG.encode()))
    else:
        with pa.output_stream(str(path), compression="zstd") as out:
            out.write(LOG.encode())
    dataset = read_dataset(tmp_path if as_folder else path)
    assert met(dataset) == EXPECTED
    assert dataset.name == (tmp_path.name if as_folder else "interactions")
    assert dataset.columns[0].file == "interactions.csv"


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress(LOG.encode() * 1000)[:-20])
    with pytest.raises(DataError, match=r"log\.csv\.gz cannot be read or unpacked"):
        read_dataset(path)
    (tmp_path / "log.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"log\.zip cannot be read or unpacked"):
        read_dataset(tmp_path / "log.zip")


def test_zip_archives(tmp_path):
    one = zipped(tmp_path / "one.zip", log__csv=LOG, __MACOSX_SLASH___log__csv="x")
    assert met(read_dataset(one)) == EXPECTED
    several = zipped(
        tmp_path / "several.zip",
        shop_SLASH_ratings__csv="userId,movieId,rating,timestamp\nann,i1,4,1500000000\n",
        shop_SLASH_movies__csv="movieId,title\ni1,Heat\n",
        shop_SLASH_README__txt="read me",
    )
    dataset = read_dataset(several)
    assert (dataset.positive_from, dataset.items["i1"].text, dataset.name) == (4, "Heat", "several")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
@pytest.mark.parametrize("marked", [True, False])
def test_encodings(tmp_path, encoding, marked):
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"") if marked else b""
    (tmp_path / "log.csv").write_bytes(mark + LOG.replace("ann", "änn").replace("\n", "\r\n").encode(encoding))
    assert met(read_dataset(tmp_path)) == [("änn", *EXPECTED[0][1:]), EXPECTED[1]]


def test_files_that_tools_leave_beside_data_are_left_out(tmp_path):
    log = folder(tmp_path / "log", log__csv=LOG, __log__csv="x", __DS_Store="x", _SUCCESS="")
    folder(log / "__MACOSX", log__csv="x")
    assert met(read_dataset(log)) == EXPECTED


def test_decimal_and_binary_ids_in_parquet(tmp_path):
    table = pa.table(
        {
            "user_id": pa.array([Decimal(2**70), Decimal(7), None], pa.decimal128(38, 0)),
            "item_id": pa.array([b"i1", "ä".encode(), b"i3"], pa.binary()),
            "timestamp": pa.array([1500000000, 1500000001, 1500000002], pa.int64()),
            "rating": pa.array([Decimal("3.5"), None, None], pa.decimal128(5, 1)),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    dataset = read_dataset(tmp_path)
    assert met(dataset) == [(str(2**70), "i1", 1500000000.0), ("7", "ä", 1500000001.0)]
    assert [e.value for e in dataset.interactions] == [3.5, None]
    assert dataset.refused.counts == {"missing_user_id": 1}


@pytest.mark.parametrize(
    "time",
    [
        *("2019-10-01 00:00:00 UTC", "2019-10-01T00:00:00Z", "2019-10-01 02:00:00 +0200", "2019/10/01 00:00:00"),
        *("2019-10-01T00:00:00.000000+00:00", "2019-10-01", "2019-10-1", "2019-10-01 00:00 GMT", "20191001"),
    ],
)
def test_times(tmp_path, time):
    (tmp_path / "log.csv").write_text(f"event_time,user_id,product_id\n{time},ann,i1\n{time},bob,i2\n")
    assert {timestamp for *_, timestamp in met(read_dataset(tmp_path))} == {1569888000.0}


@pytest.mark.parametrize("form", ["array", "indented", "objects"])
def test_json_beyond_one_object_a_line(tmp_path, form):
    events = [dict(zip(("user_id", "item_id", "timestamp"), row, strict=True)) for row in EXPECTED]
    text = {"array": json.dumps(events), "indented": json.dumps(events, indent=2)}.get(form)
    text = text or "\n".join(json.dumps(event, indent=1) for event in events)
    (tmp_path / "log.json").write_text(text)
    assert met(read_dataset(tmp_path)) == EXPECTED


@pytest.mark.parametrize("text", ["[]", '[["ann", "i1", 1500000000]]', '["ann"]\n["bob"]\n'])
def test_json_without_objects_is_named_as_such(tmp_path, text):
    (tmp_path / "log.json").write_text(text)
    with pytest.raises(DataError, match="holds no row with named fields"):
        read_dataset(tmp_path)


def test_lines_that_end_with_carriage_returns(tmp_path):
    (tmp_path / "log.csv").write_bytes(LOG.replace("ann", "änn").replace("\n", "\r").encode())
    assert [user for user, *_ in met(read_dataset(tmp_path))] == ["änn", "bob"]


def test_files_beside_a_log_that_are_no_items_are_left_out(tmp_path):
    log = folder(tmp_path, events__csv=LOG, item_properties_part1__csv="a,b\n1,2\n", category_tree__csv="a\n1\n")
    assert met(read_dataset(log)) == EXPECTED


def test_parts_with_other_columns_are_refused(tmp_path):
    folder(tmp_path, part1__csv=LOG, part2__csv="user_id,item_id,timestamp,rating\nu,i,1500000000,3\n")
    with pytest.raises(DataError, match=r"part1\.csv and part2\.csv have different columns"):
        read_dataset(tmp_path)


def test_a_broken_element_of_an_array_costs_itself(tmp_path):
    good = [json.dumps({"user": user, "item": item, "ts": time}) for user, item, time in EXPECTED]
    (tmp_path / "log.json").write_text(f'[\n{good[0]},\n{{"user": , "item": 1}},\n{good[1]}\n]')
    dataset = read_dataset(tmp_path)
    assert met(dataset) == EXPECTED
    assert [(e.reason, e.line) for e in dataset.refused.examples] == [("bad_json", 2)]


@pytest.mark.parametrize("items", ["item_meta__csv", "items_metadata__csv", "movie__csv", "product-catalogue__csv"])
@pytest.mark.parametrize("log", ["train__csv", "behaviour__csv", "item_interactions__csv"])
def test_files_are_told_apart_by_their_names(tmp_path, items, log):
    if items == "product-catalogue__csv" or log == "behaviour__csv":
        items = "item_meta__csv"
    path = folder(tmp_path / "log", **{log: LOG, items: "item_id,title\ni1,Heat\n"})
    dataset = read_dataset(path)
    assert met(dataset) == EXPECTED
    assert dataset.items["i1"].text == "Heat"


@pytest.mark.parametrize(
    "names",
    [
        *[("part-00000-ab3.csv", "part-00001-cd4.csv"), ("train.csv", "test.csv"), ("2019-Oct.csv", "2019-Sep.csv")],
        *[("log1.csv", "log2.csv"), ("shop.train.tsv", "shop.valid.tsv")],
    ],
)
def test_part_files_are_one_log(tmp_path, names):
    head, first, second = LOG.splitlines(keepends=True)
    for name, row in zip(names, (first, second), strict=True):
        (tmp_path / name).write_text((head + row).replace(",", "\t" if name.endswith("tsv") else ","))
    dataset = read_dataset(tmp_path)
    assert met(dataset) == EXPECTED
    assert "1 more file" in dataset.columns[0].notes[0]


def test_part_files_of_parquet_and_their_refusals(tmp_path):
    for part, (user, item, time) in enumerate(EXPECTED):
        table = {"user_id": [user, None], "item_id": [item, item], "timestamp": [int(time), int(time)]}
        pq.write_table(pa.table(table), tmp_path / f"part-{part}.snappy.parquet")
    dataset = read_dataset(tmp_path)
    assert met(dataset) == EXPECTED
    assert [(e.file, e.line) for e in dataset.refused.examples] == [
        ("part-0.snappy.parquet", 2),
        ("part-1.snappy.parquet", 2),
    ]


def test_files_that_may_each_be_the_log_are_named_with_the_way_out(tmp_path):
    folder(tmp_path, views__csv=LOG, orders__csv=LOG)
    with pytest.raises(DataError, match=r"orders\.csv, views\.csv\. Name it: --data .*orders\.csv; .* --items"):
        read_dataset(tmp_path)


def test_items_are_named_by_an_option(tmp_path):
    log = folder(tmp_path, orders__csv=LOG, shop__csv="item_id,title\ni1,Heat\n")
    dataset = read_dataset(log / "orders.csv", ReadOptions(items=log / "shop.csv"))
    assert dataset.items["i1"].text == "Heat"
    assert [use.file for use in dataset.columns] == ["orders.csv", "shop.csv"]
    with pytest.raises(DataError, match=r"none\.csv does not exist"):
        read_dataset(log / "orders.csv", ReadOptions(items=log / "none.csv"))


@pytest.mark.parametrize("space", [" ", "\t", "  ", "\t "])
def test_comments_of_konect(tmp_path, space):
    rows = "".join(space.join((user, item, "1", str(int(time)))) + "\n" for user, item, time in EXPECTED)
    (tmp_path / "out.movielens-10m_ui").write_text(f"% bip weighted\n% 2 2 2\n{rows}")
    assert met(read_dataset(tmp_path)) == EXPECTED
    assert met(read_dataset(tmp_path / "out.movielens-10m_ui")) == EXPECTED


def test_identical_rows_are_refused_or_kept(tmp_path):
    (tmp_path / "log.csv").write_text(LOG + "ann,i1,1500000000\n" * 3)
    refused = read_dataset(tmp_path)
    assert met(refused) == EXPECTED
    assert refused.refused.counts == {"duplicate": 3}
    assert "--set data.repeats=keep" in refused.refused.examples[0].detail
    kept = read_dataset(tmp_path, ReadOptions(keep_repeats=True))
    assert sorted(met(kept)) == sorted([*EXPECTED, *[EXPECTED[0]] * 3])
    assert len({e.event_id for e in kept.interactions}) == 5
    assert {e.event_id for e in refused.interactions} < {e.event_id for e in kept.interactions}


def test_events_with_an_id_are_never_kept_twice(tmp_path):
    (tmp_path / "log.csv").write_text("event_id,user,item,ts\ne1,u,i,1500000000\ne1,u,i,1500000000\n,u,i,1500000000\n")
    dataset = read_dataset(tmp_path, ReadOptions(keep_repeats=True))
    assert dataset.refused.counts == {"duplicate": 1}
    assert len(dataset.interactions) == 2


def test_no_name_stands_for_two_fields():
    assert len(RANKS) == sum(len(tier) for tiers in TIERS.values() for tier in tiers)
