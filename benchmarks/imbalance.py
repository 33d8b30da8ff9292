"""What each remedy for rare classes brings on a set of 8,000 to 30 training rows a class.

    python -m benchmarks.imbalance         # a Markdown table; about fifteen minutes on one core

Needs shopping_category_imbalanced (BIGMODEL_TEST_DATA names the folder of the data sets). `linear`
is one run, `mlp` the mean of three seeds. Epochs and "auto" are chosen on dev rows.
"""

import os
import tempfile
from collections.abc import Iterator
from statistics import mean

import numpy as np
import torch

from benchmarks.results import recipe_of
from bigmodel.artifact import Artifact
from bigmodel.cluster.session import ray_session
from bigmodel.config import Recipe
from bigmodel.data.prepare import prepare
from bigmodel.data.prepared import PreparedData
from bigmodel.metrics import confusion, summary
from bigmodel.recipe import with_values
from bigmodel.training.calibration import calibrated
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.team import Team

SET = "shopping_category_imbalanced"
SEEDS = {"linear": (0,), "mlp": (0, 1, 2)}
PLAIN = "nothing"
REMEDIES: dict[str, dict[str, object]] = {
    PLAIN: {},
    '`class_weights = "balanced"`': {"train.class_weights": "balanced"},
    '`logit_adjustment = "auto"`': {"train.logit_adjustment": "auto"},
    '`loss = "focal"`': {"train.loss": "focal"},
    '`resample = "balanced"`': {"train.resample": "balanced"},
    '`resample = "root"`': {"train.resample": "root"},
    "`augment.drop = 0.2`": {"train.augment.drop": 0.2},
    "`augment.swap = 0.2`": {"train.augment.swap": 0.2},
    "`augment.mix_up = 0.4`": {"train.augment.mix_up": 0.4},
    "`label_smoothing = 0.1`": {"train.label_smoothing": 0.1},
    "`ema = 0.999`": {"train.ema": 0.999},
}
OF_LINEAR = 3
"""The first so many are those that `linear` reads."""


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as storage:
        print("| kind | remedy | dev macro-F1 | test macro-F1 | test accuracy |")
        print("|---|---|---|---|---|", flush=True)
        for kind in SEEDS:
            recipe = recipe_of(SET, kind, storage)
            with ray_session():
                prepared = prepare(recipe)
            remedies = list(REMEDIES.items())[: OF_LINEAR if kind == "linear" else None]
            for name, values in remedies:
                found = [list(scores(prepared, with_values(recipe, values | {"seed": seed})))
                         for seed in SEEDS[kind]]  # fmt: skip
                dev, test, right = (100 * mean(column) for column in zip(*found, strict=True))
                print(f"| `{kind}` | {name} | {dev:.1f} | {test:.1f} | {right:.1f} |", flush=True)
    print(f"\nload {os.getloadavg()[0]:.1f}")


def scores(prepared: PreparedData, recipe: Recipe) -> Iterator[float]:
    """Macro-F1 on dev, then on test, then accuracy on test."""
    data = training_data(prepared, recipe)
    weights = fit_weights(recipe, data, Team())
    artifact = calibrated(recipe, prepared, weights.state, data)
    yield artifact.metrics["macro_f1"]
    found = tested(artifact, prepared)
    yield from (found["macro_f1"], found["accuracy"])


def tested(artifact: Artifact, prepared: PreparedData) -> dict[str, float]:
    texts, truth = prepared.rows("test")
    said = np.asarray(artifact.score(texts).scores.argmax(1))
    return summary(confusion(truth, said, len(artifact.labels)))


if __name__ == "__main__":
    main()
