"""A file of texts to the same file with its answers, part by part: one that is stopped goes on."""

import csv
import hashlib
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath

import pyarrow as pa

from bigmodel import progress
from bigmodel.data.encodings import encoding_of_bytes
from bigmodel.data.files import COMPRESSIONS
from bigmodel.data.read import Piece, Record, check_unreadable, pieces, records_of
from bigmodel.data.sources import Source, file_digest, open_source
from bigmodel.predictor import Predictor
from bigmodel.storage import Folder, folder

ADDED = ("predicted", "score", "abstained")
PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Part:
    """A piece's rows with their answers, as they will stand in the file.

    Of the `rows`, `unreadable` ones are no records, and `answered` ones have a text.
    """

    rows: int
    unreadable: int
    answered: int
    data: bytes

    def to_bytes(self) -> bytes:
        counts = [self.rows, self.unreadable, self.answered]
        return json.dumps(counts).encode() + b"\n" + self.data

    @classmethod
    def from_bytes(cls, written: bytes) -> "Part":
        counts, _, data = written.partition(b"\n")
        rows, unreadable, answered = json.loads(counts)
        return cls(rows, unreadable, answered, data)


@dataclass(frozen=True)
class Labelling:
    """What becomes of each piece of a source; a value, so that it can travel to other processes."""

    source: Source
    dialect: str
    compression: str | None

    @classmethod
    def of(cls, source: Source, out: str) -> "Labelling":
        """CSV, or TSV where the name says so, and compressed likewise."""
        compression = COMPRESSIONS.get(PurePath(out).suffix)
        is_tsv = (PurePath(out).stem if compression else out).endswith(".tsv")
        return cls(source, "excel-tab" if is_tsv else "excel", compression)

    def header(self) -> bytes:
        return self._written([[*self.source.columns, *ADDED]])

    def part(self, predictor: Predictor, piece: Piece) -> Part:
        """Each record with its answer, or with blanks where it has no text; in order."""
        records = list(records_of(self.source, piece))
        rows = self._labelled(predictor, records)
        unreadable = sum(fields is None for fields, _ in records)
        answered = sum(row[-3] != "" for row in rows)
        return Part(len(rows), unreadable, answered, self._written(rows))

    def _labelled(self, predictor: Predictor, records: list[Record]) -> list[list[object]]:
        encoding = encoding_of_bytes(self.source.encoding)
        normalizer = predictor.artifact.encoder.normalizer
        texts = ["" if fields is None else fields[self.source.text] for fields, _ in records]
        labelled: list[list[object]] = []
        for (fields, raw), text, answer in zip(
            records, texts, predictor.predict(texts), strict=True
        ):
            if fields is None:
                fields = [""] * len(self.source.columns)
                fields[self.source.text] = raw.decode(encoding, "replace").strip()
            label, score = answer.labels[0] if normalizer(text) else ("", "")
            labelled.append([*fields, label, score, str(answer.abstained).lower()])
        return labelled

    def _written(self, rows: Iterable[list[object]]) -> bytes:
        """Compressed ones can be put one behind the other, as both compressions allow."""
        text = io.StringIO()
        csv.writer(text, self.dialect).writerows(rows)
        data = text.getvalue().encode()
        return pa.compress(data, self.compression, asbytes=True) if self.compression else data


Numbered = tuple[int, Piece]
Labeller = Callable[[Labelling, Iterable[Numbered]], Iterable[tuple[int, Part]]]
"""Takes pieces as they come, and gives a part for each; where and in which order is its affair."""


def label_file(
    predictor: Predictor, path: str, out: str, *, label: Labeller | None = None
) -> tuple[int, int]:
    """Write `out`: the columns of the file plus ADDED, a row for each row; (rows, rows answered).

    The file may be of any format; the text column is the recipe's. A record that can't be read
    stands in that column as it was, and like one without text gets no answer; DataError where most
    can't be read. `out` appears whole or not at all. The parts of one that was stopped lie beside
    it, and are used again by the same model on the same bytes. `label`: not in this process.
    """
    config = predictor.artifact.recipe.data.of_another_file()
    source = open_source(path, "test", config, labelled=False)
    labelling = Labelling.of(source, out)
    parts = _Parts(out, f"{predictor.artifact.digest} {file_digest(source)} {labelling}")
    label = label or _here(predictor)
    rows = unreadable = answered = 0
    with progress.stage("predict") as stage:
        if parts.numbers:
            stage.say("it was begun before; what was labelled then is used")
        waiting = parts.waiting(pieces(source, size=PIECE_BYTES, whole=True))
        for part in itertools.chain(parts.kept(), parts.keep(label(labelling, waiting))):
            rows += part.rows
            unreadable += part.unreadable
            answered += part.answered
            stage.update(done=rows)
    check_unreadable(source, unreadable, rows)
    parts.join(labelling.header())
    return rows, answered


def _here(predictor: Predictor) -> Labeller:
    def label(labelling: Labelling, pieces: Iterable[Numbered]) -> Iterator[tuple[int, Part]]:
        for number, piece in pieces:
            yield number, labelling.part(predictor, piece)

    return label


class _Parts:
    """The labelled parts of a file that isn't whole yet, in a hidden folder beside it."""

    def __init__(self, out: str, key: str) -> None:
        place, self._name = os.path.split(out)
        self._place = folder(place or ".")
        self._folder: Folder = self._place.child(f".{self._name}.parts")
        self._num_pieces = 0
        digest = hashlib.sha256(key.encode()).hexdigest().encode()
        names = self._folder.names()
        if "key" not in names or self._folder.read("key") != digest:
            self._folder.remove()
            self._folder.write("key", digest)
            names = []
        self.numbers = {int(name) for name in names if name.isdecimal()}

    def kept(self) -> Iterator[Part]:
        """Those that were there."""
        return map(self._read, sorted(self.numbers))

    def waiting(self, pieces: Iterable[Piece]) -> Iterator[Numbered]:
        """The pieces that have no part yet."""
        for number, piece in enumerate(pieces):
            self._num_pieces = number + 1
            if number not in self.numbers:
                yield number, piece

    def keep(self, made: Iterable[tuple[int, Part]]) -> Iterator[Part]:
        for number, part in made:
            self._folder.write(f"{number:09d}", part.to_bytes())
            yield part

    def join(self, header: bytes) -> None:
        """Write the file, and remove the parts."""
        parts = (self._read(number).data for number in range(self._num_pieces))
        self._place.write_parts(self._name, itertools.chain([header], parts))
        self._folder.remove()

    def _read(self, number: int) -> Part:
        return Part.from_bytes(self._folder.read(f"{number:09d}"))
