"""The wheel, built and installed outside the clone: complete, imported from there alone, and able to run and serve."""

import ast
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.parser import Parser
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath
from urllib.error import URLError
from urllib.parse import urljoin
from urllib.request import urlopen
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "consumers", "adapters_store")
BUILD_FILES = ("pyproject.toml", "README.md", "LICENSE")
IGNORED = shutil.ignore_patterns("__pycache__", ".*", "*~")
PAGE_KINDS = (".html", ".js", ".css", ".svg")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
LINK = re.compile(r"""(?:\b(?:src|href)=|\bfrom |\bimport )["']([^"'#]+)["']""")
"""Another file of the page, as HTML or a script names it."""

LONG = bool(os.environ.get("RAIE_SOAK"))
"""True where the demo runs in full, as `make soak` wants it."""

SHORT_DEMO = "import consumers.cli.demo as d; d.DEMO_EVENTS = 1_000; from consumers.cli.main import main; main()"
"""Program of the demo over a twelfth of its events."""

PATIENCE = 60.0
"""Seconds after which a server that does not answer is taken for broken."""

SMALL = (
    "items.text_encoder=hashing",
    "backbone.hidden_size=16",
    "setup.max_epochs=1",
    "setup.regions=3",
    "server.port=0",
)
SET = tuple(word for setting in SMALL for word in ("--set", setting))


@dataclass(frozen=True)
class Installed:
    """An environment that holds the wheel.

    Attributes:
        source: copy of what the wheel was built from.
        wheel: the file.
        bin: folder of the environment's programs.
        work: empty folder outside the clone, in which they are run.
    """

    source: Path
    wheel: Path
    bin: Path
    work: Path

    def start(self, program: str, *arguments: str) -> "subprocess.Popen[str]":
        """Start a program of the environment, which is told nothing of the clone and of settings."""
        told = ("PYTHONPATH", "PYTHONHOME", "RAIE_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(told)}
        return subprocess.Popen(
            [self.bin / program, *arguments],
            cwd=self.work,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str, *arguments: str) -> str:
        """Run a program to its end; return what it printed."""
        with self.start(program, *arguments) as process:
            out, err = process.communicate()
        assert process.returncode == 0, out + err
        return out


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel from a copy, as a build leaves files behind, and install it without asking any index."""
    folder = tmp_path_factory.mktemp("wheel")
    source, work = folder / "source", folder / "work"
    work.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=IGNORED)
    for name in BUILD_FILES:
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    programs = environment / "bin"
    pip("--python", str(programs / "python"), "install", "--no-deps", "--no-index", str(wheel))
    show_dependencies(environment)
    return Installed(source, wheel, programs, work)


def pip(*arguments: str) -> None:
    done = subprocess.run([*PIP, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def show_dependencies(environment: Path) -> None:
    """Add the folders that hold the dependencies here, after the environment's own.

    Python reads no .pth file of a folder that a .pth file names, so an editable installation there has no effect.
    """
    (own,) = environment.glob("lib/python*/site-packages")
    folders = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (own / "dependencies.pth").write_text("\n".join(folders) + "\n")


OF_EXTRAS = {"opentelemetry_tracing.py": "opentelemetry", "quantization.py": "torchao"}
"""Module that is imported only on request -> package of an extra that it may import."""


def contents(wheel: Path) -> set[str]:
    """Files of the packages."""
    with ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_every_file_of_the_packages(installed: Installed) -> None:
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file())
    names = {path.relative_to(ROOT) for path in files}
    expected = {name.as_posix() for name in names if not IGNORED("", list(name.parts))}
    assert contents(installed.wheel) == expected
    assert {PurePosixPath(name).suffix for name in expected} >= {".py", ".json", *PAGE_KINDS}


def test_what_is_imported_is_a_declared_dependency(installed: Installed) -> None:
    with ZipFile(installed.wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        fields = Parser().parsestr(archive.read(metadata).decode())
    lines = fields.get_all("Requires-Dist", [])
    declared = {distribution_of(line) for line in lines if "extra ==" not in line}
    of_extras = {distribution_of(line) for line in lines if "extra ==" in line and 'extra == "dev"' not in line}
    assert all(any(one.startswith(name) for one in of_extras) for name in OF_EXTRAS.values())
    providers = packages_distributions()
    undeclared = {
        name
        for path in installed.source.glob("*/**/*.py")
        for name in imported(path) - {*sys.stdlib_module_names, *PACKAGES, OF_EXTRAS.get(path.name)}
        if not declared & {normal(provider) for provider in providers.get(name, ())}
    }
    assert undeclared == set()


def distribution_of(requirement: str) -> str:
    return normal(re.split(r"[\s<>=!~;\[]", requirement)[0])


def normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imported(path: Path) -> set[str]:
    """First part of each absolute import of a module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def test_the_packages_are_imported_from_the_environment(installed: Installed) -> None:
    for name in PACKAGES:
        place = installed.run("python", "-c", f"import {name}; print({name}.__file__)").strip()
        assert Path(place).is_relative_to(installed.bin.parent)


def test_the_command_says_what_it_can_do_and_which_version_it_is(installed: Installed) -> None:
    assert all(name in installed.run("raie", "--help") for name in ("demo", "replay", "setup", "serve"))
    _, version = installed.run("raie", "--version").split()
    assert installed.wheel.name.split("-")[1] == version


@pytest.mark.timeout(1800)
def test_the_demo_ends_with_a_report(installed: Installed) -> None:
    demo = ("raie",) if LONG else ("python", "-c", SHORT_DEMO)
    shown = installed.run(*demo, "demo", "--out", "demo")
    assert "Report: demo/run/report.html" in shown
    assert "<html" in (installed.work / "demo" / "run" / "report.html").read_text()


@pytest.fixture
def address(installed: Installed) -> Iterator[str]:
    """Address of a server over a small set-up."""
    installed.run("raie", "simulate", "emerging", "--out", "log", "--events", "2000")
    installed.run("raie", "setup", "--data", "log", "--out", "root", *SET)
    with serving(installed, "--root", "root", "--log", "sqlite:///log.sqlite", *SET) as address:
        yield address


@contextmanager
def serving(installed: Installed, *arguments: str) -> Iterator[str]:
    """Run `raie serve` until the block ends."""
    with installed.start("raie", "serve", *arguments) as process:
        assert process.stderr is not None
        try:
            yield announced(process.stderr)
        finally:
            process.terminate()
            process.communicate()


def announced(lines: Iterable[str]) -> str:
    """Address that the server says it listens on."""
    said = []
    for line in lines:
        said.append(line)
        if found := re.match(r"(http://\S+) ", line):
            return found[1]
    raise AssertionError(f"the server has ended: {''.join(said)}")


def fetched(url: str) -> bytes:
    """Content at an address; the server says its address shortly before it answers there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(url, timeout=PATIENCE) as answer:
                content: bytes = answer.read()
                return content
        except URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_the_page_is_served_with_every_file_that_it_names(installed: Installed, address: str) -> None:
    found: dict[str, bytes] = {}
    left = [f"{address}/"]
    while left:
        url = left.pop()
        found[url] = fetched(url)
        links = {urljoin(url, link) for link in LINK.findall(found[url].decode()) if link.endswith(PAGE_KINDS)}
        left += links - {*found, *left}
    packaged = (path for path in (installed.source / "consumers").rglob("*") if path.suffix in PAGE_KINDS)
    assert sorted(found.values()) == sorted(path.read_bytes() for path in packaged)
