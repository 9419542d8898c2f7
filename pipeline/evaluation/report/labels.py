"""Placement of labels without overlap: on a line, and around points in a plane.

Widths are estimated from the number of characters, since the browser draws the text in a font of its own.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

EM = 0.6
"""Upper estimate of the width of a character, as a share of the text size."""


class Box(NamedTuple):
    """Rectangle in CSS pixels, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def overlaps(self, other: "Box") -> bool:
        """True if the two share more than an edge."""
        apart = self.right <= other.left or other.right <= self.left
        return not (apart or self.top <= other.bottom or other.top <= self.bottom)

    def beyond(self, bounds: "Box") -> float:
        """Extent of the rectangle outside `bounds`, summed over the four sides."""
        out = (bounds.left - self.left, self.right - bounds.right, bounds.bottom - self.bottom, self.top - bounds.top)
        return sum(max(side, 0.0) for side in out)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Adjust positions on a line to a minimum distance, with small moves.

    Args:
        wanted: preferred positions, in any order.
        gap: least distance of neighbours.
        low: lowest position, exceeded if there are too many labels.
        high: highest position.

    Returns:
        A position for each label, in the order of `wanted`.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    ceiling = high
    for i in reversed(order):
        placed[i] = min(wanted[i], ceiling)
        ceiling = placed[i] - gap
    floor = low
    for i in order:
        placed[i] = max(placed[i], floor)
        floor = placed[i] + gap
    return placed


def place(points: Sequence[tuple[float, float]], texts: Sequence[str], size: float, bounds: Box) -> list[Box]:
    """Place a label beside each point without overlap with other labels or points.

    Greedy: points in the order given, for each the nearest free position around it.

    Args:
        points: in CSS pixels.
        texts: the label of each point.
        size: of the text, in CSS pixels.
        bounds: labels stay inside.

    Returns:
        The rectangle of each label.
    """
    taken = [Box(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    placed: list[Box] = []
    for (x, y), text in zip(points, texts, strict=True):
        options = list(_around(x, y, len(text) * size * EM, size * 1.15))
        # Overlap counts more than leaving the bounds; near options come first, and min keeps the first.
        best = min(options, key=lambda box: (sum(map(box.overlaps, taken)), box.beyond(bounds)))
        placed.append(best)
        taken.append(best)
    return placed


def _around(x: float, y: float, width: float, height: float) -> Iterator[Box]:
    """Rectangles around a point, from near to far, right-hand ones first."""
    for distance in (9.0, 16.0, 26.0, 40.0, 60.0, 85.0, 120.0):
        for angle in (30, -30, 150, 210, 90, -90, 60, -60, 120, 240, 0, 180):
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            aside = 0.0 if dx > 0.3 else 1.0 if dx < -0.3 else 0.5
            left, middle = x + dx * distance - width * aside, y + dy * (distance + height / 2)
            yield Box(left, middle - height / 2, left + width, middle + height / 2)
