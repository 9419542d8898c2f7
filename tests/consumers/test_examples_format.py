"""A language model that reads labelled examples, through all stages: likes and dislikes are those of the replay."""

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random

from consumers.producer.histories import histories_of
from consumers.refresh.stretch import read_stretch
from consumers.runtime.runner import log_of
from pipeline.config import LogSettings
from pipeline.datasets.dataset import read_dataset
from pipeline.evaluation.protocols import plan_replay
from pipeline.evaluation.replay import replay
from pipeline.events.counting import CountingRule
from pipeline.events.interaction import Interaction
from pipeline.setup.artifacts import TrainingLog
from pipeline.streams.topics import INTERACTIONS
from tests.consumers.gating import changed, users
from tests.consumers.soak import Driver, left, one_thread, prepare, quiet, verify, write_stream
from tests.consumers.test_text_format import WORKERS
from tests.replay.small import rated, reading

EVENTS, LIKED_FROM = 1_000, 3.0
CONFIG = changed(
    consumers={"lockstep": True},
    backbone=reading("examples"),
    data={"positive_from": LIKED_FROM},
    training={"learning_rate": 0.01, "row_learning_rate": 0.02},
)
LENGTH = CONFIG.windows.length


def by_users(events: Iterable[Interaction]) -> dict[str, list[tuple[bool, str]]]:
    """Interactions of a user in order: True for a dislike, and the item."""
    found: dict[str, list[tuple[bool, str]]] = {}
    for event in events:
        found.setdefault(event.user_id, []).append(((event.value or 0.0) < LIKED_FROM, event.item_id))
    return found


def all_disliked(events: Sequence[tuple[bool, str]]) -> bool:
    return all(disliked for disliked, _ in events)


def test_in_lockstep_every_byte_is_that_of_the_replay(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"log": LogSettings(url=f"sqlite:///{tmp_path}/log.sqlite", partitions=4)})
    dataset = read_dataset(rated(EVENTS))
    with one_thread():
        replay(dataset, config, ["raie"], 1, tmp_path / "replay", quiet, time.monotonic)
        feed = prepare(tmp_path, EVENTS, config, rated(EVENTS))
    write_stream(feed, config)
    scored = sum((event.value or 0.0) >= LIKED_FROM for event in feed.stream)
    assert scored < len(feed.stream)
    Driver(tmp_path, scored, Random(0), kills=1, kill_every=1.0, workers=WORKERS).run(limit=300)
    found = left(tmp_path)
    assert found.outcomes
    verify(found, tmp_path / "replay")
    assert {event["event_id"] for event in found.gated} == set(plan_replay(dataset, config).stream.event_ids.tolist())
    assert sum(bool(event.get("disliked")) for event in found.gated) > 0.5 * scored
    with closing(log_of(config)) as log:
        by_user = users(log)
        ends = [log.end_offset(INTERACTIONS, partition) for partition in range(4)]
        stretch = read_stretch(log, [0] * 4, ends, config, CountingRule(LIKED_FROM))
    for user_id, events in by_users(dataset.interactions).items():
        state = by_user[user_id]
        assert state is not None
        kept = [(place in state.get("disliked", ()), item) for place, item in enumerate(state["history"])]
        # The last events of the log may be dislikes, which nothing waits for.
        assert any(kept == events[:stop][-LENGTH:] for stop in range(len(events), 0, -1) if all_disliked(events[stop:]))
        assert not {*state.get("taken", ())} - {item for disliked, item in events if not disliked}
    # A refresh learns from the dislikes of the log, too.
    assert (stretch.interactions.values < LIKED_FROM).sum() > 0


def test_histories_of_before_the_stream_hold_dislikes() -> None:
    dataset = read_dataset(rated(EVENTS))
    until = plan_replay(dataset, CONFIG).slices.setup_until
    learned = TrainingLog(dataset.sha256, until, CountingRule(LIKED_FROM))
    found = {one.user_id: one for one in histories_of(dataset, learned, CONFIG)}
    expected = by_users(event for event in dataset.interactions if event.timestamp <= until)
    assert found.keys() == expected.keys()
    for user_id, events in expected.items():
        one = found[user_id]
        assert [(place in one.disliked, item) for place, item in enumerate(one.items)] == events[-LENGTH:]
        assert not {*one.taken} - {item for disliked, item in events if not disliked}
