"""The files for `ray up` are what Ray's launcher accepts, and keep what we promise of them."""

import copy
import importlib.util
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster_files import ROOT, pinned, settings_of_the_way_in

AWS, ONPREMISE = "cluster.yaml", "docs/clusters/onpremise.yaml"
both = pytest.mark.parametrize("place", [AWS, ONPREMISE])


def read(place: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / place).read_text(encoding="utf-8"))
    return found


def prepared(place: str) -> dict[str, Any]:
    """As Ray's launcher has it, with its defaults."""
    from ray.autoscaler._private.util import prepare_config

    found: dict[str, Any] = prepare_config(read(place))
    return found


def variables(place: str) -> dict[str, str]:
    """What Docker sets on every machine."""
    options = [each.partition(" ") for each in read(place)["docker"]["run_options"]]
    pairs = [value.partition("=") for flag, _, value in options if flag == "-e"]
    return {name: value for name, _, value in pairs}


@both
def test_the_file_is_valid_against_rays_own_schema(place: str) -> None:
    spec = importlib.util.find_spec("ray")
    assert spec and spec.origin
    schema = json.loads((Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(read(place), schema)
    wrong = read(place) | {"idle_timeout_minute": 10}
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minute"):
        jsonschema.validate(wrong, schema)


@both
def test_rays_launcher_accepts_the_file_with_its_defaults(place: str) -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(prepared(place))


@both
def test_the_autoscaler_of_the_head_reads_it(place: str) -> None:
    from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

    config = AutoscalingConfig(read(place), skip_content_hash=True)
    types = config.get_node_type_configs()
    assert config.get_idle_timeout_s() == 600
    if place == AWS:
        assert {name: one.labels["ray.io/market-type"] for name, one in types.items()} == {
            "head": "on-demand",
            "steady": "on-demand",
            "cpu": "spot",
            "gpu": "spot",
        }
        assert types["cpu"].priority > types["steady"].priority
        assert types["head"].resources == {"CPU": 0}
    else:
        (only,) = types.values()
        assert (only.min_worker_nodes, config.get_max_num_worker_nodes()) == (3, 3)


def test_without_jobs_only_the_head_is_left() -> None:
    cluster = read(AWS)
    types = copy.deepcopy(cluster["available_node_types"])
    head = types.pop("head")
    assert "max_workers" not in head
    assert {name: (one["min_workers"], one["max_workers"]) for name, one in types.items()} == {
        "steady": (0, 4),
        "cpu": (0, 8),
        "gpu": (0, 8),
    }
    assert cluster["max_workers"] == 16


def test_what_is_labelled_spot_is_what_aws_may_take_away() -> None:
    for name, one in read(AWS)["available_node_types"].items():
        market = one["node_config"].get("InstanceMarketOptions", {}).get("MarketType", "on-demand")
        assert one["labels"] == {"ray.io/market-type": market}, name


@both
def test_nobody_gets_in_without_the_token(place: str) -> None:
    cluster = read(place)
    assert variables(place)["RAY_AUTH_MODE"] == "token"
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in cluster["setup_commands"])
    assert any("--dashboard-host=127.0.0.1" in c for c in cluster["head_start_ray_commands"])


@both
def test_the_nodes_run_the_ray_that_is_pinned(place: str) -> None:
    cluster = read(place)
    wanted = f"rayproject/ray:{pinned('ray')}-py311"
    images = [one.get("docker", {}) for one in cluster.get("available_node_types", {}).values()]
    found = {cluster["docker"]["image"], *(one["worker_image"] for one in images if one)}
    assert found <= {wanted, f"{wanted}-gpu"}


@both
def test_every_machine_has_haproxy_set_before_ray_starts(place: str) -> None:
    wanted = settings_of_the_way_in()
    found = variables(place)
    assert {name: value for name, value in found.items() if name.startswith("RAY_SERVE_")} == wanted
    assert "--ulimit nofile=65536:65536" in read(place)["docker"]["run_options"]
    assert found["BIGMODEL_STORAGE"].startswith(("s3://", "/"))


@both
def test_mlflow_is_found_by_all_and_listens_beside_the_head(place: str) -> None:
    cluster = read(place)
    head, workers = cluster["head_start_ray_commands"], cluster["worker_start_ray_commands"]
    assert any("mlflow server" in command and "--port 5000" in command for command in head)
    assert head[-1].startswith("MLFLOW_TRACKING_URI=http://127.0.0.1:5000 ray start --head")
    assert workers[-1].startswith("MLFLOW_TRACKING_URI=http://$RAY_HEAD_IP:5000 ray start")


@both
def test_what_the_setup_makes_of_haproxy_is_our_script_before_it(
    place: str, tmp_path: Path
) -> None:
    cluster = read(place)
    mounted = cluster["file_mounts"]["/home/ray/haproxy.py"]
    shutil.copy(ROOT / mounted, tmp_path / "haproxy.py")
    (command,) = [each for each in cluster["setup_commands"] if "haproxy" in each]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"HOME": str(tmp_path), "PATH": path}
    subprocess.run(["sh", "-c", command], env=environment, cwd=tmp_path, check=True)
    script = tmp_path / "haproxy"
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    (tmp_path / "haproxy.cfg").write_text("defaults\n")
    said = subprocess.run(
        [script, "-f", tmp_path / "haproxy.cfg"], env=environment, capture_output=True, text=True
    )
    assert "HAProxy's configuration isn't as Ray 2.60 writes it" in said.stderr
