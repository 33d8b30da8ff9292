"""A file of texts to the same file with its answers."""

import csv
import io
import os
from itertools import islice
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from bigmodel import progress
from bigmodel.data.encodings import encoding_of_bytes
from bigmodel.data.files import COMPRESSIONS
from bigmodel.data.read import Record, check_unreadable, read_records
from bigmodel.data.sources import Source, open_source
from bigmodel.predictor import Predictor
from bigmodel.storage import folder

_CHUNK = 2048
ADDED = ("predicted", "score", "abstained")


def label_file(predictor: Predictor, source: str, out: str) -> tuple[int, int]:
    """Write `out`: the columns of `source` plus ADDED, a row for each row; (rows, rows answered).

    `source` may be of any format; `out` is CSV, or TSV where its name says so, and compressed
    likewise. The text column is the recipe's. A record that can't be read stands in that column as
    it was, and like one without text gets no answer; DataError where most can't be read. `out`
    appears whole or not at all.
    """
    compression = COMPRESSIONS.get(PurePath(out).suffix)
    is_tsv = (PurePath(out).stem if compression else out).endswith(".tsv")
    config = predictor.artifact.recipe.data.of_another_file()
    opened = open_source(source, "test", config, labelled=False)
    written = io.StringIO()
    writer = csv.writer(written, "excel-tab" if is_tsv else "excel")
    writer.writerow([*opened.columns, *ADDED])
    records = read_records(opened)
    rows = unreadable = answered = 0
    with progress.stage("predict") as stage:
        while chunk := list(islice(records, _CHUNK)):
            unreadable += sum(fields is None for _, fields, _ in chunk)
            labelled = _labelled(predictor, opened, chunk)
            answered += sum(row[-3] != "" for row in labelled)
            writer.writerows(labelled)
            rows += len(chunk)
            stage.update(done=rows)
    check_unreadable(opened, unreadable, rows)
    data = written.getvalue().encode()
    if compression:
        data = pa.compress(data, compression, asbytes=True)
    target, name = os.path.split(out)
    folder(target or ".").write(name, data)
    return rows, answered


def _labelled(predictor: Predictor, source: Source, chunk: list[Record]) -> list[list[Any]]:
    """The fields of each record with its answer, or with blanks where it has no text."""
    encoding = encoding_of_bytes(source.encoding)
    normalizer = predictor.artifact.encoder.normalizer
    texts = ["" if fields is None else fields[source.text] for _, fields, _ in chunk]
    answers = predictor.predict(texts)
    labelled: list[list[Any]] = []
    for (_, fields, raw), text, answer in zip(chunk, texts, answers, strict=True):
        if fields is None:
            fields = [""] * len(source.columns)
            fields[source.text] = raw.decode(encoding, "replace").strip()
        label, score = answer.labels[0] if normalizer(text) else ("", "")
        labelled.append([*fields, label, score, str(answer.abstained).lower()])
    return labelled
