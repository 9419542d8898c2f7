"""Every error the pipeline raises on purpose.

::

    RaieError                  something the user can act on; its message says how
    ├── ConfigError            the configuration is wrong; lists every problem at once
    ├── DataError              a dataset cannot be used as asked (missing column, empty slice, ...)
    │   └── BadEvent           one record cannot be used; it is counted and set aside, the rest goes on
    ├── LogError               a log cannot do what was asked of it
    ├── StoreError             the adapters store cannot do what was asked of it
    │   └── AdapterRefused     an adapter version is torn, corrupt, hostile or of another backbone
    └── BackboneError          a backbone or text encoder cannot be loaded or does not fit
"""


class RaieError(Exception):
    """Something the user can act on. The command line prints the message and exits with 2."""


class ConfigError(RaieError):
    """The configuration is wrong.

    Attributes:
        problems: one line for each problem found.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the configuration has problems:\n" + "\n".join(f"  - {p}" for p in problems))


class DataError(RaieError):
    """A dataset cannot be used as asked."""


class BadEvent(DataError):
    """One record cannot be used.

    Attributes:
        reason: short, stable name of what is wrong, fit to be counted (``bad_timestamp``).
        detail: what was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class LogError(RaieError):
    """A log cannot do what was asked of it."""


class StoreError(RaieError):
    """The adapters store cannot do what was asked of it."""


class AdapterRefused(StoreError):
    """An adapter version is torn, corrupt, hostile or made for another backbone.

    Attributes:
        reason: short, stable name of what is wrong, fit to be counted (``hash_mismatch``).
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")


class BackboneError(RaieError):
    """A backbone or text encoder cannot be loaded or does not fit what was recorded with it."""
