"""A file of texts to the same file with its answers."""

import csv
import io
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

from bigmodel import progress
from bigmodel.data.read import open_source, read_records
from bigmodel.predictor import Predictor
from bigmodel.storage import folder
from bigmodel.text.normalize import normalize

_CHUNK = 2048
ADDED = ("predicted", "score", "abstained")


def label_file(predictor: Predictor, source: str, out: str) -> int:
    """Write `out`: the columns of `source` plus ADDED, a row for each row; returns their number.

    The text column is the recipe's. A record that can't be read, or has no text, gets no answer.
    `out` appears whole or not at all.
    """
    written = io.StringIO()
    writer = csv.writer(written, "excel-tab" if out.endswith(".tsv") else "excel")
    rows = 0
    with progress.stage("predict") as stage:
        for row in _labelled(predictor, source, writer):
            rows = row
            stage.update(done=rows)
    target, name = os.path.split(out)
    folder(target or ".").write(name, written.getvalue().encode())
    return rows


def _labelled(predictor: Predictor, path: str, writer: Any) -> Iterator[int]:
    """Write answered rows chunk by chunk; yields the number of rows so far."""
    data = predictor.artifact.recipe.data
    source = open_source(path, "test", data, labelled=False)
    writer.writerow([*source.columns, *ADDED])
    records = read_records(source, data.encoding)
    rows = 0
    while chunk := list(islice(records, _CHUNK)):
        fields = [f or [""] * len(source.columns) for _, f, _ in chunk]
        texts = [row[source.text] for row in fields]
        for row, text, answer in zip(fields, texts, predictor.predict(texts), strict=True):
            label, score = answer.labels[0] if normalize(text) else ("", "")
            writer.writerow([*row, label, score, str(answer.abstained).lower()])
        rows += len(chunk)
        yield rows
