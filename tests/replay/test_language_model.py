"""A language model as the backbone, from the command line to its adapters on disk."""

import json

from adapters_store import AdaptersStore
from tests.models.backbones.small import save_llama
from tests.replay.small import SET, emerging, raie, reading

LEARNING = (
    "compute.precision=float32",
    "setup.max_epochs=3",
    "setup.learning_rate=0.01",
    "training.epochs=15",
    "training.row_learning_rate=0.01",
)
"""A random model needs many passes to learn anything at all, and is to learn the same on every processor."""

JUDGING = ("edits.passes_per_event=30", "edits.confidence=0")


def test_a_language_model_is_set_up_edited_and_scored(capsys, tmp_path):
    save_llama(tmp_path / "llama")
    model = ("--set", "backbone.kind=causal_lm", "--set", f"backbone.model={tmp_path / 'llama'}")
    eager = tuple(word for setting in (*LEARNING, *JUDGING) for word in ("--set", setting))
    command = ("replay", "--data", emerging(), "--out", tmp_path / "run", "--strategies", "static,raie")
    ended = raie(capsys, *command, *SET, *model, *eager)
    assert ended.code == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["strategies"]["raie"]["coverage"] == metrics["strategies"]["static"]["coverage"] > 0.9
    assert metrics["edits"]["add"][0] >= 1
    ledger = [json.loads(line) for line in (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()]
    published = {edit["version"] for edit in ledger if edit["version"]}
    store = AdaptersStore(tmp_path / "run" / "state" / "seed0" / "raie" / "adapters")
    assert published == set(store.names())
    assert {store.verify(name).rank for name in published if not name.startswith("r0000")} == {8}


def test_a_language_model_that_reads_texts_is_set_up_edited_and_scored(capsys, tmp_path):
    settings = (*(f"backbone.{name}={value}" for name, value in reading().items()), *LEARNING, *JUDGING)
    chosen = tuple(word for setting in settings for word in ("--set", setting))
    ended = raie(
        capsys, "replay", "--data", emerging(), "--out", tmp_path / "run", "--strategies", "static,raie", *SET, *chosen
    )
    assert ended.code == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["strategies"]["raie"]["coverage"] == metrics["strategies"]["static"]["coverage"] > 0.9
    assert metrics["edits"]["add"][0] >= 1
