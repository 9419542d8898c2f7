"""A skip is a failure in CI, in whatever way it was asked for, and is listed at the end of a run elsewhere."""

from pathlib import Path

import pytest

from tests.skips import REMEDY, TITLE

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]
HOOKS = "from tests.skips import pytest_make_collect_report, pytest_runtest_makereport, pytest_terminal_summary"

TESTS = """
import pytest

@pytest.fixture
def broker():
    pytest.skip("no broker here")

@pytest.mark.skipif(True, reason="no browser here")
def test_by_mark(): pass

def test_by_fixture(broker): pass

def test_by_call(): pytest.skip("no disk here")

@pytest.mark.xfail(reason="known", strict=True)
def test_known_defect(): assert False

def test_known_by_call(): pytest.xfail("known as well")

def test_that_runs(): pass
"""
MODULE = """
import pytest
pytest.importorskip("a_module_that_nobody_has")
def test_unreached(): pass
"""
REASONS = ("no browser here", "no broker here", "no disk here")


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty folder for tests, under the hooks of this project."""
    pytester.syspathinsert(ROOT)
    pytester.makeconftest(HOOKS)
    monkeypatch.delenv("CI", raising=False)
    return pytester


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "under xdist"])
def test_in_ci_every_skip_is_a_failure(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")
    run.makepyfile(TESTS)
    ended = run.runpytest_inprocess("-rf", *options)
    # What is skipped before its call, by a mark or a fixture, pytest counts as an error.
    ended.assert_outcomes(errors=2, failed=1, xfailed=2, passed=1)
    assert ended.ret == pytest.ExitCode.TESTS_FAILED
    ended.stdout.fnmatch_lines_random([f"*skipped in CI: {reason}*" for reason in REASONS])
    ended.stdout.no_fnmatch_line(f"*{TITLE}*")


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["alone", "under xdist"])
def test_in_ci_a_module_that_skips_itself_is_a_failure(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CI", "true")
    run.makepyfile(test_module=MODULE)
    ended = run.runpytest_inprocess(*options)
    ended.assert_outcomes(errors=1)
    assert ended.ret not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    ended.stdout.fnmatch_lines(["*skipped in CI: could not import 'a_module_that_nobody_has'*"])


@pytest.mark.parametrize(("value", "options"), [(None, ()), ("", ()), ("false", ()), (None, ("-n", "1"))])
def test_elsewhere_what_was_skipped_is_listed(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None, options: tuple[str, ...]
) -> None:
    if value is not None:
        monkeypatch.setenv("CI", value)
    run.makepyfile(TESTS, test_module=MODULE)
    ended = run.runpytest_inprocess(*options)
    assert ended.ret == pytest.ExitCode.OK
    ended.assert_outcomes(skipped=4, xfailed=2, passed=1)
    ended.stdout.fnmatch_lines([f"*= {TITLE} =*"])
    ended.stdout.fnmatch_lines_random([f"1 skipped: {reason}" for reason in REASONS])
    ended.stdout.fnmatch_lines(["1 skipped: could not import 'a_module_that_nobody_has'*", REMEDY])


def test_a_run_without_skips_lists_nothing(run: pytest.Pytester) -> None:
    run.makepyfile("def test_that_runs(): pass")
    ended = run.runpytest_inprocess()
    ended.assert_outcomes(passed=1)
    ended.stdout.no_fnmatch_line(f"*{TITLE}*")
