"""What each Ray Train worker runs: its place in the team, its threads, its weights."""

import os
import time
from typing import Any


def train_worker(job: dict[str, Any]) -> None:
    """`job`: `recipe` as JSON, `data` [a reference to TrainingData], `run` its id."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import ray
    import ray.train.torch
    import torch

    from bigmodel.config import Recipe
    from bigmodel.training.checkpoints import Checkpoint
    from bigmodel.training.fitting import fit_weights
    from bigmodel.training.keeper import Follower, Keeper, Teller, agreed_start
    from bigmodel.training.runs import StoredRun
    from bigmodel.training.team import TorchTeam

    torch.set_num_threads(1)  # several on a busy machine wait for each other at every step
    recipe = Recipe.model_validate_json(job["recipe"])
    run = StoredRun(recipe, job["run"])
    team = TorchTeam(ray.train.torch.get_device())
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
