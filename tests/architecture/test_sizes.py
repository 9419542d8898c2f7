"""Files and functions stay short enough to be read in one piece."""

import ast
from collections.abc import Iterator
from statistics import median, quantiles

from tests.architecture.sources import SHIPPED, lines, parse, relative

LONGEST_FILE = 400
MEDIAN_FILE = 120
NINTH_DECILE_FILE = 250
LONG_BODY = 20
SHORT_SHARE = 0.97
"""Share of the functions whose body has at most LONG_BODY lines."""


def bodies(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield name and line of each function with its number of lines after the docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[ast.get_docstring(node) is not None :]
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            yield f"{node.name} in line {node.lineno}", length


def test_no_file_is_too_long() -> None:
    sizes = {relative(path): len(path.read_text().splitlines()) for path in SHIPPED}
    longest = sorted(sizes.items(), key=lambda item: -item[1])
    too_long = [f"{file}: {size} lines" for file, size in longest if size > LONGEST_FILE]
    assert too_long == [], f"split these files, {LONGEST_FILE} lines are the most:{lines(too_long)}"
    shown = lines([f"{file}: {size} lines" for file, size in longest[:30]])
    assert median(sizes.values()) <= MEDIAN_FILE, f"the median file is too long; the longest are:{shown}"
    assert quantiles(sizes.values(), n=10)[-1] <= NINTH_DECILE_FILE, f"too many long files; the longest are:{shown}"


def test_functions_are_short() -> None:
    found = [(length, f"{relative(path)} {function}") for path in SHIPPED for function, length in bodies(parse(path))]
    long = sorted(((length, function) for length, function in found if length > LONG_BODY), reverse=True)
    share = 1 - len(long) / len(found)
    shown = lines([f"{function}: {length} lines" for length, function in long])
    assert share >= SHORT_SHARE, f"only {share:.1%} of the bodies are within {LONG_BODY} lines; split some of:{shown}"


def test_a_body_is_counted_from_behind_its_docstring() -> None:
    text = 'def f():\n    """One.\n\n    Two.\n    """\n    a = 1\n\n    def g():\n        "Three."\n\n    return a\n'
    assert dict(bodies(ast.parse(text))) == {"f in line 1": 6, "g in line 8": 0}
    assert dict(bodies(ast.parse("async def f(\n    a,\n):\n    return (\n        a\n    )"))) == {"f in line 1": 3}
