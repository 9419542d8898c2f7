"""Counts of set-up that gates make before they join their group: computed once for each set-up and configuration."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from pipeline.recommend.event_scorer import Beginning, EventScorer
from pipeline.setup.artifacts import SetUp

APART = {"log", "consumers", "monitor", "server"}
"""Sections of the configuration that no scorer reads."""

_kept: dict[tuple[object, ...], tuple[SetUp, Beginning | None]] = {}
_beginning = EventScorer.beginning


def _remembered(scorer: EventScorer) -> Beginning | None:
    if scorer._beginning is None:
        setup, config = scorer._setup, scorer._config.model_dump_json(exclude=APART)
        # A copy of a set-up has a backbone of its own, with the same weights; the set-up that is kept keeps the ids.
        key = (setup.backbone_sha256, id(setup.events), id(setup.bank), id(setup.catalogue), config)
        if key not in _kept:
            _kept[key] = setup, _beginning(scorer)
        scorer._beginning = _kept[key][1]
    return scorer._beginning


@contextmanager
def remembered_beginnings() -> Iterator[None]:
    """Give every new gate what one of the same set-up and configuration has counted before, which takes a while."""
    with patch.object(EventScorer, "beginning", _remembered):
        yield
