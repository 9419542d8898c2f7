"""Each line of the threat model names tests that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = [
    line
    for line in (ROOT / "docs/security.md").read_text().partition("## Threat model")[2].splitlines()
    if line.startswith("| ") and not line.startswith("| threat")
]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.split("|")[1].strip())
def test_a_line_names_tests_that_exist(line: str) -> None:
    *_, tests, _ = line.split("|")
    found = NAMED.findall(tests)
    assert found and NAMED.sub("", tests).strip(" ,") == ""
    for file, name in found:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text(), re.MULTILINE), f"{file} has no {name}"


def test_there_are_lines() -> None:
    assert len(LINES) > 15
