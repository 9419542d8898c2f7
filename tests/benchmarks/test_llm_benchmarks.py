"""The benchmarks of language models run; what they state follows from what was replayed and timed."""

import json

import pytest
from torch import get_num_threads, set_num_threads

from benchmarks import llm, llm_table
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from tests.models.backbones.small import save_llama

SMALL = ("items.text_encoder=hashing", "setup.max_epochs=1", "backbone.hidden_size=16", "setup.regions=2")


@pytest.fixture(autouse=True)
def _threads_as_before():
    threads = get_num_threads()
    yield
    set_num_threads(threads)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    write(simulate("emerging", 0, 1_500), folder)
    return folder


def test_every_part_has_a_time_and_every_pair_a_ratio(tmp_path, capsys):
    save_llama(tmp_path)
    llm.main(["--quick", "--threads", "1", "--model", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert set(found["seconds"]) == {"setup_step", "edit", "mixed_1", "mixed_2", "served", "gate"}
    assert set(found["ratios"]) == set(found["seconds"]) - {"served"}
    for name, ratio in found["ratios"].items():
        seconds = found["seconds"][name]
        assert seconds["ours"] / seconds["bare"] == pytest.approx(ratio, rel=0.05)
    assert 0.0 <= found["largest_relative_difference_to_peft"] < 1e-3


def kept_tables(monkeypatch, path):
    """Rows, and number of seeds that published edits, of each table that is written into a file from now on."""
    tables, keep = [], llm_table._keep

    def keep_and_read(*given):
        keep(*given)
        kept = json.loads(path.read_text())["backbones"]["sasrec"]
        tables.append((kept["rows"], len(kept["published"])))

    monkeypatch.setattr(llm_table, "_keep", keep_and_read)
    return tables


def test_the_table_has_the_rows_and_edits_of_the_replay(log, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(llm_table, "backbones", lambda _: {"sasrec": SMALL})
    kept = kept_tables(monkeypatch, tmp_path / "table.json")
    given = ["--strategies", "static,raie,recicl", "--seeds", "2", "--interactions", "1200"]
    llm_table.main(["--data", str(log), "--out", str(tmp_path), *given])
    found = json.loads(capsys.readouterr().out)["backbones"]["sasrec"]
    metrics = json.loads((tmp_path / "sasrec" / "metrics.json").read_text())
    assert found["rows"]["static"]["F+T"]["mean"] == metrics["strategies"]["static"]["F+T"]["recall@10"]["mean"]
    compared = {(row["b"], row["slice"]): row["difference"] for row in metrics["comparisons"]}
    assert found["rows"]["static"]["raie less it, T"]["difference"] == compared["static", "T"]
    assert len(found["published"]) == 2
    assert found["claims"] == (min(found["published"]) >= 3)
    assert [(list(rows), seeds) for rows, seeds in kept] == [
        (["static"], 0),
        (["raie", "static"], 1),
        (["raie", "static"], 2),
        (["raie", "static"], 2),
    ]
    assert json.loads((tmp_path / "table.json").read_text())["backbones"]["sasrec"] == found


def test_a_log_is_cut_at_its_first_interactions(log):
    dataset = read_dataset(log)
    cut = llm_table.first(dataset, 100)
    assert list(cut.interactions) == list(dataset.interactions)[:100]
    assert cut.sha256 != dataset.sha256
    assert llm_table.first(dataset, 10**9) is dataset
