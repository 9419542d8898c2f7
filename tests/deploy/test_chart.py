"""The Helm chart: its values are checked, and what it renders runs the pipeline.

RAIE_SOAK=1 lints and renders it with helm, as `make soak` does: the one on the PATH, or one that Go builds. Without it
only values, schema and the names in templates are tested, not what helm makes of them.
"""

import json
import os
import re
import shutil
import subprocess
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator
from typer.main import get_command

from consumers.cli.main import app
from consumers.http.exposure import check_exposure
from pipeline.build_info import PROGRAM, version_of
from pipeline.config import load_config

CHART = Path(__file__).parents[2] / "deploy" / "chart"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = Draft7Validator(json.loads((CHART / "values.schema.json").read_text()))
TEMPLATES = "\n".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))
STAGES = ("gate", "monitor", "train", "serve", "ingest")
SECTIONS = {"serve": "server", "ingest": "ingest"}
TOKENS = {"RAIE__ACCESS__TOKENS": "{shop: {roles: [read, ingest], sha256: " + "a" * 64 + "}}"}

WRONG: dict[str, Any] = {
    "stages.gate.replicas": -1,
    "stages.canary": {"replicas": 1, "resources": {}},
    "kafka.bootstrapServers": [],
    "kafka.bootstrapServers.0": "kafka://kafka:9092",
    "persistence.root.size": "much",
    "persistence.root.accessModes": ["ReadOnlyMany"],
    "probes.liveness.periodSeconds": 0,
    "image.tags": "1",
    "secrets.tokens": "in plain text",
    "replicas": 3,
}
"""Value -> what the schema refuses."""


def changed(path: str, value: Any) -> dict[str, Any]:
    """The values with another one, as `--set` makes them."""
    values = deepcopy(VALUES)
    *names, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    reduce(lambda tree, name: tree[name], names, values)[last] = value  # type: ignore[call-overload]
    return values


def test_the_default_values_are_as_the_schema_says_and_it_has_all_of_them() -> None:
    assert not list(SCHEMA.iter_errors(VALUES))
    assert set(VALUES) == set(SCHEMA.schema["properties"]) - {"global"}


@pytest.mark.parametrize("path", WRONG)
def test_a_wrong_value_is_refused(path: str) -> None:
    assert list(SCHEMA.iter_errors(changed(path, WRONG[path])))


def test_templates_use_every_value_and_no_other() -> None:
    used = set(re.findall(r"\.Values\.([A-Za-z]+(?:\.[A-Za-z]+)*)", TEMPLATES))
    for name in used:
        reduce(lambda tree, part: tree[part], name.split("."), VALUES)
    assert {name.split(".")[0] for name in used} == set(VALUES)
    for section in ("image", "secrets", "probes", "service"):
        assert {name.split(".")[1] for name in used if name.startswith(f"{section}.")} == set(VALUES[section])


def test_the_version_is_that_of_the_package() -> None:
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"] == version_of(PROGRAM)


def test_settings_that_the_chart_makes_are_those_of_the_pipeline() -> None:
    named = set(re.findall(r"\bRAIE__\w+", TEMPLATES)) - set(TOKENS)
    given = {name: "1" if name.endswith("PORT") else "0.0.0.0" for name in named}
    load_config(None, (), {**given, **TOKENS, "RAIE__LOG__URL": "kafka://one:1,two:2,three:3"})


def test_default_settings_are_valid(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(VALUES["config"]))
    assert load_config(tmp_path / "config.yaml", (), {}).log.replication_factor == 3


if os.environ.get("RAIE_SOAK"):

    @pytest.fixture(scope="module")
    def helm(tmp_path_factory: pytest.TempPathFactory) -> str:
        """A helm, from the Go module proxy where none is installed."""
        found = shutil.which("helm")
        if found is None:
            assert shutil.which("go"), "neither helm nor go is on the PATH"
            folder = tmp_path_factory.mktemp("helm")
            subprocess.run(["go", "install", HELM], env={**os.environ, "GOBIN": str(folder)}, check=True)
            found = str(folder / "helm")
        return found

    def template(helm: str, *settings: str) -> subprocess.CompletedProcess[str]:
        """`helm template`, for a version of Kubernetes that a helm of Go alone does not know."""
        command = [helm, "template", "shop", str(CHART), "--kube-version=1.30.0"]
        command += [f"--set={setting}" for setting in settings]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def rendered(helm: str, *settings: str) -> list[dict[str, Any]]:
        """Return what `helm template` makes of the chart."""
        done = template(helm, "secrets.access=raie-tokens", *settings)
        assert done.returncode == 0, done.stderr
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
        return {document["metadata"]["name"]: document for document in documents if document["kind"] == kind}

    # The first to ask for helm: Go may have to build it.
    @pytest.mark.timeout(1_800)
    def test_helm_finds_nothing_to_say(helm: str) -> None:
        command = [helm, "lint", "--strict", str(CHART), "--set", "secrets.access=raie-tokens"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize(
        ("setting", "said"), [("stages.gate.replicas=-1", "minimum"), ("secrets.access=", "name a Secret")]
    )
    def test_helm_refuses_wrong_values_by_name(helm: str, setting: str, said: str) -> None:
        done = template(helm, "secrets.access=raie-tokens", setting)
        assert done.returncode != 0
        assert said in done.stderr

    @pytest.mark.parametrize("stage", STAGES)
    def test_a_stage_runs_as_its_command_and_settings_say(helm: str, stage: str, tmp_path: Path) -> None:
        documents = rendered(helm, f"stages.{stage}.replicas=3")
        of = of_kind(documents, "StatefulSet")[f"shop-raie-{stage}"]
        assert of["spec"]["replicas"] == 3
        pod = of["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
        name, *rest = container["args"]
        assert name == stage
        asked = get_command(app).commands[stage].make_context(stage, rest).params  # type: ignore[attr-defined]
        assert asked["instance"] == "$(POD_NAME)"
        mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        assert str(asked.get("root", "/root-of-raie")) in mounted or stage == "ingest"
        templates = {template["metadata"]["name"] for template in of["spec"].get("volumeClaimTemplates", ())}
        assert set(mounted.values()) <= {volume["name"] for volume in pod["volumes"]} | templates
        (settings,) = of_kind(documents, "ConfigMap").values()
        (tmp_path / "config.yaml").write_text(settings["data"]["config.yaml"])
        environment = {entry["name"]: str(entry["value"]) for entry in container["env"] if "value" in entry}
        secrets = [source["secretRef"]["name"] for source in container.get("envFrom", ())]
        assert secrets == (["raie-tokens"] if stage in SECTIONS else [])
        config = load_config(tmp_path / "config.yaml", (), {**environment, **(TOKENS if secrets else {})})
        assert config.log.url == "kafka://kafka-0.kafka:9092,kafka-1.kafka:9092,kafka-2.kafka:9092"
        section = getattr(config, SECTIONS.get(stage, "consumers"))
        assert section.host == "0.0.0.0"
        if stage in SECTIONS:
            check_exposure(SECTIONS[stage], section.host, config.access, {})
        assert container["ports"] == [{"name": "http", "containerPort": section.port}]
        paths = {probe: container[f"{probe}Probe"]["httpGet"] for probe in ("startup", "liveness", "readiness")}
        assert {probe: of["path"] for probe, of in paths.items()} == {
            "startup": "/healthz",
            "liveness": "/healthz",
            "readiness": "/readyz",
        }
        service = of_kind(documents, "Service")[of["spec"]["serviceName"]]["spec"]
        assert service["selector"].items() <= of["spec"]["template"]["metadata"]["labels"].items()
        assert service["ports"][0]["port"] == section.port

    def test_what_people_change_is_rendered(helm: str) -> None:
        documents = rendered(
            helm,
            "persistence.root.existingClaim=ours",
            "persistence.users.enabled=false",
            "secrets.log=kafka-password",
            "config.gate.batch_size=64",
            "podAnnotations.team=shop",
            "image.tag=new",
        )
        assert not of_kind(documents, "PersistentVolumeClaim")
        gate = of_kind(documents, "StatefulSet")["shop-raie-gate"]["spec"]
        assert "volumeClaimTemplates" not in gate
        assert gate["template"]["metadata"]["annotations"]["team"] == "shop"
        volumes = {volume["name"]: volume for volume in gate["template"]["spec"]["volumes"]}
        assert volumes["root"]["persistentVolumeClaim"]["claimName"] == "ours"
        assert volumes["users"] == {"name": "users", "emptyDir": {}}
        container = gate["template"]["spec"]["containers"][0]
        assert container["image"] == "raie-stream:new"
        assert container["envFrom"] == [{"secretRef": {"name": "kafka-password"}}]
        (settings,) = of_kind(documents, "ConfigMap").values()
        assert yaml.safe_load(settings["data"]["config.yaml"])["gate"] == {"batch_size": 64}
        (job,) = of_kind(documents, "Job").values()
        assert job["spec"]["template"]["spec"]["containers"][0]["args"][:2] == ["topics", "create"]
