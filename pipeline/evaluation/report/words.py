"""Headline of a run: its main results in sentences."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.summary import OURS, RECALL, STREAM

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


def headline(metrics: Metrics) -> list[str]:
    """Sentences on the best strategy on the stream, on retention, and on untrained strategies above `raie`."""
    leader = ranked(metrics, STREAM)[0]
    best = mean(metrics, leader, STREAM)
    if best is None:
        return ["No interaction of a user with history was scored on the stream."]
    sentences = (_leads(metrics, leader, best), _retention(metrics), _untrained_above(metrics))
    return [sentence for sentence in sentences if sentence]


def _leads(metrics: Metrics, leader: str, best: float) -> str:
    text = f"{leader} leads on the stream with a Recall@10 of {best:.4f} on {STREAM}"
    others = [name for name in ranked(metrics, STREAM) if name != leader]
    rival = OURS if leader != OURS and OURS in others else others[0] if others else None
    row = _comparison(metrics, rival if leader == OURS else leader)
    if row is None and rival is not None and OURS in metrics["strategies"]:
        return (
            f"{leader} has the highest Recall@10 on {STREAM} ({best:.4f}). Fewer than two users were scored: there is "
            "no interval, and no strategy is said to lead."
        )
    if rival is None or row is None:
        return text + "."
    sign = 1 if leader == OURS else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    note = ", which includes zero" if low <= 0 <= high else ""
    interval = f"95% interval {signed(low)} to {signed(high)}"
    return f"{text}, {sign * row['difference']:.4f} above {rival} ({interval}{note})."


def _retention(metrics: Metrics) -> str:
    keeper = ranked(metrics, "S_new")[0]
    best = mean(metrics, keeper, "S_new")
    if best is None:
        return "Retention was not measured: nothing was scored on S_new."
    text = f"{keeper} has the highest Recall@10 on S_new ({best:.4f})"
    ours = mean(metrics, OURS, "S_new") if OURS in metrics["strategies"] else None
    return text + ("." if keeper == OURS or ours is None else f"; raie has {ours:.4f}.")


def _untrained_above(metrics: Metrics) -> str:
    """Sentence on the strategies without training on the stream that rank above `raie`."""
    ours = mean(metrics, OURS, STREAM) if OURS in metrics["strategies"] else None
    if ours is None:
        return ""
    untrained = [name for name in ranked(metrics, STREAM) if not any(metrics["strategies"][name]["trained_windows"])]
    above = [name for name in untrained if name != OURS and _or_below(mean(metrics, name, STREAM)) > ours]
    if not above:
        return ""
    rows = ", ".join(f"{name} ({mean(metrics, name, STREAM):.4f})" for name in above)
    verb = "ranks" if len(above) == 1 else "rank"
    return f"Without training, {rows} {verb} above raie ({ours:.4f}) on {STREAM}."


def _comparison(metrics: Metrics, other: str | None) -> Mapping[str, Any] | None:
    rows = (row for row in metrics["comparisons"] if row["b"] == other and row["slice"] == STREAM)
    return next(rows, None)


def _or_below(value: float | None) -> float:
    return -1.0 if value is None else value
