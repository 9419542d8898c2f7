"""Our gate beside the least that could do its part: bare kafka-python loops, and the bare model. One JSON object.

    python -m benchmarks.consume [--events N] [--kafka URL] [--set backbone.hidden_size=256] [--quick]

    poll              kafka-python reads `interactions`
    transactional     kafka-python reads them and writes, of 1,000 at a time, the records that our gate has written for
                      them: values are decoded and encoded, the positions are of the transaction
    ready_made        the same with bytes that lie ready, and nothing decoded
    gate_canned       our gate, its answers looked up: all of its work but the model's
    gate              our gate
    handler           what the gate does with windows, without a log: model, posterior, trend, ranks
    encoder           the model on the same windows: encode, score, softmax, each once
    ..._causal_lm     these three with a language model of random weights (a Llama of `--layers` layers, `--width` wide,
                      over windows of 20 items), which costs milliseconds where the default model costs microseconds

All on one broker and one stream, in turns, `--repeats` times; medians are reported. What is timed begins with the end
of the first transaction of a run (of the first thousand where there are none), so no group's join is in it.
"""

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import torch
from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata
from kafka import TopicPartition as Where
from transformers import LlamaConfig, LlamaForCausalLM

from adapters_store import AdaptersStore
from consumers.gate.scoring import GateScoring, Taken
from consumers.gate.stage import GateStage
from consumers.gate.user_store import UserStore
from consumers.producer.feed import Feed, feed_of
from consumers.producer.feed_writer import FeedWriter, Pace
from consumers.runtime.health import LoopHealth
from consumers.runtime.loop import Loop
from consumers.runtime.stage import Output, Point, Turn
from consumers.runtime.user_tables import UserTables
from pipeline.config import Config, load_config
from pipeline.datasets.dataset import read_dataset
from pipeline.datasets.simulator import simulate, write
from pipeline.evaluation.replay import prepare
from pipeline.events.existence import Existence
from pipeline.events.gated import GatedEvent
from pipeline.events.interaction import Interaction
from pipeline.events.windows import History, Windows
from pipeline.models.lora.host import AdapterHost
from pipeline.models.open_catalogue import OpenCatalogue
from pipeline.models.seeding import make_deterministic
from pipeline.models.text.hashing import HashingEncoder
from pipeline.regions.mixing import next_item_probabilities
from pipeline.setup.artifacts import SetUp
from pipeline.setup.bootstrap import set_up
from pipeline.streams import Log, open_log
from pipeline.streams.topics import GATED, INTERACTIONS, USERS, pipeline_topics
from pipeline.telemetry import new_metrics

SCRIPT = Path(__file__).parents[1] / "scripts" / "kafka"

TRANSACTION = 1_000
"""Events of a transaction, of ours and of the bare loop alike."""

SETTINGS = ("items.text_encoder=hashing", "setup.max_epochs=1", "data.finetune_from=0.2", "consumers.poll_timeout=0.05")

OF_LM = ("windows.length=20", "backbone.kind=causal_lm")
"""Settings of the runs with a language model, beside `backbone.model`."""

LM = "_causal_lm"
"""Ends the names of these runs."""

COMPARED = {
    "gate_over_bare_transactional": ("gate_canned", "transactional"),
    "gate_over_ready_made": ("gate_canned", "ready_made"),
    "gate_over_bare_encoder": ("gate", "encoder"),
    "gate_over_handler": ("gate", "handler"),
    f"gate_over_bare_encoder{LM}": (f"gate{LM}", f"encoder{LM}"),
    f"gate_over_handler{LM}": (f"gate{LM}", f"handler{LM}"),
}
"""Ours, and the bare way beside it."""

REMEMBERED_USERS = 10_000
"""Users whose memory is measured."""


class Stopwatch:
    """Times what comes after the first transaction.

    Args:
        events: in all; after so many the clock stands.

    Attributes:
        done: events so far.
    """

    def __init__(self, events: int) -> None:
        self.done = 0
        self._events = events
        self._first = 0
        self._began = self._ended = (0.0, 0.0)

    def add(self, events: int) -> bool:
        """Count what is done; say whether anything is left."""
        if events:
            self.done += events
            self._ended = (time.perf_counter(), time.process_time())
            if not self._first:
                self._first, self._began = self.done, self._ended
        return self.done < self._events

    @property
    def rate(self) -> float:
        """Events a second."""
        return (self.done - self._first) / (self._ended[0] - self._began[0])

    @property
    def work(self) -> float:
        """Seconds of this process on a processor, for an event: the same whoever else is at work on the machine."""
        return (self._ended[1] - self._began[1]) / (self.done - self._first)


Run = Callable[[], Stopwatch]
"""Goes through the stream once."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was found."""
    options = _arguments(arguments)
    make_deterministic()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, _broker(options.kafka, Path(folder)) as url:
        stream = Stream(_config(url, options), options.events, Path(folder) / "default")
        model = f"backbone.model={language_model(Path(folder) / 'model', options.layers, options.width)}"
        with_lm = Stream(_config(url, options, *OF_LM, model), options.lm_events, Path(folder) / "causal_lm")
        runs = stream.runs() | {name + LM: run for name, run in with_lm.model_runs().items()}
        found = measured(runs, options.repeats)
    rates = {way: statistics.median(watch.rate for watch in watches) for way, watches in found.items()}
    work = {way: statistics.median(watch.work for watch in watches) for way, watches in found.items()}
    report = {
        "settings": vars(options),
        "events": len(stream.events),
        "events_a_transaction": TRANSACTION,
        "events_per_s": {way: round(rate) for way, rate in rates.items()},
        "ratios": ratios(rates),
        "processor_us_an_event": {way: round(seconds * 1e6) for way, seconds in work.items()},
        "ratios_by_processor_time": ratios({way: 1.0 / seconds for way, seconds in work.items()}),
        "user_memory": user_memory(stream.config),
    }
    print(json.dumps(report, indent=2))


def _config(url: str, options: argparse.Namespace, *more: str) -> Config:
    """Topics and groups of its own, on a broker that has others."""
    own = (f"log.url={url}", f"log.prefix=benchmark{time.time_ns()}-", f"log.partitions={options.partitions}")
    return load_config(None, (*SETTINGS, *own, *more, *options.set))


def language_model(folder: Path, layers: int, width: int) -> Path:
    """Make a language model with random weights: what is measured is its work, not its answers."""
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=64,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--lm-events", type=int, default=2_000, help="of the runs with a language model")
    parser.add_argument("--layers", type=int, default=8, help="of the language model")
    parser.add_argument("--width", type=int, default=512, help="of the language model, a multiple of 16")
    parser.add_argument("--kafka", metavar="URL", help="kafka://host:port of a broker that runs; else one is started")
    parser.add_argument("--partitions", type=int, default=8, help="of `interactions` and `users`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], help="a setting, e.g. of the backbone"
    )
    parser.add_argument("--quick", action="store_true", help="1,500 events, once: whether it runs, no measurement")
    options = parser.parse_args(arguments)
    if options.quick:
        options.events, options.lm_events, options.layers, options.width = 1_500, 1_200, 1, 64
        options.repeats, options.partitions = 1, 2
    if min(options.events, options.lm_events) <= TRANSACTION:
        parser.error(f"--events and --lm-events must be more than the {TRANSACTION} of a transaction")
    return options


@contextmanager
def _broker(url: str | None, folder: Path) -> Iterator[str]:
    if url:
        yield url
        return
    kafka = [sys.executable, str(SCRIPT)]
    data = ["--data", str(folder / "kafka")]
    try:
        yield (
            "kafka://"
            + subprocess.run([*kafka, "start", *data], check=True, capture_output=True, text=True).stdout.strip()
        )
    finally:
        subprocess.run([*kafka, "stop", *data], check=True)


def measured(runs: Mapping[str, Run], repeats: int) -> dict[str, list[Stopwatch]]:
    """Time each way; they take turns, so that a machine that drifts does so for all of them."""
    found: dict[str, list[Stopwatch]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            found[name].append(run())
    return found


def ratios(rates: Mapping[str, float]) -> dict[str, float]:
    """Our rate as a share of that of each bare loop."""
    return {name: round(rates[ours] / rates[bare], 3) for name, (ours, bare) in COMPARED.items()}


def user_memory(config: Config) -> dict[str, Any]:
    """Bytes that the gate holds of a user whose history and remembered event ids are full."""
    events = max(config.windows.length, config.gate.remembered_events)
    # Ids of items are in memory once, whoever took them.
    items = [sys.intern(f"item-{event:04d}") for event in range(events)]
    tracemalloc.start()
    users = UserStore(config.windows.length, config.gate.remembered_events, config.gate.remembered_items, ())
    for user in range(REMEMBERED_USERS):
        for event in range(events):
            event_id = f"event-{user:08d}-{event:04d}"
            users.append(f"user-{user:08d}", items[event], event_id, 1.6e9 + event, -1, past=False)
    bytes_each = tracemalloc.get_traced_memory()[0] / len(users)
    tracemalloc.stop()
    how = f"tracemalloc over {REMEMBERED_USERS:,} users of {events} events each: state, id and place in the table"
    return {"bytes_a_user": round(bytes_each), "measured": how}


@dataclass
class Canned:
    """Stands in for a `EventScorer`: every answer was given before.

    Attributes:
        answers: event id -> the event as it was gated.
        catalogue: of the gate.
    """

    answers: Mapping[str, GatedEvent]
    catalogue: OpenCatalogue
    online: None = None

    def beginning(self) -> None:
        """Begin nothing: no count or network is behind these answers."""

    def follow(self, freed: Sequence[int]) -> None:
        """Ignore changes of the catalogue."""

    def handle(self, windows: Windows, _: Existence, __: Sequence[History]) -> list[GatedEvent]:
        """Look the answers up."""
        return [self.answers[event_id] for event_id in windows.event_ids.tolist()]


class MeasuredGate(GateStage):
    """Our gate, whose outputs are kept on request.

    Attributes:
        written: outputs of each transaction, or None.
        canned: answers in the model's place, or None.
    """

    written: list[list[Output]] | None = None
    canned: Mapping[str, GatedEvent] | None = None
    taken = 0

    def handle(self, turn: Turn) -> Sequence[Output] | None:
        """Gate what is due, and take down how many it was."""
        outputs = super().handle(turn)
        self.taken = len(turn.records)
        if self.written is not None and outputs:
            self.written.append(list(outputs))
        return outputs

    def _reset(self) -> None:
        super()._reset()
        if self.canned is not None:
            self._scoring.scorer = Canned(self.canned, self._scoring.scorer.catalogue)


def _taken(event: GatedEvent) -> Taken:
    """An event and its user's history, as a gate sees them."""
    interaction = Interaction(event.event_id, event.user_id, event.target, event.timestamp)
    return interaction, History(tuple(event.window), event.since_setup)


class Stream:
    """A stream in the log of a broker, and the runs over it."""

    def __init__(self, config: Config, events: int, folder: Path) -> None:
        self.config = config
        self._store, self._tables = AdaptersStore(folder / "adapters"), folder / "users"
        self._runs = count()
        write(simulate("emerging", 0, round(events / (1.0 - config.data.finetune_from))), folder / "data")
        dataset = read_dataset(folder / "data")
        plan, catalogue = prepare(dataset, config, lambda *_: None)
        self._setup: SetUp = set_up(config, catalogue, plan.setup, 0)
        self._feed: Feed = feed_of(dataset, config)
        self.events = self._feed.stream
        self._servers = config.log.url.removeprefix("kafka://").split(",")
        self._prefix = self._afresh().log.prefix
        self._keep()

    def runs(self) -> dict[str, Run]:
        """All of them, by name."""
        return {
            "poll": self.poll,
            "transactional": lambda: self.transactional(json.loads, _encoded),
            "ready_made": lambda: self.transactional(bytes, lambda value: value, self._ready_made),
            "gate_canned": lambda: self.gate(self._answers),
            **self.model_runs(),
        }

    def model_runs(self) -> dict[str, Run]:
        """Those that the model has a part in."""
        return {"gate": self.gate, "handler": self.handler, "encoder": self.encoder}

    def _keep(self) -> None:
        """Let our gate run once, and keep what it wrote."""
        written: list[list[Output]] = []
        self.gate(written=written)
        self._written = [[out for out in outputs if out.topic in (GATED, USERS)] for outputs in written]
        self._ready_made = [[replace(out, value=_encoded(out.value)) for out in outputs] for outputs in self._written]
        values = (out.value for outputs in self._written for out in outputs if out.topic == GATED)
        gated = [GatedEvent.from_record(value, ()) for value in values if value is not None]
        self._answers = {event.event_id: event for event in gated}
        size, taken = self.config.gate.batch_size, [_taken(event) for event in gated]
        self._batches = [taken[start : start + size] for start in range(0, len(taken), size)]

    def poll(self) -> Stopwatch:
        """Read, and nothing else."""
        watch = Stopwatch(len(self.events))
        with closing(self._consumer()) as consumer:
            while watch.add(sum(map(len, consumer.poll(1000, TRANSACTION).values()))):
                pass
        return watch

    def transactional(
        self,
        decode: Callable[[bytes], Any],
        encode: Callable[[Any], bytes],
        written: Sequence[Sequence[Output]] | None = None,
    ) -> Stopwatch:
        """Read a thousand, write what our gate writes of as many, commit; again."""
        watch = Stopwatch(len(self.events))
        transactions = iter(self._written if written is None else written)
        with closing(self._consumer()) as consumer, closing(self._producer()) as producer:
            producer.init_transactions()
            left = True
            while left:
                values, positions = self._thousand(consumer, watch, decode)
                producer.begin_transaction()
                for out in next(transactions):
                    key, time_of_it = out.key.encode(), [("t", round(out.timestamp * 1000).to_bytes(8, "big"))]
                    producer.send(self._prefix + out.topic, encode(out.value), key, time_of_it, out.partition)
                producer.send_offsets_to_transaction(positions, consumer.group_metadata())
                producer.commit_transaction()
                left = watch.add(len(values))
        return watch

    def _thousand(
        self, consumer: KafkaConsumer, watch: Stopwatch, decode: Callable[[bytes], Any]
    ) -> tuple[list[Any], dict[Where, OffsetAndMetadata]]:
        """The next thousand events, or as many as are left, and the positions after them."""
        values: list[Any] = []
        positions: dict[Where, OffsetAndMetadata] = {}
        due = min(TRANSACTION, len(self.events) - watch.done)
        while len(values) < due:
            for where, records in consumer.poll(1000, due - len(values)).items():
                values += [decode(record.value) for record in records]
                positions[where] = OffsetAndMetadata(records[-1].offset + 1, "", -1)
        return values, positions

    def gate(
        self, canned: Mapping[str, GatedEvent] | None = None, written: list[list[Output]] | None = None
    ) -> Stopwatch:
        """Our gate over the whole stream, as a group that has never read it."""
        config, stop, watch, metrics = self._afresh(), Event(), Stopwatch(len(self.events)), new_metrics()
        MeasuredGate.canned = canned
        tables = UserTables(self._tables / config.log.prefix)
        stage = MeasuredGate(self._own_setup(), config, self._store, tables, "gate", metrics)
        stage.written = written

        def at(point: Point) -> None:
            if point is Point.COMMITTED and not watch.add(stage.taken):
                stop.set()

        health = LoopHealth(metrics, time.monotonic, print)
        Loop(stage, partial(_open, config), "gate", config.consumers, TRANSACTION, stop, health, at).run()
        return watch

    def handler(self) -> Stopwatch:
        """Run the computations of the gate on windows, without a log."""
        setup = self._own_setup()
        host, encoder = AdapterHost(setup.backbone, self.config.adapter), HashingEncoder()
        scoring = GateScoring(setup, self.config, encoder, host, self._store, "handler", new_metrics(), lambda *_: None)
        return self._each(scoring.score)

    def encoder(self) -> Stopwatch:
        """Encode and score windows once, the least that a gate can ask of a model."""
        setup, length = self._own_setup(), self.config.windows.length
        host, catalogue = AdapterHost(setup.backbone, self.config.adapter), OpenCatalogue(setup.catalogue, None)
        for event in self._answers.values():
            catalogue.take(event.target)
        host.follow(catalogue)
        existence = catalogue.existence()

        def encode(taken: Sequence[Taken]) -> object:
            contexts, _ = catalogue.contexts([history for _, history in taken], length)
            return next_item_probabilities(host, contexts, None, existence)

        return self._each(encode)

    def _each(self, ask: Callable[[Sequence[Taken]], object]) -> Stopwatch:
        watch = Stopwatch(len(self.events))
        for taken in self._batches:
            ask(taken)
            watch.add(len(taken))
        return watch

    def _afresh(self) -> Config:
        """Topics that nobody has read or written yet, with the stream in them."""
        prefix = f"{self.config.log.prefix}{next(self._runs)}-"
        config = self.config.model_copy(update={"log": self.config.log.model_copy(update={"prefix": prefix})})
        with closing(_open(config)) as log:
            log.create_topics(pipeline_topics(config.log.partitions))
            stream = replace(self._feed, items=(), past=())
            FeedWriter(log, stream, "stream", {}, lambda *_: None).write_stream(Pace(), time.sleep, time.monotonic)
        return config

    def _own_setup(self) -> SetUp:
        """The set-up with a backbone that nobody else has wrapped."""
        return replace(self._setup, backbone=copy.deepcopy(self._setup.backbone))

    def _consumer(self) -> KafkaConsumer:
        return KafkaConsumer(
            self._prefix + INTERACTIONS,
            bootstrap_servers=self._servers,
            group_id=f"{self._prefix}bare-{next(self._runs)}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
        )

    def _producer(self) -> KafkaProducer:
        """With the settings of ours."""
        return KafkaProducer(
            bootstrap_servers=self._servers,
            transactional_id=f"{self._prefix}bare-{next(self._runs)}",
            acks="all",
            batch_size=256 * 1024,
        )


def _open(config: Config) -> Log:
    return open_log(config.log.url, config.log)


def _encoded(value: Mapping[str, Any] | None) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


if __name__ == "__main__":
    main()
