"""How many workers a cluster comes to: with the nodes it has, and those its autoscaler may add."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, inf
from pathlib import Path
from typing import Any

from bigmodel.cluster.session import RESULT_MARK
from bigmodel.cluster.submission import DRIVER_CPUS

HEAD = "node:__internal_head__"
"""A resource that Ray gives the head, and no other node."""
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
OPTION = "--autoscaling-config="

Resources = Mapping[str, float]

UNKNOWN: Mapping[str, Any] = {"available_node_types": {"unknown": {}}}
"""Of an autoscaler that may add nobody knows what: any number of workers may find room."""


@dataclass(frozen=True)
class NodeType:
    """Nodes of which an autoscaler may have so many; `resources` is None where nobody says them."""

    resources: Resources | None
    most: float


@dataclass(frozen=True)
class Room:
    """The `nodes` that are there; some of these are `fixed`, beside which the autoscaler may have
    `most` others in all, of its `types`."""

    nodes: tuple[Resources, ...]
    fixed: tuple[Resources, ...] = ()
    types: tuple[NodeType, ...] = ()
    most: float = 0

    @property
    def grows(self) -> bool:
        """May an autoscaler add nodes?"""
        return bool(self.types)

    def holds(self, each: Resources) -> float:
        """The most workers that find room at a time, each with so much; inf where nobody knows."""
        there = sum(_fitting(node, each) for node in self.nodes)
        grown, left = sum(_fitting(node, each) for node in self.fixed), self.most
        for a_node, most in sorted([(_fitting(t.resources, each), t.most) for t in self.types])[
            ::-1
        ]:
            taken = min(left, most)
            grown += a_node * taken if taken > 0 else 0
            left -= taken
        return max(there, grown)


def _fitting(node: Resources | None, each: Resources) -> float:
    """How many workers one node holds."""
    if node is None:
        return inf
    return min(floor(node.get(name, 0) / need + 1e-9) for name, need in each.items() if need)


def room_of(
    nodes: Mapping[str, Resources],
    config: Mapping[str, Any] | None,
    *,
    driver: str = "",
    driver_cpus: float = 0,
) -> Room:
    """Of living nodes by their ids, and of what the autoscaler was told, as its YAML file says it;
    None where none runs. The node of the `driver` has so many CPUs less for others."""
    left = dict(nodes)
    if driver in left:
        left[driver] = {**left[driver], "CPU": left[driver].get("CPU", 0) - driver_cpus}
    if config is None:
        return Room(tuple(left.values()))
    fixed = {name: node for name, node in left.items() if HEAD in node or name == driver}
    taken = sum(HEAD not in node for node in fixed.values())
    most = config.get("max_workers", inf)
    types = config.get("available_node_types") or {}
    if (config.get("provider") or {}).get("type") != "local":  # whose only type is also the head's
        types = {name: of for name, of in types.items() if name != config.get("head_node_type")}
    return Room(
        tuple(left.values()),
        tuple(fixed.values()),
        tuple(
            NodeType(of.get("resources") or None, of.get("max_workers", most))
            for of in types.values()
        ),
        most - taken,
    )


def cluster_room() -> Room:
    """Of the cluster that this process has joined as a job's driver."""
    import ray

    ours = RESULT_MARK in os.environ  # of a plain `ray job submit` the driver takes nothing

    nodes = {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}
    head = next((name for name, resources in nodes.items() if HEAD in resources), None)
    config: Mapping[str, Any] | None = UNKNOWN
    if head:
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(head, soft=False)
        look = ray.remote(num_cpus=0, scheduling_strategy=strategy)(autoscaler_config)
        session = ray._private.worker.global_worker.node.session_name
        config = ray.get(look.remote(session))
    driver = ray.get_runtime_context().get_node_id()
    return room_of(nodes, config, driver=driver, driver_cpus=DRIVER_CPUS * ours)


def autoscaler_config(session: str) -> Mapping[str, Any] | None:
    """On the head of a session: what its autoscaler was told, None where none adds nodes, and
    `UNKNOWN` where that can't be found out.

    Ray keeps it nowhere else. `ray up` starts the monitor there with a file; without one, the
    monitor only looks on. Under KubeRay no monitor runs there, and the RayCluster says it.
    """
    import psutil
    import yaml

    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if not ("monitor.py" in " ".join(command[:4]) and session in " ".join(command)):
            continue
        file = next((part.removeprefix(OPTION) for part in command if part.startswith(OPTION)), "")
        if not file:
            return None
        try:
            found: Mapping[str, Any] = yaml.safe_load(Path(file).expanduser().read_text())
            return found
        except (OSError, yaml.YAMLError):
            return UNKNOWN
    return _of_kuberay() if "RAY_CLUSTER_NAME" in os.environ else UNKNOWN


def _of_kuberay() -> Mapping[str, Any]:
    from ray.autoscaler._private.kuberay import autoscaling_config as kuberay

    kuberay.MAX_RAYCLUSTER_FETCH_TRIES = 1  # each takes five seconds
    try:
        namespace = NAMESPACE.read_text().strip()
        ask = kuberay.AutoscalingConfigProducer(os.environ["RAY_CLUSTER_NAME"], namespace)
        found: Mapping[str, Any] = ask()
        return found
    except Exception:  # no account of Kubernetes there, or one that may not look
        return UNKNOWN
