"""What stands beside a version: its reports, the rows it was tested on, hashes of those it knows.

An artefact holds nothing of a test; its reports lie in `reports/versions` of the storage.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel.data.prepared import PreparedRows, write_arrow, write_parquet
from bigmodel.data.split import SEEN_SPLITS, Keys
from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.labelled import Labelled
from bigmodel.pages.model_page import model_page
from bigmodel.storage import Folder

OWN = "test"
"""The name of the report on a version's own test rows."""
_KNOWN = "known.arrow"
_RUN = "run.json"
_GATE = "gate.json"

Report = dict[str, Any]


@dataclass(frozen=True)
class Beside:
    """The folder of one version."""

    place: Folder

    def save(self, name: str, report: Report) -> str:
        """Write a report as JSON and as a page; returns where the page is."""
        data = json.dumps(report, ensure_ascii=False, indent=1).encode()
        self.place.write(f"{name}.json", data)
        self.place.write(f"{name}.html", model_page(report))
        return self.place.child(f"{name}.html").uri

    def page(self, name: str) -> str:
        """The page of a report that was saved."""
        return self.place.read(f"{name}.html").decode()

    def report(self, name: str = OWN) -> Report | None:
        """A report as it was saved; None where there is none."""
        return self._json(f"{name}.json")

    def keep_answers(self, name: str, rows: Labelled, answers: Answers) -> None:
        """Write the rows, what the model said to each, and its probability for each label."""
        said = [answers.labels[i] for i in answers.predicted.tolist()]
        table = rows.table().append_column("predicted", pa.array(said))
        for i, label in enumerate(answers.labels):
            column = pa.array(answers.probabilities[:, i].astype(np.float32))
            table = table.append_column(f"probability {label}", column)
        write_parquet(self.place, f"{name}.parquet", table)

    def test_rows(self) -> Labelled | None:
        """The rows of the own test split; None before the version was evaluated."""
        try:
            data = self.place.read(f"{OWN}.parquet")
        except FileNotFoundError:
            return None
        return Labelled.of(pq.read_table(pa.BufferReader(data)))

    def keep_known(self, prepared: PreparedRows) -> None:
        """Write 8-byte hashes of all rows that training or choosing has seen."""
        seen = prepared.of_splits(*SEEN_SPLITS, columns=["key"])["key"].to_numpy()
        write_arrow(self.place, _KNOWN, pa.table({"key": np.sort(seen)}))

    def known(self) -> Keys | None:
        """These hashes, rising; None where they weren't kept."""
        try:
            data = self.place.read(_KNOWN)
        except FileNotFoundError:
            return None
        return np.asarray(pa.ipc.open_file(pa.BufferReader(data)).read_all()["key"].to_numpy())

    def keep_run(self, run: Mapping[str, Any]) -> None:
        """Write how the version was made: `curves`, the facts of the `run`, and `folds` if any."""
        self.place.write(_RUN, json.dumps(run, ensure_ascii=False, indent=1).encode())

    def run(self) -> dict[str, Any]:
        """What `keep_run` wrote; empty where nothing was."""
        return self._json(_RUN) or {}

    def keep_folds(self, answered: pa.Table) -> None:
        """Write what the models of a cross-validation said to the rows they weren't trained on."""
        write_parquet(self.place, "folds.parquet", answered)

    def keep_gate(self, decision: Mapping[str, Any]) -> None:
        """Write what the gate said of the version when it was last asked."""
        self.place.write(_GATE, json.dumps(decision, ensure_ascii=False, indent=1).encode())

    def gate(self) -> dict[str, Any] | None:
        """What `keep_gate` wrote; None where it was never asked."""
        return self._json(_GATE)

    def _json(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(self.place.read(name))
        except FileNotFoundError:
            return None
        return found
