"""Kinds and shipped recipes on public sets, beside scikit-learn and fastText on the same rows.

    python -m benchmarks.results                          # all; hours on two cores
    python -m benchmarks.results thucnews10               # one set
    python -m benchmarks.results thucnews10 linear cnn    # some models of it

Needs the data sets (BIGMODEL_TEST_DATA names their folder), and for fastText the package
fasttext-wheel. Prints a line of a Markdown table as soon as a model is there. A set with a test
file is scored on that, the others on their dev file; dev is what epochs are chosen by. Rows that
stand in both are taken out of training, for all models.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.baselines import BASELINES
from bigmodel.artifact import Artifact
from bigmodel.cluster.session import ray_session
from bigmodel.config import Recipe
from bigmodel.data.prepare import prepare
from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.ladder import answers_of
from bigmodel.evaluation.scores import interval_of
from bigmodel.models import MODELS
from bigmodel.predictor import Predictor
from bigmodel.recipe import load_recipe
from bigmodel.storage import folder
from bigmodel.training.trainer import fit

DATA = Path(os.environ.get("BIGMODEL_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
RECIPES = Path("jobs/recipes")
SHIPPED = {
    "thucnews10": ["headlines"],
    "toutiao15": ["headlines", "topics"],
    "chnsenticorp": ["two_sources"],
    "shopping_sentiment": ["headlines"],
    "shopping_category_imbalanced": ["categories"],
}
"""Each set's recipes besides the kinds."""
SECOND = "sentiment_large"


@dataclass(frozen=True)
class Row:
    """What one model came to on a set."""

    name: str
    answers: Answers
    seconds: float
    rows_per_s: float | None = None
    num_bytes: int | None = None


def main(name: str, models: list[str]) -> None:
    print(f"\n### {name}\n")
    print("| model | accuracy | 95 % interval | macro-F1 | seconds | rows/s | MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as storage, ray_session():
        for row in rows_of(name, models, storage):
            found = interval_of(row.answers, seed=0)
            low, high = found["interval"]["accuracy"]
            speed = f"{row.rows_per_s:,.0f}" if row.rows_per_s else "-"
            size = f"{row.num_bytes / 1e6:.1f}" if row.num_bytes else "-"
            print(
                f"| {row.name} | {100 * found['accuracy']:.2f} | {100 * low:.1f} to "
                f"{100 * high:.1f} | {100 * found['macro_f1']:.2f} | {row.seconds:.0f} | {speed} "
                f"| {size} |",
                flush=True,
            )
    print(f"\n{len(row.answers):,} rows scored; load {os.getloadavg()[0]:.1f}")


def rows_of(name: str, models: list[str], storage: str) -> Iterator[Row]:
    for model in models:
        if model in BASELINES:
            yield baseline(model, recipe_of(name, "linear", storage))
        else:
            yield ours(model, recipe_of(name, model, storage))


def recipe_of(name: str, model: str, storage: str) -> Recipe:
    """A shipped recipe or a kind with its defaults, on the files of a set."""
    files = [f'data.train="{DATA / name}/train.csv"', f'data.valid="{DATA / name}/dev.csv"']
    if model == "two_sources":
        more = f'{{path = "{DATA / SECOND}/train.csv", weight = 0.1}}'
        files[0] = f'data.train=[{{path = "{DATA / name}/train.csv"}}, {more}]'
    if (DATA / name / "test.csv").exists():
        files.append(f'data.test="{DATA / name}/test.csv"')
    else:
        files.append("data.split.test=0.001")
    own = [f"name={name}", "train.num_workers=2", *files]
    if model in MODELS:
        own.append(f"model.kind={model}")
        return load_recipe(RECIPES / "reviews.toml", own, storage=storage)
    return load_recipe(RECIPES / f"{model}.toml", own, storage=storage)


def ours(model: str, recipe: Recipe) -> Row:
    start = time.perf_counter()
    prepared = prepare(recipe)
    fitted = fit(prepared, recipe, run_id=f"{recipe.name}-{model}")
    seconds = time.perf_counter() - start
    predictor = Predictor(Artifact.load(fitted.uri))
    size = sum(folder(fitted.uri).sizes().values())
    speed = max(epoch["rows_per_s"] for epoch in fitted.epochs)
    rows = Labelled.of(prepared.of_splits(scored_split(recipe)))
    return Row(f"`{model}`", answers_of(predictor, rows), seconds, speed, size)


def baseline(model: str, recipe: Recipe) -> Row:
    prepared, split = prepare(recipe), scored_split(recipe)
    said = BASELINES[model](prepared, split)
    truth, unit = prepared.rows(split)[1], prepared.units(split)
    sure = np.eye(len(prepared.labels))[said.predicted]
    answers = Answers(prepared.labels.names, truth, sure, unit)
    return Row(model, answers, said.seconds, num_bytes=said.num_bytes)


def scored_split(recipe: Recipe) -> str:
    return "test" if recipe.data.test else "valid"


if __name__ == "__main__":
    for one in sys.argv[1:2] or list(SHIPPED):
        main(one, sys.argv[2:] or [*BASELINES, *MODELS, *SHIPPED[one]])
