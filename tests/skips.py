"""Pytest hooks for tests that cannot run here: in CI a skip fails, elsewhere the run ends with a list of them."""

import os
from collections import Counter
from collections.abc import Generator

import pytest

TITLE = "NOT TESTED HERE"
REMEDY = "scripts/test-tools, as root on Debian, installs the programs that tests need; in CI each skip is a failure."


def in_ci() -> bool:
    """True where the environment variable CI is set, as every CI service does."""
    return os.environ.get("CI", "").lower() not in ("", "0", "false")


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Reason of a skipped test or module, without pytest's prefix."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
    return text.removeprefix("Skipped: ")


def is_skip(report: pytest.TestReport | pytest.CollectReport) -> bool:
    """True for a skip; pytest reports an expected failure (xfail) as skipped as well, and that is a result."""
    return report.skipped and not hasattr(report, "wasxfail")


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure in CI, whatever asked for it: a mark, a fixture, a test or a module."""
    if in_ci() and is_skip(report):
        # The node id keeps equal reasons of two modules apart: pytest-xdist reports equal errors of collection once.
        report.longrepr = f"skipped in CI: {reason_of(report)} ({report.nodeid})"
        report.outcome = "failed"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the report of a test's set-up, call or tear-down, after every other plugin has."""
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the report of a module's import."""
    report = yield
    fail_if_skipped(report)
    return report


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print each reason once, with the number of tests or modules that it kept from running, and the remedy."""
    reasons = Counter(reason_of(report) for report in terminalreporter.stats.get("skipped", ()))
    if reasons:
        terminalreporter.section(TITLE, yellow=True, bold=True)
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count} skipped: {reason}")
        terminalreporter.line(REMEDY)
