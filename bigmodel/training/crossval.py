"""Cross-validation: every training row answered by a model that never saw it or its like."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray

from bigmodel import progress
from bigmodel.artifact import Artifact
from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedRows
from bigmodel.data.schema import LabelSet
from bigmodel.data.split import SEEN_SPLITS, Keys
from bigmodel.errors import DataError
from bigmodel.metrics import Ids, Scores, confusion, fit_temperature, softmax, summary
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.training.adjustment import adjusted
from bigmodel.training.fitting import fit_weights
from bigmodel.training.folds import deal, units
from bigmodel.training.rows import Rows, TrainingData
from bigmodel.training.team import Team

_VALID = 10  # one in so many of a fold's training rows chooses its epoch and temperature


@dataclass(frozen=True)
class OutOfFold:
    """`rows` are the training and valid rows (as `PreparedRows.table`), [N] in file order.

    `probabilities` [N, L] of `truth` [N] come from the model of all folds but the row's own `fold`
    [N]; no unit or group stands in two folds.
    """

    rows: pa.Table
    labels: LabelSet
    truth: Ids
    fold: Ids
    probabilities: Scores

    def table(self) -> pa.Table:
        """The rows by key, with their label, fold, and the probability of each label."""
        table = self.rows.select(["key", "label"]).append_column("fold", pa.array(self.fold))
        for place, name in enumerate(self.labels.names):
            column = pa.array(self.probabilities[:, place].astype(np.float32))
            table = table.append_column(f"probability {name}", column)
        return table

    def figures(self) -> dict[str, Any]:
        """Accuracy and macro-F1: their mean over the folds, their spread (standard deviation of the
        folds), and each."""
        said = self.probabilities.argmax(1)
        each = []
        for number in range(int(self.fold.max()) + 1):
            mine = self.fold == number
            each.append(summary(confusion(self.truth[mine], said[mine], len(self.labels))))
        found = {}
        for name in ("accuracy", "macro_f1"):
            values = [one[name] for one in each]
            spread = float(np.std(values, ddof=1))
            found[name] = {"mean": float(np.mean(values)), "spread": spread, "each": values}
        return found


@dataclass(frozen=True)
class _Dealt:
    """What every fold's task needs: [rows] each, and the labels."""

    plan: EncoderRecipe
    text: pa.Array
    weight: npt.NDArray[np.float32]
    labels: LabelSet
    truth: Ids
    unit: Keys
    fold: Ids


def cross_validate(prepared: PreparedRows, recipe: Recipe) -> OutOfFold:
    """Train `evaluate.folds` models, a Ray task of one process each; DataError of too few units.

    They read labelled texts only: `data.unlabelled` has no part in them.
    """
    table, unit, fold = _dealt_rows(prepared, recipe)
    truth = prepared.labels.ids(table["label"].to_pylist(), where=prepared.origin.place.uri)
    folds = recipe.evaluate.folds
    probabilities = np.zeros((len(truth), len(prepared.labels)))
    text, weight = table["text"].combine_chunks(), table["weight"].to_numpy()
    dealt = ray.put(
        _Dealt(EncoderRecipe.of(recipe), text, weight, prepared.labels, truth, unit, fold)
    )
    answer = ray.remote(_fold).options(num_cpus=1)
    config = recipe.model_dump_json(by_alias=True)
    waiting = {answer.remote(dealt, config, number): number for number in range(folds)}
    with progress.stage("cross-validate", total=len(truth)) as stage:
        done = 0
        while waiting:
            (ready,), _ = ray.wait(list(waiting))
            mine = fold == waiting.pop(ready)
            probabilities[mine] = ray.get(ready)
            done += int(mine.sum())
            stage.update(done=done)
    return OutOfFold(table, prepared.labels, truth, fold, probabilities)


def check_folds(prepared: PreparedRows, recipe: Recipe) -> None:
    """DataError where there are too few units for the folds, before anything is trained."""
    if recipe.evaluate.folds:
        _dealt_rows(prepared, recipe)


def _dealt_rows(prepared: PreparedRows, recipe: Recipe) -> tuple[pa.Table, Keys, Ids]:
    """(the training and valid rows, their units, their folds)"""
    table = prepared.of_splits(*SEEN_SPLITS).combine_chunks()
    unit = units(table)
    return table, unit, _folds(unit, recipe.evaluate.folds, seed=recipe.seed)


def _folds(unit: Keys, folds: int, *, seed: int) -> Ids:
    """The fold of each row; every fold has rows, and leaves units to train and to validate on."""
    fold = deal(unit, folds, seed=seed)
    names, first = np.unique(unit, return_index=True)
    held = np.bincount(fold[first], minlength=folds)
    if not held.all() or len(names) - held.max() < 2:
        raise DataError(
            f"{len(unit):,} training rows in {len(names)} units, as near-duplicates and rows of "
            f"one group stay together; expected more for {folds} folds that leave two units each "
            "to train on; lower evaluate.folds or add data"
        )
    return fold


def _held_out(unit: Keys, *, seed: int) -> npt.NDArray[np.bool_]:
    """About one in _VALID of the rows of at least two units: whole units, and not all."""
    hands = min(_VALID, len(np.unique(unit)))
    return np.asarray(deal(unit, hands, seed=seed) == hands - 1)


def _fold(dealt: _Dealt, text: str, number: int) -> Scores:
    """The answers to the rows of one fold, by a model of the others."""
    import torch

    torch.set_num_threads(1)
    recipe, truth, fold = Recipe.model_validate_json(text), dealt.truth, dealt.fold
    others = np.flatnonzero(fold != number)
    held = _held_out(dealt.unit[others], seed=recipe.seed + 1 + number)

    def of(rows: Ids) -> list[str]:
        return list(dealt.text.take(pa.array(rows)).to_pylist())

    train, valid, mine = others[~held], others[held], np.flatnonzero(fold == number)
    encoder = dealt.plan.fit_on(of(train))
    data = TrainingData.of(
        encoder,
        dealt.labels.names,
        Rows(encoder.encode(of(train)), truth[train], dealt.weight[train], unit=dealt.unit[train]),
        Rows(encoder.encode(of(valid)), truth[valid], dealt.weight[valid]),
    )
    model = data.new_model(recipe.model)
    model.load_state_dict(fit_weights(recipe, data, Team()).state)
    draft = Artifact(recipe, dealt.labels, encoder, model)
    said = draft.score(of(valid)).scores
    scores = adjusted(model, said, truth[valid], data, recipe.train)
    temperature = fit_temperature(scores, truth[valid])
    return softmax(draft.score(of(mine)).scores, temperature)
