"""Steps of training: T1 against a bare PyTorch loop, T2 two workers against one.

    python -m benchmarks.training                # all kinds, medians of three; about ten minutes
    python -m benchmarks.training cnn bag        # some kinds

The rows are those of the demo's reviews (of kinds that take long 2,000 of them), encoded before any
clock starts; no Ray. A worker is a process with one torch thread. The bare loop has the same model
and batch, the texts padded once in one tensor, and torch's fused Adam over all parameters.
"""

import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import torch
import torch.distributed as dist
from torch.nn import functional

from bigmodel.config import Recipe
from bigmodel.data.batches import Batch, pad
from bigmodel.models import MODELS
from bigmodel.recipe import load_recipe
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.training import newton
from bigmodel.training.fitting import fit_weights
from bigmodel.training.rows import Rows, TrainingData
from bigmodel.training.team import Team, TorchTeam

RECIPE = Path("jobs/recipes/reviews.toml")
ROWS_PER_STEP = {"bag": 1024, "mlp": 1024}
ROWS = {"cnn": 2000, "rnn": 2000, "transformer": 2000}
REPEATS = 3


def main(kinds: list[str]) -> None:
    print("| kind | rows a step | bare, rows/s | one worker, rows/s | T1 | two, rows/s | T2 |")
    print("|---|---|---|---|---|---|---|")
    for kind in kinds:
        recipe = recipe_of(kind)
        runs = [measure(recipe) for _ in range(REPEATS)]
        bare, one, two = (statistics.median(values) for values in zip(*runs, strict=True))
        t1, t2 = (
            statistics.median(run[b] / run[a] for run in runs if run[a])
            for a, b in ((0, 1), (1, 2))
        )
        print(
            f"| `{kind}` | {recipe.train.rows_per_step:,} | {bare:,.0f} | {one:,.0f} | {t1:.2f} "
            f"| {two:,.0f} | {t2:.2f} |",
            flush=True,
        )
    print(f"\nmedians of {REPEATS}; load {os.getloadavg()[0]:.1f}")


def recipe_of(kind: str) -> Recipe:
    rows = ROWS_PER_STEP.get(kind, 256)
    settings = [f"model.kind={kind}", "train.epochs=3", "train.early_stop=0"]
    settings += ["model.residual=false", "model.vectors=none", "train.augment.drop=0"]
    return load_recipe(RECIPE, [*settings, f"train.rows_per_step={rows}"])


def measure(recipe: Recipe) -> tuple[float, float, float]:
    """Rows a second of the bare loop, one worker and two, in a steady epoch."""
    return (
        in_processes(bare, recipe, 1),
        in_processes(ours, recipe, 1),
        in_processes(ours, recipe, 2),
    )


def in_processes(work: Any, recipe: Recipe, size: int) -> float:
    """What the first of `size` new processes that form a team finds."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    port = str(29500 + os.getpid() % 1000)
    given = [
        (work, recipe.model_dump_json(by_alias=True), rank, size, port, answers)
        for rank in range(size)
    ]
    processes = [context.Process(target=_work, args=one) for one in given]
    for process in processes:
        process.start()
    found: float = answers.get(timeout=600)
    for process in processes:
        process.join()
    return found


def _work(work: Any, text: str, rank: int, size: int, port: str, answers: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    torch.set_num_threads(1)
    team = Team()
    if size > 1:
        dist.init_process_group("gloo", rank=rank, world_size=size)
        team = TorchTeam(torch.device("cpu"))
    recipe = Recipe.model_validate_json(text)
    found = work(recipe, data_of(recipe), team)
    if rank == 0:
        answers.put(found)


def data_of(recipe: Recipe) -> TrainingData:
    table = pyarrow.csv.read_csv(recipe.data.train[0].path)
    table = table.slice(0, ROWS.get(recipe.model.kind, len(table)))
    texts = table["text"].to_pylist()
    label = np.array([name == "正面" for name in table["label"].to_pylist()], np.int64)
    plan = EncoderRecipe.of(recipe)
    encoder = plan.fit_on(texts)
    rows = Rows(encoder.encode(texts), label, np.ones(len(texts), np.float32))
    few = Rows(encoder.encode(texts[:100]), label[:100], np.ones(100, np.float32))
    return TrainingData.of(encoder, ("负面", "正面"), rows, few)


def ours(recipe: Recipe, data: TrainingData, team: Team) -> float:
    """Of the best epoch but the first; of `linear` an epoch is an outer step of the solver."""
    history = fit_weights(recipe, data, team).history
    return max(epoch.rows_per_s for epoch in history[1:])


def bare(recipe: Recipe, data: TrainingData, team: Team) -> float:
    if recipe.model.kind == "linear":
        return bare_linear(recipe, data)
    texts, label = data.train.texts, torch.from_numpy(data.train.label)
    whole = pad(texts, np.arange(len(texts)))
    lengths = torch.from_numpy(np.diff(texts.offsets))
    torch.manual_seed(0)
    model = data.new_model(recipe.model)
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.train.learning_rate, fused=True)
    speeds = []
    for _ in range(2):
        start = time.perf_counter()
        for rows in torch.randperm(len(texts)).split(recipe.train.rows_per_step):
            width = int(lengths[rows].max())
            values = None if whole.values is None else whole.values[rows, :width]
            loss = functional.cross_entropy(
                model(Batch(whole.ids[rows, :width], values)), label[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        speeds.append(len(texts) / (time.perf_counter() - start))
    return max(speeds)


def bare_linear(recipe: Recipe, data: TrainingData) -> float:
    """The same solver over one block, which is nothing but products and sums of them."""
    newton.BLOCKS = 1
    return ours(recipe, data, Team())


if __name__ == "__main__":
    main(sys.argv[1:] or list(MODELS))
