"""The gate: a new version takes the champion's place only if it is shown to be not worse."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bigmodel.config import EvaluateConfig
from bigmodel.evaluation.compare import Candidate, Pair, ask_both, both_test_rows
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.paired import difference
from bigmodel.evaluation.slices import FEWEST, parts
from bigmodel.metrics import Ids


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
    new: Candidate, champion: Candidate | None, config: EvaluateConfig, *, seed: int
) -> Decision:
    """Both answer the test rows of both, less every row that either knows.

    The lower end of the 95 % interval of the difference in macro-F1 must lie above -margin, and the
    accuracy in no slice that the gate names may fall by more.
    """
    if champion is None:
        return Decision(True, "it is the first champion", {})
    if champion.artifact.digest == new.artifact.digest:
        return Decision(True, f"it is the same as {champion.name}, byte for byte", {})
    for one in (new, champion):
        if not one.is_known:
            why = f"which rows {one.name} was trained on isn't known any more"
            return Decision(False, why, {"champion": champion.name})
    pair = ask_both(champion, new, both_test_rows(champion, new))
    numbers: dict[str, Any] = {
        "champion": champion.name,
        "margin": config.gate.margin,
        "rows": len(pair.rows),
        "left_out": pair.left_out,
        "near_rows_looked_for": champion.finds_near_rows and new.finds_near_rows,
    }
    if not len(pair.rows):
        rows = f"{pair.left_out} test rows" if pair.left_out else "no test rows were kept, and"
        why = f"{rows} none is left that neither {new.name} nor {champion.name} knows"
        return Decision(False, why, numbers)
    found = difference(pair.one, pair.other, seed=seed)
    numbers |= {name: found[name] for name in ("accuracy", "macro_f1", "mcnemar", "verdict")}
    numbers["slices"] = _slices(pair, config)
    why = _fault(new.name, numbers)
    return Decision(not why, why or _said(numbers), numbers)


def _fault(new: str, numbers: dict[str, Any]) -> str:
    """Why it may not become champion; "" where it may."""
    margin = numbers["margin"]
    if numbers["macro_f1"]["low"] <= -margin:
        fault = "is worse" if numbers["verdict"] == "worse" else "isn't shown to be as good"
        return f"it {fault}: {_said(numbers)}, and no more than {margin} may be lost"
    for one in numbers["slices"]:
        if one["rows"] < FEWEST:
            return (
                f"{one['rows']} test rows are in the slice {one['slice']} of evaluate.gate.slices, "
                f"and fewer than {FEWEST} tell nothing"
            )
        if one["difference"] < -margin:
            return (
                f"it falls by {-one['difference']:.3f} in accuracy on the {one['rows']:,} rows of "
                f"the slice {one['slice']}, and no more than {margin} may be lost; overall "
                f"{_said(numbers)}"
            )
    return ""


def _said(numbers: dict[str, Any]) -> str:
    f1 = numbers["macro_f1"]
    return (
        f"macro-F1 {f1['other']:.4f} against {f1['one']:.4f} of {numbers['champion']} on "
        f"{numbers['rows']:,} rows that neither knows, 95 % interval of the difference "
        f"{f1['low']:+.4f} to {f1['high']:+.4f}"
    )


def small_slices(rows: Labelled, config: EvaluateConfig) -> dict[str, int]:
    """The slices of the gate whose test rows are too few for it ever to open, with their number."""
    found = {name: len(places) for name, places in _named(rows, config).items()}
    return {name: count for name, count in found.items() if count < FEWEST}


def _slices(pair: Pair, config: EvaluateConfig) -> list[dict[str, Any]]:
    """Of each slice that the gate names: its rows, and what the new one gains there."""
    right = [answers.predicted == answers.truth for answers in (pair.one, pair.other)]
    found = []
    for name, rows in _named(pair.rows, config).items():
        before, after = (float(one[rows].mean()) if len(rows) else 0.0 for one in right)
        found.append({"slice": name, "rows": len(rows), "difference": after - before})
    return found


def _named(rows: Labelled, config: EvaluateConfig) -> dict[str, Ids]:
    """The positions of the rows of each slice that the gate names."""
    if not config.gate.slices:
        return {}
    known = parts(rows.texts, columns=rows.columns, patterns=config.patterns, unknown=[])
    split = {name: name.partition("=") for name in config.gate.slices}
    none = np.zeros(0, np.int64)
    return {name: known.get(by, {}).get(value, none) for name, (by, _, value) in split.items()}
