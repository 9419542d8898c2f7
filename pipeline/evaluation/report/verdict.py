"""Verdict of a run in plain sentences: what won, by how much, at what cost, and whether regions mattered."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.evaluation.report.words import Metrics, mean, ranked, signed
from pipeline.evaluation.summary import OURS, STREAM

OF_REGIONS: Mapping[str, str] = {
    "raie_one": "never more than one region of the stream",
    "raie_k1_ranked": "one adapter for everyone and the same second stage",
    "static_ranked": "the frozen backbone and the same second stage",
}
"""Strategies with a second stage that tell what regions bring, closest first, and what each has instead of them."""

RETENTION = "S_new"
"""Slice that measures retention."""

MOST_NAMED = 4
"""Strategies that are named together; of more, the number is said."""


def verdict(metrics: Metrics) -> list[str]:
    """Sentences on a run; the first one can stand alone.

    Args:
        metrics: document of `metrics.json`.
    """
    best = mean(metrics, ranked(metrics, STREAM)[0], STREAM)
    if best is None:
        return ["No interaction of a user with history was scored on the stream."]
    sentences = (
        _leads(metrics, best),
        _stream(metrics),
        _retention(metrics),
        _cost(metrics),
        _untrained_above(metrics),
        _regions(metrics),
    )
    return [sentence for sentence in sentences if sentence]


def _leads(metrics: Metrics, best: float) -> str:
    order = ranked(metrics, STREAM)
    leader, others = order[0], order[1:]
    text = f"{leader} leads on the stream: {best:.1%} of its lists of ten held the item that was taken next"
    if not others:
        return f"{text} (Recall@10 {best:.4f} on {STREAM})."
    rival = OURS if OURS in others else others[0]
    row = _comparison(metrics, rival if leader == OURS else leader, STREAM)
    if row is None and OURS in order:
        return (
            f"{leader} has the highest Recall@10 on {STREAM} ({best:.4f}). Fewer than two users were scored: there is "
            "no interval, and no strategy is said to lead."
        )
    if row is None:
        return f"{text} (Recall@10 {best:.4f} on {STREAM}); {rival} is next with {_or_zero(metrics, rival):.4f}."
    sign = 1 if leader == OURS else -1
    low, high = sorted((sign * row["low"], sign * row["high"]))
    chance = ", which includes zero: the lead may be chance" if low <= 0 <= high else ""
    interval = f"95% interval {signed(low)} to {signed(high)}{chance}"
    return f"{text} (Recall@10 {best:.4f} on {STREAM}), {sign * row['difference']:.4f} above {rival} ({interval})."


def _stream(metrics: Metrics) -> str:
    standing = _standing(metrics, STREAM)
    return f"On the stream {OURS} is {standing}." if standing else ""


def _retention(metrics: Metrics) -> str:
    keeper = ranked(metrics, RETENTION)[0]
    best = mean(metrics, keeper, RETENTION)
    if best is None:
        return f"Retention was not measured: nothing was scored on {RETENTION}."
    text = f"Of what was known before the stream {keeper} keeps most (Recall@10 {best:.4f} on {RETENTION})"
    ours = mean(metrics, OURS, RETENTION) if OURS in metrics["strategies"] else None
    standing = _standing(metrics, RETENTION)
    if ours is None or not standing:
        return f"{text}."
    return f"{text}; {OURS} {'' if keeper == OURS else f'has {ours:.4f} and '}is {standing} there."


def _cost(metrics: Metrics) -> str:
    """Sentence on the windows trained on: those of `raie`, else of the leader, beside the costliest strategy."""
    trained = {name: float(np.mean(row["trained_windows"])) for name, row in metrics["strategies"].items()}
    named = OURS if OURS in trained else ranked(metrics, STREAM)[0]
    own, costliest = trained[named], max(trained, key=lambda name: (trained[name], name))
    most = trained[costliest]
    if not most:
        return "No strategy was trained after set-up."
    if not own:
        return f"{named} was not trained after set-up; {costliest} was, on {most:,.0f} windows."
    text = f"{named} was trained on {own:,.0f} windows after set-up"
    if costliest != named:
        return f"{text}, {own / most:.0%} of {costliest}."
    return f"{text}, more than any other strategy." if len(trained) > 1 else f"{text}."


def _untrained_above(metrics: Metrics) -> str:
    """Sentence on the strategies without training on the stream that rank above `raie`."""
    order = ranked(metrics, STREAM)
    if OURS not in order:
        return ""
    above = order[: order.index(OURS)]
    untrained = [name for name in above if not any(metrics["strategies"][name]["trained_windows"])]
    if not untrained:
        return ""
    rows = ", ".join(f"{name} ({_or_zero(metrics, name):.4f})" for name in untrained)
    verb = "ranks" if len(untrained) == 1 else "rank"
    return f"Without training, {rows} {verb} above {OURS} ({_or_zero(metrics, OURS):.4f}) on {STREAM}."


def _regions(metrics: Metrics) -> str:
    """Sentence on what regions brought, by the strategy closest to `raie` that has none."""
    if OURS not in metrics["strategies"]:
        return ""
    other = next((name for name in OF_REGIONS if _comparison(metrics, name, STREAM)), None)
    if other is None:
        return f"Whether regions mattered was not measured: replay {' or '.join(list(OF_REGIONS)[:2])} beside {OURS}."
    signs = {name: _sign(row) for name in (STREAM, RETENTION) if (row := _comparison(metrics, other, name))}
    paid, cost = ([name for name, sign in signs.items() if sign == wanted] for wanted in (1, -1))
    if paid and cost:
        found = f"Regions helped on {paid[0]} and did harm on {cost[0]}"
    elif paid or cost:
        found = f"Regions {'helped' if paid else 'did harm'} here, on {' and '.join(paid or cost)}"
    else:
        found = "Regions made no difference here that can be told from chance"
    differences = " and ".join(_difference(metrics, other, name) for name in signs)
    return f"{found}: against {OF_REGIONS[other]} ({other}), {OURS} has {differences}.{_live(metrics)}"


def _live(metrics: Metrics) -> str:
    start, end = (metrics["regions"][moment] for moment in ("start", "end"))
    return f" Live regions: {_span(start)} at first, {_span(end)} at the end." if start and end else ""


def _standing(metrics: Metrics, slice_name: str) -> str:
    """Others that `raie` is ahead of, level with and behind, by the 95% interval of each comparison alone."""
    order = [name for name in ranked(metrics, slice_name) if _comparison(metrics, name, slice_name)]
    by_sign: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for name in order:
        by_sign[_sign(_comparison(metrics, name, slice_name) or {})].append(name)
    words = {-1: "behind", 0: "level with", 1: "ahead of"}
    return ", ".join(f"{words[sign]} {_named(by_sign[sign])}" for sign in (1, 0, -1) if by_sign[sign])


def _named(names: Sequence[str]) -> str:
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[: MOST_NAMED - 1])} and {len(names) - MOST_NAMED + 1} more"
    return " and ".join([part for part in (", ".join(names[:-1]), names[-1]) if part])


def _sign(row: Mapping[str, Any]) -> int:
    """1 where the interval of a comparison is above zero, -1 where it is below, else 0."""
    return int(row["low"] > 0) - int(row["high"] < 0)


def _difference(metrics: Metrics, other: str, slice_name: str) -> str:
    row = _comparison(metrics, other, slice_name) or {}
    return f"{signed(row['difference'])} on {slice_name} (95% interval {signed(row['low'])} to {signed(row['high'])})"


def _comparison(metrics: Metrics, other: str, slice_name: str) -> Mapping[str, Any] | None:
    rows = (row for row in metrics["comparisons"] if row["b"] == other and row["slice"] == slice_name)
    return next(rows, None)


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"


def _or_zero(metrics: Metrics, strategy: str) -> float:
    return mean(metrics, strategy, STREAM) or 0.0
