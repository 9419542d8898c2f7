"""Rendering of the HTML templates of this folder."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup


def render_page(template: str, **content: Any) -> str:
    """Render a template to a page that includes its style.

    Args:
        template: file name.
        content: variables of the template; text in them is escaped.
    """
    environment = Environment(
        loader=FunctionLoader(_text), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page = environment.get_template(template).render(style=Markup(_text("page.css")), **content)
    return page.lstrip()


def _text(name: str) -> str:
    return (files("pipeline.evaluation.report") / name).read_text(encoding="utf-8")
