"""Texts to answers, from an artefact and nothing else; no cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from bigmodel.artifact import Artifact
from bigmodel.metrics import Scores, softmax


@dataclass(frozen=True)
class Prediction:
    """The answer to one text: labels with their probabilities, best first.

    `abstained`: the best one is less likely than what `evaluate.promise` asks for; `truncated`: the
    text was cut at the recipe's `text.max_tokens`.
    """

    labels: tuple[tuple[str, float], ...]
    abstained: bool
    truncated: bool


class Predictor:
    """Answers raw texts as the artefact's own evaluation did.

    `network`: what scores in the place of the artefact's own, the same one on a GPU for example.
    """

    def __init__(self, artifact: Artifact, *, network: nn.Module | None = None) -> None:
        self.artifact = artifact
        self.labels = artifact.labels.names
        scoring = artifact if network is None else replace(artifact, model=network)
        self._score = scoring.score

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """Of every label [N, L], for each text."""
        return softmax(self._score(texts).scores, self.artifact.temperature)

    def predict(self, texts: Sequence[str], *, top_k: int = 1) -> list[Prediction]:
        """One answer a text, in order, each with its `top_k` most likely labels.

        An answer doesn't depend on the other texts of the call. Equal probabilities go by the
        order of the labels.
        """
        scored = self._score(texts)
        probabilities = softmax(scored.scores, self.artifact.temperature)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        sure = self.artifact.threshold or 0.0
        return [
            Prediction(
                tuple([(self.labels[i], row[i]) for i in order]),
                abstained=max(row) < sure,
                truncated=truncated,
            )
            for row, order, truncated in zip(
                probabilities.tolist(), best.tolist(), scored.truncated.tolist(), strict=True
            )
        ]
