"""A hundred rows through every stage before all of them: prepared, trained, sealed, asked."""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel import progress
from bigmodel.config import DataConfig, Recipe, WeightedSource
from bigmodel.data.read import Piece, pieces, read_piece
from bigmodel.data.schema import kept_columns
from bigmodel.data.sources import Source, sources_of
from bigmodel.errors import DataError
from bigmodel.storage import Folder, folder

ROWS = 100
MOST_LABELS = 10
PIECE_BYTES = 1 << 18
MOST_PIECES = 64
"""Of 256 kB each: so far a second label is looked for where files are sorted by label."""
SHARES = ("train", "valid", "test", "train", "train", "train")
"""Where the rows of a label go, in turns: with three of them it is in every split."""

Row = dict[str, str | None]


def rehearse(recipe: Recipe, stage: progress.Stage) -> None:
    """Raises what would end the job itself, but later; nothing stays in the storage.

    A DataError is only said: so few rows have faults that all of them together needn't have.
    """
    try:
        rows = sample(recipe)
        with folder(recipe.storage).child("rehearsals").scratch() as scratch:
            with _unheard(), _in_this_process():
                through_all_stages(small(recipe, scratch, rows))
    except DataError as error:
        stage.say(f"the first rows alone make no model, so nothing was rehearsed ({error})")
    else:
        stage.say(f"{sum(map(len, rows.values()))} rows went through every stage")


def sample(recipe: Recipe) -> dict[str, list[Row]]:
    """About `ROWS` different texts from where the training files begin, by their labels, each with
    as many as the others; rows have the recipe's columns."""
    sources = sources_of(recipe.data, keep=recipe.evaluate.columns)
    found: dict[str, list[Row]] = {}
    seen = set[str]()
    for source, piece in islice(_in_turns(sources), MOST_PIECES):
        for row in _usable_rows(source, piece, recipe.data):
            text, label = (str(row[name]) for name in _columns(recipe.data))
            if text not in seen:
                seen.add(text)
                found.setdefault(label, []).append(row)
        if sum(len(rows) >= ROWS // 2 for rows in found.values()) > 1:
            break
    largest = sorted(found, key=lambda label: len(found[label]), reverse=True)[:MOST_LABELS]
    labels = [label for label in largest if len(found[label]) >= len(set(SHARES))]
    if len(labels) < 2:
        raise DataError(f"fewer than two labels in the {len(seen)} texts that come first")
    return {label: found[label][: ROWS // len(labels)] for label in labels}


def _in_turns(sources: Sequence[Source]) -> Iterator[tuple[Source, Piece]]:
    """A piece of each training file, then another one of each."""
    training = (source for source in sources if source.split == "train")
    waiting = deque((source, pieces(source, size=PIECE_BYTES)) for source in training)
    while waiting:
        source, left = waiting.popleft()
        if (piece := next(left, None)) is not None:
            waiting.append((source, left))
            yield source, piece


def _columns(data: DataConfig) -> tuple[str, str]:
    return data.text_column, data.label_column


def _usable_rows(source: Source, piece: Piece, data: DataConfig) -> Iterator[Row]:
    table = read_piece(source, piece)
    columns: dict[str, list[str | None]] = {
        name: values.to_pylist() for name, values in kept_columns(table).items()
    }
    if data.split.group_column:
        columns[data.split.group_column] = table["group"].to_pylist()
    columns |= zip(_columns(data), (table[n].to_pylist() for n in ("text", "label")), strict=True)
    for reason, *values in zip(table["reason"].to_pylist(), *columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        if not reason and all(row[name] for name in _columns(data)):
            yield row


def small(recipe: Recipe, scratch: Folder, rows: Mapping[str, Sequence[Row]]) -> Recipe:
    """The recipe for these rows alone, which are written to `scratch`: one epoch in this process,
    and nothing that depends on what other rows have."""
    splits: dict[str, list[Row]] = {split: [] for split in SHARES}
    for of_label in rows.values():
        for row, split in zip(of_label, cycle(SHARES), strict=False):
            splits[split].append(row)
    paths = {split: _written(scratch, split, some) for split, some in splits.items()}
    data = recipe.data.model_copy(
        update={
            "train": (WeightedSource(path=paths["train"]),),
            "valid": paths["valid"],
            "test": paths["test"],
            "unlabelled": (),
            "corrections": None,
            "encoding": "auto",
            "max_bad_rows": 1.0,
        }
    )
    train = {"epochs": 1, "num_workers": 1, "use_gpu": False, "class_weights": "none"}
    frequent: dict[str, Any] = {
        kind: getattr(recipe.model, kind).model_copy(update={"min_count": 1})
        for kind in {"linear", recipe.model.kind}
    }
    return recipe.model_copy(
        update={
            "storage": scratch.uri,
            "data": data,
            "model": recipe.model.model_copy(update=frequent),
            "train": recipe.train.model_copy(update=train),
            "tune": None,
            "evaluate": recipe.evaluate.model_copy(update={"promise": None, "folds": 0}),
        }
    )


def _written(scratch: Folder, split: str, rows: Sequence[Row]) -> str:
    sink = pa.BufferOutputStream()
    names = list(rows[0])
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in names}
    pq.write_table(pa.table(columns), sink)
    scratch.write(f"{split}.parquet", sink.getvalue().to_pybytes())
    return scratch.child(f"{split}.parquet").uri


def through_all_stages(recipe: Recipe) -> None:
    """Prepared, trained, calibrated, sealed, loaded and asked, as the job will."""
    import torch

    from bigmodel.artifact import Artifact
    from bigmodel.data.prepare import prepare
    from bigmodel.predictor import Predictor
    from bigmodel.training.calibration import calibrated
    from bigmodel.training.fitting import fit_weights
    from bigmodel.training.ingest import training_data
    from bigmodel.training.team import Team

    prepared = prepare(recipe)
    data = training_data(prepared, recipe)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        weights = fit_weights(recipe, data, Team())
    finally:
        torch.set_num_threads(threads)
    artifact = calibrated(recipe, prepared, weights.state, data)
    place = folder(recipe.storage).child("model")
    digest = artifact.save(place.uri)
    texts, _ = prepared.rows("test")
    Predictor(Artifact.load(place.uri, digest=digest)).predict(texts)


class _Here:
    """What `ray.remote` gives, but its tasks are done at once, here; results are kept by Ray."""

    def __init__(self, function: Callable[..., Any], *, num_returns: int = 1) -> None:
        self._function, self._num_returns = function, num_returns

    def options(self, *, num_returns: int = 1) -> "_Here":
        return _Here(self._function, num_returns=num_returns)

    def remote(self, *given: Any) -> Any:
        import ray

        values = [ray.get(one) if isinstance(one, ray.ObjectRef) else one for one in given]
        found = self._function(*values)
        return ray.put(found) if self._num_returns == 1 else [ray.put(one) for one in found]


@contextmanager
def _in_this_process() -> Iterator[None]:
    """Tasks of the block ask for no CPU and start no process: a busy cluster is no obstacle, no
    autoscaler brings a machine for them, and a hundred rows take no time."""
    import ray

    plain = ray.remote
    ray.remote = _Here
    try:
        yield
    finally:
        ray.remote = plain


@contextmanager
def _unheard() -> Iterator[None]:
    """A rehearsal has no audience: neither its stages nor its warnings are shown."""
    ours = logging.getLogger("bigmodel")
    level = ours.level
    ours.setLevel(logging.ERROR)
    try:
        with progress.silent():
            yield
    finally:
        ours.setLevel(level)
