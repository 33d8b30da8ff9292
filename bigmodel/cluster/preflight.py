"""What would end a job in vain, found out in its first seconds: before workers are asked for."""

import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bigmodel import progress
from bigmodel.cluster import versions
from bigmodel.cluster.room import Resources, cluster_room
from bigmodel.cluster.session import ray_session
from bigmodel.config import Recipe, TuneConfig
from bigmodel.data.files import blocks, files_of, stamp
from bigmodel.errors import BigModelError, ClusterError, RecipeError
from bigmodel.storage import Folder, folder, nearest
from bigmodel.tracking import PACKAGES

TRAINING = ("train", "tune", "run", "ladder")
"""Verbs for which workers have to find room, and all stages to work."""

LEAST_FREE = 1e9
LEAST_STORAGE = 100e6
FULLEST = 0.95
"""Bytes that have to be free where Ray keeps its files, and in a local storage; and the share of a
disk from which on Ray stores nothing more there."""

SECONDS_FOR_A_NODE = 120.0
NONCE = "nonce"


@dataclass(frozen=True)
class Found:
    """What a node came upon: an error of ours; the versions of its `packages`, None of a node
    without a CPU or a GPU, where none of our work is done."""

    node: str
    error: BigModelError | None = None
    packages: Mapping[str, str] | None = None


def check(subject: Recipe | str, storage: str, *, verb: str) -> None:
    """Before the work of a submitted job: versions, room, disks, storage and data on every node,
    and the first rows through every stage. `subject`: a recipe, or a model as it was named.

    RecipeError for more workers than there will ever be and for a storage that not all nodes
    share, ClusterError for a full disk and for nodes that differ.
    """
    recipe = None if isinstance(subject, str) else subject
    with ray_session(), progress.stage("pre-flight", unit="nodes") as stage:
        versions.check_job()
        if recipe and verb in TRAINING:
            check_room(recipe, verb=verb)
        check_nodes(storage, first_files(recipe) if recipe else [], stage)
        if recipe and verb in TRAINING:
            from bigmodel.cluster.rehearsal import rehearse

            rehearse(recipe, stage)


def check_room(recipe: Recipe, *, verb: str) -> None:
    """RecipeError for more workers than the cluster holds, or than its autoscaler may bring."""
    from bigmodel.training.trainer import check_resources

    room = cluster_room()
    workers = recipe.train.fewest_workers
    use_gpu = check_resources(recipe, grows=True)
    key = "train.num_workers" + " with train.use_gpu" * use_gpu
    of_worker = {"GPU" if use_gpu else "CPU": 1.0}
    asked: list[tuple[Resources, str]] = [(of_worker, f"{key} is {workers}")]
    if verb == "tune" or (verb == "run" and recipe.tune):
        config = recipe.tune or TuneConfig()
        of_trial = {"CPU": config.cpus, "GPU": config.gpus}
        asked.append((of_trial, f"each trial of tune takes {workers} workers"))
    for each, said in asked:
        if (most := room.holds(each)) < workers:
            needs = " and ".join(f"{need:g} {name}" for name, need in each.items() if need)
            grown = " with all that its autoscaler may add" * room.grows
            workers_of = f"worker{'s' * (most != 1)} of {needs}"
            raise RecipeError(
                f"{said}, and the cluster{grown} has room for {most:g} {workers_of}; ask for "
                "fewer, or take a larger cluster"
            )


def first_files(recipe: Recipe) -> list[str]:
    """Of each source that the recipe names the first file."""
    data = recipe.data
    named = [one.path for one in (*data.train, *data.unlabelled)]
    named += [path for path in (data.valid, data.test, data.corrections) if path]
    return [files_of(path)[0] for path in named]


def check_nodes(storage: str, files: Sequence[str], stage: progress.Stage) -> None:
    """An error of what the first node in trouble came upon; the storage is left as it was.

    The driver writes what all nodes have to read, and finds what all of them wrote.
    """
    nonce = secrets.token_bytes(16)
    with folder(storage).child("preflight").scratch() as place:
        try:
            place.write(NONCE, nonce)
        except FileNotFoundError as error:  # as of /proc, where no folder can be made
            raise RecipeError(
                f"storage is {storage}, where the cluster can't write ({error.strerror}); give an "
                "absolute path on a shared disk, or a URI such as s3://…"
            ) from None
        found = _everywhere(place, nonce, storage, files)
        for one in found:
            if one.error:
                raise type(one.error)(f"on the node {one.node}, {one.error}")
        check_alike({one.node: one.packages for one in found if one.packages is not None})
        written = set(place.names())
        if missing := [one.node for one in found if one.node not in written]:
            raise _not_shared(storage, missing[0])
    stage.update(done=len(found), total=len(found))


def _everywhere(place: Folder, nonce: bytes, storage: str, files: Sequence[str]) -> list[Found]:
    """What each node found, but for those that went away meanwhile, as spot machines do, and idle
    ones: no work of this job would come there.

    These tasks take no CPU, so that a cluster which is busy with others' work answers at once.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    started = {}
    for node in _staying():
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        look = ray.remote(num_cpus=0, scheduling_strategy=there)(look_around)
        name = f"{node['NodeManagerAddress']}-{node['NodeID'][:8]}"
        works = any(node["Resources"].get(unit) for unit in ("CPU", "GPU"))
        started[node["NodeID"]] = name, look.remote(name, place, nonce, storage, files, works=works)
    refs = [ref for _, ref in started.values()]
    ray.wait(refs, num_returns=len(refs), timeout=SECONDS_FOR_A_NODE)
    answers = {node: _answer(name, ref) for node, (name, ref) in started.items()}
    staying = {node["NodeID"] for node in _staying()}
    return [one for node, one in answers.items() if one and (node in staying or not one.error)]


def _staying() -> list[dict[str, Any]]:
    """The nodes that live and aren't about to be taken away."""
    import ray

    from bigmodel.training.news import machines_that_leave

    leaving = machines_that_leave()  # asked first: one that is gone isn't about to go any more
    return [node for node in ray.nodes() if node["Alive"] and node["NodeID"] not in leaving]


def _answer(node: str, ref: Any) -> Found | None:
    """None of a node that is there no more: a task without any needs finds room on every other."""
    import ray
    from ray.exceptions import GetTimeoutError, RayError, TaskUnschedulableError

    try:
        found: Found = ray.get(ref, timeout=0)
        return found
    except TaskUnschedulableError:
        return None
    except GetTimeoutError:
        said = (
            f"nothing answers within {SECONDS_FOR_A_NODE:g} s; see what keeps it busy, or take it "
            "out of the cluster"
        )
    except RayError as error:
        last = str(getattr(error, "cause", error)).strip().rpartition("\n")[2]
        said = (
            f"a task fails ({last}); see that it has the memory and the packages that bigmodel "
            "needs, or take it out of the cluster"
        )
    return Found(node, ClusterError(said))


def look_around(
    node: str, place: Folder, nonce: bytes, storage: str, files: Sequence[str], *, works: bool
) -> Found:
    """On a node: its disks, the storage and the data from there, and the packages if it `works`."""
    try:
        check_disks(_ray_folder(), storage)
        try:
            read = place.read(NONCE)
        except FileNotFoundError:
            read = b""
        if read != nonce:
            raise _not_shared(storage, node)
        place.write(node, nonce)
        for file in files:
            stamp(file)
            next(blocks(file, None, 1), b"")
    except BigModelError as error:
        return Found(node, error)
    return Found(node, None, _packages() if works else None)


def _not_shared(storage: str, node: str) -> RecipeError:
    return RecipeError(
        f"storage is {storage}, and the node {node} doesn't have there what another node wrote; "
        "give a disk that all nodes share, or a URI such as s3://…"
    )


def check_disks(ray_folder: str, storage: str) -> None:
    """ClusterError where Ray, or a local storage, is about to be out of room."""
    _check_disk(ray_folder, LEAST_FREE, fullest=FULLEST)
    if local := folder(storage).local:
        _check_disk(str(nearest(local)), LEAST_STORAGE)


def _check_disk(path: str, least: float, *, fullest: float = 1.0) -> None:
    disk = shutil.disk_usage(path)
    if disk.free < least or disk.free < (1 - fullest) * disk.total:
        needed = max(least, (1 - fullest) * disk.total)
        raise ClusterError(
            f"the disk of {path} has {disk.free / 1e9:.1f} GB left of {disk.total / 1e9:.1f}, and "
            f"a job needs {needed / 1e9:.1f}; make room there"
        )


def _ray_folder() -> str:
    """Where this node keeps its session, and spills what finds no room in memory."""
    import ray

    return str(ray._private.worker.global_worker.node.get_session_dir_path())


def _packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def check_alike(packages: Mapping[str, Mapping[str, str]]) -> None:
    """By nodes; ClusterError for one that lacks a package, or has another torch than the others:
    the workers of one training have to understand each other."""
    for node, versions_there in packages.items():
        if missing := sorted(set(PACKAGES) - set(versions_there)):
            raise ClusterError(
                f"the node {node} lacks {', '.join(missing)}; install there what bigmodel requires"
            )
    torch = {versions_there["torch"]: node for node, versions_there in packages.items()}
    if len(torch) > 1:
        said = " and ".join(f"{version} on the node {node}" for version, node in torch.items())
        raise ClusterError(f"torch is {said}; install the same one on all nodes")
