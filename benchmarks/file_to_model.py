"""T4: seconds from a file to a saved `linear` model, beside scikit-learn's NB-SVM of that file.

    python -m benchmarks.file_to_model          # medians of three on thucnews10; ten minutes

Ours is the whole `bigmodel train`: Python's, Ray's and MLflow's start, the look for faults and near
duplicates, calibration and sealing. The other reads, fits characters 1-4 and words 1-2 with a C
that is known, and saves with joblib. BIGMODEL_TEST_DATA names the folder of the data sets.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks.baselines import ratios, vectorizer
from benchmarks.results import DATA

PLACE = DATA / "thucnews10"
REPEATS = 3
C = 0.2  # what the dev rows choose among benchmarks.baselines.CS
OURS = [
    *("-m", "jobs.train", "jobs/recipes/reviews.toml", "-q", "--json"),
    *("--set", "name=thucnews10", "--set", "train.num_workers=2"),
    *("--set", f'data.train="{PLACE}/train.csv"', "--set", f'data.valid="{PLACE}/dev.csv"'),
    *("--set", "data.split.test=0.001", "--storage"),
]


def main() -> None:
    pairs = [(timed(OURS), timed(["-m", __spec__.name, "--bare"])) for _ in range(REPEATS)]
    for name, tries in zip(("bigmodel", "scikit-learn"), zip(*pairs, strict=True), strict=True):
        seconds = statistics.median(took for took, _ in tries)
        print(f"{name}: {seconds:.1f} s, dev accuracy {100 * tries[0][1]:.2f}")
    ratio = statistics.median(ours / bare for (ours, _), (bare, _) in pairs)
    print(f"{ratio:.2f} of its time, median of {REPEATS} pairs; load {os.getloadavg()[0]:.1f}")


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of a whole process that writes into a new folder, and the accuracy that it says."""
    with tempfile.TemporaryDirectory() as storage:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *command, storage], check=True, stdout=subprocess.PIPE, text=True
        )
        seconds = time.perf_counter() - start
    return seconds, json.loads(done.stdout)["metrics"]["accuracy"]


def bare(storage: str) -> None:
    import joblib
    import pyarrow.csv
    from sklearn.svm import LinearSVC

    read = {name: pyarrow.csv.read_csv(PLACE / f"{name}.csv") for name in ("train", "dev")}
    texts = {name: table["text"].to_pylist() for name, table in read.items()}
    labels = {name: np.array(table["label"].to_pylist()) for name, table in read.items()}
    names, y = np.unique(labels["train"], return_inverse=True)
    features = vectorizer()
    x = {"train": features.fit_transform(texts["train"]), "dev": features.transform(texts["dev"])}
    ways = ratios(x["train"], y, len(names))
    models, scores = [], []
    for label, ratio in enumerate(ways):
        models.append(LinearSVC(C=C).fit(x["train"].multiply(ratio).tocsr(), y == label))
        scores.append(models[-1].decision_function(x["dev"].multiply(ratio).tocsr()))
    words = [(one.vocabulary_, one.idf_) for _, one in features.transformer_list]
    joblib.dump((names, words, ways, models), f"{storage}/model.joblib")
    right = names[np.argmax(scores, axis=0)] == labels["dev"]
    print(json.dumps({"metrics": {"accuracy": float(np.mean(right))}}))


if __name__ == "__main__":
    bare(sys.argv[2]) if "--bare" in sys.argv else main()
