"""The figures of `check` as a page for people: what to look at first, then all by subject."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bigmodel.data.schema import CONFLICT
from bigmodel.inspection.data_warnings import times
from bigmodel.pages.charts import bars, histogram, short
from bigmodel.pages.page import (
    Html,
    alerts,
    link,
    page,
    paragraph,
    section,
    subsection,
    table,
    tiles,
)

Figures = Mapping[str, Any]
MOST_LISTED = 20  # suspects on the page; their file has more


def data_page(name: str, found: Figures, suspects: Sequence[Figures]) -> bytes:
    """The page of a recipe's data; `suspects` are rows with `suggested` and `score`."""
    aside = sum(found["quarantined"].values())
    doubted = found["doubted"]
    return page(
        f"Data of {name}",
        tiles(
            {
                "rows read": f"{found['rows_read']:,}",
                "rows kept": f"{found['rows_kept']:,}",
                "set aside": f"{aside:,}",
                "duplicates": f"{found['duplicates']:,}",
                "labels": f"{len(found['classes']['rows']):,}",
                "suspects": f"{doubted['found']:,}",
            }
        ),
        alerts(found["warnings"]) or paragraph("Nothing stands out."),
        section("Labels", *_labels(found)),
        section("Perhaps mislabelled", *_suspects(found, suspects)),
        section("Texts", *_texts(found)),
        section("Splits", *_splits(found)),
        section("Repeated texts", *_repeated(found)),
        section("Set aside", *_aside(found)),
        section("Files", _files(found)),
        subtitle=f"What bigmodel check found; data id {found['data_id'][:12]}",
    )


def _labels(found: Figures) -> Iterable[Html]:
    rows, shares = found["classes"]["rows"], found["classes"]["shares"]
    shown = {label: f"{count:,} · {shares[label]:.1%}" for label, count in rows.items()}
    yield bars(rows, shown=shown, title="Rows of each label")
    yield paragraph(
        f"The largest label has {times(found['classes']['imbalance'])} the rows of the smallest."
    )


def _suspects(found: Figures, suspects: Sequence[Figures]) -> Iterable[Html]:
    doubted = found["doubted"]
    if doubted["agreed"] is None:
        yield paragraph("Too few rows to say.")
        return
    of = "a sample of " if doubted["sampled"] else ""
    yield paragraph(
        f"A {doubted['by']} model read {of}{doubted['examined']:,} rows, each without having "
        "learnt from it or from what is nearly equal to it. It agrees with the label of "
        f"{doubted['agreed']:.1%} of them; of {doubted['found']:,} it is rather sure that they "
        "belong elsewhere, but it can be the one that is wrong. The list of suspects has the first "
        f"{doubted['listed']:,}: mend its column label (empty it to leave the text out) and name "
        "the file as data.corrections. Rows that you leave as they are change nothing."
    )
    yield link("suspects.csv", "suspects.csv")
    yield table(
        ("text", "label", "suggested", "score"),
        [
            (_begin(row["text"]), row["label"], row["suggested"], f"{row['score']:.3f}")
            for row in suspects[:MOST_LISTED]
        ],
    )
    yield subsection(
        "Labels it confuses most",
        table(
            ("label", "the model says", "rows"),
            ((pair["label"], pair["said"], pair["rows"]) for pair in doubted["confused"]),
        ),
    )


def _texts(found: Figures) -> Iterable[Html]:
    about = found["lengths"]
    bins = about["histogram"]
    names = [f"≤{short(one['to'])}" if one["to"] else f">{short(one['from'] - 1)}" for one in bins]
    yield subsection("Length in characters", histogram(
        [one["rows"] for one in bins], names=names, title="Texts by their length in characters"
    ))  # fmt: skip
    yield paragraph(
        f"Half have {about['median']:.0f} or fewer, 95 % have {about['95th_percentile']:.0f} or "
        f"fewer, the longest has {about['longest']:,}."
    )
    kinds = {
        "two characters or fewer": "very_short",
        "no Chinese character": "no_chinese",
        "lost or wrongly read characters": "garbled",
        "traditional characters": "traditional",
    }
    yield table(
        ("texts with", "rows", "share", "for example"),
        (
            (name, one["rows"], one["share"], _begin(one["examples"][0]["text"]))
            for name, key in kinds.items()
            if (one := found[key])["rows"]
        ),
    )
    words = found["unknown_words"]
    yield subsection(
        "Words in valid and test that never occur in training",
        paragraph(
            f"{words['unknown']:,} of {words['tokens']:,} ({words['share']:.1%}); most often: "
            + "、".join(f"{word} {count:,}" for word, count in words["most_frequent"].items())
            if words["unknown"]
            else ""
        ),
    )


def _splits(found: Figures) -> Iterable[Html]:
    splits, deviation = found["splits"], found["deviation"]
    sizes = {name: sum(labels.values()) for name, labels in splits.items()}
    yield table(
        ("split", "rows", "share", "label whose share differs most from that in all rows"),
        (
            (name, size, size / found["rows_kept"], _farthest(deviation.get(name, {})))
            for name, size in sizes.items()
        ),
    )
    yield subsection(
        "Rows of given splits that also stand elsewhere",
        table(
            ("split", "also in", "exactly", "nearly"),
            (
                (split, f"data.{where}", leaks["exact"], leaks["near"])
                for split, places in found["leaks"].items()
                for where, leaks in places.items()
            ),
        ),
    )


def _repeated(found: Figures) -> Iterable[Html]:
    near = found["near_duplicates"]
    yield paragraph(
        f"{found['duplicates']:,} rows repeat another and were left out. {near['rows']:,} more are "
        f"nearly equal to another, in {near['groups']:,} groups; each stays in one split"
        + (
            f", but for {near['split_at_0.9']:,} that were too large."
            if near["split_at_0.9"]
            else "."
        )
    )
    yield subsection("The largest groups", table(
        ("rows", "labels", "one of them"),
        ((u["rows"], u["labels"], _begin(u["text"])) for u in found["units"]["largest"]),
    ))  # fmt: skip
    yield subsection("Texts under several labels", table(
        ("text", "labels"),
        ((_begin(c["text"]), "、".join(c["labels"])) for c in found["conflicting"]["examples"]),
    ))  # fmt: skip


def _aside(found: Figures) -> Iterable[Html]:
    counts = {reason: count for reason, count in found["quarantined"].items() if count}
    yield bars(
        counts,
        shown={reason: f"{count:,}" for reason, count in counts.items()},
        title="Records set aside, by reason",
    )
    yield table(
        ("reason", "file", "row", "what exactly", "the record begins"),
        (
            (reason, one["source"], str(one["row"]), one["detail"] or "", _begin(one["beginning"]))
            for reason, examples in found["quarantine_examples"].items()
            if reason != CONFLICT  # these stand above, with their labels
            for one in examples
        ),
    )


def _files(found: Figures) -> Html:
    return table(
        ("file", "split", "format", "encoding", "rows", "set aside"),
        (
            tuple(file[key] for key in ("path", "split", "format", "encoding", "rows"))
            + (file["quarantined"],)
            for file in found["files"]
        ),
    )


def _farthest(deviation: Mapping[str, float]) -> str:
    if not deviation:
        return ""
    label, by = max(deviation.items(), key=lambda item: abs(item[1]))
    return f"{label}: {100 * by:+.1f} points"


def _begin(text: str, most: int = 120) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
