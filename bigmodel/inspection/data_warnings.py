"""The figures of `check` as sentences: what was found, and what can be done about it."""

from collections.abc import Iterator, Mapping
from typing import Any

from bigmodel.config import Recipe

FEW_ROWS = 50  # of a label: a tenth of them is too few to score it
IMBALANCE = 10.0
SHARE = 0.01  # of the rows, from which something odd is worth a sentence
MANY_DUPLICATES = 0.05
UNKNOWN_WORDS = 0.1
DEVIATION = 0.05

Figures = Mapping[str, Any]


def warnings(found: Figures, recipe: Recipe) -> list[str]:
    """What somebody should look at, gravest first; none of data in order."""
    return [*_aside(found, recipe), *_labels(found), *_splits(found, recipe), *_texts(found)]


def _aside(found: Figures, recipe: Recipe) -> Iterator[str]:
    counts = found["quarantined"]
    encoding = ", or set data.encoding" if found["unreadable"].get("bytes") else ""
    for reason, why in (
        ("unreadable", f"can't be read (set aside; mend them{encoding})"),
        ("empty", "without text or label (set aside)"),
        ("bridge", "with near-duplicates in two splits (set aside)"),
    ):
        if counts.get(reason):
            yield f"{_rows(counts[reason])} {why}"
    if unmatched := found["corrections"]["unmatched"]:
        yield (
            f"{unmatched:,} of {found['corrections']['given']:,} corrections match no text: a text "
            "must stand there as in the data"
        )
    if weak := found["weak_words"]:
        yield (
            f"{len(weak):,} {_one(len(weak), 'word', 'words')} of the user dictionary "
            f"{_one(len(weak), 'does', 'do')} not take effect, such as: {weak[0]}"
        )
    texts = found["conflicting"]["texts"]
    if found["conflicts"]:
        fate = "kept" if recipe.data.conflicts == "keep" else "set aside"
        yield (
            f"{texts:,} {_one(texts, 'text stands', 'texts stand')} under several labels "
            f"({_rows(found['conflicts'])} {fate}; data.conflicts)"
        )
    if found["duplicates"] > MANY_DUPLICATES * found["rows_read"]:
        share = found["duplicates"] / found["rows_read"]
        yield f"{_rows(found['duplicates'])} ({share:.0%}) repeat another and were left out"
    mixed = found["units"]["mixed"]
    if mixed and recipe.data.split.group_column is None:
        yield (
            f"{mixed:,} {_one(mixed, 'group', 'groups')} of nearly equal texts "
            f"{_one(mixed, 'has', 'have')} several labels; does everybody label in the same way?"
        )


def _labels(found: Figures) -> Iterator[str]:
    classes = found["classes"]
    for names in classes["alike"]:
        yield f"the labels {_and(names)} look alike, and are learnt as different ones"
    few = [label for label, rows in classes["rows"].items() if rows < FEW_ROWS]
    if few:
        yield (
            f"{_one(len(few), 'the label', 'the labels')} {_and(few)} "
            f"{_one(len(few), 'has', 'have')} fewer than {FEW_ROWS} rows, too few to learn and to "
            "score; collect more, or join with another label"
        )
    if classes["imbalance"] >= IMBALANCE:
        yield (
            f"the largest label has {times(classes['imbalance'])} the rows of the smallest: "
            'look at macro-F1, not at accuracy, and try train.class_weights = "balanced"'
        )


def _splits(found: Figures, recipe: Recipe) -> Iterator[str]:
    for split, where, leaks in each_leak(found):
        found_there = {"exactly (taken out there)": leaks["exact"], "nearly": leaks["near"]}
        said = " and ".join(f"{n:,} {how}" for how, n in found_there.items() if n)
        yield f"rows of the given {split} split also stand in data.{where}: {said}"
    if divided := found["near_duplicates"]["split_at_0.9"]:
        yield (
            f"{divided:,} {_one(divided, 'group', 'groups')} of nearly equal texts "
            f"{_one(divided, 'was', 'were')} so large (over 1% of the rows) that texts less than "
            "90% alike may stand in different splits"
        )
    largest = max(
        ((abs(by), split, label, by) for split, of in found["deviation"].items()
         for label, by in of.items()),
        default=None,
    )  # fmt: skip
    if largest and largest[0] > DEVIATION:
        _, split, label, by = largest
        yield (
            f"the label {label} is {100 * abs(by):.1f} points {'more' if by > 0 else 'less'} "
            f"frequent in {split} than in all rows"
        )
    if (share := found["unknown_words"]["share"]) > UNKNOWN_WORDS:
        yield (
            f"{share:.0%} of the words in valid and test never occur in training: "
            "a model of words alone (mlp) misses them; more rows help"
        )


def _texts(found: Figures) -> Iterator[str]:
    if rows := found["garbled"]["rows"]:
        yield (
            f"{_rows(rows)} {_one(rows, 'holds', 'hold')} characters that were lost or read in a "
            "wrong encoding before they came here; export them again from where they come from"
        )
    for key, what in (
        ("no_chinese", "hold no Chinese character"),
        ("very_short", "have two characters or fewer"),
    ):
        if found[key]["share"] > SHARE:
            yield f"{_rows(found[key]['rows'])} ({found[key]['share']:.1%}) {what}"
    share = found["traditional"]["share"]
    if SHARE < share < 1 - SHARE:
        yield (
            f"{share:.1%} of the rows hold traditional characters, the others don't; "
            'text.traditional = "simplify" makes them one'
        )


def each_leak(found: Figures) -> Iterator[tuple[str, str, Mapping[str, int]]]:
    """(given split, where else its rows stand, how many), where there are any."""
    for split, places in found["leaks"].items():
        for where, leaks in places.items():
            if any(leaks.values()):
                yield split, where, leaks


def times(ratio: float) -> str:
    """1.3 times, 267 times."""
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:,.0f} times"


def _rows(count: int) -> str:
    return f"{count:,} {_one(count, 'row', 'rows')}"


def _one(count: int, one: str, several: str) -> str:
    return one if count == 1 else several


def _and(names: list[str]) -> str:
    shown = [f"“{name}”" for name in names[:8]]
    if len(names) > 8:
        shown.append(f"{len(names) - 8} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
