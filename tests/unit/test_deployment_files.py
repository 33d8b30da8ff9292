"""The files for `serve deploy` and for KubeRay say what their readers understand."""

import gzip
import json
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from cluster_files import ROOT, TOKEN_SINCE, pinned, settings_of_the_way_in
from jsonschema import Draft202012Validator, ValidationError

from bigmodel.recipe import load_recipe
from serve.wanted import DEPLOYMENT, ServeArgs, Wish

SCHEMAS = ROOT / "tests" / "data" / "kuberay"
"""KubeRay's own, of the release that the files name."""

FILES = ["raycluster", "rayjob", "rayservice"]
SPOT, STEADY = {"ray.io/market-type": "spot"}, {"ray.io/market-type": "on-demand"}


def resource(name: str) -> Any:
    """The one of KubeRay's in a file of docs/clusters, which may hold others."""
    kept = (ROOT / "docs" / "clusters" / f"{name}.yaml").read_text(encoding="utf-8")
    (found,) = [one for one in yaml.safe_load_all(kept) if one["apiVersion"] == "ray.io/v1"]
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
        (container,) = group["template"]["spec"]["containers"]
        found = {each["name"]: each["value"] for each in container["env"]}
        wanted = settings_of_the_way_in()
        assert {key: found[key] for key in wanted} == wanted
        assert {key for key in found if key.startswith("RAY_SERVE_")} == set(wanted)


def test_the_job_is_a_command_of_ours_with_a_recipe_that_can_be_read(tmp_path: Path) -> None:
    kept = (ROOT / "docs" / "clusters" / "rayjob.yaml").read_text(encoding="utf-8")
    config, job = yaml.safe_load_all(kept)
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
