"""The files for `ray up` are what Ray's launcher accepts, and keep what we promise of them."""

import copy
import importlib.util
import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cluster_files import ROOT, mlflow_answers_to, pinned, settings_of_the_way_in

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
def test_mlflow_answers_to_the_addresses_that_machines_and_tunnels_have_for_it(place: str) -> None:
    head = read(place)["provider"].get("head_ip", "172.31.0.4")  # of Amazon's default network
    for host in (head, "127.0.0.1", "localhost"):
        assert mlflow_answers_to(f"{host}:5000")
    assert not mlflow_answers_to("203.0.113.7:5000")


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


MLFLOW = """#!{python}
import http.server, os, sys
asked = sys.argv[1:]
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
port = int(asked[asked.index("--port") + 1])
with open("{said}", "w", buffering=1) as there:
    print(os.getpid(), asked[0], file=there)
    server = http.server.HTTPServer(("127.0.0.1", port), Healthy)
    print("listens", file=there)
server.serve_forever()
"""
"""In MLflow's place: it says that it was called, and that it listens."""

DOCKER = """#!/bin/sh
while [ "$1" != /bin/bash ]; do shift; done
exec "$@"
"""
"""In Docker's place: what would run in the container runs here."""


@both
def test_mlflow_is_started_once_however_often_the_head_is(place: str, tmp_path: Path) -> None:
    from ray.autoscaler._private.docker import with_docker_exec

    (command,) = [each for each in read(place)["head_start_ray_commands"] if "mlflow s" in each]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        command = command.replace("5000", str(probe.getsockname()[1]))
    os.mkfifo(said := tmp_path / "said")
    (tmp_path / "mlflow").write_text(MLFLOW.format(python=sys.executable, said=said))
    (tmp_path / "docker").write_text(DOCKER)
    for stub in ("mlflow", "docker"):
        (tmp_path / stub).chmod(0o700)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {"HOME": str(tmp_path), "PATH": path}
    (whole,) = with_docker_exec([command], container_name="ray", docker_cmd="docker")
    reader = os.open(said, os.O_RDWR)

    def start() -> int:
        """As Ray does; a pipe that ends with the last process which was started."""
        ours, theirs = os.pipe()
        subprocess.run(["bash", "-c", whole], env=environment, pass_fds=[theirs], check=True)
        os.close(theirs)
        return ours

    start()
    heard = ""
    while "listens" not in heard:
        assert select.select([reader], [], [], 20)[0], "MLflow was not called"
        heard += os.read(reader, 100).decode()
    process, verb, _ = heard.split()
    try:
        assert verb == "server"
        assert os.read(start(), 1) == b""
        assert not select.select([reader], [], [], 0)[0], "MLflow was called once more"
    finally:
        os.kill(int(process), signal.SIGKILL)


PROFILES = "docs/clusters/aws-profiles.yaml"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty account of a pretended Amazon."""
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", read(AWS)["provider"]["region"])
    with mock_aws():
        yield


@pytest.fixture
def granted(aws: None) -> dict[str, list[Any]]:
    """By instance profile the statements of its policies, as the template makes them."""
    import boto3

    boto3.client("cloudformation").create_stack(
        StackName="bigmodel",
        TemplateBody=(ROOT / PROFILES).read_text(encoding="utf-8"),
        Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "my-bucket"}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    found = {}
    for profile in boto3.resource("iam").instance_profiles.all():
        (role,) = profile.roles
        attached = boto3.resource("iam").Role(role.name).attached_policies.all()
        documents = [each.default_version.document for each in attached]
        found[profile.name] = [statement for each in documents for statement in each["Statement"]]
    return found


def actions(statements: list[Any], service: str) -> set[str]:
    listed = [
        one["Action"] if isinstance(one["Action"], list) else [one["Action"]] for one in statements
    ]
    return {action for each in listed for action in each if action.startswith(f"{service}:")}


def test_all_machines_have_a_profile_of_ours_that_may_use_the_bucket(
    granted: dict[str, list[Any]],
) -> None:
    types = read(AWS)["available_node_types"]
    named = {name: one["node_config"]["IamInstanceProfile"]["Name"] for name, one in types.items()}
    assert named.pop("head") == "bigmodel-head"
    assert set(named.values()) == {"bigmodel-worker"}
    for profile in ("bigmodel-head", "bigmodel-worker"):
        assert actions(granted[profile], "s3") == {
            "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject",
            "s3:AbortMultipartUpload",
        }  # fmt: skip
    assert actions(granted["bigmodel-worker"], "ec2") == set()


def test_the_head_may_give_workers_their_profile_and_no_other(
    granted: dict[str, list[Any]],
) -> None:
    import boto3

    (passes,) = [one for one in granted["bigmodel-head"] if one["Action"] == "iam:PassRole"]
    assert passes["Resource"] == boto3.resource("iam").Role("bigmodel-worker").arn
    assert actions(granted["bigmodel-worker"], "iam") == set()


def test_the_head_may_do_what_rays_launcher_does_there_and_no_more(
    granted: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3
    from botocore.client import BaseClient
    from ray.autoscaler._private.aws.config import _configure_iam_role
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    cluster = read(AWS)
    assert _configure_iam_role(cluster | {"head_node": {}})["head_node"] == {}, "Ray's own role"
    (subnet, *_) = boto3.client("ec2").describe_subnets()["Subnets"]
    machine = cluster["available_node_types"]["gpu"]["node_config"]
    asked, call = set(), BaseClient._make_api_call

    def recorded(self: Any, name: str, arguments: Any) -> Any:
        asked.add(f"{self.meta.service_model.service_name}:{name}")
        return call(self, name, arguments)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    provider = AWSNodeProvider(cluster["provider"], cluster["cluster_name"])
    placed = machine | {"ImageId": "ami-12c6146b", "SubnetIds": [subnet["SubnetId"]]}
    provider.create_node(placed, {}, 1)
    (node,) = provider.non_terminated_nodes({})
    provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
    own = {"aws:ResourceTag/ray-cluster-name": provider.node_tags(node)["ray-cluster-name"]}
    provider.terminate_nodes([node])
    head = granted["bigmodel-head"]
    assert actions(head, "ec2") == asked
    (ends,) = [one for one in head if "ec2:TerminateInstances" in one["Action"]]
    assert ends["Condition"] == {"StringEquals": own}
