"""Free memory of a machine and of a container, as Linux tells it."""

import torch

from consumers.runtime import available_memory as module
from consumers.runtime.available_memory import available_memory

CPU = torch.device("cpu")


def test_the_smaller_of_machine_and_container_counts(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(module, "GROUP", tmp_path)
    assert available_memory(CPU) is None
    (tmp_path / "meminfo").write_text("MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:    5000 kB\n")
    assert available_memory(CPU) == 5000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000\n")
    assert available_memory(CPU) == 5000 * 1024
    (tmp_path / "memory.max").write_text("10000\n")
    (tmp_path / "memory.stat").write_text("anon 2000\ninactive_file 1000\n")
    assert available_memory(CPU) == 8000
