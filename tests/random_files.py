"""Files of every kind, whole, damaged and of any bytes, and what must hold when they are read."""

import csv
import gzip
import io
import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bigmodel.config import DataConfig
from bigmodel.data.read import pieces, read_piece, read_records, read_rows
from bigmodel.data.schema import ROWS
from bigmodel.data.sources import open_source
from bigmodel.errors import DataError

REVIEWS = [
    ("书很好看，一口气读完", "正面"),
    ('他说"好"，真的', "正面"),
    ("物流太慢,\n包装破了", "负面"),
    ("房间很脏 http://t.cn/x?a=1", "负面"),
] * 6
FRAGMENTS = (
    b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b'""',
    b"\\ud800", b"__label__", b"\x1f\x8b", b"PAR1", b"\x28\xb5\x2f\xfd", b"[" * 3000, b"9" * 5000,
    b"a" * 70_000,
)  # fmt: skip


def table(delimiter: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([("text", "label"), *REVIEWS])
    return text.getvalue()


def parquet(compression: str) -> bytes:
    texts, labels = zip(*REVIEWS, strict=True)
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": texts, "label": labels}), sink, compression=compression)
    return bytes(sink.getvalue().to_pybytes())


LINES = [json.dumps({"text": text, "label": label}) for text, label in REVIEWS]
FLAT = [(text.replace("\n", " "), label) for text, label in REVIEWS]
WHOLE = {
    "a.csv": table(",").encode(),
    "b.csv": table(",").encode("gb18030"),
    "c.csv": table(",").encode("utf-16"),
    "d.tsv": table("\t").encode("utf-8-sig"),
    "e.jsonl": "\n".join(LINES).encode(),
    "f.txt": "".join(f"{label}\t{text}\n" for text, label in FLAT).encode(),
    "g.txt": "".join(f"__label__{label} {text}\n" for text, label in FLAT).encode(),
    "h.csv.gz": gzip.compress(table(",").encode()),
    "i.jsonl.zst": pa.compress("\n".join(LINES).encode(), "zstd", asbytes=True),
    "j.parquet": parquet("none"),
    "k.parquet": parquet("zstd"),
}
"""The name of a file -> its bytes, all of REVIEWS."""


def damaged(data: bytes, chance: random.Random) -> bytes:
    """With up to eight bytes or stretches changed, lost, doubled or put in."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        place = chance.randint(0, len(changed))
        end = min(len(changed), place + chance.choice([1, 2, 9, 100]))
        kind = chance.randrange(5)
        if kind == 0 and place < len(changed):
            changed[place] = chance.randrange(256)
        elif kind == 1:
            del changed[place:end]
        elif kind == 2:
            changed[place:place] = changed[place:end]
        elif kind == 3:
            changed[place:place] = chance.choice(FRAGMENTS)
        elif kind == 4 and chance.random() < 0.2:
            del changed[place:]
    return bytes(changed)


def any_file(folder: Path, chance: random.Random) -> Path:
    """One of WHOLE, damaged or of any bytes at all."""
    name = chance.choice(list(WHOLE))
    path = folder / name
    if chance.random() < 0.3:
        path.write_bytes(chance.randbytes(chance.choice([1, 10, 300, 3000])))
    else:
        path.write_bytes(damaged(WHOLE[name], chance))
    return path


def check(path: Path) -> int | None:
    """The number of rows, each read or set aside, the same by every way; None for a DataError."""
    try:
        source = open_source(str(path), "train", DataConfig(train=str(path)))
        tables = list(read_rows(source))
        by_pieces = [len(read_piece(source, piece)) for piece in pieces(source, size=1000)]
        fields = [one for one, _ in read_records(source)]
    except DataError as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
        return None
    rows = [row for table in tables for row in table.cast(ROWS).to_pylist()]
    good = [row for row in rows if row["reason"] is None]
    unreadable = [row for row in rows if row["detail"] and row["raw"] is not None]
    assert len(rows) == len(good) + len(unreadable) == sum(by_pieces) == len(fields)
    assert all(row["text"] is not None and row["label"] is not None for row in good)
    assert [one is None for one in fields] == [row["reason"] is not None for row in rows]
    return len(rows)
