"""Memory that is free on a device of this machine."""

from pathlib import Path

import torch

MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


def available_memory(device: torch.device) -> int | None:
    """Bytes that a process may still take on a device, None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    known = [free for free in (_of_machine(MEMINFO), _of_group(GROUP)) if free is not None]
    return min(known, default=None)


def _of_machine(meminfo: Path) -> int | None:
    kilobytes = _numbers(meminfo).get("MemAvailable:")
    return None if kilobytes is None else kilobytes * 1024


def _of_group(group: Path) -> int | None:
    """Rest of a control group's limit, files that may be dropped from memory not counted as used."""
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
    except OSError:
        return None
    if not limit.isdecimal():
        return None
    return int(limit) - int(used) + _numbers(group / "memory.stat").get("inactive_file", 0)


def _numbers(path: Path) -> dict[str, int]:
    """First number of each line of a file, by the word before it; nothing where it cannot be read."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
