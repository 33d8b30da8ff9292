"""What Ray keeps of trials with workers of their own: it is ended here.

The placement group of a training lives until its controller and the whole job are dead. So the
CPUs of a trial that was stopped would be taken until the search ends, and the next one would wait
for them.
"""

import time

import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData as Group
from ray.util.placement_group import PlacementGroup, remove_placement_group

_PATIENCE_S = 20.0


def remove_orphans() -> int:
    """Remove the groups of this job whose creators are dead; how many others actors hold."""
    job = ray.get_runtime_context().get_job_id()
    held = 0
    for data in state._connect_and_get_accessor().get_placement_group_table():
        group = Group.FromString(data)
        ours = group.creator_job_id.hex() == job and group.state != Group.REMOVED
        if not ours or not group.creator_actor_id.strip(b"\xff"):  # the driver's own
            continue
        if group.creator_actor_dead:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
        else:
            held += 1
    return held


def remove_last_orphans() -> None:
    """The same at the end, when the last creators are still dying; some seconds at most."""
    deadline = time.monotonic() + _PATIENCE_S
    while remove_orphans() and time.monotonic() < deadline:
        time.sleep(0.2)
