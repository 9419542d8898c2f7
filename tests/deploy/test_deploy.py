"""The files of a deployment: valid, complete, and of one mind with each other and with the command line."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from consumers.cli.main import app
from consumers.http.exposure import check_exposure
from pipeline.config import Config, load_config

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
STAGES = ("gate", "monitor", "train")
HTTP = ("serve", "ingest")
SECTIONS = {"serve": "server", "ingest": "ingest"}
OURS = (*STAGES, *HTTP, "topics")


def config_of(service: str) -> Config:
    """As the process in the container reads it; numbers of YAML are text in an environment."""
    given = {name: str(value) for name, value in SERVICES[service]["environment"].items()}
    return load_config(None, (), {**given, **tokens_of(given)})


def tokens_of(environment: dict[str, str]) -> dict[str, str]:
    """The tokens that compose asks for, as the comment of its file shows them."""
    (shown,) = re.findall(r"RAIE_TOKENS='(.+)'", (DEPLOY / "compose.yaml").read_text())
    name = "RAIE__ACCESS__TOKENS"
    return {name: shown.replace("...", "a" * 64)} if name in environment else {}


def mounts(service: str) -> dict[str, str]:
    """Folder in the container -> what is mounted there."""
    volumes = (volume.split(":") for volume in SERVICES[service].get("volumes", ()))
    return {target: source for source, target, *_ in volumes}


def test_all_parts_are_there() -> None:
    assert {*OURS, "kafka", "prometheus", "grafana"} == set(SERVICES)
    assert all("image" in service for service in SERVICES.values())
    assert (DEPLOY / "Dockerfile").is_file()


@pytest.mark.parametrize("service", SERVICES)
def test_what_is_mounted_and_waited_for_exists(service: str) -> None:
    assert set(SERVICES[service].get("depends_on", ())) <= set(SERVICES)
    for source in mounts(service).values():
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_the_image_has_every_package_that_is_installed() -> None:
    copied = re.findall(r"^COPY (\w+) \1$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert set(copied) == {"pipeline", "consumers", "adapters_store"}
    assert all((ROOT / name).is_dir() for name in copied)


def test_the_image_runs_as_a_user_without_rights_who_is_that_of_the_chart() -> None:
    (user,) = re.findall(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert int(user) > 0
    assert f"runAsUser: {user}\n" in (DEPLOY / "chart" / "templates" / "_helpers.tpl").read_text()


@pytest.mark.parametrize("service", OURS)
def test_a_service_runs_a_command_that_exists_with_options_that_it_takes(service: str) -> None:
    name, *rest = SERVICES[service]["command"]
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    if service == "topics":
        command = command.commands[rest.pop(0)]
    else:
        assert name == service
    asked = command.make_context(name, list(rest)).params
    assert str(asked.get("root", "/root-of-raie")) in mounts(service), "what setup made is kept"


@pytest.mark.parametrize("service", OURS)
def test_the_settings_are_those_of_the_pipeline_and_point_to_the_broker(service: str) -> None:
    assert config_of(service).log.url == "kafka://kafka:9092"
    assert SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"


def test_the_broker_is_set_by_names_that_it_knows_and_keeps_its_log_on_the_volume() -> None:
    known = re.findall(r"^([a-z.]+)=", (ROOT / "scripts" / "kafka").read_text(), re.MULTILINE)
    asked = SERVICES["kafka"]["environment"]
    assert {name.removeprefix("KAFKA_").lower().replace("_", ".") for name in asked} <= set(known)
    assert mounts("kafka")[asked["KAFKA_LOG_DIRS"]] == "kafka"


def test_nothing_is_open_to_other_machines_and_what_is_open_is_listened_on() -> None:
    listens = {"serve": config_of("serve").server.port, "prometheus": 9090, "grafana": 3000}
    listens["ingest"] = config_of("ingest").ingest.port
    opened = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert opened == {name: [f"127.0.0.1:{port}:{port}"] for name, port in listens.items()}
    assert config_of("serve").server.host == config_of("ingest").ingest.host == "0.0.0.0"


def test_prometheus_asks_every_stage_where_it_answers() -> None:
    assert mounts("prometheus")["/etc/prometheus"] == "./prometheus"
    entries = yaml.safe_load((DEPLOY / "prometheus" / "targets.yml").read_text())
    answers = {f"{name}:{config_of(name).consumers.port}" for name in STAGES}
    assert {target for entry in entries for target in entry["targets"]} == {
        *answers,
        f"serve:{config_of('serve').server.port}",
        f"ingest:{config_of('ingest').ingest.port}",
    }
    assert {config_of(name).consumers.host for name in STAGES} == {"0.0.0.0"}


def test_grafana_finds_its_sources_and_dashboards() -> None:
    mounted, provisioning = mounts("grafana"), DEPLOY / "grafana" / "provisioning"
    assert mounted["/etc/grafana/provisioning"] == "./grafana/provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "raie.yml").read_text())["providers"]
    assert mounted[provider["options"]["path"]] == "./grafana/dashboards"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


@pytest.mark.parametrize("service", [*STAGES, *HTTP])
def test_every_process_that_answers_is_asked_whether_it_is_healthy(service: str) -> None:
    config = config_of(service)
    port = {"serve": config.server.port, "ingest": config.ingest.port}.get(service, config.consumers.port)
    assert f"http://127.0.0.1:{port}/" in " ".join(SERVICES[service]["healthcheck"]["test"])


def test_no_password_is_a_default() -> None:
    assert SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")
    for service in HTTP:
        assert SERVICES[service]["environment"]["RAIE__ACCESS__TOKENS"].startswith("${RAIE_TOKENS:?")
        check_exposure(SECTIONS[service], "0.0.0.0", config_of(service).access, {})


def test_the_build_context_has_what_is_copied_and_no_more() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == {name for line in copied for name in line.split()}
