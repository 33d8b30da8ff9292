"""Plain models on the very rows of a prepared folder: scikit-learn's and fastText's.

Written as a good engineer would: TF-IDF of characters 1-4 and words 1-2, C chosen on the valid
rows; fastText with words and their pairs, its learning rate and epochs chosen there.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bigmodel.data.prepared import PreparedData

Ids = npt.NDArray[np.int64]
CS = (0.1, 0.2, 0.3, 0.5, 1.0)


@dataclass(frozen=True)
class Said:
    """The classes that a baseline gave the scored rows, the seconds it took to fit (file to model,
    choosing among settings apart), and its size on disk, where it has a format."""

    predicted: Ids
    seconds: float
    num_bytes: int | None = None


def linear_svc(prepared: PreparedData, scored: str) -> Said:
    return _best_svc(prepared, scored, nb=False)


def nb_svm(prepared: PreparedData, scored: str) -> Said:
    """Wang and Manning (2012), one class against the rest."""
    return _best_svc(prepared, scored, nb=True)


def fasttext(prepared: PreparedData, scored: str) -> Said:
    """https://fasttext.cc, words by rjieba; needs the package fasttext-wheel."""
    import fasttext as library
    import rjieba

    def lines(split: str) -> list[str]:
        return [" ".join(rjieba.cut(text, False)).replace("\n", " ") for text in texts[split]]

    texts = {name: prepared.rows(name)[0] for name in ("train", "valid", scored)}
    truth = prepared.rows("valid")[1]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "train.txt")
        rows = zip(prepared.rows("train")[1], lines("train"), strict=True)
        file.write_text("".join(f"__label__{label} {line}\n" for label, line in rows))
        reading = time.perf_counter() - start
        tried = []
        for rate, epochs in ((0.2, 10), (0.5, 10), (0.5, 25)):
            start = time.perf_counter()
            model = library.train_supervised(
                str(file), lr=rate, epoch=epochs, wordNgrams=2, minCount=2, thread=2, verbose=0
            )
            took = time.perf_counter() - start
            right = float(np.mean(_labels(model, lines("valid")) == truth))
            tried.append((right, took, model))
        _, took, model = max(tried, key=lambda one: one[0])
        model.save_model(str(Path(place, "model.bin")))
        size = Path(place, "model.bin").stat().st_size
    return Said(_labels(model, lines(scored)), reading + took, size)


def _labels(model: Any, lines: list[str]) -> Ids:
    """Its own `predict` fails with numpy 2; what is below that doesn't."""
    said = (model.f.predict(f"{line}\n", 1, 0.0, "strict") for line in lines)
    return np.array([int(one[0][1].removeprefix("__label__")) if one else 0 for one in said])


def _best_svc(prepared: PreparedData, scored: str, *, nb: bool) -> Said:
    from sklearn.svm import LinearSVC

    start = time.perf_counter()
    names = ("train", "valid", scored)
    rows = {name: prepared.rows(name) for name in names}
    features = vectorizer()
    x = {"train": features.fit_transform(rows["train"][0])}
    x |= {name: features.transform(rows[name][0]) for name in names[1:]}
    y = rows["train"][1]
    reading = time.perf_counter() - start
    ways = ratios(x["train"], y, len(prepared.labels)) if nb else None
    tried = []
    for c in CS:
        start = time.perf_counter()
        scores = {name: np.zeros((x[name].shape[0], len(prepared.labels))) for name in names[1:]}
        for label in range(len(prepared.labels)):
            ratio = ways[label] if ways is not None else 1.0
            model = LinearSVC(C=c).fit(x["train"].multiply(ratio).tocsr(), y == label)
            for name in names[1:]:
                scores[name][:, label] = model.decision_function(x[name].multiply(ratio).tocsr())
        took = time.perf_counter() - start
        right = float(np.mean(scores["valid"].argmax(1) == rows["valid"][1]))
        tried.append((right, took, scores[scored].argmax(1)))
    _, took, predicted = max(tried, key=lambda one: one[0])
    return Said(predicted, reading + took)


def ratios(x: Any, y: Ids, num_labels: int) -> list[npt.NDArray[Any]]:
    """For each class, of each feature: ln of its smoothed share in the class over in the others."""
    there = (x > 0).astype(float)
    found = []
    for label in range(num_labels):
        inside, outside = (
            1 + np.asarray(there[rows].sum(0))[0] for rows in (y == label, y != label)
        )
        found.append(np.log((inside / inside.sum()) / (outside / outside.sum())))
    return found


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


BASELINES: dict[str, Callable[[PreparedData, str], Said]] = {
    "scikit-learn LinearSVC": linear_svc,
    "scikit-learn NB-SVM": nb_svm,
    "fastText": fasttext,
}
