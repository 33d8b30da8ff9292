"""A file of texts to the same file with its answers."""

import csv
import io
import os
from itertools import islice
from typing import Any

from bigmodel import progress
from bigmodel.data.read import (
    Record,
    Source,
    check_unreadable,
    open_source,
    read_records,
)
from bigmodel.predictor import Predictor
from bigmodel.storage import folder
from bigmodel.text.normalize import normalize

_CHUNK = 2048
ADDED = ("predicted", "score", "abstained")


def label_file(predictor: Predictor, source: str, out: str) -> tuple[int, int]:
    """Write `out`: the columns of `source` plus ADDED, a row for each row; (rows, rows answered).

    The text column is the recipe's. A record that can't be read stands in that column as it was,
    and like one without text gets no answer; DataError where most can't be read. `out` appears
    whole or not at all.
    """
    data = predictor.artifact.recipe.data
    opened = open_source(source, "test", data, labelled=False)
    written = io.StringIO()
    writer = csv.writer(written, "excel-tab" if out.endswith(".tsv") else "excel")
    writer.writerow([*opened.columns, *ADDED])
    records = read_records(opened, data.encoding)
    rows = unreadable = answered = 0
    with progress.stage("predict") as stage:
        while chunk := list(islice(records, _CHUNK)):
            unreadable += sum(fields is None for _, fields, _ in chunk)
            labelled = _labelled(predictor, opened, chunk, data.encoding)
            answered += sum(row[-3] != "" for row in labelled)
            writer.writerows(labelled)
            rows += len(chunk)
            stage.update(done=rows)
    check_unreadable(source, unreadable, rows, data.encoding)
    target, name = os.path.split(out)
    folder(target or ".").write(name, written.getvalue().encode())
    return rows, answered


def _labelled(
    predictor: Predictor, source: Source, chunk: list[Record], encoding: str
) -> list[list[Any]]:
    """The fields of each record with its answer, or with blanks where it has no text."""
    texts = ["" if fields is None else fields[source.text] for _, fields, _ in chunk]
    answers = predictor.predict(texts)
    labelled: list[list[Any]] = []
    for (_, fields, raw), text, answer in zip(chunk, texts, answers, strict=True):
        if fields is None:
            fields = [""] * len(source.columns)
            fields[source.text] = raw.decode(encoding, "replace").strip()
        label, score = answer.labels[0] if normalize(text) else ("", "")
        labelled.append([*fields, label, score, str(answer.abstained).lower()])
    return labelled
