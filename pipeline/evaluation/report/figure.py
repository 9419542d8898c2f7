"""Figures as inline SVG with the colours of the page, for light and dark mode.

A figure is drawn in placeholder colours, one for each role, which are replaced with CSS variables afterwards. Text
stays text. The output does not depend on the clock, on random numbers or on another host.
"""

import re
import warnings
from collections.abc import Callable
from html import escape
from io import StringIO
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, RULE, OURS, ACCENT, PAPER = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
SERIES = ("#101001", "#101002", "#101003", "#101004", "#101005", "#101006")

WIDTH = 760
"""Width of a figure in CSS pixels; one unit of the drawing is one pixel."""

TEXT_SIZE = 12.0
"""Size of the text in a figure, in CSS pixels."""

_ROLES = {INK: "ink", MUTED: "muted", RULE: "rule", OURS: "ours", ACCENT: "accent", PAPER: "paper"}
_ROLES |= {colour: f"series-{number}" for number, colour in enumerate(SERIES, start=1)}

_PIXELS_PER_INCH = 72

_SETTINGS = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a strategy's name is a dollar, not mathematics
    "font.size": TEXT_SIZE,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
}


def draw(name: str, alt: str, height: float, paint: Callable[[Figure], None]) -> Markup:
    """Draw a figure.

    Args:
        name: of the figure, unique on the page; its ids start with it.
        alt: text alternative.
        height: in CSS pixels.
        paint: adds axes and artists to the empty figure.

    Returns:
        An `<svg>` element; equal drawings give equal text.
    """
    buffer = StringIO()
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}  # matplotlib types keys by release, one by one
    with rc_context(settings), warnings.catch_warnings():
        # The fonts of the browser draw the text, so glyphs missing from the measuring font do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(WIDTH / _PIXELS_PER_INCH, height / _PIXELS_PER_INCH), dpi=_PIXELS_PER_INCH)
        FigureCanvasSVG(figure)
        paint(figure)
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return Markup(_inline(buffer.getvalue(), name, alt))


def axes(figure: Figure, *, left: float, right: float, top: float, bottom: float) -> Axes:
    """Add axes with margins in CSS pixels from the edges of the figure."""
    width, height = figure.get_size_inches() * _PIXELS_PER_INCH
    box = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure.add_axes(box)


def _inline(svg: str, name: str, alt: str) -> str:
    """Convert an SVG file to an element that can be embedded in a page beside others."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, count=1, flags=re.DOTALL)
    body = re.sub(r"\s*<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.DOTALL)
    view_box = re.search(r'viewBox="[^"]*"', body[: body.index(">")])
    head = f'<svg role="img" aria-label="{escape(alt)}" {view_box.group() if view_box else ""}>'
    body = head + body[body.index(">") + 1 :]
    # Inside tags only: the text of a label may look like any of these and must stay unchanged.
    return re.sub(r"<[^>]*>", lambda tag: _tag(tag.group(), name), body).strip()


def _tag(tag: str, name: str) -> str:
    tag = re.sub(r'\bid="', f'id="{name}-', tag)
    tag = tag.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    # Releases of matplotlib differ in whether they write one `font` or its parts.
    tag = re.sub(r"(font: (?:\w+ )*[\d.]+px|font-family:) [^;\"]*", r"\1 var(--sans)", tag)
    return re.sub(r": (#[0-9a-f]{6})\b", lambda m: f": {_colour(m.group(1))}", tag)


def _colour(colour: str) -> str:
    return f"var(--{_ROLES[colour]})" if colour in _ROLES else colour
