"""Every score of some answers, by scikit-learn's definitions, each with its 95 % interval."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import Counts, accuracy, macro_f1, mean, of_classes, overall, share
from bigmodel.evaluation.ranking import Ranking
from bigmodel.evaluation.resampling import (
    Interval,
    actual_counts,
    around,
    drawn_counts,
    effective_size,
    percentiles,
    share_interval,
)
from bigmodel.metrics import Scores, confusion

BINS = 10  # of confidence, equally wide
_WORK = 300_000_000  # probabilities looked at over all resamples
_MOST, _FEWEST = 1_000, 200  # resamples: intervals come of variances, for which some suffice


def scores(answers: Answers, *, seed: int) -> dict[str, Any]:
    """All scores of at least one row, fit for JSON; `interval` has those of the same names.

    A class without rows has zeros, with intervals that tell nothing. `average_precision` is the
    mean over the classes that have rows. `calibration_error` is of the likeliest class over BINS
    (Guo et al. 2017); `calibration` are the bins that have rows.
    """
    sums, ranking = _sums(answers), Ranking(answers)
    unit = np.unique(answers.unit, return_inverse=True)[1]
    units = unit.max() + 1
    by_unit = (sparse.csr_array((np.ones(len(unit)), (unit, np.arange(len(unit))))) @ sums).T
    found, of_each = _figures(sums.sum(0), ranking.average_precision(np.ones_like(unit)))
    drawn_sums, drawn_precisions = [], []
    generator = np.random.default_rng(seed)
    for _ in range(max(_FEWEST, min(_MOST, _WORK // answers.probabilities.size))):
        times = np.bincount(generator.integers(units, size=units), minlength=units)
        drawn_sums.append(by_unit @ times)
        drawn_precisions.append(ranking.average_precision(times[unit]))
    drawn, drawn_each = _figures(np.array(drawn_sums), np.array(drawn_precisions))
    size = effective_size(answers.unit)
    counts = confusion(answers.truth, answers.predicted, len(answers.labels))
    return {
        **{name: float(value) for name, value in found.items()},
        "rows": len(answers),
        "units": int(units),
        "confusion": counts.tolist(),
        "labels": list(answers.labels),
        "per_class": {
            label: {name: float(values[k]) for name, values in of_each.items()}
            | {"rows": int(counts[k].sum())}
            for k, label in enumerate(answers.labels)
        },
        "calibration": _calibration(sums.sum(0)[-3 * BINS :]),
        "interval": {name: _interval(name, found[name], drawn[name], size) for name in found}
        | {"per_class": _class_intervals(answers, of_each, drawn_each)},
    }


def interval_of(answers: Answers, *, seed: int) -> dict[str, Any]:
    """Accuracy and macro-F1 alone of at least one row, with intervals; quick."""
    (found,) = actual_counts([answers])
    (drawn,) = drawn_counts([answers], seed=seed)
    size = effective_size(answers.unit)
    scored = {"accuracy": accuracy, "macro_f1": macro_f1}
    values = {name: float(score(found)) for name, score in scored.items()}
    interval = {
        name: share_interval(values[name], score(drawn), size) for name, score in scored.items()
    }
    return {**values, "interval": interval, "rows": len(answers)}


def _sums(answers: Answers) -> Any:
    """What adds up over rows: [N, 3 L + 1 + 3 BINS] sparse.

    Hits, answers and rows of each class; the loss; rows, confidence and hits of each bin.
    """
    rows, wide = np.arange(len(answers)), len(answers.labels)
    said, true, confidence = answers.predicted, answers.truth, answers.confidence
    right = (said == true).astype(float)
    least = np.finfo(float).eps  # as scikit-learn's log_loss
    loss = -np.log(np.clip(answers.probabilities[rows, true], least, 1 - least))
    place = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence)
    ones, begin = np.ones(len(rows)), 3 * wide + 1
    parts = [
        (true, right),
        (wide + said, ones),
        (2 * wide + true, ones),
        (np.full(len(rows), 3 * wide), loss),
        (begin + place, ones),
        (begin + BINS + place, confidence),
        (begin + 2 * BINS + place, right),
    ]
    columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
    shape = (len(rows), begin + 3 * BINS)
    return sparse.csr_array((values, (np.tile(rows, len(parts)), columns)), shape=shape)


def _figures(sums: Scores, precisions: Scores) -> tuple[dict[str, Scores], dict[str, Scores]]:
    """(scores of all [...], scores of each class [..., L]) of sums [..., K]."""
    wide = precisions.shape[-1]
    hits, said, true = (sums[..., i * wide : (i + 1) * wide] for i in range(3))
    counts = Counts(hits, said, true)
    _, confidence, right = np.split(sums[..., -3 * BINS :], 3, axis=-1)
    found = overall(counts) | {
        "average_precision": mean(precisions, (true > 0).astype(float)),
        "log_loss": share(sums[..., 3 * wide], counts.rows),
        "calibration_error": share(np.abs(confidence - right).sum(-1), counts.rows),
    }
    return found, of_classes(counts) | {"average_precision": precisions}


def _calibration(bins: Scores) -> list[dict[str, float]]:
    rows, confidence, right = np.split(bins, 3)
    return [
        {
            "from": k / BINS,
            "to": (k + 1) / BINS,
            "rows": int(rows[k]),
            "confidence": float(confidence[k] / rows[k]),
            "accuracy": float(right[k] / rows[k]),
        }
        for k in np.flatnonzero(rows).tolist()
    ]


def _interval(name: str, value: Scores, drawn: Scores, size: float) -> Interval:
    if name == "log_loss":
        return percentiles(drawn)
    if name == "calibration_error":
        return around(float(value), drawn)
    if name == "mcc":
        low, high = share_interval((float(value) + 1) / 2, (drawn + 1) / 2, size, at_most=False)
        return [2 * low - 1, 2 * high - 1]
    return share_interval(float(value), drawn, size, at_most=name != "average_precision")


def _class_intervals(
    answers: Answers, found: Mapping[str, Scores], drawn: Mapping[str, Scores]
) -> dict[str, dict[str, Interval]]:
    intervals = {}
    for k, label in enumerate(answers.labels):
        true, said = answers.truth == k, answers.predicted == k
        rows = {"precision": said, "recall": true, "f1": said | true, "average_precision": true}
        intervals[label] = {
            name: share_interval(
                float(values[k]),
                drawn[name][:, k],
                effective_size(answers.unit[rows[name]]),
                at_most=name != "average_precision",
            )
            for name, values in found.items()
        }
    return intervals
