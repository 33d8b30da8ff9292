"""Machines that Ray's autoscaler starts and ends by cluster.yaml, all of them this one.

Their types, labels, priorities and bounds are the file's; only their sizes and how they are had are
pretended. It is the autoscaler that `ray up` takes (v2).
"""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ray._private import ray_constants
from ray.autoscaler._private.fake_multi_node.node_provider import (
    FAKE_HEAD_NODE_ID,
    FakeMultiNodeProvider,
)
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.tags import TAG_RAY_USER_NODE_TYPE

ROOT = Path(__file__).parents[2]
PORT = 6379
SIZES = {"steady": {"CPU": 1}, "cpu": {"CPU": 1}, "gpu": {"CPU": 1, "GPU": 1}}
"""Of the machines that aren't the head; the launcher would ask AWS."""

STORE = 100_000_000  # bytes of each object store: all machines share one memory
MOST = 4  # machines besides the head: this one has few cores
IDLE_S = 10.0
LABELS, RESOURCES = (
    ray_constants.LABELS_ENVIRONMENT_VARIABLE,
    ray_constants.RESOURCES_ENVIRONMENT_VARIABLE,
)
INSTANCE, TYPE = "RAY_CLOUD_INSTANCE_ID", "RAY_NODE_TYPE_NAME"

NOTHING: dict[str, Any] = {
    "docker": {},
    "file_mounts": {},
    "cluster_synced_files": [],
    "initialization_commands": [],
    "setup_commands": [],
    "head_setup_commands": [],
    "worker_setup_commands": [],
    "head_start_ray_commands": [],
    "worker_start_ray_commands": [],
    "auth": {"ssh_user": "nobody"},
}
"""No machine is reached or set up."""


class Machines(FakeMultiNodeProvider):  # type: ignore[misc]  # Ray ships no types
    """Ray's own pretended ones, with the head's type as the file calls it."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        for name in (LABELS, RESOURCES, INSTANCE, TYPE):
            os.environ.pop(name, None)  # the head's: this process would hand them to each machine
        super().__init__(provider_config, cluster_name)
        tags = self._nodes[self._head_node_id]["tags"]
        tags[TAG_RAY_USER_NODE_TYPE] = provider_config["head_node_type"]

    def _create_node_with_resources_and_labels(self, *given: Any) -> None:
        """With a folder of its own for the code of jobs: in one of all machines, each that fetches
        some removes it first, under the feet of the others."""
        with self.lock:
            own = f"runtime_resources-{self._next_node_id + 1}"
            ray_constants.DEFAULT_RUNTIME_ENV_DIR_NAME = own
            super()._create_node_with_resources_and_labels(*given)


def pretended(cluster: Mapping[str, Any]) -> dict[str, Any]:
    """What `ray start --autoscaling-config` takes, from what `ray up` takes."""
    config: dict[str, Any] = prepare_config(copy.deepcopy(dict(cluster)))
    types = {
        name: {key: value for key, value in one.items() if key != "docker"}
        | {"node_config": {}, "resources": one["resources"] or SIZES[name]}
        for name, one in config["available_node_types"].items()
    }
    for name in SIZES:
        types[name]["resources"] = SIZES[name] | {"object_store_memory": STORE}
    provider = {
        "type": "external",
        "module": f"{__name__}.Machines",
        "head_node_id": FAKE_HEAD_NODE_ID,
        "head_node_type": config["head_node_type"],
        "gcs_address": f"127.0.0.1:{PORT}",
        "launch_multiple": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    return {
        **config,
        **NOTHING,
        "provider": provider,
        "available_node_types": types,
        "max_workers": MOST,
        "idle_timeout_minutes": IDLE_S / 60,
    }


def head_of(cluster: Mapping[str, Any], folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """More options of `ray start --head` and the variables of its environment, for the head of such
    a cluster, whose file is written into `folder`."""
    file = folder / "machines.yaml"
    file.write_text(yaml.safe_dump(pretended(cluster)), encoding="utf-8")
    name = cluster["head_node_type"]
    one = cluster["available_node_types"][name]
    variables = {
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_worker_niceness": "0",
        "PYTHONPATH": str(Path(__file__).parent),
        # as `ray up` starts it
        "RAY_enable_autoscaler_v2": "1",
        INSTANCE: FAKE_HEAD_NODE_ID,
        TYPE: name,
        LABELS: json.dumps(one["labels"]),
        RESOURCES: json.dumps(one["resources"]),
    }
    options = (f"--port={PORT}", f"--autoscaling-config={file}", f"--object-store-memory={STORE}")
    return options, variables
