"""The configuration: refusals, precedence of its sources, and a use of every setting."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, Section, load_config
from pipeline.config.consistency import unreachable
from pipeline.config.reference import render_defaults
from pipeline.errors import ConfigError

ROOT = Path(__file__).parents[1]
SECTIONS = {name: section for name, section in Config() if isinstance(section, Section)}


def problems_of(*overrides: str, environment: dict[str, str] | None = None, path: Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides, environment)
    return caught.value.problems


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "own.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load_config() == Config()
    assert unreachable(Config()) == []


def test_the_committed_file_is_what_the_code_says() -> None:
    # To write it anew: python -m pipeline.config.reference > config.yaml
    assert (ROOT / "config.yaml").read_text() == render_defaults()


def test_the_committed_file_gives_the_defaults() -> None:
    assert load_config(ROOT / "config.yaml") == Config()


def test_every_setting_is_documented() -> None:
    assert [".".join(path) for path, field in settings() if not (field.description or "").strip()] == []


def test_a_file_needs_only_what_differs(tmp_path: Path) -> None:
    path = written(tmp_path, "gate:\n  floor: 0.2\nsetup:\n  # regions: 3\n")
    assert load_config(path) == load_config(None, ["gate.floor=0.2"])
    assert load_config(path).gate.floor == 0.2


@pytest.mark.parametrize("text", ["", "# nothing\n", "gate:\n"])
def test_an_empty_file_or_section_has_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(written(tmp_path, text)) == Config()


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "gate: {floor: 0.2, penalty: 0.5, batch_size: 7}")
    environment = {"RAIE__GATE__FLOOR": "0.3", "RAIE__GATE__PENALTY": "0.6", "HOME": "/nowhere"}
    gate = load_config(path, ["gate.floor=0.4"], environment).gate
    assert (gate.floor, gate.penalty, gate.batch_size) == (0.4, 0.6, 7)


def test_the_last_override_wins() -> None:
    assert load_config(None, ["gate.floor=0.2", "gate.floor=0.3"]).gate.floor == 0.3


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "0.001", ".001", "1.0e-3"])
def test_a_number_may_be_written_as_one_writes_numbers(tmp_path: Path, number: str) -> None:
    path = written(tmp_path, f"gate:\n  penalty: {number}\n")
    assert load_config(path).gate.penalty == load_config(None, [f"gate.penalty={number}"]).gate.penalty == 0.001


def test_top_level_nulls_mappings_and_texts_can_be_set() -> None:
    overrides = ["protocol=windows", "data.positive_from=null", "data.columns={user_id: customer}", "items.cache=a=b"]
    config = load_config(None, overrides)
    assert config.protocol == "windows"
    assert config.data.positive_from is None
    assert config.data.columns == {"user_id": "customer"}
    assert config.items.cache == "a=b"


@pytest.mark.parametrize("key", ["gate.flor", "gates", "nonsense"])
def test_an_unknown_key_is_refused_by_its_name(key: str) -> None:
    assert problems_of(f"{key}=1") == [f"{key}: there is no such setting (see config.yaml for all of them)"]


def test_a_setting_is_no_section() -> None:
    assert problems_of("protocol.deep=1")[0].startswith("protocol: ")
    (problem,) = problems_of("gate.floor=0.2", "gate.floor.deep=1")
    assert problem == "--set gate.floor.deep=1: floor is a field, not a section"


def test_an_unknown_variable_is_refused() -> None:
    assert problems_of(environment={"RAIE__GATE__FLOR": "1"}) == [
        "gate.flor: there is no such setting (see config.yaml for all of them)"
    ]


@pytest.mark.parametrize(
    "override",
    [
        "gate.floor=often",
        "gate.floor=0.7",
        "gate.batch_size=1.5",
        "gate.batch_size=0",
        "backbone.kind=rnn",
        "monitor.novelty=perhaps",
        "gate.penalty=.inf",
        "gate.penalty=.nan",
        "gate=3",
        "data.columns=[a]",
    ],
)
def test_a_wrong_value_is_named_with_its_place(override: str) -> None:
    (problem,) = problems_of(override)
    assert problem.startswith(override.split("=", maxsplit=1)[0] + ":")
    assert "(it is" in problem


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "gate: {floor: 2, flor: 1}\nsetup: {regions: none}\nmonitor: 3\n")
    problems = problems_of("edits", "monitor.doubt=false", environment={"RAIE__ADAPTER__RANK": "0"}, path=path)
    for place in ("--set edits:", "--set monitor.doubt", "gate.floor", "gate.flor", "setup.regions", "adapter.rank"):
        assert any(problem.startswith(place) for problem in problems), place


def test_the_message_holds_every_problem() -> None:
    with pytest.raises(ConfigError, match=r"(?s)gate\.floor.*gate\.penalty"):
        load_config(None, ["gate.floor=9", "gate.penalty=-1"])


UNREACHABLE = {
    "F is empty": ["data.finetune_from=0.8"],
    "set protocol to prequential": ["data.finetune_from=1", "protocol=windows"],
    r"edits.min_windows (300)": ["edits.pool_windows=256", "edits.min_windows=300", "edits.update_windows=200"],
    r"edits.update_windows (2048)": ["edits.pool_windows=2047"],
    "Add and Update can hardly fire": ["edits.passes_per_event=0.1"],
    "leaves no room": ["edits.max_regions=6"],
    "novelty and monitor.loss are both off": ["monitor.novelty=false", "monitor.loss=false"],
    "Expand can never fire": ["monitor.doubt=false"],
    "backbone.model must name a language model": ["backbone.kind=causal_lm"],
    "backbone.format is text, and backbone.kind sasrec knows `items` alone": ["backbone.format=text"],
    "must be a multiple of backbone.heads (3)": ["backbone.heads=3"],
    "compute.quantization is int8, and backbone.kind sasrec is no language model": ["compute.quantization=int8"],
    "the teacher of backbone.format `examples` would not know": [
        *("backbone.kind=causal_lm", "backbone.model=some/model", "backbone.format=examples"),
        "refresh.begin_from=distilled",
    ],
    "sasrec has no pretrained weights to train factors over": ["setup.train=lora"],
    "setup.gradient_checkpointing is for backbone.kind causal_lm alone": ["setup.gradient_checkpointing=true"],
    "a replay, which forgets nobody": ["users.time_to_live=100", "consumers.lockstep=true"],
    "setup.accumulation (300) exceeds setup.batch_size (256)": ["setup.accumulation=300"],
}


@pytest.mark.parametrize("rule", UNREACHABLE)
def test_a_configuration_under_which_an_edit_cannot_happen_is_refused(rule: str) -> None:
    (problem,) = problems_of(*UNREACHABLE[rule])
    assert rule in problem


def test_every_rule_of_reachability_has_its_case() -> None:
    source = ast.parse((ROOT / "pipeline/config/consistency.py").read_text())
    rules = [node for node in ast.walk(source) if isinstance(node, ast.Yield)]
    # One of them is said of two settings.
    assert len(rules) + 1 == len(UNREACHABLE)


def test_a_language_model_needs_no_heads_that_divide() -> None:
    load_config(None, ["backbone.kind=causal_lm", "backbone.model=some/model", "backbone.heads=3"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gate: [", "is not valid YAML"),
        ("- gate\n", "must hold sections with fields, not a list"),
        ("floor", "must hold sections with fields, not a str"),
        (b"\xff\xfe\x00", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    path = written(tmp_path, text)
    (problem,) = problems_of(path=path)
    assert str(path) in problem
    assert said in problem


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert problems_of(path=missing) == [f"{missing} cannot be read: No such file or directory"]
    assert "Is a directory" in problems_of(path=tmp_path)[0]


def test_an_override_without_a_value_is_refused() -> None:
    assert problems_of("gate.floor") == ["--set gate.floor: write it as section.field=value"]


def test_a_yaml_tag_runs_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, "gate: !!python/object/apply:os.system ['true']\n")
    assert "is not valid YAML" in problems_of(path=path)[0]


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().gate.floor = 0.2  # type: ignore[misc]


def settings(section: type[Section] = Config, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, field in section.model_fields.items():
        if isinstance(field.default, Section):
            yield from settings(type(field.default), (*path, name))
        else:
            yield (*path, name), field


def read_names(tree: ast.Module) -> Iterator[str]:
    """Yield every attribute that is read: alone, with its owner's name, and with the sections `settings` may be.

    `self.settings.rank` in a module that imports `AdapterSettings` gives `rank`, `settings.rank` and `adapter.rank`.
    Where `getattr` is called, every string may be the name that it reads.
    """
    imported = [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names]
    sections = [name for name, section in SECTIONS.items() if type(section).__name__ in imported]
    by_name = any(isinstance(n, ast.Call) and ast.unparse(n.func) == "getattr" for n in ast.walk(tree))
    for node in ast.walk(tree):
        if by_name and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = ast.unparse(node.value).split(".")[-1]
            yield from (node.attr, f"{owner}.{node.attr}")
            if owner == "settings":
                yield from (f"{section}.{node.attr}" for section in sections)


def unread(names: set[str], owned: dict[str, list[str]]) -> list[str]:
    """Settings that no read can be of.

    A name that several sections share counts only where it is read of its section (`training.epochs`); a name
    of one section counts wherever any object's attribute is read by that name. So an unused setting can hide
    behind an attribute of another class or a string beside a `getattr`, and a value that is read and thrown
    away counts as read.
    """
    return sorted(
        f"{section}.{name}"
        for name, sections in owned.items()
        for section in sections
        if f"{section}.{name}" not in names and not (len(sections) == 1 and name in names)
    )


def owners() -> dict[str, list[str]]:
    """Name of a setting -> the sections that have one of that name."""
    found: dict[str, list[str]] = {}
    for path, _ in settings():
        found.setdefault(path[-1], []).append(path[-2] if len(path) > 1 else "config")
    return found


def test_every_setting_is_read_somewhere() -> None:
    """A setting that nothing reads misleads its users. `pipeline/config` itself only checks settings: not counted."""
    sources = [p for package in ("pipeline", "consumers", "adapters_store") for p in (ROOT / package).rglob("*.py")]
    names = {n for p in sources if p.parent.name != "config" for n in read_names(ast.parse(p.read_bytes()))}
    assert unread(names, owners()) == []


def test_a_setting_that_nobody_reads_is_found() -> None:
    owned = {"floor": ["gate"], "epochs": ["training", "other"], "parts": ["replay"]}
    source = "config.gate.floor\nself.training.epochs\nparts = 3\nx.parts = 4"
    assert unread(set(read_names(ast.parse(source))), owned) == ["other.epochs", "replay.parts"]


def test_a_setting_that_is_read_of_its_section_alone_is_found() -> None:
    source = "from pipeline.config import AdapterSettings\ndef f(settings: AdapterSettings): return settings.dropout"
    owned = {"dropout": ["adapter", "backbone"]}
    assert unread(set(read_names(ast.parse(source))), owned) == ["backbone.dropout"]
