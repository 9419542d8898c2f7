"""A real Prometheus server, with the rules that are shipped, beside a gate that runs."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml
from prometheus_client import CollectorRegistry

from consumers.runtime.health import LoopHealth
from consumers.runtime.http_status import served
from pipeline.streams import LocalLog
from pipeline.telemetry import Metrics
from tests.consumers.gating import changed, events, fill, gate_loop, said
from tests.deploy.test_monitoring import PROMETHEUS, RULES

EVENTS = 60
PATIENCE = 60.0

pytestmark = pytest.mark.skipif(
    not shutil.which("prometheus"), reason="scraping: no prometheus on the PATH (Debian: prometheus)"
)


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[int]:
    """Port of a gate's /metrics, after it has gated some events."""
    metrics = Metrics(CollectorRegistry())
    fill(LocalLog(tmp_path / "log.sqlite"), [said(e) for e in events()[1][:EVENTS]])
    gate_loop(lambda: LocalLog(tmp_path / "log.sqlite"), tmp_path, changed(), metrics=metrics).run()
    health = LoopHealth(metrics, time.monotonic, lambda _: None)
    with served(metrics, health, "127.0.0.1", 0) as port:
        yield port


@pytest.fixture
def server(scraped: int, tmp_path: Path) -> Iterator[str]:
    """Address of a Prometheus that looks at it every second."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / name) for name in RULES]
    target = {"targets": [f"127.0.0.1:{scraped}"], "labels": {"stage": "gate", "instance": "gate-0"}}
    config["scrape_configs"] = [{"job_name": "raie", "static_configs": [target]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = subprocess.Popen(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address={address}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://{address}/api/v1"
    process.terminate()
    process.wait()


def asked(address: str, path: str, enough: Callable[[Any], bool]) -> Any:
    """What the server answers, as soon as it is enough."""
    deadline, data = time.monotonic() + PATIENCE, None
    while time.monotonic() < deadline:
        try:
            with urlopen(f"{address}/{path}", timeout=5) as answer:
                data = json.load(answer)["data"]
        except OSError:
            data = None
        if data is not None and enough(data):
            return data
        time.sleep(0.3)
    raise AssertionError(f"{path}: {data}")


def test_a_running_gate_is_scraped_and_every_rule_can_be_evaluated(server: str) -> None:
    counted = asked(server, f"query?query={quote('sum(raie_events_total)')}", lambda d: bool(d["result"]))
    assert float(counted["result"][0]["value"][1]) >= EVENTS
    buckets = quote("count(raie_gate_confidence_bucket)")
    asked(server, f"query?query={buckets}", lambda d: bool(d["result"]))
    groups = asked(
        server,
        "rules",
        lambda d: d["groups"] and all(rule["health"] != "unknown" for g in d["groups"] for rule in g["rules"]),
    )["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(
        len(group["rules"]) for name in RULES for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    )
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
