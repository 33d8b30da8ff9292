"""Prepared data to what is trained on: in memory, or in storage where it is too large."""

from functools import partial
from pathlib import PurePath

import numpy as np
import pyarrow as pa

from bigmodel.config import Recipe
from bigmodel.data.prepared import PreparedData, SealedFolder, encoded_of
from bigmodel.text.features import Encoded
from bigmodel.training.folds import units
from bigmodel.training.loss import check_class_weights
from bigmodel.training.rows import Floats, Ids, RowNames, Rows, StoredRows, TrainingData

_WINDOWS = 4  # of the memory that rows may take: one is trained on while garbage of others waits


def training_data(prepared: PreparedData, recipe: Recipe) -> TrainingData:
    """The encoded training and valid rows of a prepared folder, all that the recipe's kind needs.

    Training rows of more than `train.memory_mb` stay where they are, unless the kind has to have
    all of them at once. RecipeError where a class weight is of no label.
    """
    check_class_weights(recipe.train.class_weights, prepared.labels.names)
    encoder = prepared.encoder()
    size = sum(prepared.encodings.files[name][0] for name in prepared.encodings.parts("train"))
    large = size > recipe.train.memory_mb * 1_000_000
    all_at_once = recipe.model.kind == "linear" or recipe.model.residual
    read = stored_rows if large and not all_at_once else rows_in_memory
    return TrainingData.of(
        encoder,
        prepared.labels.names,
        read(prepared, recipe),
        Rows(*prepared.encoded("valid")),
        prepared.unlabelled(),
    )


def rows_in_memory(prepared: PreparedData, recipe: Recipe) -> Rows:
    columns = ["unit", "group"] if recipe.model.residual else []  # for the folds of its base
    rows = prepared.of_splits("train", columns=["source", "row", *columns])
    unit = units(rows) if columns else None
    return Rows(*prepared.encoded("train"), unit=unit, named=_names(prepared, rows))


def stored_rows(prepared: PreparedData, recipe: Recipe) -> StoredRows:
    """Labels and weights of all training rows; their texts are read part by part."""
    names = prepared.encodings.parts("train")
    columns = [_label_and_weight(prepared.encodings, name) for name in names]
    lengths = [len(label) for label, _ in columns]
    size = sum(prepared.encodings.files[name][0] for name in names)
    share = recipe.train.memory_mb * 1_000_000 / _WINDOWS / size
    return StoredRows(
        partial(_read, prepared.encodings, tuple(names)),
        bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]),
        label=np.concatenate([label for label, _ in columns]),
        weight=np.concatenate([weight for _, weight in columns]),
        most=max(1, int(sum(lengths) * share)),
        seed=recipe.seed,
        named=_names(prepared, prepared.of_splits("train", columns=["source", "row"])),
    )


def _label_and_weight(folder: SealedFolder, name: str) -> tuple[Ids, Floats]:
    """Of a part, copied: what points into it would keep all of it in memory."""
    table = folder.arrow(name)
    return table["label"].to_numpy().astype(np.int64), table["weight"].to_numpy().copy()


def _read(folder: SealedFolder, names: tuple[str, ...], part: int) -> Encoded:
    return encoded_of(folder.arrow(names[part]))


def _names(prepared: PreparedData, rows: pa.Table) -> RowNames:
    files = tuple(PurePath(file["path"]).name for file in prepared.summary["files"])
    return RowNames(files, rows["source"].to_numpy(), rows["row"].to_numpy())
