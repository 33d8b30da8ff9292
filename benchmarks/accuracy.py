"""Test accuracy on the demo's reviews: every kind and two plain scikit-learn models, three seeds.

    python -m benchmarks.accuracy            # prints a Markdown table; about five minutes

Each seed is another split. The baselines are fitted on the very training rows of that split, with
TF-IDF of characters 1-4 and words 1-2, C chosen on its valid rows.
"""

import os
import tempfile
from collections import defaultdict
from statistics import mean
from typing import Any

import numpy as np

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
CS = (0.1, 0.2, 0.3, 0.5, 1.0)


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
    """LinearSVC, and NB-SVM (Wang and Manning 2012), as a good engineer would write them."""
    from scipy.sparse import diags

    texts = {split: prepared.rows(split) for split in ("train", "valid", "test")}
    features = vectorizer()
    x = {"train": features.fit_transform(texts["train"][0])}
    x |= {split: features.transform(texts[split][0]) for split in ("valid", "test")}
    y = {split: rows[1] for split, rows in texts.items()}
    there = (x["train"] > 0).astype(float)
    inside, outside = (1 + np.asarray(there[y["train"] == c].sum(0))[0] for c in (1, 0))
    ratio = diags(np.log((inside / inside.sum()) / (outside / outside.sum())))
    nb = {split: matrix @ ratio for split, matrix in x.items()}
    return {"scikit-learn LinearSVC": best_svc(x, y), "scikit-learn NB-SVM": best_svc(nb, y)}


def vectorizer() -> Any:
    import rjieba
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import FeatureUnion

    common = {"min_df": 2, "sublinear_tf": True}
    chars = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), **common)
    words = TfidfVectorizer(
        tokenizer=lambda text: rjieba.cut(text, False),
        token_pattern=None,
        ngram_range=(1, 2),
        **common,
    )
    return FeatureUnion([("chars", chars), ("words", words)])


def best_svc(x: dict[str, Any], y: dict[str, Any]) -> tuple[float, float]:
    from sklearn.metrics import accuracy_score, f1_score
    from sklearn.svm import LinearSVC

    models = [LinearSVC(C=c).fit(x["train"], y["train"]) for c in CS]
    best = max(models, key=lambda model: model.score(x["valid"], y["valid"]))
    answers = best.predict(x["test"])
    return accuracy_score(y["test"], answers), f1_score(y["test"], answers, average="macro")


def found_rows(prepared: PreparedData) -> str:
    splits = {name: sum(labels.values()) for name, labels in prepared.summary["splits"].items()}
    return "rows of the last seed: " + ", ".join(
        f"{name} {rows:,}" for name, rows in splits.items()
    )


if __name__ == "__main__":
    main()
