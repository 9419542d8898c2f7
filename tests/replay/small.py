"""Small logs, small models, and the command line as a function."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from consumers.cli.main import app
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import Dataset, read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.protocols import Plan, plan_replay
from pipeline.models.catalogue import make_catalogue
from pipeline.models.text import open_text_encoder
from pipeline.setup.artifacts import SetUp
from pipeline.strategies.base import StrategyContext
from tests.models.backbones.small import save_llama, save_tokenizer

EVENTS = 2_000
SMALL = (
    "items.text_encoder=hashing",
    "backbone.hidden_size=16",
    "setup.max_epochs=2",
    "setup.regions=3",
    "training.epochs=1",
    "replay.parts=3",
    "gate.batch_size=64",
    "edits.min_windows=32",
    "edits.add_steps=1",
    "monitor.expected_run=100",
)
"""A model of a few thousand weights, and a monitor that raises alarms soon."""

SET = tuple(word for setting in SMALL for word in ("--set", setting))
"""The same for the command line."""

Rows = list[list[str]]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


def raie(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Ended:
    """Run `raie` in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        app([str(argument) for argument in arguments], prog_name="raie")
    seen = capsys.readouterr()
    code = end.value.code
    assert isinstance(code, int)
    return Ended(code, seen.out, seen.err)


def config(*overrides: str) -> Config:
    return load_config(overrides=(*SMALL, *overrides))


@cache
def emerging(events: int = EVENTS) -> Path:
    """Folder of a log in which a new preference emerges; never written to."""
    folder = Path(mkdtemp(prefix="emerging-")) / "log"
    write(simulate("emerging", 0, events), folder)
    return folder


@cache
def rated(events: int = EVENTS) -> Path:
    """Folder of the same log with values: each fifth interaction is a dislike; never written to."""
    (first, *rows), items = rows_of(emerging(events)), rows_of(emerging(events), "items.csv")
    valued = [[*row[:3], "1" if number % 5 == 4 else "5"] for number, row in enumerate(rows)]
    return write_log(Path(mkdtemp(prefix="rated-")) / "log", [[*first[:3], "value"], *valued], items)


@cache
def dataset() -> Dataset:
    return read_dataset(emerging())


def plan(*overrides: str, log: Dataset | None = None) -> Plan:
    log = log or dataset()
    return plan_replay(log, config(*overrides))


@cache
def reading_llama() -> Path:
    """Folder of a random language model whose tokenizer knows the words of the log's items; never written to."""
    folder = Path(mkdtemp(prefix="reading-llama-"))
    words = sorted({word for item in dataset().items.values() for word in re.findall(r"\w+", item.text)})
    save_llama(folder, vocabulary=len(words) + 3, positions=96)
    save_tokenizer(folder, words)
    return folder


def reading(form: str = "text") -> dict[str, object]:
    """Section `backbone` of a language model that reads texts in some format."""
    return {"kind": "causal_lm", "model": str(reading_llama()), "format": form, "text_tokens": 4}


def context_of(setup: SetUp, folder: Path, *overrides: str, planned: Plan | None = None) -> StrategyContext:
    """Inputs of a strategy over a plan, the usual one if none is given."""
    planned, settings = planned or plan(), config(*overrides)
    encoder = open_text_encoder(settings.items.text_encoder, None)
    catalogue = make_catalogue(planned.timeline.item_ids, dataset().items, encoder)
    return StrategyContext(
        setup, settings, planned.setup, 0, folder, planned.timeline, dataset().items, catalogue, encoder
    )


def rows_of(folder: Path, name: str = "interactions.csv") -> Rows:
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write_log(folder: Path, rows: Sequence[Sequence[str]], items: Rows | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, content in (("interactions.csv", rows), ("items.csv", items)):
        if content is not None:
            with (folder / name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(content)
    return folder
