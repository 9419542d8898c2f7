"""The files of a deployment: valid, complete, and of one mind with each other and with the command line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from pipeline.cli import app
from pipeline.config import load_config

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_all_parts_are_there() -> None:
    consumers = {"gate", "monitor", "train", "serve"}
    assert consumers | {"kafka", "topics", "prometheus", "grafana"} == set(SERVICES)
    assert all(SERVICES[name]["command"][0] == name for name in consumers)
    assert all("image" in service for service in SERVICES.values())
    assert (DEPLOY / "Dockerfile").is_file()


def test_what_is_mounted_and_waited_for_exists() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for source in (volume.split(":")[0] for volume in service.get("volumes", ())):
            assert (DEPLOY / source).is_file() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_settings_are_those_of_the_pipeline_and_point_to_the_broker() -> None:
    config = load_config(None, (), SERVICES["gate"]["environment"])
    assert config.log.url == "kafka://kafka:9092"
    assert SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_prometheus_asks_every_consumer_and_grafana_asks_prometheus() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]["static_configs"][0]
    assert {target.split(":")[0] for target in scraped["targets"]} == {"gate", "monitor", "train", "serve"}
    (source,) = yaml.safe_load((DEPLOY / "grafana-datasource.yaml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("service", ["topics"])
def test_a_service_runs_a_command_that_exists(service: str) -> None:
    name, *rest = SERVICES[service]["command"]
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert rest[0] in command.commands
