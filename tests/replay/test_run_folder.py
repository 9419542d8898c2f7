"""Whose folder it is: a run replaces an earlier run, and nothing else."""

import json

import pytest

from pipeline.errors import DataError
from pipeline.evaluation.run_folder import FILES, RUN, STATE, claim, refuse_foreign


def test_a_new_folder_is_made_with_its_parents(tmp_path):
    claim(tmp_path / "a" / "b", {"seeds": 1})
    assert json.loads((tmp_path / "a" / "b" / RUN).read_text()) == {"program": "raie-stream", "seeds": 1}


def test_an_earlier_run_is_removed_but_for_what_it_did_not_make(tmp_path):
    claim(tmp_path, {"seeds": 1})
    for name in FILES[:-1]:
        (tmp_path / name).write_text("old")
    (tmp_path / STATE / "seed0" / "raie").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    claim(tmp_path, {"seeds": 2})
    assert {path.name for path in tmp_path.iterdir()} == {RUN, "notes.txt"}
    assert json.loads((tmp_path / RUN).read_text())["seeds"] == 2


@pytest.mark.parametrize("content", ['{"program": "another"}', "[1]", "{", "\udcff"])
def test_a_folder_of_something_else_is_refused_and_kept(tmp_path, content):
    (tmp_path / RUN).write_text(content, errors="surrogateescape")
    (tmp_path / "metrics.json").write_text("theirs")
    for act in (lambda: refuse_foreign(tmp_path), lambda: claim(tmp_path, {})):
        with pytest.raises(DataError, match="not those of an earlier run"):
            act()
    assert (tmp_path / "metrics.json").read_text() == "theirs"


def test_links_are_not_followed(tmp_path):
    claim(tmp_path / "run", {})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("theirs")
    (tmp_path / "run" / STATE).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(DataError, match="is a link"):
        claim(tmp_path / "run", {})
    with pytest.raises(DataError, match="is not a folder"):
        claim(tmp_path / "link", {})
    assert (tmp_path / "elsewhere" / "file").read_text() == "theirs"
