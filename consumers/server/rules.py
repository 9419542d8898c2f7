"""Rules of a request: what its list may hold."""

from dataclasses import dataclass

from pipeline.recommend.conditions import Condition


@dataclass(frozen=True)
class Rules:
    """Rules of one list.

    Attributes:
        conditions: attributes and the condition on each; an item must fulfil all of them.
        only: ids of the items that may be listed; None: all.
        at_most: attributes, and how many items with the same value of each may be listed.
        seed: decides between equal scores; None: the lower id comes first.
    """

    conditions: tuple[tuple[str, Condition], ...] = ()
    only: tuple[str, ...] | None = None
    at_most: tuple[tuple[str, int], ...] = ()
    seed: int | None = None

    @property
    def narrow(self) -> bool:
        """True where they leave out items that exist."""
        return bool(self.conditions) or self.only is not None


NO_RULES = Rules()
