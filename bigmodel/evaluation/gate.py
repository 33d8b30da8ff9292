"""The gate: a new version takes the champion's place only if it is shown to be not worse."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bigmodel.artifact import Artifact
from bigmodel.config import GateConfig
from bigmodel.data.duplicates import near_any, near_units
from bigmodel.data.prepared import find_rows
from bigmodel.data.split import contains, key64
from bigmodel.evaluation.answers import Answers, answer
from bigmodel.evaluation.beside import Beside
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.paired import difference
from bigmodel.predictor import Predictor

FEWEST_ROWS = 2


@dataclass(frozen=True)
class Candidate:
    """A version at the gate: its name, the artefact, and what stands beside it."""

    name: str
    artifact: Artifact
    beside: Beside

    def knows(self, rows: Labelled) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """[rows] equal to one that it was trained on or chosen by, or near to it.

        Where its training rows are gone, only the hashes that were kept tell, and these find
        nothing that is only near.
        """
        written = [self.artifact.encoder.normalizer(text) for text in rows.texts]
        keys = np.fromiter((key64(text) for text in written), np.int64, len(written))
        known = self.beside.known()
        found = contains(known, keys) if known is not None else np.zeros(len(rows), np.bool_)
        if prepared := find_rows(self.artifact.lineage):
            table = prepared.table().select(["written", "split"])
            seen = table.filter(pa.compute.not_equal(table["split"], "test"))["written"].to_pylist()
            found = found | near_any(written, seen)
        return found

    @property
    def is_known_by_rows(self) -> bool:
        return find_rows(self.artifact.lineage) is not None


@dataclass(frozen=True)
class Decision:
    """Whether a version may become champion, why in a sentence, and the numbers it rests on."""

    passed: bool
    why: str
    numbers: dict[str, Any]

    def figures(self) -> dict[str, Any]:
        """Fit for JSON."""
        return {"passed": self.passed, "why": self.why, **self.numbers}


def decide(
    new: Candidate, champion: Candidate | None, config: GateConfig, *, seed: int
) -> Decision:
    """Both answer the test rows of both, less every row that either knows.

    The lower end of the 95 % interval of the difference in macro-F1 must lie above -margin, and the
    accuracy of no slice of `config.slices` may fall by more.
    """
    if champion is None:
        return Decision(True, "it is the first champion", {})
    rows = _together([one.beside.test_rows() for one in (champion, new)], new.artifact)
    asked = len(rows)
    known = champion.knows(rows) | new.knows(rows)
    rows = rows.take(~known)
    numbers: dict[str, Any] = {
        "champion": champion.name,
        "margin": config.margin,
        "rows": len(rows),
        "left_out": asked - len(rows),
        "near_rows_looked_for": champion.is_known_by_rows and new.is_known_by_rows,
    }
    if len(rows) < FEWEST_ROWS:
        why = f"of {asked} test rows none is left that neither {new.name} nor {champion.name} knows"
        return Decision(False, why, numbers)
    before, after = (_answers(one, rows, (new, champion)) for one in (champion, new))
    found = difference(before, after, seed=seed)
    slices = _slices(rows, before, after, config.slices)
    numbers |= {name: found[name] for name in ("accuracy", "macro_f1", "mcnemar", "verdict")}
    numbers["slices"] = slices
    return _judged(new.name, champion.name, numbers)


def _judged(new: str, champion: str, numbers: dict[str, Any]) -> Decision:
    margin, macro_f1 = numbers["margin"], numbers["macro_f1"]
    said = (
        f"macro-F1 {macro_f1['other']:.4f} against {macro_f1['one']:.4f} of {champion} on "
        f"{numbers['rows']:,} rows that neither knows; 95 % interval of the difference "
        f"{macro_f1['low']:+.4f} to {macro_f1['high']:+.4f}"
    )
    fallen = [one for one in numbers["slices"] if one["difference"] <= -margin]
    missing = [one for one in numbers["slices"] if not one["rows"]]
    if macro_f1["low"] <= -margin:
        worse = numbers["verdict"] == "worse"
        fault = "is worse" if worse else "isn't shown to be no worse"
        return Decision(
            False, f"{new} {fault}: {said}, and more than {margin} may be lost", numbers
        )
    if missing:
        why = f"no test row is in the slice {missing[0]['slice']} of evaluate.gate.slices"
        return Decision(False, why, numbers)
    if fallen:
        worst = min(fallen, key=lambda one: one["difference"])
        why = (
            f"{new} falls by {-worst['difference']:.3f} in accuracy on {worst['rows']:,} rows of "
            f"the slice {worst['slice']}, more than {margin}; overall {said}"
        )
        return Decision(False, why, numbers)
    return Decision(True, said, numbers)


def _together(kept: Sequence[Labelled | None], artifact: Artifact) -> Labelled:
    """The test rows of both, each text once, the champion's label first; near ones in one unit."""
    tables = [rows.table() for rows in kept if rows is not None]
    table = pa.concat_tables(tables, promote_options="default") if tables else None
    if table is None:
        return Labelled([], [], np.zeros(0, np.int64))
    written = [artifact.encoder.normalizer(text) for text in table["text"].to_pylist()]
    once = list({text: place for place, text in reversed(list(enumerate(written)))}.values())[::-1]
    rows = Labelled.of(table.take(pa.array(once)))
    unit = near_units([written[place] for place in once])
    return Labelled(rows.texts, rows.labels, unit, rows.columns)


def _answers(one: Candidate, rows: Labelled, both: Sequence[Candidate]) -> Answers:
    """Its answers over the labels of both: a label that it doesn't know has probability 0."""
    labels = tuple(sorted({name for each in both for name in each.artifact.labels.names}))
    position = {name: place for place, name in enumerate(labels)}
    truth = np.fromiter((position[name] for name in rows.labels), np.int64, len(rows))
    said = answer(Predictor(one.artifact), rows.texts, truth, rows.unit)
    probabilities = np.zeros((len(rows), len(labels)))
    probabilities[:, [position[name] for name in said.labels]] = said.probabilities
    return Answers(labels, truth, probabilities, rows.unit)


def _slices(
    rows: Labelled, before: Answers, after: Answers, wanted: Sequence[str]
) -> list[dict[str, Any]]:
    found = []
    for one in wanted:
        column, _, value = one.partition("=")
        values = rows.columns.get(column, [None] * len(rows))
        chosen = np.fromiter((held == value for held in values), np.bool_, len(rows))
        right = (
            [np.mean((a.predicted == a.truth)[chosen]) for a in (before, after)]
            if any(chosen)
            else [0, 0]
        )
        found.append(
            {"slice": one, "rows": int(chosen.sum()), "difference": float(right[1] - right[0])}
        )
    return found
