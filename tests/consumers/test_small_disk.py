"""A full disk: a file system in memory of 64 MiB, mounted in a name space of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SMALL_DISK = "RAIE_SMALL_DISK"
"""Variable that names the folder where the small disk is mounted."""

MOUNT = f'mount -t tmpfs -o size=64m none "${SMALL_DISK}"'
ROOT = Path(__file__).parents[2]


def in_a_name_space(script: str, disk: Path) -> "subprocess.CompletedProcess[str]":
    """Run a script in a name space of its own, as root of it, so that it may mount."""
    unshare = shutil.which("unshare") or "/bin/false"
    command = [unshare, "--map-root-user", "--mount", "sh", "-c", script, sys.executable]
    environment = {**os.environ, SMALL_DISK: str(disk)}
    return subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)


def test_a_full_disk_holds_an_edit_up_and_nothing_else(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if in_a_name_space(MOUNT, disk).returncode != 0:
        pytest.skip("a full disk: a user may not mount a file system here (unshare --map-root-user --mount fails)")
    inside = in_a_name_space(f'{MOUNT} && exec "$0" -m pytest -q tests/consumers/on_a_small_disk.py', disk)
    assert inside.returncode == 0, inside.stdout + inside.stderr
    assert "1 passed" in inside.stdout
