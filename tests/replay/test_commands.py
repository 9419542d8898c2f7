"""The command line: its output, and one message with exit code 2 for every error that a person can fix."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from typer.main import get_command
from typer.testing import CliRunner

from consumers.cli import demo as demo_command
from consumers.cli import replay as commands
from consumers.cli.main import app
from consumers.cli.simulate import SCENARIOS
from consumers.cli.terminal import Terminal
from pipeline.config import load_config
from pipeline.datasets.simulator.scenarios import SCENARIOS as KNOWN_SCENARIOS
from pipeline.evaluation.predictions import read_predictions
from pipeline.setup.storage import load_setup
from pipeline.strategies import DEFAULT
from pipeline.strategies.registry import STRATEGIES
from tests.replay.small import SET, SMALL, emerging, raie, rows_of, write_log

ROOT = Path(__file__).parents[2]
CHEAP = ("--strategies", "static,popularity", *SET, "--set", "setup.max_epochs=1")


def _commands(group, path=()):
    """Yield the path of every command; a group that can be invoked by itself is one, too."""
    for name, found in group.commands.items():
        if not hasattr(found, "commands") or found.invoke_without_command:
            yield (*path, name)
        if hasattr(found, "commands"):
            yield from _commands(found, (*path, name))


def assert_refused(ended, *words: str) -> None:
    """Assert that stderr has one message with these words, besides the stages of progress.

    Stdout has nothing but the use of the columns, if the log could be read.
    """
    assert ended.code == 2
    assert ended.err.count("raie: ") == 1
    message = ended.err.partition("raie: ")[2]
    assert "Traceback" not in ended.err + ended.out
    assert not ended.out or ended.out.splitlines()[1].startswith("┃ column of ")
    assert all(line[0] in "┏┃┡│└" for line in ended.out.splitlines())
    for word in words:
        assert word in message


def test_replay_shows_figures_leader_refusals_and_report(capsys, tmp_path):
    ended = raie(capsys, "replay", "--data", emerging(), "--out", tmp_path / "run", "--seeds", "2", *CHEAP)
    assert ended.code == 0
    assert ended.out.count("±") == 10
    assert "static leads on the stream" in ended.out or "popularity leads on the stream" in ended.out
    assert "Every row of the log was used." in ended.out
    assert f"Report: {tmp_path / 'run' / 'report.html'}" in ended.out
    assert (tmp_path / "run" / "report.html").is_file()
    stages = [line for line in ended.err.splitlines() if line]
    assert stages[1:3] == ["encoding item texts", "seed 0: set-up"]
    assert stages[-3:] == ["seed 1: set-up", "seed 1: static", "seed 1: popularity"]
    assert len(stages) == len(set(stages)) == 8


def test_an_untrained_strategy_above_raie_is_named(capsys, tmp_path):
    # A backbone that learned next to nothing: what is popular is better than any edit of it.
    options = ("--strategies", "popularity_recent,raie", *SET, "--set", "setup.max_epochs=1")
    dull = ("--set", "trend.half_lives=[]", "--set", "setup.learning_rate=1e-9", "--set", "training.learning_rate=1e-9")
    ended = raie(capsys, "replay", "--data", emerging(), "--out", tmp_path / "run", *options, *dull)
    assert ended.code == 0
    assert "popularity_recent leads on the stream" in ended.out
    assert "Without training, popularity_recent" in ended.out
    assert "ranks above raie" in ended.out


def test_a_broken_log_ends_as_the_clean_one_and_tells_of_the_rest(capsys, tmp_path):
    header, *rows = rows_of(emerging())
    broken = [["u1"], ["", "i1", "1600000000"], ["u1", "i1", "soon"], ["u1", "i1", "nan"], ["u1", "i1", "-5"]]
    dirty = [*rows[1000:], *broken, *rows[:1000], *rows[:7]]
    items = rows_of(emerging(), "items.csv")
    log = write_log(tmp_path / "log", [header, *dirty], items)
    for name, data in (("clean", emerging()), ("dirty", log)):
        ended = raie(capsys, "replay", "--data", data, "--out", tmp_path / name, *CHEAP)
        assert ended.code == 0
    assert "12 rows were refused" in ended.out
    for reason in ("7 duplicate", "1 wrong_columns", "1 missing_user_id", "bad_timestamp"):
        assert reason in ended.out
    for name in ("metrics.json", "predictions.parquet"):
        assert (tmp_path / "dirty" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    run = json.loads((tmp_path / "dirty" / "run.json").read_text())
    assert sum(run["refused"].values()) == 12
    assert run["out_of_order"] > 0


def test_a_log_of_ids_alone_can_be_replayed(capsys, tmp_path):
    log = write_log(tmp_path / "log", rows_of(emerging(1_000)))
    ended = raie(capsys, "replay", "--data", log, "--out", tmp_path / "run", "--strategies", "static,lora,raie", *SET)
    assert ended.code == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["text_encoder"] == ""
    assert run["placement"] == {"device": "cpu", "precision": "float32"}
    assert read_predictions(tmp_path / "run" / "predictions.parquet").strategies == ["lora", "raie", "static"]


def test_columns_of_another_name_are_mapped(capsys, tmp_path):
    _, *rows = rows_of(emerging())
    log = write_log(tmp_path / "log", [["buyer", "article", "bought"], *rows])
    command = ("replay", "--data", log, "--out", tmp_path / "run", *CHEAP)
    assert_refused(raie(capsys, *command), "user_id", "buyer, article, bought", "--set data.columns.user_id=COLUMN")
    named = {"user_id": "buyer", "item_id": "article", "timestamp": "bought"}
    mapping = [word for name, column in named.items() for word in ("--set", f"data.columns.{name}={column}")]
    assert raie(capsys, *command, *mapping).code == 0
    wrong = raie(capsys, *command, "--set", "data.columns.customer=buyer")
    assert_refused(wrong, "data.columns.customer: there is no such column; there are: user_id, item_id")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "gate.flor=1"], ["gate.flor: there is no such setting"]),
        (["--set", "edits.min_windows=5000", "--set", "gate.floor=7"], ["gate.floor", "less than 0.5"]),
        (["--set", "edits.min_windows=5000"], ["edits.min_windows (5000) exceeds edits.pool_windows (4096)"]),
        (["--set", "novalue"], ["write it as section.field=value"]),
        (["--config", "missing.yaml"], ["missing.yaml cannot be read"]),
        (["--strategies", "static,lore"], ["'lore' is no strategy", "ensemble_ranked, raie_no_trend, raie"]),
        (["--strategies", ","], ["is no strategy; known strategies"]),
        (["--set", "data.positive_from=5", "--data", "no-such-log"], ["no-such-log does not exist"]),
        (["--set", "data.finetune_from=0.9995", "--set", "data.test_from=0.9999"], ["slice", "would be empty"]),
        (["--set", "data.finetune_from=0.001"], ["the set-up slice has", "move data.finetune_from up"]),
        (["--set", "backbone.kind=causal_lm"], ["backbone.model must name a language model"]),
        (["--set", "backbone.kind=causal_lm", "--set", "backbone.model=/no/such/model"], ["/no/such/model"]),
        (["--set", "items.text_encoder=/no/such/encoder"], ["/no/such/encoder"]),
    ],
)
def test_what_can_be_put_right_is_one_message(capsys, tmp_path, options, words):
    log = () if "--data" in options else ("--data", emerging())
    ended = raie(capsys, "replay", *log, "--out", tmp_path / "run", *CHEAP, *options)
    assert_refused(ended, *words)
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_settings_come_from_file_then_environment_then_options(capsys, tmp_path, monkeypatch):
    log = emerging()
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("replay: {parts: 4, half_life: 9}\nwindows: {length: 7}\n")
    monkeypatch.setenv("RAIE__REPLAY__HALF_LIFE", "11")
    monkeypatch.setenv("RAIE__WINDOWS__LENGTH", "6")
    small = [word for word in CHEAP if word not in ("--set", "replay.parts=3") and "=" in word]
    sets = [word for setting in [*small, "windows.length=5"] for word in ("--set", setting)]
    ended = raie(capsys, "replay", "--data", log, "--out", "run", "--strategies", "popularity", *sets)
    assert ended.code == 0
    used = json.loads(Path("run/run.json").read_text())["config"]
    assert (used["replay"]["parts"], used["replay"]["half_life"], used["windows"]["length"]) == (4, 11.0, 5)
    Path("other.yaml").write_text("windows: {lenght: 7}\n")
    ended = raie(capsys, "replay", "--data", log, "--out", "run", "--config", "other.yaml")
    assert_refused(ended, "windows.lenght: there is no such setting")


def test_somebody_elses_folder_is_left_alone(capsys, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "run.json").write_text('{"my": "run"}')
    for command in (
        ("replay", "--data", emerging(), "--out", tmp_path / "thesis", *CHEAP),
        ("replay", "--data", emerging(), "--out", tmp_path / "thesis" / "run.json", *CHEAP),
        ("setup", "--data", emerging(), "--out", tmp_path / "thesis", *SET),
        ("demo", "--out", tmp_path / "thesis"),
        ("simulate", "quiet", "--out", tmp_path / "thesis"),
    ):
        assert_refused(raie(capsys, *command), "thesis", "folder")
    assert [(p.name, p.read_text()) for p in (tmp_path / "thesis").iterdir()] == [("run.json", '{"my": "run"}')]


def test_setup_keeps_what_a_replay_would_start_from(capsys, tmp_path, setup):
    ended = raie(capsys, "setup", "--data", emerging(), "--out", tmp_path / "root", *SET)
    assert ended.code == 0
    loaded = load_setup(tmp_path / "root")
    assert loaded.backbone_sha256 == setup.backbone_sha256
    assert loaded.backbone_sha256[:16] in ended.out


def test_simulate_describe_and_list(capsys, tmp_path):
    assert raie(capsys, "simulate", "sudden", "--out", tmp_path / "log", "--events", "1000", "--seed", "3").code == 0
    described = raie(capsys, "data", "describe", tmp_path / "log", "--set", "data.test_from=0.9")
    assert described.code == 0
    assert "1,000" in described.out
    assert "ml-latest-small" in raie(capsys, "data", "list").out
    assert_refused(raie(capsys, "simulate", "quake", "--out", tmp_path / "x"), "'quake'", "emerging")
    assert_refused(raie(capsys, "data", "describe", tmp_path / "nothing"), "does not exist")
    assert_refused(raie(capsys, "data", "fetch", "netflix", "--out", tmp_path / "x"), "'netflix'", "ml-1m")


def test_report_is_built_anew(capsys, tmp_path, finished):
    page = (finished / "report.html").read_bytes()
    (finished / "report.html").unlink()
    assert str(finished / "report.html") in raie(capsys, "report", finished).out
    assert (finished / "report.html").read_bytes() == page
    assert_refused(raie(capsys, "report", tmp_path), "is not a finished run")


def test_slices_are_measured_and_runs_compared(capsys, tmp_path):
    runs = [tmp_path / "one", tmp_path / "two"]
    for number, out in enumerate(runs):
        ended = raie(capsys, "replay", "--data", emerging(), "--out", out, *CHEAP, "--slices", number + 2)
        assert ended.code == 0
        assert json.loads((out / "metrics.json").read_text())["continual"]["slices"] == number + 2
    page = tmp_path / "page.html"
    assert str(page) in raie(capsys, "report", *runs, "--out", page).out
    assert "2 runs side by side" in page.read_text()
    assert_refused(raie(capsys, "report", runs[0], runs[0], "--out", tmp_path / "x"), "given twice")
    refused = raie(capsys, "replay", "--data", emerging(), "--out", tmp_path / "three", *CHEAP, "--slices", "900")
    assert_refused(refused, "--slices", "replay.slice_held_out")
    assert not (tmp_path / "three").exists()


def test_all_names_every_strategy(monkeypatch, tmp_path):
    asked = []

    def recorded(_data, _config, names, *_, **__):
        asked.append(names)
        return {}

    monkeypatch.setattr("pipeline.evaluation.replay.replay", recorded)
    monkeypatch.setattr("consumers.cli.terminal.results", lambda _: "")
    monkeypatch.setattr("consumers.cli.terminal.sentences", lambda *_: [])
    monkeypatch.setattr(commands, "read_data", lambda *_: SimpleNamespace(refused=None))
    terminal = Terminal(Console(quiet=True), Console(quiet=True), lambda: 0.0)
    for_sasrec = [name for name in STRATEGIES if name != "recicl"]
    for chosen, expected in ((["all"], for_sasrec), (None, DEFAULT), (["raie", "raie"], ["raie"])):
        commands.replay_log(tmp_path, tmp_path / "out", chosen, 1, load_config(), terminal)
        assert asked[-1] == list(expected)


def test_help_names_every_strategy_scenario_and_command():
    assert SCENARIOS.split(", ") == list(KNOWN_SCENARIOS)
    shown = CliRunner().invoke(app, ["--help"]).output
    assert all(name in shown for name in ("replay", "setup", "demo", "simulate", "report", "data"))


@pytest.mark.parametrize("path", list(_commands(get_command(app))), ids=" ".join)
def test_every_command_explains_itself_with_an_example(path):
    shown = CliRunner().invoke(app, [*path, "--help"]).output
    assert f"raie {' '.join(path)}" in shown.partition("Usage:")[2].partition("\n")[2], "its help has an example"


def test_a_wrong_option_is_a_usage_error(capsys):
    assert raie(capsys, "replay", "--dta", "x").code == 2
    assert raie(capsys, "replay", "--data", "x", "--out", "y", "--seeds", "0").code == 2


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "consumers.cli.main", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_as_a_program_it_refuses_without_a_traceback(tmp_path):
    run = subprocess.run(
        command("data", "describe", tmp_path / "nothing"),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"raie: {tmp_path / 'nothing'} does not exist\n"


@pytest.mark.parametrize(("option", "begins"), [("--version", "raie-stream "), ("--help", "")])
def test_version_and_help_are_shown_without_loading_a_model(option, begins):
    code = (
        "import sys, consumers.cli.main as c\n"
        f"try: c.app(['{option}'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert run.stdout.startswith(begins)
    assert run.stdout.endswith("False\n")


def test_edits_and_adapters_are_shown_without_loading_a_model():
    modules = "consumers.runtime.ledger, consumers.cli.adapter_report, pipeline.evaluation.explain"
    code = f"import sys, {modules}\nprint('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert run.stdout == "False\n"


def test_an_interrupt_ends_with_130_and_one_line(tmp_path):
    arguments = command("replay", "--data", emerging(), "--out", tmp_path / "run", "--set", "setup.max_epochs=10000")
    arguments += ["--set", "items.text_encoder=hashing", "--set", "setup.patience=10000"]
    # A shell starts what it puts into the background with interrupts ignored; this run is to heed them.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stderr=pipe, text=True, env=environment(), preexec_fn=heed) as running:  # noqa: PLW1509
        assert running.stderr is not None
        while "set-up" not in running.stderr.readline():
            assert running.poll() is None
        time.sleep(0.5)
        running.send_signal(signal.SIGINT)
        rest = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert rest == "raie: interrupted; run the same command again\n"


def test_the_demo_runs_its_strategies_and_can_be_run_again(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_command, "DEMO_EVENTS", 1_000)
    monkeypatch.setattr(demo_command, "DEMO_SETTINGS", (*SMALL, "setup.max_epochs=1", "replay.parts=1"))
    for _ in range(2):
        ended = raie(capsys, "demo", "--out", tmp_path / "demo")
        assert ended.code == 0
        assert all(name in ended.out for name in demo_command.DEMO_STRATEGIES)
        assert str(tmp_path / "demo" / "run" / "report.html") in ended.out
    (tmp_path / "demo" / "notes.txt").write_text("mine")
    assert_refused(raie(capsys, "demo", "--out", tmp_path / "demo"), "holds something else than a demo")
