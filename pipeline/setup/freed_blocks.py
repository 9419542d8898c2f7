"""Memory of freed blocks: back to the system at once, where the C library would keep it for later use."""

import ctypes
import platform

MMAP_THRESHOLD = -3
"""`M_MMAP_THRESHOLD` of glibc's malloc.h."""

LEAST = 128 * 1024
"""Bytes of a block from which on it is returned when it is freed: where glibc starts by itself, before it adapts."""


def return_freed_blocks() -> bool:
    """Let this process return each large block once it is freed; say whether its C library can.

    glibc raises its threshold to the largest block that was freed so far, up to 32 MiB: most blocks of a training step
    then lie in its heap, which shrinks from its end only.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    return bool(ctypes.CDLL(None).mallopt(MMAP_THRESHOLD, LEAST))
