"""The files for `serve deploy` and for KubeRay say what their readers understand."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serve.wanted import DEPLOYMENT, ServeArgs, Wish

ROOT = Path(__file__).parents[2]


def fields(*required: str, **properties: Any) -> dict[str, Any]:
    """An object of these and no others."""
    return {
        "type": "object",
        "required": list(required),
        "properties": properties,
        "additionalProperties": False,
    }


def each(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


TEXT, NUMBER, SWITCH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
CONTAINER = fields(
    "name",
    name=TEXT,
    image=TEXT,
    env=each(fields("name", name=TEXT, value=TEXT)),
    ports=each(fields("containerPort", containerPort=NUMBER, name=TEXT)),
    resources=fields(requests=TEXTS, limits=TEXTS),
)
POD = fields(spec=fields("containers", containers=each(CONTAINER)))
WORKERS = fields(
    "groupName",
    "maxReplicas",
    "minReplicas",
    "template",
    groupName=TEXT,
    replicas=NUMBER,
    minReplicas=NUMBER,
    maxReplicas=NUMBER,
    rayStartParams=TEXTS,
    template=POD,
)
CLUSTER = fields(
    "headGroupSpec",
    rayVersion=TEXT,
    authOptions=fields(mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=SWITCH,
    headGroupSpec=fields("template", rayStartParams=TEXTS, template=POD),
    workerGroupSpecs=each(WORKERS),
)
RAY_SERVICE = fields(
    "apiVersion",
    "kind",
    "metadata",
    "spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayService"},
    metadata=fields("name", name=TEXT),
    spec=fields("rayClusterConfig", serveConfigV2=TEXT, rayClusterConfig=CLUSTER),
)
"""What KubeRay's ray.io/v1 knows of a RayService, as far as ours uses it (read at v1.7)."""


def kuberay() -> Any:
    return yaml.safe_load((ROOT / "docs" / "rayservice.yaml").read_text(encoding="utf-8"))


def test_kuberay_knows_every_field_of_the_example() -> None:
    jsonschema.validate(kuberay(), RAY_SERVICE)


@pytest.mark.parametrize("place", ["serve/config.yaml", "docs/rayservice.yaml"])
def test_what_serve_is_told_is_what_replicas_read(place: str) -> None:
    kept = (ROOT / place).read_text(encoding="utf-8")
    config = yaml.safe_load(
        kept if place.startswith("serve") else kuberay()["spec"]["serveConfigV2"]
    )
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    args = ServeArgs.model_validate(application["args"])
    wish = Wish.model_validate(deployment["user_config"])
    assert (application["name"], deployment["name"]) == ("bigmodel", DEPLOYMENT)
    assert application["import_path"] == "serve.app:build"
    assert args.name in wish.models
    assert args.keys or config["http_options"]["host"] == "127.0.0.1"
