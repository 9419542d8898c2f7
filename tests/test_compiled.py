"""Compilation of inner loops."""

from typing import Any

from pipeline.compiled import compiled


def test_a_function_that_cannot_be_kept_on_disk_is_compiled_all_the_same() -> None:
    names: dict[str, Any] = {}
    exec("def add(one, other):\n    return one + other", names)
    assert compiled(names["add"])(2, 3) == 5
