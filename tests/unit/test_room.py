"""How many workers a cluster comes to, from its nodes and what its autoscaler was told."""

from math import inf

import pytest

from bigmodel.cluster import room
from bigmodel.cluster.room import HEAD, UNKNOWN, Room, autoscaler_config, room_of

CPU, GPU = {"CPU": 1.0}, {"GPU": 1.0}
NODES = {"head": {"CPU": 4.0, HEAD: 1.0}, "a": {"CPU": 8.0}}
CONFIG = {
    "provider": {"type": "aws"},
    "max_workers": 10,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 4}},
        "cpu": {"resources": {"CPU": 16}, "max_workers": 6},
        "gpu": {"resources": {"CPU": 8, "GPU": 4}, "max_workers": 8},
    },
}


@pytest.mark.parametrize(
    ("each", "config", "workers"),
    [
        (CPU, None, 12),
        ({"CPU": 3}, None, 1 + 2),
        (GPU, None, 0),
        (GPU, CONFIG, 8 * 4),
        (CPU, CONFIG, 4 + 6 * 16 + 4 * 8),  # ten nodes in all, the larger ones first
        ({"CPU": 2, "GPU": 2}, CONFIG, 8 * 2),
        ({"CPU": 0, "GPU": 0.5}, CONFIG, 8 * 8),
        ({"CPU": 20}, CONFIG, 0),
        (GPU, UNKNOWN, inf),
        (GPU, CONFIG | {"max_workers": 0}, 0),
        (CPU, CONFIG | {"max_workers": 0}, 12),
    ],
)
def test_the_most_workers_that_find_room(each, config, workers):
    assert room_of(NODES, config).holds(each) == workers


def test_the_driver_keeps_a_part_of_a_cpu_from_others():
    assert room_of(NODES, None, driver="a", driver_cpus=0.1).holds(CPU) == 4 + 7
    config = CONFIG | {"max_workers": 1}
    assert room_of(NODES, config, driver="head", driver_cpus=0.1).holds(CPU) == 3 + 16
    assert room_of(NODES, config, driver="a", driver_cpus=0.1).holds(CPU) == 4 + 7
    assert room_of(NODES, CONFIG, driver="a", driver_cpus=0.1).holds(GPU) == 8 * 4


def test_machines_of_ones_own_are_as_large_as_they_turn_out_to_be():
    local = {
        "provider": {"type": "local"},
        "max_workers": 3,
        "head_node_type": "local.cluster.node",
        "available_node_types": {"local.cluster.node": {"resources": {}}},
    }
    assert room_of(NODES, local).holds(GPU) == inf


def test_a_cluster_without_nodes_holds_nobody():
    assert Room(()).holds(CPU) == 0


class Process:
    def __init__(self, *command: str) -> None:
        self.info = {"cmdline": list(command)}


@pytest.fixture
def processes(monkeypatch):
    """Those of the head; a monitor of another session runs beside them."""
    other = Process("python", "-u", "/ray/monitor.py", "--logs-dir=/tmp/ray/session_2/logs")
    found = [Process(), other]
    monkeypatch.setattr("psutil.process_iter", lambda _: found)
    monkeypatch.delenv("RAY_CLUSTER_NAME", raising=False)
    return found


def monitor(*options: str) -> Process:
    return Process("python", "-u", "/ray/monitor.py", "--logs-dir=/tmp/session_1/logs", *options)


def test_what_the_autoscaler_was_told_is_read_where_it_runs(processes, tmp_path):
    assert autoscaler_config("session_1") is UNKNOWN
    processes.append(monitor("--autoscaling-config=/there/is/none.yaml"))
    assert autoscaler_config("session_1") is UNKNOWN
    file = tmp_path / "ray_bootstrap_config.yaml"
    file.write_text("max_workers: 3\n")
    processes[-1] = monitor(f"--autoscaling-config={file}")
    assert autoscaler_config("session_1") == {"max_workers": 3}
    processes[-1] = monitor()
    assert autoscaler_config("session_1") is None, "a monitor without a file only looks on"


RAYCLUSTER = {
    "metadata": {"name": "reviews", "namespace": "default"},
    "spec": {
        "headGroupSpec": {
            "rayStartParams": {"num-cpus": "0"},
            "template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "2"}}}]}},
        },
        "workerGroupSpecs": [
            {
                "groupName": "gpu", "minReplicas": 0, "maxReplicas": 5, "rayStartParams": {},
                "template": {"spec": {"containers": [
                    {"resources": {"limits": {"cpu": "8", "memory": "8Gi", "nvidia.com/gpu": "2"}}}
                ]}},
            }
        ],
    },
}  # fmt: skip


def test_under_kuberay_the_raycluster_says_it(processes, tmp_path, monkeypatch):
    from ray.autoscaler._private.kuberay import node_provider

    monkeypatch.setenv("RAY_CLUSTER_NAME", "reviews")
    monkeypatch.setattr(room, "NAMESPACE", tmp_path / "namespace")
    assert autoscaler_config("session_1") is UNKNOWN, "no account of Kubernetes here"
    (tmp_path / "namespace").write_text("default")
    client = node_provider.KubernetesHttpApiClient
    monkeypatch.setattr(client, "get", lambda self, path: {"rayclusters/reviews": RAYCLUSTER}[path])
    found = room_of(NODES, autoscaler_config("session_1"))
    assert (found.holds(GPU), found.holds({"CPU": 8})) == (10, 5)
