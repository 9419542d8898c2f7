"""Docstrings say what a thing is, and pages name files that exist and stay short."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.architecture.sources import PACKAGES, ROOT, SHIPPED, lines, module, offences, parse, relative, sources

QUESTION = re.compile(r"(What|Who|Whom|Whose|How|Which|Why|Whether|Where|When|By how|TODO)\b")
"""Openings of a docstring that says nothing yet: a question, or a placeholder."""

FOLDERS = (*PACKAGES, "tests", "benchmarks", "scripts", "deploy", "docs")
PATH = re.compile(rf"(?<![\w./$:-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*]")
LINK = re.compile(r"\]\(([^)\s:#]+)(?:#[^)\s]*)?\)")
DOTTED = re.compile(rf"(?<![\w./-])(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?![\w/])")

PAGES = [path for path in sources("README.md", "docs/**/*.md", "config.yaml") if path.name != "CHANGELOG.md"]

MOST_WORDS = {"README.md": 900} | {relative(path): 600 for path in sources("docs/decisions/*.md")}


def opens_with_a_question(tree: ast.Module) -> Iterator[str]:
    """Attributes and constants are documented by a string that stands below them: these are read too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            text = node.value.value.strip()
            if QUESTION.match(text):
                yield f"line {node.lineno}: {text.splitlines()[0][:60]}"


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a module defines or imports at its top level."""
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imported = {a.asname or a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    return stored | imported | {node.name for node in tree.body if hasattr(node, "name")}


MODULES = {module(path): path for path in SHIPPED}


def _is_ours(dotted: str) -> bool:
    """Say whether `pipeline.events.edit` or `pipeline.events.edit.Edit` is a module, or is defined in one."""
    parts = dotted.split(".")
    cut = next(n for n in range(len(parts), -1, -1) if ".".join(parts[:n]) in MODULES or n == 0)
    if cut == 0:
        return False
    return cut == len(parts) or parts[cut] in _defined(parse(MODULES[".".join(parts[:cut])]))


def _is_setting(dotted: str) -> bool:
    """Say whether `consumers.snapshot_events` is a key of config.yaml: a section has the name of a package."""
    here = yaml.safe_load((ROOT / "config.yaml").read_text())
    for part in dotted.split("."):
        if not isinstance(here, dict) or part not in here:
            return False
        here = here[part]
    return True


def names_what_is_not_there(text: str, folder: Path) -> Iterator[str]:
    """Yield the paths, links and modules in a page that do not exist; links are relative to its folder."""
    yield from (hit for hit in PATH.findall(text) if not any(ROOT.glob(hit)))
    yield from (f"link {hit}" for hit in LINK.findall(text) if not (folder / hit).exists())
    for hit in DOTTED.findall(text):
        if not hit.endswith((".md", ".py")) and not _is_setting(hit) and not _is_ours(hit):
            yield hit


def words(text: str) -> int:
    """Return the number of words: what white space separates, without the marks that draw tables and lists."""
    return sum(1 for word in text.split() if re.search(r"\w", word))


def test_no_docstring_opens_with_a_question_word() -> None:
    found = offences(SHIPPED, opens_with_a_question)
    assert found == [], f"{len(found)} docstrings must open with a noun or a verb instead:{lines(found)}"


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_a_page_names_only_what_exists(page: Path) -> None:
    found = sorted(set(names_what_is_not_there(page.read_text(), page.parent)))
    assert found == [], f"{relative(page)} names what does not exist:{lines(found)}"


@pytest.mark.parametrize("page", MOST_WORDS)
def test_a_page_is_short(page: str) -> None:
    count = words((ROOT / page).read_text())
    assert count <= MOST_WORDS[page], f"{page} has {count} words, {MOST_WORDS[page]} are the most"


@pytest.mark.parametrize(
    "offence",
    [
        '"""Whether it rains."""',
        '"""TODO docstring."""',
        'def f():\n    """What came of it."""',
        'class A:\n    """By how many times."""',
        'LIMIT = 3\n"""How many there may be."""',
        'class A:\n    """A record."""\n\n    x: int\n    """\n    Where it lies.\n    """',
    ],
)
def test_a_question_is_caught(offence: str) -> None:
    assert len(list(opens_with_a_question(ast.parse(offence)))) == 1


@pytest.mark.parametrize("innocent", ['"""Whatever follows."""', '"""Return what it is."""', 'print("How are you")'])
def test_a_statement_passes(innocent: str) -> None:
    assert list(opens_with_a_question(ast.parse(innocent))) == []


@pytest.mark.parametrize(
    "offence",
    [
        "`pipeline/rain.py`",
        "see tests/architecture/test_rain.py.",
        "[x](rain.md)",
        "[x](rain.md#part)",
        "`pipeline.rain.today`",
        "`pipeline.streams.topics.RAIN`",
        "`consumers.rain`",
    ],
)
def test_what_is_not_there_is_caught(offence: str) -> None:
    assert len(list(names_what_is_not_there(offence, ROOT / "docs"))) == 1


@pytest.mark.parametrize(
    "innocent",
    [
        "`tests/architecture/test_*.py`",
        "the folder pipeline/streams/.",
        "[x](method.md#terms)",
        "[x](https://example.org/docs/rain)",
        "`pipeline.streams.topics`, `consumers.snapshot_events`",
        "decisions/consumers.md, DIR/docs/rain.html",
    ],
)
def test_what_is_there_passes(innocent: str) -> None:
    assert list(names_what_is_not_there(innocent, ROOT / "docs")) == []


def test_marks_are_not_words() -> None:
    assert words("- one | two |\n|---|---|\n# `three` ± 0.4") == 4
