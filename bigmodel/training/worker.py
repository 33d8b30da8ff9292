"""What each Ray Train worker runs: its place in the team, its threads, its weights."""

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigmodel.training.team import TorchTeam


def train_worker(job: dict[str, Any]) -> None:
    """`job`: `recipe` as JSON, `data` [a reference to TrainingData], `run` its id."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import ray
    import torch

    from bigmodel.config import Recipe
    from bigmodel.training.checkpoints import Checkpoint
    from bigmodel.training.fitting import fit_weights
    from bigmodel.training.keeper import Follower, Keeper, Teller, agreed_start
    from bigmodel.training.runs import StoredRun

    torch.set_num_threads(1)  # several on a busy machine wait for each other at every step
    recipe = Recipe.model_validate_json(job["recipe"])
    run = StoredRun(recipe, job["run"])
    team = _joined()
    teller = Teller(run.run_id) if team.rank == 0 else None
    start = agreed_start(run.checkpoints, team, teller)
    data = ray.get(job["data"][0])
    if teller is None:
        fit_weights(recipe, data, team, Follower(start))
        return
    keeper = Keeper(start, run.checkpoints, teller, every_s=recipe.train.checkpoint_s)
    began = time.perf_counter()
    with keeper.looking_around(run.run_id):
        weights = fit_weights(recipe, data, team, keeper)
    history = [epoch.as_dict() for epoch in weights.history]
    about = {"history": history, "seconds": time.perf_counter() - began}
    run.keep_weights(Checkpoint(1, weights.state, about))


def _joined() -> "TorchTeam":
    """The team of all workers of this run: a torch process group, met at the first one's store."""
    import ray
    import ray.train.collective
    import ray.train.torch
    import torch.distributed as dist
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it is documented

    from bigmodel.training.team import TorchTeam

    context = ray.train.get_context()
    rank, size = context.get_world_rank(), context.get_world_size()
    device = ray.train.torch.get_device()
    host, port, store = ray.util.get_node_ip_address(), 0, None
    # by itself gloo tells the others what this machine's name leads to: often the loopback
    if name := _interface_of(host):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    if rank == 0:
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False)
        port = store.port
    host, port = ray.train.collective.broadcast_from_rank_zero((host, port))
    store = store or TCPStore(host, port)
    dist.init_process_group(
        "nccl" if device.type == "cuda" else "gloo", store=store, rank=rank, world_size=size
    )
    return TorchTeam(device)


def _interface_of(address: str) -> str:
    """The network device that has it, as in eth0; "" where none does, as behind a translation."""
    import psutil

    devices = psutil.net_if_addrs().items()
    return next((name for name, own in devices if address in (each.address for each in own)), "")
