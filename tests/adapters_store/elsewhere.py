"""A process that works on a store, and is killed at a step or may not write large files."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import os, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from adapters_store import AdaptersStore
from tests.adapters_store.small_adapter import fields
from tests.adapters_store.test_array_files import arrays

root, step, limit, work = sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

def checkpoint(name):
    if name == step:
        os.kill(os.getpid(), signal.SIGKILL)

try:
    store = AdaptersStore(root, checkpoint=checkpoint)
    store.publish(**fields()) if work == "publish" else store.arrays.write(arrays(), "e1")
except Exception as error:
    print(type(error).__name__, error)
"""


def elsewhere(work: str, root: Path, step: str = "", limit: int = 0) -> subprocess.CompletedProcess[str]:
    """Do a work in a process of its own.

    Args:
        work: `publish` a version, or write `arrays`.
        root: of the store.
        step: at which the process is killed; "": it is not.
        limit: bytes of a file at most; 0: any number.
    """
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parents[2]), str(root), step, str(limit), work]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
