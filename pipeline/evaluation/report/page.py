"""Turns a template of this folder into a page that stands alone."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render_page(template: str, **content: Any) -> str:
    """Fill a template; the style is inside the page.

    Args:
        template: file name.
        content: what it asks for; text in it is escaped.
    """
    environment = Environment(
        loader=FunctionLoader(_text), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(template).render(style=Markup(_text("page.css")), **content)
    return page.lstrip()


def _text(name: str) -> str:
    return (files("pipeline.evaluation.report") / name).read_text(encoding="utf-8")
