"""Labelled rows to judge a model by: its own test split, a file, or what a version kept."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bigmodel.artifact import Artifact
from bigmodel.data.duplicates import near_units
from bigmodel.data.files import files_of
from bigmodel.data.prepared import find_rows
from bigmodel.data.read import check_unreadable, read_rows
from bigmodel.data.schema import LabelSet, kept_columns, kept_name
from bigmodel.data.sources import open_source
from bigmodel.errors import DataError
from bigmodel.metrics import Ids

log = logging.getLogger(__name__)

Column = Sequence[str | None]


@dataclass(frozen=True)
class Labelled:
    """Raw texts with their labels; rows of the same `unit` [N] are near each other.

    `columns` are those of the data that have slices.
    """

    texts: Sequence[str]
    labels: Sequence[str]
    unit: Ids
    columns: Mapping[str, Column] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def of(cls, table: pa.Table) -> "Labelled":
        """The inverse of `table`; columns of other names don't matter."""
        columns = {name: values.to_pylist() for name, values in kept_columns(table).items()}
        texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
        return cls(texts, labels, table["unit"].to_numpy(), columns)

    def table(self) -> pa.Table:
        columns = {"text": pa.array(self.texts, pa.string()), "label": pa.array(self.labels)}
        kept = {kept_name(name): pa.array(v, pa.string()) for name, v in self.columns.items()}
        return pa.table(columns | {"unit": self.unit} | kept)

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Labelled":
        """Those of some rows, by position or mask."""
        positions = np.arange(len(self))[rows]
        return Labelled.of(self.table().take(pa.array(positions)))


def own_test_rows(artifact: Artifact) -> Labelled:
    """The test split that was set aside when the artefact's data was prepared."""
    prepared = find_rows(artifact.lineage)
    if prepared is None:
        raise DataError(
            f"{artifact.lineage.get('prepared', 'unknown folder')}: this model's test rows are "
            "gone, damaged, or no longer those it was made with; give a file with --data"
        )
    return Labelled.of(prepared.of_splits("test"))


def rows_of_file(path: str, artifact: Artifact, known: Collection[str]) -> Labelled:
    """Every readable row of a file, glob or folder, duplicates included.

    The columns are those of the artefact's recipe. DataError where most rows can't be read, none
    can be used, or one has a label that isn't `known`.
    """
    normalizer, recipe = artifact.encoder.normalizer, artifact.recipe
    config = recipe.data.of_another_file()
    found = []
    for file in files_of(path):
        source = open_source(file, "test", config, keep=recipe.evaluate.columns)
        if missing := sorted(set(recipe.evaluate.columns) - set(source.columns)):
            log.warning("%s: no column %s; without its slices", file, ", ".join(missing))
        rows = unreadable = 0
        for table in read_rows(source):
            rows += len(table)
            good = table.filter(table["reason"].is_null())
            unreadable += len(table) - len(good)
            texts, labels = good["text"].to_pylist(), good["label"].to_pylist()
            usable = [
                bool(label and normalizer(text)) for text, label in zip(texts, labels, strict=True)
            ]
            found.append(good.filter(pa.array(usable, pa.bool_())))
        check_unreadable(source, unreadable, rows)
    if not sum(map(len, found)):
        raise DataError(f"{path}: no usable rows; expected labelled texts")
    table = pa.concat_tables(found, promote_options="default")
    LabelSet.of(known).ids(table["label"].to_pylist(), where=path)
    unit = near_units([normalizer(text) for text in table["text"].to_pylist()])
    return Labelled.of(table.append_column("unit", pa.array(unit)))
