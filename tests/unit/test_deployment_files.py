"""The files for `serve deploy` and for KubeRay say what their readers understand."""

import gzip
import json
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from cluster_files import ROOT, TOKEN_SINCE, mlflow_answers_to, pinned, settings_of_the_way_in
from jsonschema import Draft202012Validator, ValidationError
from rich.console import Console

from bigmodel.errors import RecipeError
from bigmodel.recipe import load_recipe
from bigmodel.tracking import check_place
from bigmodel.versions import Version
from jobs.models import _row, _show_one
from serve.wanted import DEPLOYMENT, ServeArgs, Wish

SCHEMAS = ROOT / "tests" / "data" / "kuberay"
"""KubeRay's own, of the release that the files name."""

KUBERNETES = ROOT / "tests" / "data" / "kubernetes"
"""Of its own resources."""

FILES = ["raycluster", "rayjob", "rayservice"]
TRAINING = ["raycluster", "rayjob"]
SPOT, STEADY = {"ray.io/market-type": "spot"}, {"ray.io/market-type": "on-demand"}


def resources(name: str) -> list[Any]:
    """All in a file of docs/clusters."""
    kept = (ROOT / "docs" / "clusters" / f"{name}.yaml").read_text(encoding="utf-8")
    return list(yaml.safe_load_all(kept))


def resource(name: str) -> Any:
    """The one of KubeRay's in a file, which may hold others."""
    (found,) = [one for one in resources(name) if one["apiVersion"] == "ray.io/v1"]
    return found


def of_kind(kind: str) -> Any:
    """One of those that MLflow's server is made of."""
    (found,) = [one for one in resources("mlflow") if one["kind"] == kind]
    return found


def cluster_of(found: Any) -> Any:
    """What a resource says of its Ray cluster."""
    spec = found["spec"]
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


def groups_of(found: Any) -> Iterator[Any]:
    """The head's and the workers' groups of machines."""
    cluster = cluster_of(found)
    yield cluster["headGroupSpec"]
    yield from cluster["workerGroupSpecs"]


def variables(group: Any) -> dict[str, str]:
    """What is set in the pods of a group."""
    (container,) = group["template"]["spec"]["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


def closed(schema: Any) -> Any:
    """The schema, but it refuses fields that it doesn't name: Kubernetes drops them in silence."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(part) for name, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            inner.setdefault("additionalProperties", False)
    return inner


@pytest.fixture(scope="module")
def schemas() -> dict[str, Draft202012Validator]:
    read = {name: gzip.decompress((SCHEMAS / f"{name}s.json.gz").read_bytes()) for name in FILES}
    return {name: Draft202012Validator(closed(json.loads(one))) for name, one in read.items()}


@pytest.mark.parametrize("name", FILES)
def test_kuberays_own_schema_knows_every_field(
    name: str, schemas: dict[str, Draft202012Validator]
) -> None:
    found = resource(name)
    assert found["kind"].lower() == name
    schemas[name].validate(found)


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ((), "authOption"),
        (("authOptions",), "modes"),
        (("headGroupSpec",), "label"),
        (("headGroupSpec", "template", "spec", "containers", 0), "environment"),
        (("workerGroupSpecs", 0), "maxReplica"),
    ],
)
def test_a_field_that_kuberay_would_drop_in_silence_is_found(
    place: tuple[Any, ...], field: str, schemas: dict[str, Draft202012Validator]
) -> None:
    found = resource("raycluster")
    inner = found["spec"]
    for key in place:
        inner = inner[key]
    inner[field] = "x"
    with pytest.raises(ValidationError, match=field):
        schemas["raycluster"].validate(found)


@pytest.mark.parametrize("name", FILES)
def test_no_cluster_is_open_and_each_is_of_the_pinned_ray(name: str) -> None:
    cluster = cluster_of(resource(name))
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"] == pinned("ray")
    assert tuple(map(int, cluster["rayVersion"].split("."))) >= TOKEN_SINCE
    images = {
        each["image"].removesuffix("-gpu")
        for group in groups_of(resource(name))
        for each in group["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.com/bigmodel:1"}


@pytest.mark.parametrize("name", FILES)
def test_the_autoscaler_is_the_one_that_knows_labels(name: str) -> None:
    cluster = cluster_of(resource(name))
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["autoscalerOptions"]["version"] == "v2"
    head, *workers = groups_of(resource(name))
    assert (head["resources"], head["labels"]) == ({"CPU": "0"}, STEADY)
    for group in workers:
        on_spot = "nodeSelector" in group["template"]["spec"]
        assert group["labels"] == (SPOT if on_spot else STEADY), group["groupName"]
        assert group["minReplicas"] == (2 if name == "rayservice" else 0)


@pytest.mark.parametrize("name", ["raycluster", "rayservice"])
def test_every_pod_has_haproxy_set_before_ray_starts(name: str) -> None:
    for group in groups_of(resource(name)):
        found, wanted = variables(group), settings_of_the_way_in()
        assert {key: found[key] for key in wanted} == wanted
        assert {key for key in found if key.startswith("RAY_SERVE_")} == set(wanted)


def test_the_job_is_a_command_of_ours_with_a_recipe_that_can_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, job = resources("rayjob")
    python, dash, module, path = shlex.split(job["spec"]["entrypoint"])
    assert (python, dash) == ("python", "-m")
    assert isinstance(import_module(module).main, click.Command)
    (pod, *_) = (group["template"]["spec"] for group in groups_of(job))
    (mount,) = pod["containers"][0]["volumeMounts"]
    (volume,) = pod["volumes"]
    assert volume == {"name": mount["name"], "configMap": {"name": config["metadata"]["name"]}}
    file = tmp_path / Path(path).relative_to(mount["mountPath"])
    file.write_text(config["data"][file.name], encoding="utf-8")
    recipe = load_recipe(str(file), [])
    assert recipe.name == "reviews"
    assert recipe.storage == "s3://my-bucket/bigmodel"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(RecipeError, match="where MLflow can't keep its database"):
        check_place(recipe)
    (head, *_) = groups_of(job)
    for name, value in variables(head).items():
        monkeypatch.setenv(name, value)
    check_place(recipe)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param(one, id=one["kind"])
        for name in ("mlflow", "rayjob")
        for one in resources(name)
        if one["apiVersion"] != "ray.io/v1"
    ],
)
def test_kubernetes_own_schema_knows_every_field(found: Any) -> None:
    kept = gzip.decompress((KUBERNETES / f"{found['kind'].lower()}.json.gz").read_bytes())
    schema = Draft202012Validator(json.loads(kept))
    schema.validate(found)
    wrong = found | {"metadata": found["metadata"] | {"label": {"app": "mlflow"}}}
    with pytest.raises(ValidationError, match="label"):
        schema.validate(wrong)


def test_mlflow_is_reachable_inside_only_and_by_the_name_that_pods_know() -> None:
    service, deployment = of_kind("Service"), of_kind("Deployment")["spec"]
    (port,) = service["spec"]["ports"]
    address = f"{service['metadata']['name']}:{port['port']}"
    for group in (group for name in TRAINING for group in groups_of(resource(name))):
        assert variables(group)["MLFLOW_TRACKING_URI"] == f"http://{address}"
    assert service["spec"]["type"] == "ClusterIP"
    labels = deployment["template"]["metadata"]["labels"]
    (rule,) = of_kind("NetworkPolicy")["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {}}]
    selectors = [
        service["spec"]["selector"],
        deployment["selector"]["matchLabels"],
        of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * 3
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 5000, "name": port["targetPort"]}]


def test_mlflows_server_answers_to_the_names_that_pods_and_tunnels_have_for_it() -> None:
    (container,) = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    mlflow, verb, *options = container["command"]
    assert (mlflow, verb) == ("mlflow", "server")
    asked = dict(option.removeprefix("--").split("=") for option in options)
    hosts = asked["allowed-hosts"].split(",")
    assert (asked["host"], asked["port"]) == ("0.0.0.0", "5000")
    for host, allowed in {
        "bigmodel-mlflow:5000": True,
        "localhost:5000": True,
        "rebound.example.com:5000": False,
    }.items():
        assert mlflow_answers_to(host, hosts) is allowed
    (mount,) = container["volumeMounts"]
    assert asked["backend-store-uri"].startswith(f"sqlite:///{mount['mountPath']}/")
    assert asked["artifacts-destination"].startswith(f"{mount['mountPath']}/")
    (volume,) = of_kind("Deployment")["spec"]["template"]["spec"]["volumes"]
    claim = of_kind("PersistentVolumeClaim")["metadata"]["name"]
    assert volume == {"name": mount["name"], "persistentVolumeClaim": {"claimName": claim}}


@pytest.mark.parametrize("place", ["serve/config.yaml", "docs/clusters/rayservice.yaml"])
def test_what_serve_is_told_is_what_replicas_read(place: str) -> None:
    kept = (ROOT / place).read_text(encoding="utf-8")
    config = yaml.safe_load(
        kept if place.startswith("serve") else resource("rayservice")["spec"]["serveConfigV2"]
    )
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    args = ServeArgs.model_validate(application["args"])
    wish = Wish.model_validate(deployment["user_config"])
    assert (application["name"], deployment["name"]) == ("bigmodel", DEPLOYMENT)
    assert application["import_path"] == "serve.app:build"
    assert args.name in wish.models
    assert args.keys or config["http_options"]["host"] == "127.0.0.1"


def test_the_bucket_to_be_changed_has_one_name_in_all_files() -> None:
    files = [ROOT / "cluster.yaml", *(ROOT / "docs" / "clusters").glob("*.yaml")]
    kept = "".join(file.read_text(encoding="utf-8") for file in files)
    assert set(re.findall(r"s3://([\w-]+)", kept)) == {"my-bucket"}


def test_the_service_says_where_its_version_is_told() -> None:
    kept = (ROOT / "docs" / "clusters" / "rayservice.yaml").read_text(encoding="utf-8")
    said = (
        r"`bigmodel models show reviews@1` calls these two (\w+) and (\w+)\n +uri: .*\n +digest: "
    )
    (names,) = re.findall(said, kept)
    version = Version("reviews", 1, "s3://my-bucket/x", "2c26b46b", (), {}, "", "4f1c")
    shown = StringIO()
    Console(file=shown).print(_show_one(_row(version)))
    told = dict(re.findall(r"│ (\w+) +│ (\S+) +│", shown.getvalue()))
    assert [told[name] for name in names] == [version.uri, version.digest]
