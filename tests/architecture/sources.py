"""The source files, parsed, and the helpers that every rule of the house is written with."""

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("pipeline", "consumers", "adapters_store")

Rule = Callable[[ast.Module], Iterator[str]]
"""A rule yields one sentence for each offence in a module."""


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes())


def sources(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in ROOT.glob(pattern))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module(path: Path) -> str:
    """Return the dotted name: `pipeline.config` of both `pipeline/config.py` and `pipeline/config/__init__.py`."""
    return relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def offences(paths: list[Path], rule: Rule) -> list[str]:
    return [f"{relative(path)} {offence}" for path in paths for offence in rule(parse(path))]


def lines(found: list[str]) -> str:
    """Format offences for an assertion message: one a line, so that all are shown."""
    return "".join(f"\n  {offence}" for offence in found)


SHIPPED = sources(*(f"{package}/**/*.py" for package in PACKAGES))
