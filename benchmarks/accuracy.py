"""Test accuracy on the demo's reviews: every kind and two plain scikit-learn models, three seeds.

    python -m benchmarks.accuracy            # prints a Markdown table; about five minutes

Each seed is another split. The baselines are fitted on the very training rows of that split, with
TF-IDF of characters 1-4 and words 1-2, C chosen on its valid rows.
"""

import os
import tempfile
from collections import defaultdict
from statistics import mean

from benchmarks.baselines import BASELINES
from bigmodel.artifact import Artifact
from bigmodel.cluster.session import ray_session
from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData
from bigmodel.metrics import confusion, summary
from bigmodel.predictor import Predictor
from bigmodel.recipe import load_recipe

RECIPE = "jobs/recipes/reviews.toml"
KINDS = ("linear", "bag", "mlp")
SEEDS = (0, 1, 2)


def main() -> None:
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as storage, ray_session():
        for seed in SEEDS:
            for kind in KINDS:
                prepared, scores = score_kind(kind, seed, storage)
                found[kind].append(scores)
            for name, scores in baselines(prepared).items():
                found[name].append(scores)
    print("| model | accuracy, mean of three seeds | each | macro-F1 |")
    print("|---|---|---|---|")
    for name, scores in found.items():
        accuracies, f1s = zip(*scores, strict=True)
        each = ", ".join(f"{accuracy:.4f}" for accuracy in accuracies)
        print(f"| {name} | {mean(accuracies):.4f} | {each} | {mean(f1s):.4f} |")
    print(f"\n{found_rows(prepared)}; load {os.getloadavg()[0]:.1f}")


def score_kind(kind: str, seed: int, storage: str) -> tuple[PreparedData, tuple[float, float]]:
    """Accuracy and macro-F1 on the test rows, by the stages that `bigmodel run` goes through."""
    from bigmodel.data.prepare import prepare
    from bigmodel.training.trainer import fit

    recipe: Recipe = load_recipe(RECIPE, [f"model.kind={kind}", f"seed={seed}"], storage=storage)
    prepared = prepare(recipe)
    fitted = fit(prepared, recipe, run_id=f"{kind}-{seed}")
    predictor = Predictor(Artifact.load(fitted.uri, digest=fitted.artifact.digest))
    texts, truth = prepared.rows("test")
    said = predictor.probabilities(texts).argmax(1)
    found = summary(confusion(truth, said, len(predictor.labels)))
    return prepared, (found["accuracy"], found["macro_f1"])


def baselines(prepared: PreparedData) -> dict[str, tuple[float, float]]:
    """The plain models on the same rows."""
    truth, found = prepared.rows("test")[1], {}
    for name in ("scikit-learn LinearSVC", "scikit-learn NB-SVM"):
        said = BASELINES[name](prepared, "test").predicted
        scores = summary(confusion(truth, said, len(prepared.labels)))
        found[name] = (scores["accuracy"], scores["macro_f1"])
    return found


def found_rows(prepared: PreparedData) -> str:
    splits = {name: sum(labels.values()) for name, labels in prepared.summary["splits"].items()}
    return "rows of the last seed: " + ", ".join(
        f"{name} {rows:,}" for name, rows in splits.items()
    )


if __name__ == "__main__":
    main()
