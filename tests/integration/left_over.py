"""What a search or a training still holds of a Ray that goes on."""

import time

import ray
from ray.util import placement_group_table
from ray.util.state import list_actors

Actors = set[tuple[str, str]]


def alive() -> Actors:
    """The living actors: (class, id)."""
    actors = list_actors(filters=[("state", "=", "ALIVE")])
    return {(actor.class_name, actor.actor_id) for actor in actors}


def left(before: Actors) -> list[str]:
    """Placement groups, actors that were not there before but Ray's own, and CPUs."""
    groups = [g["name"] for g in placement_group_table().values() if g["state"] != "REMOVED"]
    actors = [name for name, _ in alive() - before if name != "_AutoscalingCoordinatorActor"]
    taken = ray.cluster_resources()["CPU"] - ray.available_resources().get("CPU", 0)
    return [*groups, *actors, *([f"{taken} CPUs"] if taken else [])]


def check_nothing_is_left(before: Actors) -> None:
    """Ray needs moments to end what it is told to."""
    deadline = time.monotonic() + 20
    while found := left(before):
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
