"""The ingest service goes on writing whatever records anyone has written into any topic."""

from pathlib import Path
from random import Random

from pipeline.config import LogSettings
from pipeline.streams.topics import INTERACTIONS, pipeline_topics
from tests.ingest.running import ingesting
from tests.random_records import flood

EVENT = {"user_id": "u1", "item_id": "i1", "timestamp": 1.7e9}


def test_ingest_survives_any_record_of_any_topic(tmp_path: Path) -> None:
    settings = LogSettings(url=f"sqlite:///{tmp_path / 'log.sqlite'}", partitions=2)
    for seed in range(2):
        with ingesting(settings) as running:
            for topic in pipeline_topics(2):
                flood(running.log, topic.name, [EVENT, {"kind": "log"}], 300, Random(f"{topic.name}{seed}"))
            ends = [running.log.end_offset(INTERACTIONS, partition) for partition in range(2)]
            assert running.post("/events", [EVENT]) == (202, {"accepted": 1, "refused": []})
            assert [running.log.end_offset(INTERACTIONS, partition) for partition in range(2)] != ends
            assert running.ask("GET", "/readyz")[0] == 200
