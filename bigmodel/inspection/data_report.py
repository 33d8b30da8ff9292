"""What the data are like: the figures of `check`, from what prepare wrote."""

from collections import Counter
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bigmodel.data.encodings import encoding_of_bytes
from bigmodel.data.prepared import PreparedData
from bigmodel.data.schema import CONFLICT
from bigmodel.data.split import key64
from bigmodel.inspection.garbled import garbled, traditional
from bigmodel.text.encoder import TextEncoder
from bigmodel.text.normalize import Normalizer

EDGES = (1, 3, 6, 11, 21, 51, 101, 201, 501, 1001, 2001)
"""The first length, in characters, of each bin of the histogram."""

EXAMPLES = 5  # of each kind
EXAMPLE_CHARACTERS = 200
VERY_SHORT = 2  # characters

Figures = dict[str, Any]


def describe(prepared: PreparedData) -> Figures:
    """Figures and examples, all fit for JSON; shares are of the kept rows.

    An example is a row: source (its path), row, text (its first EXAMPLE_CHARACTERS), label.
    """
    paths = pa.array([file["path"] for file in prepared.summary["files"]], pa.string())
    kept = prepared.table()
    kept = kept.set_column(0, "source", paths.take(kept["source"].combine_chunks()))
    aside, encoder = prepared.quarantine(), prepared.encoder()
    text = kept["text"]
    length, wrong = pc.utf8_length(text), garbled(text)
    return {
        "classes": classes(kept["label"]),
        "lengths": lengths(length),
        "very_short": _some(kept, pc.less_equal(length, VERY_SHORT)),
        "no_chinese": _some(kept, pc.invert(pc.match_substring_regex(text, r"\p{Han}"))),
        "garbled": _some(kept, wrong),
        "traditional": _some(kept, pc.and_not(traditional(text), wrong)),
        "unknown_words": unknown_words(kept, encoder),
        "units": units(kept),
        "conflicting": conflicts(kept, aside, encoder.normalizer),
        "quarantine_examples": set_aside(aside, prepared.summary["files"]),
    }


def classes(labels: pa.ChunkedArray) -> Figures:
    """Rows and share of each label, the most frequent first; labels that look alike, in groups.

    `imbalance`: rows of the largest label for one of the smallest.
    """
    counts = Counter(labels.to_pylist())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    alike: dict[str, list[str]] = {}
    for label, _ in ordered:
        alike.setdefault(_plain(label), []).append(label)
    return {
        "rows": dict(ordered),
        "shares": {label: count / len(labels) for label, count in ordered},
        "imbalance": ordered[0][1] / ordered[-1][1],
        "alike": [names for names in alike.values() if len(names) > 1],
    }


def _plain(label: str) -> str:
    """Without case, blanks, traditional characters, and punctuation at its ends.

    Inside a label punctuation stays, and signs stay everywhere: 1.0 isn't 10, C++ isn't C.
    """
    simple = Normalizer(traditional="simplify")(label).replace(" ", "")
    return simple.strip(".,;:!?'\"()[]<>_~。、·“”‘’【】《》「」") or simple


def lengths(length: pa.ChunkedArray) -> Figures:
    """Of texts in characters: a histogram, {"from", "to" (None: no end), "rows"} a bin."""
    values = length.to_numpy()
    counts, _ = np.histogram(values, [*EDGES, np.iinfo(np.int32).max])
    ends = [*(after - 1 for _, after in pairwise(EDGES)), None]
    return {
        "histogram": [
            {"from": start, "to": end, "rows": count}
            for start, end, count in zip(EDGES, ends, counts.tolist(), strict=True)
        ],
        "median": float(np.median(values)),
        "95th_percentile": float(np.quantile(values, 0.95)),
        "longest": int(values.max()),
    }


def unknown_words(kept: pa.Table, encoder: TextEncoder) -> Figures:
    """The tokens of valid and test rows that no training row has; the most frequent of them."""

    def count(training: bool) -> Counter[str]:
        rows = kept.filter(pc.equal(pc.equal(kept["split"], "train"), training))
        written = map(encoder.normalizer, rows["text"].to_pylist())
        return Counter(chain.from_iterable(encoder.segmenter.cut_all(list(written))))

    known, asked = count(True), count(False)
    unknown = {token: count for token, count in asked.items() if token not in known}
    most = sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:20]
    total = asked.total()
    return {
        "tokens": total,
        "unknown": sum(unknown.values()),
        "share": sum(unknown.values()) / total if total else 0.0,
        "most_frequent": dict(most),
    }


def units(kept: pa.Table) -> Figures:
    """Groups of near-duplicates; the largest first.

    `mixed` units have more than one label.
    """
    grouped = kept.group_by("unit", use_threads=False).aggregate(
        [("label", "count"), ("label", "count_distinct"), ("text", "first")]
    )
    grouped = grouped.filter(pc.greater(grouped["label_count"], 1))
    order = [("label_count", "descending"), ("text_first", "ascending")]
    largest = grouped.sort_by(order).slice(0, EXAMPLES).to_pylist()
    return {
        "mixed": pc.sum(pc.greater(grouped["label_count_distinct"], 1)).as_py() or 0,
        "largest": [
            {
                "rows": unit["label_count"],
                "labels": unit["label_count_distinct"],
                "text": _begin(unit["text_first"]),
            }
            for unit in largest
        ],
    }


def conflicts(kept: pa.Table, aside: pa.Table, normalizer: Normalizer) -> Figures:
    """How many texts stand under several labels, and the first of them: {"text", "labels"}."""
    rows = aside.filter(pc.equal(aside["reason"], CONFLICT)).select(["text", "label"]).to_pylist()
    keys = [key64(normalizer(row["text"])) for row in rows]
    counts = kept.group_by("key").aggregate([("label", "count")])
    several = counts.filter(pc.greater(counts["label_count"], 1))["key"].to_pylist()
    others = kept.filter(pc.is_in(kept["key"], pa.array([*keys, *several], pa.int64())))
    rows += others.select(["text", "label"]).to_pylist()
    found: dict[int, tuple[str, set[str]]] = {}
    for key, row in zip([*keys, *others["key"].to_pylist()], rows, strict=True):
        found.setdefault(key, (row["text"], set()))[1].add(row["label"])
    examples = [(text, sorted(labels)) for text, labels in found.values() if len(labels) > 1]
    return {
        "texts": len(found),
        "examples": [
            {"text": _begin(text), "labels": labels} for text, labels in examples[:EXAMPLES]
        ],
    }


def set_aside(aside: pa.Table, files: list[Figures]) -> dict[str, list[Figures]]:
    """Some records of each reason: source, row, detail, and how the record begins."""
    encodings = {file["path"]: encoding_of_bytes(file["encoding"]) for file in files}
    found: dict[str, list[Figures]] = {}
    for reason in sorted(set(aside["reason"].to_pylist())):
        rows = aside.filter(pc.equal(aside["reason"], reason)).slice(0, EXAMPLES).to_pylist()
        found[reason] = [
            {name: row[name] for name in ("source", "row", "detail")}
            | {"beginning": _beginning(row, encodings[row["source"]])}
            for row in rows
        ]
    return found


def _beginning(row: Figures, encoding: str) -> str:
    raw: bytes = row["raw"][: 4 * EXAMPLE_CHARACTERS] if row["raw"] else b""
    return _begin(raw.decode(encoding, "replace") or row["text"] or "")


def _some(kept: pa.Table, chosen: Any) -> Figures:
    """How many rows are chosen, and the first of them."""
    rows = kept.filter(chosen)
    examples = rows.slice(0, EXAMPLES).select(["source", "row", "text", "label"]).to_pylist()
    return {
        "rows": len(rows),
        "share": len(rows) / len(kept),
        "examples": [row | {"text": _begin(row["text"])} for row in examples],
    }


def _begin(text: str) -> str:
    return text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}…"
