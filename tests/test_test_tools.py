"""`scripts/test-tools` names what is missing where it cannot install it, and elsewhere installs that alone."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.server.browser import NAMES

SCRIPT = Path(__file__).parents[1] / "scripts" / "test-tools"
PROGRAMS = {
    "chromium": "chromium",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "mvn": "maven",
    "kcat": "kcat",
}
"""Program -> its Debian package. Java is apart, as its version counts."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The only folder in which programs are looked for: it has what the script itself runs."""
    for name in ("bash", "sed", "unshare"):
        found = shutil.which(name)
        assert found
        (tmp_path / name).symlink_to(found)
    return tmp_path


def put(path: Path, name: str, script: str = "") -> None:
    (path / name).write_text(f"#!{path / 'bash'}\n{script}\n")
    (path / name).chmod(0o755)


def put_java(path: Path, version: str) -> None:
    put(path, "java", f"echo 'Picked up JAVA_TOOL_OPTIONS: -Xmx1g' >&2; echo 'openjdk version \"{version}\"' >&2")


def run(path: Path) -> "subprocess.CompletedProcess[str]":
    command = [path / "bash", SCRIPT]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


def test_without_apt_it_names_in_one_line_what_is_missing(path: Path) -> None:
    put(path, "mvn")
    put_java(path, "11.0.2")
    ended = run(path)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "missing here: chromium prometheus default-jre-headless kcat (" in line


@pytest.mark.parametrize("browser", NAMES)
def test_it_does_nothing_where_nothing_is_missing(path: Path, browser: str) -> None:
    for name in {*PROGRAMS, browser} - ({"chromium"} - {browser}):
        put(path, name)
    put_java(path, "17")
    put(path, "apt-get", "exit 1")
    ended = run(path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_program_that_is_still_missing_after_the_installation_is_a_failure(path: Path) -> None:
    for name in PROGRAMS:
        put(path, name)
    put(path, "apt-get", 'echo "apt-get $*"')
    ended = run(path)
    assert ended.returncode == 1
    assert "default-jre-headless" in ended.stderr
    # Only root gets as far as this.
    assert ended.stdout.splitlines() in (
        [],
        ["apt-get update --quiet", "apt-get install --quiet --yes --no-install-recommends default-jre-headless"],
    )
