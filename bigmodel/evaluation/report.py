"""The report on labelled texts: scores a class, confusion, and intervals."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from bigmodel import progress
from bigmodel.data.files import files_of
from bigmodel.data.prepared import find_rows
from bigmodel.data.read import check_unreadable, read_rows
from bigmodel.data.sources import open_source
from bigmodel.errors import DataError
from bigmodel.metrics import summary
from bigmodel.predictor import Predictor
from bigmodel.storage import folder

_CHUNK = 2048
_RESAMPLES = 2000


@dataclass(frozen=True)
class Report:
    """How an artefact did on some rows; `confusion` has a row a true class, in order of the labels.

    `interval`: the middle 95 % of accuracy and macro-F1 over seeded resamples of the rows.
    """

    rows: int
    accuracy: float
    macro_f1: float
    interval: dict[str, tuple[float, ...]]
    per_class: dict[str, dict[str, float]]
    confusion: list[list[int]]
    labels: tuple[str, ...]

    def save(self, uri: str, name: str) -> str:
        """Write the report as JSON into a folder; returns the file's path or URI."""
        text = json.dumps(asdict(self), ensure_ascii=False, indent=1)
        folder(uri).write(name, text.encode())
        return f"{folder(uri).uri}/{name}"


def evaluate(predictor: Predictor, texts: Sequence[str], truth: npt.NDArray[np.int64]) -> Report:
    """Answer every raw text as the endpoint would, and count; at least one text."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    predicted = predictor.artifact.labels.ids(_answers(predictor, texts), where="answers")
    classes = np.arange(len(predictor.labels))
    counts = confusion_matrix(truth, predicted, labels=classes)
    columns = precision_recall_fscore_support(truth, predicted, labels=classes, zero_division=0.0)
    names = ("precision", "recall", "f1", "rows")
    per_class = {
        label: {name: column[i].item() for name, column in zip(names, columns, strict=True)}
        for i, label in enumerate(predictor.labels)
    }
    return Report(
        **summary(counts),
        interval=_interval(counts),
        per_class=per_class,
        confusion=counts.tolist(),
        labels=predictor.labels,
    )


def own_test_rows(predictor: Predictor) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The test split that was set aside when the artefact's data was prepared: texts, class ids."""
    lineage = predictor.artifact.lineage
    prepared = find_rows(lineage)
    if prepared is None:
        raise DataError(
            f"{lineage.get('prepared', 'unknown folder')}: this model's test rows are gone, "
            "damaged, or no longer those it was made with; give a file with --data"
        )
    return prepared.rows("test")


def labelled_rows(path: str, predictor: Predictor) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Every readable row of a file, glob or folder, duplicates included: texts and class ids.

    The columns and the encoding are those of the artefact's recipe.
    """
    normalizer = predictor.artifact.encoder.normalizer
    texts: list[str] = []
    labels: list[str] = []
    for file in files_of(path):
        source = open_source(file, "test", predictor.artifact.recipe.data)
        rows = unreadable = 0
        for table in read_rows(source):
            rows += len(table)
            good = table.filter(table["reason"].is_null())
            unreadable += len(table) - len(good)
            for row in good.select(["text", "label"]).to_pylist():
                if normalizer(row["text"]) and row["label"]:
                    texts.append(row["text"])
                    labels.append(row["label"])
        check_unreadable(source, unreadable, rows)
    if not texts:
        raise DataError(f"{path}: no usable rows; expected labelled texts")
    return texts, predictor.artifact.labels.ids(labels, where=path)


def _answers(predictor: Predictor, texts: Sequence[str]) -> list[str]:
    answers: list[str] = []
    with progress.stage("evaluate", total=len(texts)) as stage:
        for start in range(0, len(texts), _CHUNK):
            chunk = predictor.predict(texts[start : start + _CHUNK])
            answers += [prediction.labels[0][0] for prediction in chunk]
            stage.update(done=len(answers))
    return answers


def _interval(counts: npt.NDArray[np.int64]) -> dict[str, tuple[float, ...]]:
    """Resampling rows is drawing from the multinomial over the cells of the confusion table."""
    total = int(counts.sum())
    cells = np.random.default_rng(0).multinomial(total, counts.ravel() / total, size=_RESAMPLES)
    found = [summary(table) for table in cells.reshape(-1, *counts.shape)]
    return {
        name: tuple(np.quantile([scores[name] for scores in found], [0.025, 0.975]).tolist())
        for name in ("accuracy", "macro_f1")
    }
