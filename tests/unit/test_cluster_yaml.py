"""cluster.yaml is what Ray's launcher accepts, and keeps what we promise of it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_the_file_is_valid_against_rays_own_schema(cluster):
    import importlib.util

    ray = Path(importlib.util.find_spec("ray").origin).parent
    schema = json.loads((ray / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(cluster, schema)


def test_rays_launcher_accepts_the_file_with_its_defaults(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_without_jobs_only_the_head_is_left(cluster):
    workers = {
        name: node for name, node in cluster["available_node_types"].items() if name != "head"
    }
    assert {name: (node["min_workers"], node["max_workers"]) for name, node in workers.items()} == {
        "cpu": (0, 8),
        "gpu": (0, 8),
    }
    assert workers["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert cluster["max_workers"] == 16


def test_nobody_gets_in_without_the_token(cluster):
    assert "-e RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in cluster["setup_commands"])
    assert any("--dashboard-host=127.0.0.1" in c for c in cluster["head_start_ray_commands"])


def test_the_nodes_run_the_ray_that_is_pinned(cluster):
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert cluster["docker"]["image"].startswith(f"rayproject/ray:{pinned['ray']}-py311")
