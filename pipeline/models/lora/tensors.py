"""Error message about the tensors of an adapter."""

from collections.abc import Mapping


def difference(name: str, given: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> str:
    """Error message about tensors that do not match an adapter, with the remedy."""
    wrong = [
        f"{key} is {given[key]}, not {expected[key]}"
        for key in expected
        if given.get(key, expected[key]) != expected[key]
    ]
    missing = [f"{key} is missing" for key in expected if key not in given]
    unknown = [f"{key} is unknown" for key in given if key not in expected]
    first = (missing + unknown + wrong)[0]
    return (
        f"the tensors of {name} do not fit this backbone and its adapter settings ({first}); load it with the backbone "
        "and the section `adapter` that it was trained with"
    )
