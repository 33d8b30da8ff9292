"""What each Ray Train worker runs: its place in the team, its threads, its report."""

import os
import tempfile
from pathlib import Path
from typing import Any


def train_worker(job: dict[str, Any]) -> None:
    """`job`: `recipe` as JSON, `data` [a reference to TrainingData], `topic` for the news."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import ray
    import ray.train
    import ray.train.torch
    import torch
    from safetensors.torch import save_file

    from bigmodel.config import Recipe
    from bigmodel.training import news
    from bigmodel.training.fitting import Epoch, fit_weights
    from bigmodel.training.team import TorchTeam

    torch.set_num_threads(1)  # several on a busy machine wait for each other at every step
    recipe = Recipe.model_validate_json(job["recipe"])
    team = TorchTeam(ray.train.torch.get_device())
    epochs: list[dict[str, float]] = []

    def on_epoch(epoch: Epoch) -> None:
        epochs.append(epoch.as_dict())
        if team.rank == 0:
            news.tell(job["topic"], epoch.as_dict())

    weights = fit_weights(recipe, ray.get(job["data"][0]), team, on_epoch)
    if team.rank != 0:
        ray.train.report({})
        return
    with tempfile.TemporaryDirectory() as scratch:
        save_file(weights.state, Path(scratch) / "weights.safetensors")
        checkpoint = ray.train.Checkpoint.from_directory(scratch)
        ray.train.report({"epochs": epochs}, checkpoint=checkpoint)
