"""From weights to an artefact: a temperature, a threshold and the scores of the valid split."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from bigmodel.abstention import NEVER, threshold
from bigmodel.artifact import Artifact
from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData, PreparedRows
from bigmodel.metrics import Ids, Scores, confusion, fit_temperature, softmax, summary
from bigmodel.training.adjustment import adjusted
from bigmodel.training.rows import TrainingData

log = logging.getLogger(__name__)


def calibrated(
    recipe: Recipe, prepared: PreparedData, weights: Mapping[str, Tensor], data: TrainingData
) -> Artifact:
    """The artefact with a temperature and metrics from the raw texts of the valid split; `data` is
    what the weights were trained on."""
    model = data.new_model(recipe.model)
    model.load_state_dict(weights)
    draft = Artifact(recipe, prepared.labels, prepared.encoder(), model)
    texts, truth = prepared.rows("valid")
    scores = adjusted(model, draft.score(texts).scores, truth, data, recipe.train)
    counts = confusion(truth, scores.argmax(1), len(draft.labels))
    temperature = fit_temperature(scores, truth)
    return replace(
        draft,
        temperature=temperature,
        threshold=_threshold(softmax(scores, temperature), truth, draft.recipe, prepared),
        metrics={"split": "valid", **summary(counts)},
        lineage=prepared.lineage,
    )


def _threshold(
    probabilities: Scores, truth: Ids, recipe: Recipe, prepared: PreparedRows
) -> float | None:
    """Below which an answer abstains; None where the recipe promises nothing."""
    promise = recipe.evaluate.promise
    if promise is None:
        return None
    right = probabilities.argmax(1) == truth
    unit = prepared.units("valid")
    found = threshold(probabilities.max(1), right, unit, precision=promise.precision)
    if found == NEVER:
        log.warning(
            "evaluate.promise: from %d valid rows a precision of %s can't be promised, so every "
            "answer abstains; promise less, or give more valid rows",
            len(truth),
            promise.precision,
        )
    return found
