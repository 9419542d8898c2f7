"""Errors of the adapters store.

::

    StoreError             the adapters store cannot do what it was called for
    ├── NameTaken          a version is to be published under the name of another one
    └── AdapterRefused     a version or an array file is torn, corrupt, hostile or of another backbone
"""


class StoreError(Exception):
    """The adapters store cannot do what it was called for. The message names the version, the path and the fix."""


class NameTaken(StoreError):
    """The name of a version has or had other content: versions never change, and the next number may be free."""


class AdapterRefused(StoreError):
    """A version or an array file is torn, corrupt or hostile, or a version is made for another backbone.

    Attributes:
        reason: short, stable name of the fault, fit to be counted (``hash_mismatch``).
    """

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")
