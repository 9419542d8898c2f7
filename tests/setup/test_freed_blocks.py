"""Blocks that are freed leave the process, where they would stay without a word to the C library."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from pipeline.setup.freed_blocks import return_freed_blocks

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

print(return_freed_blocks() if sys.argv[1] == "returned" else False)
large = bytearray(31 << 20)
del large  # glibc takes this for a usual size from here on
blocks = [bytearray(1 << 20) for _ in range(200)]
before = resident()
del blocks[:-1]
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the memory of a process this way")
def test_freed_blocks_go_back_to_the_system() -> None:
    freed = {}
    for way in ("returned", "kept"):
        ended = subprocess.run([sys.executable, "-c", PROGRAM, way], check=True, capture_output=True, text=True)
        can, freed[way] = ended.stdout.split()
        assert (can == "True") == (way == "returned" and platform.libc_ver()[0] == "glibc")
    if platform.libc_ver()[0] == "glibc":
        assert int(freed["returned"]) > 150 << 20 > 50 << 20 > int(freed["kept"])
