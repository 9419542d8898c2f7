"""One direction of imports between packages, no cycle between modules, and few loose modules."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

import pytest

from tests.architecture.sources import PACKAGES, ROOT, SHIPPED, lines, module, parse, relative

LAYERS = (
    ("adapters_store",),
    ("pipeline.errors", "pipeline.build_info", "pipeline.arrays", "pipeline.child_process", "pipeline.compiled"),
    ("pipeline.config", "pipeline.telemetry", "pipeline.metrics"),
    ("pipeline.streams",),
    ("pipeline.events",),
    ("pipeline.datasets",),
    ("pipeline.models",),
    ("pipeline.regions",),
    ("pipeline.online", "pipeline.drift"),
    ("pipeline.retrieval",),
    ("pipeline.setup",),
    ("pipeline.monitor", "pipeline.editing", "pipeline.recommend"),
    ("pipeline.strategies",),
    ("pipeline.evaluation",),
    ("consumers.runtime",),
    ("consumers.http",),
    ("consumers.gate", "consumers.monitor", "consumers.trainer"),
    ("consumers.producer",),
    ("consumers.ingest",),
    ("consumers.backup", "consumers.erasure", "consumers.refresh", "consumers.retention", "consumers.server"),
    ("consumers.cli",),
)
"""Packages, lowest first: a package may import, of ours, itself and the packages of the lines above its own."""

LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}

FORMATS = {"consumers.gate.changelog"}
"""The only modules of a stage that the server may import: the server is a process of its own and reads what stages
write, so it shares their record formats and nothing else."""

LOOSE = {"pipeline": 8, "consumers": 0, "adapters_store": 8}
"""Most modules that may lie directly in a top-level package, apart from `__init__`."""


def _package(dotted: str) -> str:
    """Return the package of LAYERS that holds a module, "" for the bare `pipeline` and `consumers`."""
    front = ".".join(dotted.split(".")[:2])
    return next((p for p in (front, front.split(".")[0]) if p in LEVEL), "")


def _imported(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield every name of ours that is imported, `a.b` for `from a import b`, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = ["." * node.level + f"{node.module or ''}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((n, node.lineno) for n in found if n.startswith(".") or n.split(".")[0] in PACKAGES)


def against_the_layers(importer: str, tree: ast.Module) -> Iterator[str]:
    mine = _package(importer)
    if not mine and importer not in PACKAGES:
        yield "is in no package of LAYERS: give its package a line there"
        return
    for imported, line in _imported(tree):
        theirs = _package(imported)
        if imported.startswith("."):
            yield f"line {line}: relative import {imported}; write the absolute name"
        elif not theirs:
            yield f"line {line}: {imported} is in no package of LAYERS"
        elif theirs != mine and LEVEL[theirs] >= LEVEL.get(mine, 0):
            yield f"line {line}: {mine} may not import {theirs} ({imported}); move what both need to a lower package"


def shares_more_than_formats(importer: str, tree: ast.Module) -> Iterator[str]:
    stages = ("consumers.gate", "consumers.monitor", "consumers.trainer", "consumers.producer", "consumers.ingest")
    for imported, line in _imported(tree):
        inside = _package(importer) == "consumers.server" and _package(imported) in stages
        if inside and imported.rpartition(".")[0] not in FORMATS:
            yield f"line {line}: the server may import of a stage only {sorted(FORMATS)}, not {imported}"


def _runs_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the import statements that run when a module is imported: neither in functions nor for type checkers."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from _runs_at_import(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from _runs_at_import(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from _runs_at_import(handler.body)


def _prefixes(dotted: str) -> list[str]:
    parts = dotted.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts) + 1)]


def _needed(importer: str, tree: ast.Module, modules: set[str]) -> set[str]:
    """Return the modules that importing a module imports, packages on the way included.

    Packages that hold the importer itself are left out unless a name is taken from them: they are being imported
    already when the importer is.
    """
    needed = set()
    for statement in _runs_at_import(tree.body):
        for imported, _ in _imported(statement):
            way = [prefix for prefix in _prefixes(imported) if prefix in modules]
            needed.update(prefix for prefix in way[:-1] if not f"{importer}.".startswith(f"{prefix}."))
            needed.update(way[-1:])
    return needed - {importer}


def import_cycle(trees: dict[str, ast.Module]) -> list[str]:
    """Return the modules of one import cycle, first and last the same; nothing where there is none."""
    graph = {importer: _needed(importer, tree, set(trees)) for importer, tree in trees.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_imports_go_one_way() -> None:
    found = [f"{relative(p)} {o}" for p in SHIPPED for o in against_the_layers(module(p), parse(p))]
    assert found == [], f"imports against the order of LAYERS:{lines(found)}"


def test_the_server_shares_only_formats_with_the_stages() -> None:
    found = [f"{relative(p)} {o}" for p in SHIPPED for o in shares_more_than_formats(module(p), parse(p))]
    assert found == [], f"the server reaches into a stage:{lines(found)}"


def test_every_package_of_the_layers_exists() -> None:
    places = {package: ROOT / package.replace(".", "/") for package in LEVEL}
    gone = [package for package, path in places.items() if not path.is_dir() and not path.with_suffix(".py").is_file()]
    assert gone == [], "LAYERS lists packages that do not exist"


def test_no_import_cycle() -> None:
    found = import_cycle({module(path): parse(path) for path in SHIPPED})
    assert found == [], f"import cycle (each imports the next): {' -> '.join(found)}"


@pytest.mark.parametrize("package", LOOSE)
def test_few_loose_modules(package: str) -> None:
    loose = [path.name for path in SHIPPED if path.parent == ROOT / package and path.name != "__init__.py"]
    assert len(loose) <= LOOSE[package], f"{package}/ holds too many loose modules: {', '.join(loose)}"


@pytest.mark.parametrize(
    ("importer", "offence"),
    [
        ("pipeline.streams.codec", "from pipeline.events.edit import Edit"),
        ("pipeline.streams.codec", "from pipeline import events"),
        ("pipeline.online.mixture", "from pipeline.drift.detector import Detector"),
        ("pipeline.drift.factory", "def f():\n    import pipeline.monitor.state"),
        ("pipeline.evaluation.replay", "from consumers.runtime.loop import Loop"),
        ("pipeline.events.edit", "from .gated import GatedEvent"),
        ("adapters_store.store", "from pipeline.errors import AdapterRefused"),
        ("consumers.runtime.loop", "from consumers.gate.stage import GateStage"),
        ("consumers.trainer.stage", "from consumers.monitor.stage import MonitorStage"),
        ("pipeline.loose", "import json"),
        ("pipeline", "from pipeline.errors import StoreError"),
    ],
)
def test_an_import_against_the_layers_is_caught(importer: str, offence: str) -> None:
    assert len(list(against_the_layers(importer, ast.parse(offence)))) == 1


@pytest.mark.parametrize(
    ("importer", "innocent"),
    [
        ("pipeline.events.edit", "from pipeline.streams.topics import Topic"),
        ("pipeline.events.edit", "from pipeline.events.gated import GatedEvent"),
        ("pipeline.regions.bank", "import adapters_store.store"),
        ("consumers.server.views.online", "from consumers.gate.changelog import Snapshot"),
        ("consumers", "import json"),
    ],
)
def test_an_import_along_the_layers_passes(importer: str, innocent: str) -> None:
    tree = ast.parse(innocent)
    assert [*against_the_layers(importer, tree), *shares_more_than_formats(importer, tree)] == []


def test_a_server_that_reaches_into_a_stage_is_caught() -> None:
    tree = ast.parse("from consumers.gate.user_store import UserStore")
    assert len(list(shares_more_than_formats("consumers.server.service", tree))) == 1
    assert list(shares_more_than_formats("consumers.cli.gate", tree)) == []


@pytest.mark.parametrize(
    "offence",
    [
        {"consumers.a": "import consumers.b", "consumers.b": "from consumers.a import x"},
        {"consumers.a": "import consumers.p.c", "consumers.p": "import consumers.a", "consumers.p.c": ""},
        {"consumers.p": "from consumers.p.c import x", "consumers.p.c": "from consumers.p import y"},
        {"consumers.a": "class A:\n    import consumers.b", "consumers.b": "if 1:\n    import consumers.a"},
    ],
)
def test_an_import_cycle_is_caught(offence: dict[str, str]) -> None:
    assert import_cycle({importer: ast.parse(text) for importer, text in offence.items()})


@pytest.mark.parametrize(
    "innocent",
    [
        {"consumers.a": "import consumers.b", "consumers.b": "def f():\n    import consumers.a"},
        {"consumers.a": "import consumers.b", "consumers.b": "if TYPE_CHECKING:\n    import consumers.a"},
        {"consumers.p": "from consumers.p.c import x", "consumers.p.c": "import consumers.p.d", "consumers.p.d": ""},
    ],
)
def test_imports_without_a_cycle_pass(innocent: dict[str, str]) -> None:
    assert import_cycle({importer: ast.parse(text) for importer, text in innocent.items()}) == []
