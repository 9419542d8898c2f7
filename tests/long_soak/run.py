"""One run: its processes, what happens to them and when, and what came of it."""

import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from consumers.cli.processes import RAIE
from consumers.producer.feed import Feed, feed_of
from consumers.producer.feed_writer import FeedWriter
from consumers.runtime.generations import active_log, create_active_topics
from consumers.runtime.runner import log_of
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare as plan_of_replay
from pipeline.setup.bootstrap import set_up
from pipeline.setup.storage import save_setup
from pipeline.streams import Log
from pipeline.streams.topics import DEAD_LETTERS
from tests.consumers.soak import quiet
from tests.long_soak.clients import Asker, Sender, call
from tests.long_soak.course import Act, Course, Plan
from tests.long_soak.gated import Follower
from tests.long_soak.slopes import Sampler

LEARNED = 4_000
"""Events that set-up learns from."""

SETTLED = 600.0
"""Seconds that the pipeline has to gate everything once the stream has ended."""

GROWTH = 0.05
"""Share of its mean by which what is measured may grow in the second half of a run."""


def settings_of(url: str, plan: Plan, nodes: int, ports: Sequence[int]) -> list[str]:
    """Settings of a small model whose refreshes are always switched to, and of a pipeline that forgets early."""
    learned = min(LEARNED, plan.events // 4)
    # A refresh needs what it learns from, and what comes while it is judged.
    days = max(plan.seconds / 6, 2 * learned / plan.rate) / 86_400
    return [
        f"log.url={url}",
        f"log.replication_factor={nodes}",
        f"data.finetune_from={LEARNED / (LEARNED + plan.events):.4f}",
        "data.test_from=0.999",
        f"ingest.port={ports[0]}",
        f"server.port={ports[1]}",
        "items.text_encoder=hashing",
        "backbone.hidden_size=32",
        "setup.max_epochs=3",
        f"refresh.learn_events={learned}",
        f"refresh.judged_events={min(300, round(plan.seconds * plan.rate / 5))}",
        "refresh.least_gain=-1",
        "refresh.linger=10",
        f"refresh.kept_days={days}",
        f"retention.every={max(5.0, plan.seconds / 60)}",
        f"retention.version_days={days}",
        f"retention.gated_days={days}",
        f"retention.interaction_days={days}",
        "retention.orphan_hours=0.1",
        f"retention.snapshot_hours={days}",
        "consumers.snapshot_events=1000",
    ]


def run(
    folder: Path,
    url: str,
    plan: Plan,
    acts: Mapping[float, Act] | None = None,
    nodes: int = 1,
    say: Callable[[str], None] = quiet,
) -> dict[str, Any]:
    """Run a pipeline, and return what came of it.

    Args:
        folder: takes all files.
        url: of the log.
        plan: size of the run.
        acts: what else happens, by the share of the stream that has passed.
        nodes: replicas of each topic.
        say: shows a status line.

    Returns:
        A JSON object; `problems` lists in words what should not have been.
    """
    options = settings_of(url, plan, nodes, free_ports(2))
    config = load_config(overrides=options)
    set_options = [word for setting in options for word in ("--set", setting)]
    feed = prepare(folder, config, plan)
    root, stop = str(folder / "root"), Event()
    with ExitStack() as stack:
        up = stack.enter_context(process(folder / "up.txt", "up", "--root", root, "--ingest", *set_options))
        server = stack.enter_context(process(folder / "serve.txt", "serve", "--root", root, *set_options))
        for port in (config.ingest.port, config.server.port):
            wait_until_ready(port)
        log = stack.enter_context(closing(log_of(config)))
        users = sorted({event.user_id for event in feed.past})
        follower, sender = Follower(log, stop), Sender(config.ingest.port, feed, plan.rate)
        asker = Asker(config.server.port, users, plan.requests, stop)
        sampler = Sampler((up.pid, server.pid), folders_of(folder, url), stop)
        course = Course(folder, root, set_options, plan, up.pid, users, say)
        pool = stack.enter_context(ThreadPoolExecutor())
        stack.callback(stop.set)
        stack.callback(sender.stop.set)
        running = [pool.submit(one.run) for one in (follower, sender, asker, sampler)]
        began = time.monotonic()
        course.run(sender, acts or {})
        lasted = time.monotonic() - began
        running[1].result()
        erased = {act["user"] for act in course.done if act["what"] == "erase"}
        expected = {event_id for event_id, user in sender.users.items() if user not in erased}
        settled = follower.wait_for(expected, SETTLED)
        stop.set()
        for one in running:
            one.result()
        dead = count_of_dead_letters(active_log(log))
    found = {
        "plan": {**vars(plan), "events": plan.events},
        "seconds": round(lasted, 1),
        "events": counts_of(sender, follower, expected) | {"dead letters": dead},
        "requests": {"answered": len(asker.seconds), "failed": len(asker.failed), "seconds": quantiles(asker.seconds)},
        "kills": dict(Counter(course.killed)),
        "acts": course.done,
        "slopes": sampler.slopes(),
    }
    found["problems"] = list(problems(found, settled, sampler, asker, plan))
    return found


def counts_of(sender: Sender, follower: Follower, expected: Set[str]) -> dict[str, Any]:
    """Events by their fate, and the seconds from the answer to the sender until they were gated."""
    waits = [follower.first[one] - sender.sent[one] for one in expected & follower.first.keys()]
    return {
        "sent": len(sender.sent),
        "batches sent again": sender.again,
        "gated": {str(number): sum(count.values()) for number, count in follower.gated.items()},
        "missing": len(expected - follower.first.keys()),
        "twice": sum(times > 1 for count in follower.gated.values() for times in count.values()),
        "refused": len(sender.refused),
        "wait": quantiles(waits),
    }


def problems(found: Mapping[str, Any], settled: bool, sampler: Sampler, asker: Asker, plan: Plan) -> Iterator[str]:
    """Say in words what should not have been."""
    events = found["events"]
    if not settled:
        yield f"not all events were gated within {SETTLED:g} s of the end"
    for name in ("missing", "twice", "dead letters", "refused"):
        if events[name]:
            yield f"{events[name]} events: {name}"
    if events["sent"] < round(plan.seconds * plan.rate):
        yield f"{events['sent']:,} events were sent in place of {round(plan.seconds * plan.rate):,}"
    if asker.failed:
        yield f"{len(asker.failed)} requests failed, such as {asker.failed[0]}"
    for act in found["acts"]:
        if act["code"]:
            yield f"{act['what']} ended with {act['code']}: {act['last']}"
    if sum(act["what"] == "refresh" for act in found["acts"]) < plan.refreshes:
        yield "not every refresh was begun"
    hours = sampler.times[-1] / 2 / 3600 if sampler.times else 0.0
    for name, slope in found["slopes"].items():
        if slope["from"] > 0 and slope["an hour"] * hours > GROWTH * slope["mean"]:
            yield f"{name} grew by {slope['an hour'] * hours:.1f} MiB in the second half"


def prepare(folder: Path, config: Config, plan: Plan) -> Feed:
    """Simulate a log, set up on its first events, and write what precedes the stream."""
    data = folder / "log"
    write(simulate("new_items", 0, LEARNED + plan.events), data)
    dataset = read_dataset(data)
    replayed, catalogue = plan_of_replay(dataset, config, quiet)
    save_setup(set_up(config, catalogue, replayed.setup, seed=0), folder / "root")
    feed = feed_of(dataset, config)
    with closing(log_of(config)) as log:
        create_active_topics(log, config.log.partitions)
        FeedWriter(log, feed, "before", {}, quiet).write_before()
    return feed


@contextmanager
def process(words: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A command that runs until the end of the block."""
    with words.open("w") as out:
        one = subprocess.Popen([*RAIE, *arguments], stdout=out, stderr=subprocess.STDOUT)
        try:
            yield one
        finally:
            one.terminate()
            one.wait(60)


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nothing listens."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_until_ready(port: int, patience: float = 120.0) -> None:
    """Wait for a service."""
    until = time.monotonic() + patience
    while True:
        try:
            if call(port, "GET", "/readyz")[0] == 200:
                return
        except (OSError, HTTPException):
            pass
        assert time.monotonic() < until, f"nothing is ready on port {port}"
        time.sleep(0.2)


def folders_of(folder: Path, url: str) -> dict[str, Path]:
    """Folders whose size is followed, by name."""
    found = {"store": folder / "root"}
    return found if url.startswith("sqlite") else {**found, "log": folder / "kafka"}


def count_of_dead_letters(log: Log) -> int:
    """Number of dead letters."""
    partitions = range(log.topic(DEAD_LETTERS).partitions)
    return sum(log.end_offset(DEAD_LETTERS, p) - log.start_offset(DEAD_LETTERS, p) for p in partitions)


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 99th percentile and largest value, in seconds."""
    if not len(values):
        return {}
    return {name: round(float(np.quantile(values, at)), 3) for name, at in (("p50", 0.5), ("p99", 0.99), ("most", 1.0))}
