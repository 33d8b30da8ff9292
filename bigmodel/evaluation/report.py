"""The report on a version: every figure about its answers to some labelled rows, as one dict."""

from collections import Counter
from typing import Any

import numpy as np

from bigmodel.abstention import NEVER
from bigmodel.data.prepared import PreparedRows, find_rows
from bigmodel.evaluation.answers import Answers, answer
from bigmodel.evaluation.baselines import baselines
from bigmodel.evaluation.behaviour import behaviour
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.promise import kept
from bigmodel.evaluation.scores import scores
from bigmodel.evaluation.slices import gaps, slices
from bigmodel.predictor import Predictor

MOST_MISTAKES = 50
MOST_CONFUSED = 20  # pairs of labels

Report = dict[str, Any]


def report(
    predictor: Predictor, rows: Labelled, *, model: str, split: str, answers: Answers | None = None
) -> tuple[Report, Answers]:
    """Everything about the answers to some rows, fit for JSON; at least one row.

    `split` says which rows: "test", or a file. What needs the training rows (baselines, words that
    are unknown, the data's own figures) is left out where they are gone.
    """
    artifact, seed = predictor.artifact, predictor.artifact.recipe.seed
    config = artifact.recipe.evaluate
    if answers is None:
        truth = artifact.labels.ids(rows.labels, where=split)
        answers = answer(predictor, rows.texts, truth, rows.unit)
    training = find_rows(artifact.lineage)
    found: Report = {"model": model, "split": split, "digest": artifact.digest}
    found |= scores(answers, seed=seed)
    found["slices"] = slices(
        answers,
        rows.texts,
        columns=rows.columns,
        patterns=config.patterns,
        unknown=_unknown_share(predictor, rows, training) if training else [],
        seed=seed,
    )
    found["gaps"] = gaps(answers, columns=rows.columns, seed=seed)
    found["behaviour"] = behaviour(predictor, rows.texts, config.behaviour, seed=seed)
    if not artifact.recipe.report.texts:
        for tried in found["behaviour"]:
            del tried["examples"]
    found["promise"] = _promise(answers, predictor)
    found["confused"] = _confused(answers)
    found["mistakes"] = _mistakes(answers, rows) if artifact.recipe.report.texts else []
    if training:
        table = training.of_splits("train", columns=["text", "label"])
        truth = artifact.labels.ids(table["label"].to_pylist(), where="training rows")
        texts = table["text"].to_pylist()
        found["baselines"] = baselines(texts, truth, answers, rows.texts, seed=seed)
        found["data"] = _about(training)
    found["recipe"] = artifact.recipe.model_dump(mode="json", by_alias=True, exclude_none=True)
    return found, answers


def _unknown_share(predictor: Predictor, rows: Labelled, training: PreparedRows) -> list[float]:
    """Of each text's words, the share that no training row has; 0 of a text without words."""
    encoder = predictor.artifact.encoder
    known: set[str] = set()
    learnt = training.of_splits("train", columns=["written"])["written"].to_pylist()
    for words in encoder.segmenter.cut_all(learnt):
        known.update(words)
    cut = encoder.segmenter.cut_all([encoder.normalizer(text) for text in rows.texts])
    return [sum(word not in known for word in words) / max(1, len(words)) for words in cut]


def _promise(answers: Answers, predictor: Predictor) -> dict[str, Any] | None:
    artifact = predictor.artifact
    promised = artifact.recipe.evaluate.promise
    if promised is None:
        return None
    threshold = artifact.threshold
    if threshold is None or threshold == NEVER:
        return {"precision": promised.precision, "threshold": None}
    test = kept(answers, threshold, seed=artifact.recipe.seed)
    return {"precision": promised.precision, "threshold": threshold, "test": test}


def _confused(answers: Answers) -> list[dict[str, Any]]:
    pairs = Counter(zip(answers.truth.tolist(), answers.predicted.tolist(), strict=True))
    wrong = [(pair, count) for pair, count in pairs.most_common() if pair[0] != pair[1]]
    return [
        {"label": answers.labels[label], "said": answers.labels[said], "rows": count}
        for (label, said), count in wrong[:MOST_CONFUSED]
    ]


def _mistakes(answers: Answers, rows: Labelled) -> list[dict[str, Any]]:
    """The surest of them first."""
    wrong = np.flatnonzero(answers.predicted != answers.truth)
    order = wrong[np.argsort(-answers.confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "text": rows.texts[i],
            "label": rows.labels[i],
            "said": answers.labels[answers.predicted[i]],
            "score": float(answers.confidence[i]),
        }
        for i in order.tolist()
    ]


def _about(training: PreparedRows) -> dict[str, Any]:
    names = ("data_id", "split_id", "rows_read", "rows_kept", "duplicates", "quarantined", "splits")
    return {name: training.summary[name] for name in (*names, "files")}
