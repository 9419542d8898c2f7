"""Errors that the pipeline raises on purpose; those of the adapters store are in `adapters_store.errors`.

::

    RaieError                  a fault that the user can correct; the message says how
    ├── ConfigError            the configuration is wrong; lists every problem at once
    ├── DataError              a dataset cannot be used as requested (missing column, empty slice, ...)
    │   └── BadEvent           one record cannot be used; it is counted and set aside, the rest is processed
    ├── LogError               an operation on a log failed
    ├── BackboneError          a backbone or text encoder cannot be loaded or does not fit
    └── BackupError            a backup cannot be made, or is damaged or incomplete
"""

from typing import ClassVar


class RaieError(Exception):
    """A fault that the user can correct. The command line prints the message and exits with `exit_status`."""

    exit_status: ClassVar[int] = 2


class ConfigError(RaieError):
    """The configuration is wrong.

    Attributes:
        problems: one line for each problem found.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the configuration has problems:\n" + "\n".join(f"  - {p}" for p in problems))


class DataError(RaieError):
    """A dataset cannot be used as requested."""


class BadEvent(DataError):
    """One record cannot be used.

    Attributes:
        reason: short, stable name of the fault, fit to be counted (``bad_timestamp``).
        detail: the value found, as text for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class RequestError(RaieError):
    """A request for recommendations that cannot be answered as it stands."""


class LogError(RaieError):
    """An operation on a log failed."""


class BackboneError(RaieError):
    """A backbone or text encoder cannot be loaded or does not fit what was recorded with it."""


class BackupError(RaieError):
    """A backup cannot be made, or one is damaged, incomplete or of another format. The message names the file."""
