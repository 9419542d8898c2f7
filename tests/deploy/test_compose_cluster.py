"""The compose file of a cluster: laid over compose.yaml it is three nodes, and two of each stage but the monitor."""

from functools import cache
from typing import Any

import pytest
import yaml

from pipeline.config import Config, load_config
from tests.deploy.test_deploy import COMPOSE, DEPLOY, tokens_of

NODES = ("kafka", "kafka-2", "kafka-3")
STAGES = {"gate": "gate", "gate-1": "gate", "monitor": "monitor", "train": "trainer", "train-1": "trainer"}
SERVERS = ("serve", "serve-1")
OTHERS = ("ingest", "topics")

Service = dict[str, Any]


class Loader(yaml.SafeLoader):
    """Reads the tag by which a list takes the place of the one before."""


Loader.add_constructor("!override", lambda loader, node: ("override", loader.construct_sequence(node)))


def laid_over(before: Service, after: Service) -> Service:
    """A service as compose merges it: settings by name, volumes by target, other lists one after the other."""
    merged = dict(before)
    for name, value in after.items():
        old = merged.get(name)
        if isinstance(value, tuple):
            merged[name] = value[1]
        elif isinstance(old, dict):
            merged[name] = {**old, **value}
        elif name == "volumes" and old:
            merged[name] = list({one.split(":")[1]: one for one in [*old, *value]}.values())
        elif isinstance(old, list) and name != "command":
            merged[name] = [*old, *value]
        else:
            merged[name] = value
    return merged


@cache
def services() -> dict[str, Service]:
    added = yaml.load((DEPLOY / "compose.cluster.yaml").read_text(), Loader)["services"]
    found: dict[str, Service] = dict(COMPOSE["services"])
    for name, service in added.items():
        own = {key: value for key, value in service.items() if key != "extends"}
        base = COMPOSE["services"][service["extends"]["service"]] if "extends" in service else found[name]
        found[name] = laid_over(base, own)
    return found


def config_of(service: str) -> Config:
    given = {name: str(value) for name, value in services()[service]["environment"].items()}
    return load_config(None, (), {**given, **tokens_of(given)})


def test_there_are_three_nodes_that_know_each_other_and_survive_the_loss_of_one() -> None:
    settings = [services()[node]["environment"] for node in NODES]
    voters = [f"{number}@{node}:9093" for number, node in enumerate(NODES, 1)]
    assert [one["KAFKA_NODE_ID"] for one in settings] == [1, 2, 3]
    assert {one["KAFKA_CONTROLLER_QUORUM_VOTERS"] for one in settings} == {",".join(voters)}
    assert [one["KAFKA_ADVERTISED_LISTENERS"] for one in settings] == [f"PLAINTEXT://{node}:9092" for node in NODES]
    copies = ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR")
    assert {one[name] for one in settings for name in copies} == {3}
    safe = ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "KAFKA_MIN_INSYNC_REPLICAS")
    assert {one[name] for one in settings for name in safe} == {2}
    logs = [volume for node in NODES for volume in services()[node]["volumes"]]
    assert len(set(logs)) == 3, "each node has a volume of its own"
    checked = ["".join(services()[node]["healthcheck"]["test"]) for node in NODES]
    assert all(f"{node}:9092" in check for node, check in zip(NODES, checked, strict=True))


@pytest.mark.parametrize("service", [*STAGES, *SERVERS, *OTHERS])
def test_every_process_knows_all_nodes_and_wants_three_copies(service: str) -> None:
    config = config_of(service)
    assert config.log.url == "kafka://" + ",".join(f"{node}:9092" for node in NODES)
    assert config.log.replication_factor == 3


def test_each_process_has_a_name_of_its_own_and_runs_what_the_one_it_extends_runs() -> None:
    named = [*STAGES, *SERVERS]
    instances = [services()[name]["command"][-1] for name in named]
    assert len(set(instances)) == len(named)
    for name in named:
        assert services()[name]["command"][:-1] == services()[name.removesuffix("-1")]["command"][:-1]
    assert set(services()["topics"]["depends_on"]) == set(NODES)


def test_servers_share_the_users_and_each_is_reached_at_a_port_of_its_own() -> None:
    configs = [config_of(name) for name in SERVERS]
    assert {tuple(config.server.peers) for config in configs} == {tuple(f"http://{name}:8080" for name in SERVERS)}
    assert [config.server.place for config in configs] == [0, 1]
    ports = [port for service in services().values() for port in service.get("ports", ())]
    assert len({port.rsplit(":", 1)[0] for port in ports}) == len(ports)
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len([port for name in SERVERS for port in services()[name]["ports"]]) == 2


def test_prometheus_asks_all_of_them() -> None:
    mounted = {v.split(":")[1]: v.split(":")[0] for v in services()["prometheus"]["volumes"]}
    targets = yaml.safe_load((DEPLOY / mounted["/etc/prometheus/targets.yml"]).read_text())
    asked = {(entry["labels"]["stage"], target) for entry in targets for target in entry["targets"]}
    expected = {(stage, f"{name}:{config_of(name).consumers.port}") for name, stage in STAGES.items()}
    expected |= {("server", f"{name}:{config_of(name).server.port}") for name in SERVERS}
    assert asked == expected | {("ingest", f"ingest:{config_of('ingest').ingest.port}")}
