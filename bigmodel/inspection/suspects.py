"""Rows most likely mislabelled: what a quick model says that never saw them, ranked by cleanlab."""

import csv
import io
import warnings
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.data.corrections import quoted
from bigmodel.data.prepared import PreparedData, PreparedRows
from bigmodel.inspection import quick

COLUMNS = ("source", "row", "text", "label", "suggested", "score")
MOST_EXAMINED = 100_000
MOST_LISTED = 1_000
MOST_CONFUSED = 10  # pairs of labels
FOLDS = 5
FEWEST_UNITS = 10  # of a label: from fewer nothing can be said about the others


@dataclass(frozen=True)
class Suspects:
    """The rows of which a model that wasn't trained on them says something else than their label.

    `rows`: dicts of COLUMNS, the worst first, at most MOST_LISTED of the `found`; `score` is
    cleanlab's for the label, 0 (wrong) to 1 (right). `examined` rows were looked at, a sample or
    all; the model agreed with the label of the share `agreed` (None: no row could be examined), and
    `confused` counts (label, what the model said).
    """

    rows: list[dict[str, Any]]
    found: int
    examined: int
    sampled: bool
    agreed: float | None
    confused: list[tuple[str, str, int]]

    def figures(self) -> dict[str, Any]:
        """Fit for JSON: all but the rows."""
        most = [{"label": a, "said": b, "rows": n} for a, b, n in self.confused[:MOST_CONFUSED]]
        return {
            "found": self.found,
            "listed": len(self.rows),
            "examined": self.examined,
            "sampled": self.sampled,
            "agreed": self.agreed,
            "confused": most,
        }

    def csv(self) -> bytes:
        """With a BOM, by which Excel knows that it is UTF-8, and no cell that it would reckon."""
        written = io.StringIO()
        writer = csv.DictWriter(written, COLUMNS)
        writer.writeheader()
        for row in self.rows:
            writer.writerow(
                row | {name: quoted(row[name]) for name in ("text", "label", "suggested")}
            )
        return written.getvalue().encode("utf-8-sig")


def find_suspects(prepared: PreparedData, *, seed: int) -> Suspects:
    """Look at the kept rows, or at a sample of MOST_EXAMINED.

    Labels with few rows are left out, and texts that are kept under several labels: a correction
    goes by the text, and these are counted as conflicts.
    """
    table = _examinable(prepared.table())
    if sampled := len(table) > MOST_EXAMINED:
        chosen = np.random.default_rng(seed).choice(len(table), MOST_EXAMINED, replace=False)
        table = table.take(np.sort(chosen))
    names, given = np.unique(np.array(table["label"].to_pylist(), object), return_inverse=True)
    probabilities = out_of_fold(
        table["text"].to_pylist(), given, table["unit"].to_numpy(), seed=seed
    )
    seen = np.flatnonzero(probabilities.any(1))
    files = [file["path"] for file in prepared.summary["files"]]
    return _suspects(
        table.take(seen), given[seen], probabilities[seen], names, files, sampled=sampled
    )


def suspects_among(
    prepared: PreparedRows, rows: pa.Table, probabilities: npt.NDArray[np.float64]
) -> Suspects:
    """By the answers of a cross-validation: [rows, labels of the data], as `PreparedRows.table`."""
    labels = prepared.labels
    given = labels.ids(rows["label"].to_pylist(), where=prepared.origin.place.uri)
    once = np.isin(rows["key"].to_numpy(), _examinable(rows)["key"].to_numpy())
    chosen = np.flatnonzero(once)
    names = np.array(labels.names, object)
    files = [file["path"] for file in prepared.summary["files"]]
    table = rows.take(chosen)
    return _suspects(table, given[chosen], probabilities[chosen], names, files, sampled=False)


def _suspects(
    table: pa.Table,
    given: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    names: npt.NDArray[np.object_],
    files: list[str],
    *,
    sampled: bool,
) -> Suspects:
    if not len(given):
        return Suspects([], 0, 0, sampled, None, [])
    order, score = _ranked(given, probabilities)
    said = probabilities.argmax(1)
    pairs = Counter(zip(names[given].tolist(), names[said].tolist(), strict=True))
    rows = table.take(order[:MOST_LISTED]).select(["source", "row", "text", "label"]).to_pylist()
    for row, place in zip(rows, order.tolist(), strict=False):
        row["source"] = files[row["source"]]
        row |= {"suggested": names[said[place]], "score": float(score[place])}
    return Suspects(
        rows=rows,
        found=len(order),
        examined=len(given),
        sampled=sampled,
        agreed=float(np.mean(said == given)),
        confused=[(*pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]],
    )


def out_of_fold(
    texts: list[str], given: npt.NDArray[np.int64], unit: npt.NDArray[np.int64], *, seed: int
) -> npt.NDArray[np.float64]:
    """The probability of each label [rows, labels], by a model of the rows of other folds.

    Rows of one unit are in one fold: of near-duplicates one would tell the label of the other. Zero
    throughout where the other folds lack the row's label.
    """
    probabilities = np.zeros((len(given), given.max(initial=-1) + 1))
    units, position = np.unique(unit, return_inverse=True)
    if probabilities.shape[1] < 2 or len(units) < 2:
        return probabilities
    fold = np.random.default_rng(seed).permutation(len(units))[position] % FOLDS
    features = quick.features().fit_transform(texts)
    for number in range(FOLDS):
        mine, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        labels = np.unique(given[others])
        mine = mine[np.isin(given[mine], labels)]
        if len(labels) < 2 or not len(mine):
            continue
        model = quick.classifier(seed)
        model.fit(features[others], given[others])
        probabilities[np.ix_(mine, labels)] = model.predict_proba(features[mine])
    return probabilities


def _examinable(table: pa.Table) -> pa.Table:
    keys = table.group_by("key").aggregate([("label", "count")])
    once = keys.filter(pa.compute.equal(keys["label_count"], 1))["key"].combine_chunks()
    if len(once) < len(table):
        table = table.filter(pa.compute.is_in(table["key"], once))
    units = table.group_by("label").aggregate([("unit", "count_distinct")])
    enough = units.filter(pa.compute.greater_equal(units["unit_count_distinct"], FEWEST_UNITS))
    return table.filter(pa.compute.is_in(table["label"], enough["label"].combine_chunks()))


def _ranked(
    given: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(positions of the suspects, worst first; the score of every row)."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    held, given = np.unique(given, return_inverse=True)  # cleanlab wants every label to have rows
    probabilities = probabilities[:, held]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its advice is about its own parameters
        issues = find_label_issues(given, probabilities, n_jobs=1)
        score = get_label_quality_scores(given, probabilities, method="normalized_margin")
    found = np.flatnonzero(issues)
    return found[np.argsort(score[found], kind="stable")], score
