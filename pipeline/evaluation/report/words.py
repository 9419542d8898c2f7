"""Figures of a run as the verdict and the figures of a report state them."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.summary import OURS, RECALL

Metrics = Mapping[str, Any]


def mean(metrics: Metrics, strategy: str, slice_name: str) -> float | None:
    """Mean Recall@10 over users with history."""
    value: float | None = metrics["strategies"][strategy][slice_name][RECALL]["mean"]
    return value


def ranked(metrics: Metrics, slice_name: str) -> list[str]:
    """Strategies by Recall@10 on a slice, best first, those without a figure last."""
    return sorted(
        metrics["strategies"], key=lambda name: (-_or_below(mean(metrics, name, slice_name)), name != OURS, name)
    )


def signed(value: float) -> str:
    """Difference as text, with its sign."""
    rounded = round(value, 4) + 0.0  # a negative zero becomes a plain one
    return f"{rounded:+.4f}".replace("-", "\N{MINUS SIGN}")


def _or_below(value: float | None) -> float:
    return -1.0 if value is None else value
