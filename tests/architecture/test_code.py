"""Rules for code that no type checker has: third-party edges, clocks, code loaders, names of hosts and machines."""

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import chain

import pytest

from tests.architecture.sources import PACKAGES, ROOT, SHIPPED, Rule, offences, parse, relative, sources

KEPT = (*PACKAGES, "tests", "benchmarks", "scripts", "deploy", "docs", ".ci")

EDGES = {
    "fastapi": "http/*.py",
    "uvicorn": "consumers/http/listening.py",
    "httpx2": "consumers/server/http/peer_client.py",
    "kafka": "pipeline/streams/kafka/*.py",
    "peft": "pipeline/models/lora/peft_slot.py",
    "torchao": "pipeline/models/quantization.py",
    "river": "pipeline/drift/river_detectors.py",
    "prometheus_client": "pipeline/telemetry.py",
    "opentelemetry": "consumers/runtime/opentelemetry_tracing.py",
}
"""Third-party package -> the one place that may import it: a file, or the folders of a name."""

CORE = (
    *("*.py", "config/*.py", "events/*.py", "models/**/*.py", "regions/*.py", "online/*.py", "drift/*.py"),
    *("setup/*.py", "monitor/**/*.py", "editing/*.py", "recommend/*.py", "metrics/*.py"),
    *("strategies/**/*.py", "evaluation/**/*.py"),
)
"""Modules that take values and return values: no clock, no environment."""

CODE_LOADERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time"}
CLOCK_READS = {f"time.{name}" for name in CLOCKS} | {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
ENVIRONMENT = {"os.environ", "os.getenv", "os.environb", "os.getenvb"}

REGISTRIES = (
    "py" + "pi.org",
    "python" + "hosted.org",
    "download." + "pytorch.org",
    "npm" + "js.org",
    "ana" + "conda.org",
)
"""Hosts that no file may name: the package index is the user's own setting. Split, so that this file names none."""

SOMEONES_MACHINE = re.compile(r"(?<![\w.$}~-])/(home|Users|root|work|workspace)/\w")


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` of a chain of names, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (front := _dotted(node.value)):
        return f"{front}.{node.attr}"
    return ""


def _ends(name: str, names: set[str]) -> bool:
    """Say whether the last two parts of a dotted name are among the names: `datetime.datetime.now` is."""
    return ".".join(name.split(".")[-2:]) in names


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield every absolute module that is imported, `a` for `from a import b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield _dotted(node.func), node


def runs_data_as_code(tree: ast.Module) -> Iterator[str]:
    yield from (f"imports {name}" for name in _imports(tree) if name.split(".")[0] in CODE_LOADERS)
    for name, call in _calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name in ("eval", "exec"):
            yield f"calls {name} in line {call.lineno}"
        if name == "torch.load" and given.get("weights_only") != "True":
            yield f"calls torch.load without weights_only=True in line {call.lineno}"
        if given.get("allow_pickle", "False") != "False":
            yield f"allows pickle in line {call.lineno}"


def swallows_everything(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"bare except in line {node.lineno}"


def reads_clock_or_environment(tree: ast.Module) -> Iterator[str]:
    """Clocks are found where they are called: a clock as an argument or a default is an injected one."""
    yield from (f"calls {name} in line {call.lineno}" for name, call in _calls(tree) if _ends(name, CLOCK_READS))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _dotted(node) in ENVIRONMENT:
            yield f"reads {_dotted(node)} in line {node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module in ("time", "os"):
            forbidden = CLOCK_READS if node.module == "time" else ENVIRONMENT
            yield from (f"imports {a.name}" for a in node.names if f"{node.module}.{a.name}" in forbidden)


@pytest.mark.parametrize("package", EDGES)
def test_each_edge_is_imported_in_one_place(package: str) -> None:
    importers = [p for p in SHIPPED if any(m.split(".")[0] == package for m in _imports(parse(p)))]
    assert [relative(p) for p in importers if not p.relative_to(ROOT).match(EDGES[package])] == []


def test_no_data_is_run_as_code() -> None:
    assert offences(SHIPPED, runs_data_as_code) == []


def test_no_bare_except() -> None:
    assert offences(SHIPPED, swallows_everything) == []


def test_the_core_reads_no_clock_and_no_environment() -> None:
    core = sources(*(f"pipeline/{pattern}" for pattern in CORE))
    assert offences(core, reads_clock_or_environment) == []


@pytest.mark.parametrize(
    ("rule", "offence"),
    [
        (runs_data_as_code, "import pickle"),
        (runs_data_as_code, "from joblib import load"),
        (runs_data_as_code, "eval(text)"),
        (runs_data_as_code, "torch.load(path)"),
        (runs_data_as_code, "torch.load(path, weights_only=False)"),
        (runs_data_as_code, "np.load(path, allow_pickle=True)"),
        (swallows_everything, "try:\n    f()\nexcept:\n    pass"),
        (reads_clock_or_environment, "started = time.perf_counter()"),
        (reads_clock_or_environment, "now = datetime.datetime.now(tz=UTC)"),
        (reads_clock_or_environment, "from time import monotonic"),
        (reads_clock_or_environment, "home = os.environ['HOME']"),
        (reads_clock_or_environment, "from os import getenv"),
    ],
)
def test_a_rule_catches_its_offence(rule: Rule, offence: str) -> None:
    assert len(list(rule(ast.parse(offence)))) == 1


@pytest.mark.parametrize(
    ("rule", "innocent"),
    [
        (runs_data_as_code, "model.eval()"),
        (runs_data_as_code, "torch.load(path, weights_only=True)"),
        (runs_data_as_code, "np.load(path, allow_pickle=False)"),
        (swallows_everything, "try:\n    f()\nexcept OSError:\n    pass"),
        (reads_clock_or_environment, "def f(clock: Clock = time.monotonic): return clock()"),
        (reads_clock_or_environment, "event.timestamp.time()"),
    ],
)
def test_a_rule_lets_the_innocent_pass(rule: Rule, innocent: str) -> None:
    assert list(rule(ast.parse(innocent))) == []


def _declared() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    return [re.split(r"[\s<>=!~;\[]", requirement)[0] for requirement in wanted]


@pytest.mark.parametrize("package", _declared())
def test_each_dependency_says_why_it_is_there(package: str) -> None:
    lines = (ROOT / "docs/decisions/dependencies.md").read_text().splitlines()
    rows = [line.split("|") for line in lines if line.startswith(f"| `{package}` |")]
    assert len(rows) == 1
    assert all(cell.strip() for cell in rows[0][1:-1])


def _texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of every file that is kept, by whatever name it ends."""
    below = (path for folder in KEPT for path in (ROOT / folder).rglob("*"))
    for path in [*ROOT.iterdir(), *below]:
        # In a linked worktree .git is a file, and holds a path of its machine.
        if path.is_file() and path.name != ".git" and "__pycache__" not in path.parts:
            yield relative(path), path.read_bytes().decode("utf-8", "replace")


def test_no_file_names_a_package_registry_or_a_path_of_someones_machine() -> None:
    named = [f"{name} names {host}" for name, text in _texts() for host in REGISTRIES if host in text]
    paths = [f"{name} names {hit.group()}" for name, text in _texts() for hit in SOMEONES_MACHINE.finditer(text)]
    assert named + paths == []


def test_a_path_of_someones_machine_is_seen() -> None:
    assert SOMEONES_MACHINE.search('open("' + "/ho" + 'me/ann/data")')
    assert not SOMEONES_MACHINE.search("https://example.org/work/item ./home/x $HOME/work/x")
