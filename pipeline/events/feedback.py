"""Records of `feedback`: an impression or a click, with the origin of the answer that it is about."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

IMPRESSION, CLICK = "impression", "click"


@dataclass(frozen=True, slots=True)
class Feedback:
    """One impression or click.

    Attributes:
        request_id: id of the answer, as the server gave it.
        kind: `impression` or `click`.
        item_ids: items that were shown or clicked.
        region_id, adapter, revision: origin of the answer, for readers that do not parse request ids.
    """

    request_id: str
    kind: str
    item_ids: Sequence[str] = ()
    region_id: int | None = None
    adapter: str | None = None
    revision: int | None = None

    def to_record(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**asdict(self), "item_ids": list(self.item_ids)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """From a JSON object; only the request id and the kind are required."""
        others = {name: record[name] for name in ("item_ids", "region_id", "adapter", "revision") if name in record}
        return cls(str(record["request_id"]), str(record["kind"]), **others)
