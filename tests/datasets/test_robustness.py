import random
from itertools import pairwise

import pytest

from pipeline.datasets.dataset import Dataset, positives, read_dataset
from pipeline.errors import DataError

HEADER = "user_id,item_id,rating,timestamp"
GOOD = "1,10,4,1000000000"


def read(tmp_path, *rows: str | bytes, header: str = HEADER, name: str = "interactions.csv") -> Dataset:
    encoded = [row if isinstance(row, bytes) else row.encode() for row in (*([header] if header else []), *rows)]
    (tmp_path / name).write_bytes(b"\n".join(encoded))
    return read_dataset(tmp_path)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,10", "wrong_columns"),
        ("1,10,4,1000000001,7", "wrong_columns"),
        ("1,10,four,1000000001", "bad_value"),
        ("1,10,nan,1000000001", "bad_value"),
        ("1,10,4,yesterday", "bad_timestamp"),
        ("1,10,4,NaN", "bad_timestamp"),
        ("1,10,4,0001-01-01T00:00:00+23:00", "bad_timestamp"),
        ("1,10,4,", "missing_timestamp"),
        (",10,4,1000000001", "missing_user_id"),
        ("x" * 300 + ",10,4,1000000001", "bad_user_id"),
        ("x" * 300_000 + ",10,4,1000000001", "bad_user_id"),
        ('"' + "x" * 300_000 + '",10,4,1000000001', "bad_quotes"),
        ('1,"10,4,1000000001', "bad_quotes"),
        (GOOD, "duplicate"),
        (b"1,\x00,4,1000000001", "bad_item_id"),
    ],
)
def test_a_broken_row_costs_itself_and_is_shown(tmp_path, row, reason):
    dataset = read(tmp_path, GOOD, row, "2,20,5,1000000002")
    assert [e.user_id for e in dataset.interactions] == ["1", "2"]
    assert dataset.refused.counts == {reason: 1}
    (example,) = dataset.refused.examples
    assert (example.reason, example.file, example.line) == (reason, "interactions.csv", 3)
    assert 0 < len(example.detail) <= 200


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "bad_json"),
        ("null", "not_an_object"),
        ("[1]", "not_an_object"),
        ("[" * 100_000, "bad_json"),
        ("{}", "missing_user_id"),
    ],
)
def test_a_broken_json_line_costs_itself(tmp_path, row, reason):
    good = '{"user": "%s", "item": 1, "ts": 1000000000}'
    dataset = read(tmp_path, good % "a", row, good % "b", header="", name="log.jsonl")
    assert [e.user_id for e in dataset.interactions] != []
    assert len(dataset.interactions) == 2
    assert dataset.refused.counts == {reason: 1}
    assert dataset.refused.examples[0].line == 2


def test_a_cell_may_span_lines(tmp_path):
    (tmp_path / "items.csv").write_text('item_id,title\n10,"Heat\nand ""dust"""\n20,Solo\n')
    dataset = read(tmp_path, GOOD)
    assert dataset.items["10"].text == 'Heat and "dust"'
    assert dataset.items["20"].text == "Solo"
    assert dataset.refused.total == 0


def test_few_examples_are_kept_of_each_reason(tmp_path):
    dataset = read(tmp_path, GOOD, *["1,10"] * 50, *["1,10,x,1"] * 2)
    assert dataset.refused.counts == {"wrong_columns": 50, "bad_value": 2}
    assert dataset.refused.total == 52
    assert [e.reason for e in dataset.refused.examples] == ["wrong_columns"] * 3 + ["bad_value"] * 2


def test_random_bytes_never_stop_the_read(tmp_path):
    rng = random.Random(0)
    for _ in range(30):
        noise = [rng.randbytes(rng.randrange(1, 40)).replace(b"\n", b"") for _ in range(30)]
        rows = [GOOD, *noise, "2,20,5,1000000002"]
        dataset = read(tmp_path, *rows)
        assert {"1", "2"} <= {e.user_id for e in dataset.interactions}


def test_a_log_without_usable_row_says_what_was_wrong(tmp_path):
    with pytest.raises(DataError, match=r"2 times bad_value \(first in interactions.csv:2: "):
        read(tmp_path, "1,10,x,1000000000", "1,11,y,1000000000")
    with pytest.raises(DataError, match="there is none"):
        read(tmp_path)
    with pytest.raises(DataError, match="is empty"):
        read(tmp_path, header="")


def test_order_and_hash_do_not_depend_on_the_order_of_the_file(tmp_path):
    rows = [f"{user},{item},4,{1_000_000_000 + item // 7}" for user in range(3) for item in range(40)]
    one = read(tmp_path, *rows)
    random.Random(1).shuffle(rows)
    two = read(tmp_path, *rows)
    assert one.interactions == two.interactions
    assert one.sha256 == two.sha256
    assert (one.out_of_order, two.out_of_order > 0) == (0, True)
    times = [e.timestamp for e in one.interactions]
    assert times == sorted(times)


def test_ties_do_not_come_in_the_order_of_item_ids(tmp_path):
    dataset = read(tmp_path, *(f"1,{item:03d},4,1000000000" for item in range(100)))
    items = [e.item_id for e in dataset.interactions]
    assert items != sorted(items)
    ascending = sum(a < b for a, b in pairwise(items))
    assert 30 < ascending < 70


def test_the_hash_sees_values_and_texts(tmp_path):
    hashes = {read(tmp_path, GOOD).sha256, read(tmp_path, "1,10,5,1000000000").sha256}
    (tmp_path / "items.csv").write_text("item_id,title\n10,Heat\n")
    hashes.add(read(tmp_path, GOOD).sha256)
    assert len(hashes) == 3


def test_out_of_order_counts_a_user_going_back_in_time(tmp_path):
    dataset = read(tmp_path, "1,a,4,1000000005", "2,a,4,1000000001", "1,b,4,1000000004", "1,c,4,1000000004")
    assert dataset.out_of_order == 1


def test_positives_are_those_from_the_threshold_on(tmp_path):
    dataset = read(tmp_path, "1,a,3.5,1", "1,b,4,2", "1,c,5,3", "1,d,,4")
    assert [e.item_id for e in positives(dataset, 4)] == ["b", "c", "d"]
    assert [e.item_id for e in positives(dataset, None)] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("truth", ["{", "{}", "[1]"])
def test_a_broken_truth_is_not_passed_over(tmp_path, truth):
    (tmp_path / "truth.json").write_text(truth)
    with pytest.raises(DataError, match=r"truth\.json"):
        read(tmp_path, GOOD)


def test_an_item_told_twice_is_counted(tmp_path):
    (tmp_path / "items.csv").write_text("item_id,title\n10,First\n10,Second\n")
    dataset = read(tmp_path, GOOD)
    assert dataset.items["10"].text == "First"
    assert dataset.refused.counts == {"duplicate_item": 1}
