"""Two versions on rows that neither has seen: one is better, worse, or it can't be told."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.artifact import Artifact
from bigmodel.data.duplicates import near_any, near_units
from bigmodel.data.prepared import PreparedRows, find_rows
from bigmodel.data.schema import CONFLICT, REMOVED
from bigmodel.data.split import SEEN_SPLITS, contains, key64
from bigmodel.evaluation.answers import Answers, answer
from bigmodel.evaluation.beside import Beside
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.paired import difference
from bigmodel.evaluation.slices import FEWEST, parts
from bigmodel.predictor import Predictor

NO_ROWS = Labelled([], [], np.zeros(0, np.int64))


@dataclass(frozen=True)
class Candidate:
    """A version to be compared: its name, the artefact, and what stands beside it."""

    name: str
    artifact: Artifact
    beside: Beside

    def written(self, rows: Labelled) -> list[str]:
        """The texts as the model normalises them."""
        return [self.artifact.encoder.normalizer(text) for text in rows.texts]

    def knows(self, rows: Labelled) -> npt.NDArray[np.bool_]:
        """[rows] equal to one that it was trained on or chosen by, or near to it.

        Where its training rows are gone, the hashes that were kept tell those that are equal; see
        `is_known`.
        """
        written = self.written(rows)
        keys = np.fromiter((key64(text) for text in written), np.int64, len(written))
        known = self.beside.known()
        found = contains(known, keys) if known is not None else np.zeros(len(rows), np.bool_)
        if self._prepared:
            seen = self._prepared.of_splits(*SEEN_SPLITS, columns=["written"])["written"]
            found = found | near_any(written, seen.to_pylist())
        return found

    @property
    def is_known(self) -> bool:
        """Whether anything tells what it was trained on."""
        return self.finds_near_rows or self.beside.known() is not None

    def refused(self, rows: Labelled) -> npt.NDArray[np.bool_]:
        """[rows] that its prepare set aside: taken out by a correction, or under several labels."""
        if self._prepared is None:
            return np.zeros(len(rows), np.bool_)
        aside = self._prepared.quarantine()
        texts = aside.filter(pa.compute.is_in(aside["reason"], pa.array([REMOVED, CONFLICT])))
        normalizer = self.artifact.encoder.normalizer
        keys = {normalizer(text) for text in texts["text"].to_pylist() if text}
        return np.fromiter((text in keys for text in self.written(rows)), np.bool_, len(rows))

    @property
    def finds_near_rows(self) -> bool:
        """Whether `knows` finds rows that are only near, too."""
        return self._prepared is not None

    @cached_property
    def _prepared(self) -> PreparedRows | None:
        """The rows that it was made of, as long as they are there."""
        return find_rows(self.artifact.lineage)


@dataclass(frozen=True)
class Pair:
    """The answers of two versions to rows that neither knows; `left_out` rows one of them did."""

    rows: Labelled
    left_out: int
    one: Answers
    other: Answers

    def take(self, chosen: npt.NDArray[np.int64]) -> "Pair":
        return Pair(
            self.rows.take(chosen), self.left_out, self.one.take(chosen), self.other.take(chosen)
        )


def ask_both(one: Candidate, other: Candidate, rows: Labelled) -> Pair:
    """Their answers over the labels of both: one that a model doesn't know has probability 0."""
    known = one.knows(rows) | other.knows(rows)
    rows = rows.take(~known)
    names = {name for each in (one, other) for name in each.artifact.labels.names}
    labels = tuple(sorted(names | set(rows.labels)))
    said = [_answers(each, rows, labels) for each in (one, other)]
    return Pair(rows, int(known.sum()), said[0], said[1])


def both_test_rows(one: Candidate, other: Candidate) -> Labelled:
    """The test rows of both, each text once; near ones in one unit.

    A label is that in `other`, the newer one, whose data may have been corrected: a text that it
    set aside is left out.
    """
    kept = [each.beside.test_rows() for each in (other, one)]
    tables = [rows.table() for rows in kept if rows is not None]
    if not tables:
        return NO_ROWS
    together = Labelled.of(pa.concat_tables(tables, promote_options="default"))
    written = one.written(together)
    first = {text: place for place, text in reversed(list(enumerate(written)))}
    once = np.array(sorted(first.values()), np.int64)
    rows = together.take(once)
    rows = rows.take(~other.refused(rows))
    return Labelled(rows.texts, rows.labels, near_units(one.written(rows)), rows.columns)


def compare(pair: Pair, *, patterns: Sequence[Any], seed: int) -> dict[str, Any]:
    """`other` against `one`, over all rows and in each slice; fit for JSON, at least one row."""
    found = difference(pair.one, pair.other, seed=seed)
    texts = pair.rows.texts
    slices = []
    for by, values in parts(
        texts, columns=pair.rows.columns, patterns=patterns, unknown=[]
    ).items():
        for value, rows in values.items():
            if len(rows) >= FEWEST:
                some = difference(pair.one.take(rows), pair.other.take(rows), seed=seed)
                slices.append({"by": by, "value": value} | _brief(some))
    slices.sort(key=lambda one: one["accuracy"]["difference"])
    return found | {"left_out": pair.left_out, "slices": slices}


def differing(pair: Pair) -> pa.Table:
    """The rows that the two answer differently: text, label, one, other, and how sure each was."""
    chosen = np.flatnonzero(pair.one.predicted != pair.other.predicted)
    some = pair.take(chosen)
    columns = {"text": pa.array(some.rows.texts, pa.string()), "label": pa.array(some.rows.labels)}
    for name, said in (("one", some.one), ("other", some.other)):
        columns[name] = pa.array([said.labels[i] for i in said.predicted.tolist()], pa.string())
        columns[f"score of {name}"] = pa.array(said.confidence)
    return pa.table(columns)


def _answers(one: Candidate, rows: Labelled, labels: tuple[str, ...]) -> Answers:
    position = {name: place for place, name in enumerate(labels)}
    truth = np.fromiter((position[name] for name in rows.labels), np.int64, len(rows))
    said = answer(Predictor(one.artifact), rows.texts, truth, rows.unit, stage=f"ask {one.name}")
    probabilities = np.zeros((len(rows), len(labels)))
    probabilities[:, [position[name] for name in said.labels]] = said.probabilities
    return Answers(labels, truth, probabilities, rows.unit)


def _brief(found: dict[str, Any]) -> dict[str, Any]:
    return {name: found[name] for name in ("rows", "accuracy", "macro_f1", "verdict")}
