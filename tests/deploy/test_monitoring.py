"""What Prometheus and Grafana are given asks only for metrics and labels that there are, and is sound to promtool."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from pipeline.telemetry import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS, DASHBOARD = DEPLOY / "prometheus", DEPLOY / "grafana/dashboards/raie.json"
RULES = ("rules.yml", "slo.yml", "alerts.yml")
RUNBOOK = DEPLOY.parent / "docs/guides/runbook.md"
OF_SCRAPE = {"stage", "instance", "job", "le"}
"""Labels that come from the scrape, or from histograms."""

NAME = re.compile(r"(?<![\w:])(raie_\w+)(?![\w:])")
RECORDED = re.compile(r"(?<![\w:])((?:\w+:)+\w+|\w+:\w+)(?![\w:])")
GROUPING = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")
MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")


def rules() -> Iterator[dict[str, str]]:
    for name in RULES:
        for group in yaml.safe_load((PROMETHEUS / name).read_text())["groups"]:
            yield from group["rules"]


def panels() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def expressions() -> list[str]:
    asked = [rule["expr"] for rule in rules()]
    dashboard = json.loads(DASHBOARD.read_text())
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    asked += [annotation["expr"] for annotation in dashboard["annotations"]["list"]]
    return asked


def exposed() -> tuple[set[str], set[str]]:
    """Names of series and labels of every collector."""
    names, labels = set(), set()
    for collector in vars(Metrics(CollectorRegistry())).values():
        if not hasattr(collector, "describe"):
            continue
        family = collector.describe()[0]
        labels |= set(collector._labelnames)
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + end for end in ends}
    return names, labels


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_that_is_asked_for_is_exposed(expression: str) -> None:
    names, labels = exposed()
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    bare = re.sub(r'"[^"]*"', '""', expression)
    aggregates = {name for name in RECORDED.findall(bare) if "raie_" in name}
    assert set(NAME.findall(bare)) - recorded <= names
    assert aggregates <= recorded
    assert NAME.findall(bare) or aggregates or bare.startswith("up{")
    grouped = {label.strip() for group in GROUPING.findall(bare) for label in group.split(",") if label.strip()}
    assert grouped | set(MATCHER.findall(expression)) <= labels | OF_SCRAPE
    assert all(bare.count(one) == bare.count(two) for one, two in ("()", "{}", "[]"))


def test_an_unknown_metric_would_be_seen() -> None:
    names, _ = exposed()
    assert "raie_events_total" in names and "raie_request_seconds_bucket" in names
    assert not set(NAME.findall("rate(raie_event_total[5m])")) <= names


def test_every_alert_says_how_bad_it_is_and_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert {"PositionStandsStill", "StageDown"} <= {rule["alert"] for rule in alerts}
    for rule in alerts:
        assert rule["labels"]["severity"] in ("page", "ticket")  # type: ignore[index]
        assert set(rule["annotations"]) == {"summary", "action"}


def entries(runbook: str) -> list[str]:
    """Alerts that a runbook has an entry for, in its order."""
    return re.findall(r"^### (\w+)$", runbook, re.MULTILINE)


def test_the_runbook_has_an_entry_for_each_alert_and_no_other() -> None:
    assert entries(RUNBOOK.read_text()) == [rule["alert"] for rule in rules() if "alert" in rule]


def test_an_entry_says_what_it_means_where_to_look_and_what_to_do() -> None:
    _, *sections = re.split(r"^### ", RUNBOOK.read_text(), flags=re.MULTILINE)
    lacking = [
        (section.split("\n")[0], word)
        for section in sections
        for word in ("Means", "Look", "Do")
        if not re.search(rf"^- \*\*{word}\*\*: \S", section, re.MULTILINE)
    ]
    assert lacking == []


def test_every_service_level_has_each_window_of_the_alerts() -> None:
    recorded = {
        (rule["record"], rule["labels"]["slo"]) for rule in rules() if rule.get("record", "").startswith("slo:")
    }  # type: ignore[index]
    levels = {slo for _, slo in recorded}
    asked = {name for rule in rules() if "alert" in rule for name in re.findall(r"slo:\w+:\w+", rule["expr"])}
    assert levels == {"answers", "freshness", "gating"}
    assert recorded == {(name, slo) for name in asked for slo in levels}


def test_the_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at: dict[str, int] = panel["gridPos"]  # type: ignore[assignment]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24
        taken |= cells


def test_grafana_finds_its_source() -> None:
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    asked = re.findall(r'"uid": "([^"]*)"', DASHBOARD.read_text())
    assert set(asked) == {uid, "raie"}


def test_prometheus_is_told_of_every_file() -> None:
    told = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    assert set(told["rule_files"]) == set(RULES)
    files = told["scrape_configs"][0]["file_sd_configs"][0]["files"]
    assert all((PROMETHEUS / name).is_file() for name in files)


@pytest.mark.skipif(not shutil.which("promtool"), reason="alert rules: no promtool on the PATH (Debian: prometheus)")
@pytest.mark.parametrize(
    "command", [["check", "config", "prometheus.yml"], ["check", "rules", *RULES], ["test", "rules", "alerts_test.yml"]]
)
def test_promtool_finds_it_sound(command: list[str]) -> None:
    done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
