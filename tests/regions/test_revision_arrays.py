"""Revisions whose arrays are too large for a record: a file of the store has them, and the record names it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapters_store import AdaptersStore, ArrayFiles
from adapters_store.errors import AdapterRefused
from pipeline.regions.revision import Revision
from pipeline.regions.revision_arrays import LARGEST_INLINE, by_reference, resolved
from tests.regions.wide import add, bank, update

WIDE = 4_096


@pytest.fixture
def files(tmp_path: Path) -> ArrayFiles:
    return AdaptersStore(tmp_path).arrays


def through_json(revision: Revision) -> Revision:
    return Revision.from_record(json.loads(json.dumps(revision.to_record(), allow_nan=False)))


def same(one: Revision, other: Revision) -> bool:
    return one.to_record() == other.to_record()


def test_a_small_revision_stays_in_its_record_byte_for_byte(files: ArrayFiles) -> None:
    revision = add(bank(64), 64)
    before = {
        "regions": [
            {
                **{"region_id": 4, "version": 1, "status": "live", "origin": "since", "parent": None},
                "centroid": revision.regions[0].centroid.tolist(),
                **{"radius": 0.5, "concentration": 20.0, "prior": 0.1, "adapter": "r0004_v0001"},
                **{"opened_at": 10, "trust": 0.8},
            }
        ],
        "origins": {"origins": [4], "tastes": 3}
        | {name: getattr(revision.origins, name).tolist() for name in ("coverage", "center", "scale", "weights")},
        "gate_version": 1,
        "edit_id": "edit-4",
        "validation": {},
    }
    assert json.dumps(by_reference(revision, files).to_record()) == json.dumps(before), "fields in their order, too"
    assert files.names() == []


@pytest.mark.parametrize("width", [576, WIDE])
def test_a_large_revision_is_read_back_as_it_was(files: ArrayFiles, width: int) -> None:
    revision = add(bank(width), width)
    recorded = by_reference(revision, files)
    text = json.dumps(recorded.to_record())
    assert len(text) < 1_000
    assert "NaN" not in text
    assert [recorded.arrays and recorded.arrays.sha256] == files.names()
    assert same(resolved(through_json(recorded), files), revision)
    assert files.made_by(files.names()[0]) == "edit-4"


def test_the_limit_is_in_bytes_of_the_arrays(files: ArrayFiles) -> None:
    most = LARGEST_INLINE // 8
    assert by_reference(update(bank(most), 1), files).arrays is None
    assert by_reference(update(bank(most + 1), 1), files).arrays is not None


def test_a_record_of_before_with_large_arrays_in_it_is_read(files: ArrayFiles) -> None:
    revision = add(bank(576), 576)
    assert len(json.dumps(revision.to_record())) > 20_000
    read = through_json(revision)
    assert same(read, revision)
    assert resolved(read, files) is read
    assert len(read.after(bank(576)).stream) == 1


def test_boundaries_without_stream_regions_are_read_back(files: ArrayFiles) -> None:
    revision = Revision((), bank(WIDE).origins, 5, "e", None)
    recorded = by_reference(revision, files)
    assert recorded.arrays is not None
    assert same(resolved(through_json(recorded), files), revision)


def test_what_an_edit_touches_is_known_without_the_file(files: ArrayFiles) -> None:
    opened = add(bank(WIDE), WIDE)
    after = opened.after(bank(WIDE))
    revisions = [opened, update(after, 4), update(after, 1)]
    recorded = [through_json(by_reference(revision, files)) for revision in revisions]
    assert all(revision.arrays for revision in recorded)
    for i, one in enumerate(revisions):
        for j, other in enumerate(revisions):
            assert recorded[i].conflicts_with(recorded[j]) == one.conflicts_with(other)
    assert recorded[0].regions[0].adapter == "r0004_v0001"


def test_a_revision_without_its_arrays_is_not_applied(files: ArrayFiles) -> None:
    recorded = by_reference(add(bank(WIDE), WIDE), files)
    with pytest.raises(ValueError, match="has not been read"):
        recorded.after(bank(WIDE))


def test_a_version_that_knows_no_files_refuses_the_revision(files: ArrayFiles) -> None:
    record = by_reference(add(bank(WIDE), WIDE), files).to_record()
    # It ignores fields that it does not know.
    del record["arrays"]
    with pytest.raises(ValueError, match=r"different lengths|of other shapes"):
        Revision.from_record(record).after(bank(WIDE))


def test_the_file_of_another_revision_does_not_fit(files: ArrayFiles) -> None:
    one, other = (by_reference(revision, files) for revision in (add(bank(WIDE), WIDE), update(bank(WIDE), 1)))
    crossed = Revision.from_record({**one.to_record(), "arrays": other.to_record()["arrays"]})
    with pytest.raises(LookupError):
        resolved(crossed, files)


def test_a_missing_file_is_named(files: ArrayFiles) -> None:
    recorded = by_reference(add(bank(WIDE), WIDE), files)
    (name,) = files.remove(files.names())
    with pytest.raises(AdapterRefused, match=f"arrays/{name}.safetensors: .* restore the file from a backup"):
        resolved(recorded, files)


@pytest.mark.parametrize(
    "arrays",
    [
        *(None, {}, [], "x", {"sha256": "../x", "bytes": 5}, {"sha256": "0" * 64, "bytes": 0}, {"sha256": "0" * 64}),
        *({"sha256": "0" * 64, "bytes": True}, {"sha256": 5, "bytes": 5}, {"sha256": "0" * 64, "bytes": 10**12}),
    ],
)
def test_a_reference_of_another_program_is_no_revision(files: ArrayFiles, arrays: Any) -> None:
    record = by_reference(add(bank(WIDE), WIDE), files).to_record()
    with pytest.raises((LookupError, TypeError, ValueError)):
        Revision.from_record({**record, "arrays": arrays})


def test_a_revision_of_many_wide_regions_has_a_short_record(files: ArrayFiles) -> None:
    now = bank(WIDE)
    for _ in range(8):
        revision = add(now, WIDE)
        recorded = by_reference(revision, files)
        assert len(json.dumps(recorded.to_record())) < 1_000
        now = resolved(through_json(recorded), files).after(now)
    assert len(json.dumps(revision.to_record())) > 800_000, "it would not fit into a record"
    assert np.array_equal(now.origins.weights, revision.origins.weights) if revision.origins else False
