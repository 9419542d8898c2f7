"""Figures of drift: gate and detector by region, region map, and edits on a time line."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D

from pipeline.evaluation.report.figure import ACCENT, INK, MUTED, OURS, PAPER, SERIES, TEXT_SIZE, axes, draw
from pipeline.evaluation.report.labels import Box, place
from pipeline.evaluation.report.lines import MARKERS
from pipeline.metrics.ranking import Floats
from pipeline.regions.injection import EVERY_REGION

Rows = Sequence[Mapping[str, Any]]

REGIONS_SHOWN = 8
"""Maximum number of regions in small multiples; those with most windows are drawn."""

WINDOWS_SHOWN = 2_500
"""Maximum number of points on the region map, evenly thinned."""


def busiest(statistics: Rows) -> list[int]:
    """Regions with the most windows, in order of region id."""
    windows: dict[int, int] = {}
    for row in statistics:
        windows[row["region_id"]] = windows.get(row["region_id"], 0) + row["windows"]
    return sorted(sorted(windows, key=lambda region: (-windows[region], region))[:REGIONS_SHOWN])


def gate_and_detector(name: str, alt: str, statistics: Rows, edits: Rows) -> Markup:
    """Draw confidence and drift statistic over the stream, one row per region, with alarms and edits.

    Args:
        name: of the figure.
        alt: text alternative.
        statistics: rows of one seed.
        edits: published edits of the same seed.
    """
    regions, height = busiest(statistics), 84
    last = max(row["at_event"] for row in statistics)
    total = height * len(regions) + 62

    def paint(figure: Figure) -> None:
        for number, region in enumerate(regions):
            rows = sorted((row for row in statistics if row["region_id"] == region), key=lambda row: row["at_event"])
            top = 28 + number * height
            bottom = total - top - height + 16
            left = axes(figure, left=92, right=396, top=top, bottom=bottom)
            right = axes(figure, left=414, right=16, top=top, bottom=bottom)
            _confidence(left, rows)
            _evidence(right, rows)
            for panel in (left, right):
                _events(panel, [edit for edit in edits if edit["region_id"] == region])
                panel.set_xlim(0, last)
                panel.tick_params(labelbottom=number == len(regions) - 1)
            if number == 0:
                left.set_title("gate confidence", size=TEXT_SIZE, loc="left")
                right.set_title("drift statistic (log e-value)", size=TEXT_SIZE, loc="left")
        figure.text(0.5, 8 / total, "stream events seen", ha="center")

    return draw(name, alt, total, paint)


def region_map(name: str, alt: str, rows: Rows) -> Markup:
    """Draw windows as points and centroids with region ids; stream regions have another colour and marker."""
    centroids = [row for row in rows if row["kind"] == "centroid"]
    windows = [row for row in rows if row["kind"] == "window"]
    windows = windows[:: max(1, -(-len(windows) // WINDOWS_SHOWN))]

    def paint(figure: Figure) -> None:
        plane = axes(figure, left=10, right=10, top=10, bottom=10)
        plane.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        plane.spines[:].set_visible(False)
        for of_stream, colour in ((False, SERIES[0]), (True, ACCENT)):
            selected = [row for row in windows if _of_stream(row) == of_stream]
            points = _column(selected, "x"), _column(selected, "y")
            plane.plot(*points, "o", color=colour, alpha=0.35, markersize=3.2, markeredgewidth=0)
        for row in centroids:
            _centroid(plane, row)
        figure.draw_without_rendering()  # an equal aspect fixes the limits only while drawing
        _name_centroids(plane, centroids)

    return draw(name, alt, 480, paint)


def time_line(name: str, alt: str, edits: Rows) -> Markup:
    """Draw edits over the stream, one row per region, filled if published and hollow if rejected."""
    regions = sorted({edit["region_id"] for edit in edits}, key=_regions_first)
    height = 24 * len(regions) + 92

    def paint(figure: Figure) -> None:
        plane = axes(figure, left=92, right=20, top=36, bottom=46)
        names = [_row_name(region) for region in regions]
        plane.set(xlabel="stream events seen", yticks=range(len(regions)), yticklabels=names)
        plane.set_ylim(len(regions) - 0.5, -0.5)
        for kind, marker in MARKERS.items():
            for status, face in (("published", ACCENT), ("rejected", "none")):
                of_kind = [edit for edit in edits if (edit["operation"], edit["status"]) == (kind, status)]
                rows = [regions.index(edit["region_id"]) for edit in of_kind]
                at = [edit["at_event"] for edit in of_kind]
                plane.plot(at, rows, marker, markerfacecolor=face, markeredgecolor=ACCENT, markersize=7, alpha=0.85)
        _key(plane)

    return draw(name, alt, height, paint)


def _row_name(region: Any) -> str:
    if region == EVERY_REGION:
        return "new items"
    return f"region {region}" if isinstance(region, int) else str(region or "none")


def _confidence(panel: Axes, rows: Rows) -> None:
    region, of_stream = rows[0]["region_id"], _of_stream(rows[0])
    panel.plot(_column(rows, "at_event"), _column(rows, "confidence"), color=SERIES[0], linewidth=1.6)
    panel.set(ylim=(0, 1), yticks=[0, 0.5, 1])
    panel.text(-90, 26, f"region {region}", transform=_inside(panel), weight="bold")
    panel.text(
        -90,
        12,
        "stream" if of_stream else "set-up",
        transform=_inside(panel),
        size=11,
        color=ACCENT if of_stream else MUTED,
    )


def _evidence(panel: Axes, rows: Rows) -> None:
    at, evidence, threshold = (_column(rows, name) for name in ("at_event", "drift_statistic", "threshold"))
    panel.plot(at, evidence, color=SERIES[0], linewidth=1.6)
    panel.plot(at, threshold, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    alarm = evidence >= threshold
    panel.plot(at[alarm], evidence[alarm], "o", color=OURS, markersize=4.5, zorder=4)
    panel.locator_params(axis="y", nbins=3)


def _events(panel: Axes, edits: Rows) -> None:
    for edit in edits:
        panel.axvline(edit["at_event"], color=ACCENT, linewidth=1, alpha=0.6, zorder=1)


def _centroid(plane: Axes, row: Mapping[str, Any]) -> None:
    live = row["status"] not in ("retired", "merged")
    colour = ACCENT if _of_stream(row) else SERIES[0]
    face = colour if live else "none"
    marker = "^" if _of_stream(row) else "o"
    edge = PAPER if live else colour
    plane.plot(row["x"], row["y"], marker, markerfacecolor=face, markeredgecolor=edge, markersize=12, zorder=3)


def _name_centroids(plane: Axes, centroids: Rows) -> None:
    pixels = [plane.transData.transform((row["x"], row["y"])) for row in centroids]
    names = [f"{row['region_id']}" for row in centroids]
    boxes = place([(float(x), float(y)) for x, y in pixels], names, TEXT_SIZE + 2, Box(*plane.bbox.extents))
    for name, box in zip(names, boxes, strict=True):
        middle = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        plane.text(
            *middle,
            name,
            transform=None,
            ha="center",
            va="center_baseline",
            weight="bold",
            size=TEXT_SIZE + 2,
            color=INK,
        )


def _key(plane: Axes) -> None:
    for number, (kind, marker) in enumerate(MARKERS.items()):
        x, y = 6 + 96 * number, plane.bbox.height + 18
        plane.plot(x, y, marker, transform=_inside(plane), clip_on=False, color=ACCENT, scalex=False, scaley=False)
        plane.text(x + 10, y, kind, transform=_inside(plane), va="center", size=11, color=MUTED)


def _inside(panel: Axes) -> Affine2D:
    """Transform from CSS pixels, measured from the lower left corner of the axes."""
    return Affine2D().translate(*panel.bbox.p0)


def _regions_first(region: int | str | None) -> tuple[bool, int, str]:
    """Sort key: regions by id, then other targets of edits, such as the gate."""
    return (False, region, "") if isinstance(region, int) else (True, 0, str(region))


def _of_stream(row: Mapping[str, Any]) -> bool:
    return bool(row["origin"] != "set-up")


def _column(rows: Rows, name: str) -> Floats:
    return np.array([row[name] for row in rows], dtype=np.float64)
