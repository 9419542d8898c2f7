"""The guide docs/guides/day.md: every command and option in it exists, and RAIE_SOAK=1 runs all of it.

Commands are those of its `console` blocks, behind `$ `, each a line, or a line and a document up to `END`. The lines
after a command are what it showed: they must agree with what it shows now up to numbers, ids, times and white space;
`...` stands for anything. The outputs of a run are in `transcript.txt`.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from consumers.cli.main import app

GUIDE = Path(__file__).parents[1] / "docs/guides/day.md"
PROMPT, SKIPPED, HERE = "$ ", "...", "END"
END = "end of the command with status"

VOLATILE = (
    # Answers: which adapter gave them, which items, and why. Tokens, hashes and ids. Numbers, dates and times.
    r'(?<="request_id":)"[^"]*"',
    r'(?<="title":)"[^"]*"',
    r'(?<="sources":)\[[^]]*\]',
    r'(?<="features":)\{[^}]*\}',
    r"raie_[\w-]{43}",
    r"\b[0-9a-f]{8,}\b",
    r"[+-]?\d[\d,.:]*",
)


@dataclass(frozen=True)
class Step:
    """A command of the guide.

    Attributes:
        line: of the guide, from 1.
        command: as it is typed.
        shown: what the guide says it shows.
    """

    line: int
    command: str
    shown: str


def steps(text: str) -> list[Step]:
    """The commands of a guide, in their order."""
    found: list[Step] = []
    lines = iter(enumerate(text.splitlines(), start=1))
    for _, opening in lines:
        if opening == "```console":
            found += _steps_of(list(takewhile(lambda line: line[1] != "```", lines)))
    return found


def _steps_of(block: list[tuple[int, str]]) -> Iterator[Step]:
    begins = [place for place, (_, line) in enumerate(block) if line.startswith(PROMPT)]
    for place, end in zip(begins, [*begins[1:], len(block)], strict=True):
        number, first = block[place]
        lines = [first.removeprefix(PROMPT), *(line for _, line in block[place + 1 : end])]
        typed = 1 + (lines.index(HERE) if f"<<'{HERE}'" in lines[0] else 0)
        yield Step(number, "\n".join(lines[:typed]), "\n".join(lines[typed:]))


def agrees(shown: str, got: str) -> bool:
    """True if an output agrees with that of the guide."""
    parts = [re.escape(stable(part)) for part in re.split(rf"^{re.escape(SKIPPED)}$", shown, flags=re.MULTILINE)]
    return re.fullmatch(".*".join(parts), stable(got)) is not None


def stable(text: str) -> str:
    """A text without white space, and with a mark for everything that differs from run to run."""
    for pattern in VOLATILE:
        text = re.sub(pattern, "#", text)
    return re.sub(r"\s", "", text)


def invocations(command: str) -> Iterator[list[str]]:
    """The words of each call of `raie` in a line of the shell."""
    words: list[str] = []
    for word in [*shlex.shlex(command, posix=True, punctuation_chars=";|&<>()"), ";"]:
        if word[0] in ";|&<>()":
            if words[:1] == ["raie"]:
                yield words[1:]
            words = []
        else:
            words.append(word.lstrip("$"))


def unknown(words: list[str]) -> list[str]:
    """The words of a call of `raie` that name a command or option that does not exist."""
    at: Any = get_command(app)
    while (commands := getattr(at, "commands", None)) and words and not words[0].startswith("-"):
        if words[0] not in commands:
            return [words[0]]
        at, words = commands[words[0]], words[1:]
    known = {option for parameter in at.params for option in parameter.opts}
    return [word for word in words if re.match("--?[a-z]", word) and word not in known]


def test_every_command_and_option_of_the_guide_exists() -> None:
    calls = [call for step in steps(GUIDE.read_text()) for call in invocations(step.command)]
    assert len(calls) > 15
    assert [(call, bad) for call in calls if (bad := unknown(call))] == []


@pytest.mark.parametrize(
    ("command", "bad"),
    [
        ("raie lug", ["lug"]),
        ("TOKEN=$(raie token now shop)", ["now"]),
        ("raie edits --follow | head -n 3 && raie erase ann --unlern --by ann", ["--unlern"]),
    ],
)
def test_a_command_or_option_that_does_not_exist_is_found(command: str, bad: list[str]) -> None:
    assert [word for call in invocations(command) for word in unknown(call)] == bad


@pytest.mark.parametrize(
    ("shown", "got", "expected"),
    [
        ("3 of 1,200 at 08:00:01", "17 of 9 at 23:59:59", True),
        ("a\n...\nz", "a\nb\nc\nz", True),
        ("edit 3f9a5c0d71b2: published", "edit 000000000000: published", True),
        ("published", "rejected", False),
        ("a\n...", "b\na", False),
        ("nothing", "nothing\nraie: an error", False),
    ],
)
def test_outputs_agree_up_to_numbers_ids_and_what_was_left_out(shown: str, got: str, expected: bool) -> None:
    assert agrees(shown, got) is expected


class Shell:
    """One shell, in which the commands of a guide are typed.

    Args:
        folder: it works in.
    """

    def __init__(self, folder: Path) -> None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str) -> tuple[int, str]:
        """Exit status of a command, and what it showed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f'{command}\necho "{END} $?"\n')
        self._process.stdin.flush()
        shown = ""
        for line in self._process.stdout:
            before, end, status = line.partition(END)
            shown += before
            if end:
                return int(status), shown
        return -1, shown

    def close(self) -> None:
        """End what still runs; `raie up` ends its stages, which keep the output open until they are gone."""
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.communicate(timeout=60.0)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()


if os.environ.get("RAIE_SOAK"):

    @pytest.mark.timeout(1_800)
    def test_the_guide_is_what_happens(tmp_path: Path) -> None:
        (tmp_path / "day").mkdir()
        shell, differ = Shell(tmp_path / "day"), list[str]()
        try:
            for step in steps(GUIDE.read_text()):
                status, got = shell.run(step.command)
                with (tmp_path / "transcript.txt").open("a") as transcript:
                    transcript.write(f"{PROMPT}{step.command}\n{got}")
                assert status == 0, f"line {step.line}: {step.command} ended with {status}: {got}"
                if not agrees(step.shown, got):
                    differ.append(f"line {step.line}: {step.command}\n{got}")
        finally:
            shell.close()
        assert differ == [], "\n".join(differ)
