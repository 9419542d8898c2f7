"""Conditions on item attributes, as a request makes them."""

import math
from dataclasses import dataclass

Value = str | float
"""A text, or a number, which an attribute equals whatever way it is written."""


@dataclass(frozen=True)
class Condition:
    """Condition on one attribute; an item without the attribute fulfils it only where it names `none_of` alone.

    Attributes:
        any_of: values of which the attribute has at least one; None: any.
        none_of: values of which it has none.
        least, most: bounds of its number, or of the seconds since 1970 of its moment; both belong to the range.
    """

    any_of: frozenset[Value] | None = None
    none_of: frozenset[Value] = frozenset()
    least: float = -math.inf
    most: float = math.inf

    @property
    def is_range(self) -> bool:
        """True where the attribute must be a number or a moment within bounds."""
        return self.least > -math.inf or self.most < math.inf
