"""What a model must beat to be worth having: always the largest class, and a quick linear model."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.scores import interval_of
from bigmodel.inspection import quick
from bigmodel.metrics import Ids

MOST_LEARNT = 100_000  # rows


def baselines(
    train_texts: Sequence[str],
    train_labels: Ids,
    answers: Answers,
    texts: Sequence[str],
    *,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Accuracy and macro-F1, with intervals, of each baseline on the rows of `answers`.

    `train_labels` are class ids; `texts` are raw, those of `answers`. The linear model learns at
    most MOST_LEARNT rows, a sample of more; with a single class to learn there is none.
    """
    truth = np.asarray(train_labels, np.int64)
    largest = int(np.bincount(truth).argmax())
    found = {"majority": interval_of(_said(answers, np.full(len(answers), largest)), seed=seed)}
    if len(np.unique(truth)) > 1:
        found["quick linear"] = interval_of(
            _said(answers, _quick_linear(train_texts, truth, texts, seed=seed)), seed=seed
        )
    return found


def _quick_linear(
    train_texts: Sequence[str], truth: Ids, texts: Sequence[str], *, seed: int
) -> Ids:
    """The class that it gives each text."""
    learnt = np.arange(len(truth))
    if len(learnt) > MOST_LEARNT:
        learnt = np.random.default_rng(seed).choice(learnt, MOST_LEARNT, replace=False)
    features = quick.features()
    known = features.fit_transform([train_texts[i] for i in learnt.tolist()])
    model = quick.classifier(seed).fit(known, truth[learnt])
    return np.asarray(model.predict(features.transform(texts)), np.int64)


def _said(answers: Answers, predicted: Ids) -> Answers:
    """The same rows, answered otherwise and with full confidence."""
    certain = np.eye(len(answers.labels))[predicted]
    return Answers(answers.labels, answers.truth, certain, answers.unit)
