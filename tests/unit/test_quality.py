"""What becomes of each record, and the counts that say so."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.data.duplicates import THRESHOLD
from bigmodel.data.quality import Near, Records, divide, settle, summarise
from bigmodel.data.refusals import check_bad_rows, check_columns
from bigmodel.data.schema import BRIDGE, CONFLICT, EMPTY, REMOVED, UNREADABLE, LabelSet
from bigmodel.data.sources import Source
from bigmodel.data.split import BRIDGING, DUPLICATE, SPLITS, Earlier, key64
from bigmodel.errors import DataError
from bigmodel.recipe import make_recipe
from bigmodel.text.normalize import normalize

NOTHING = Earlier.none()


def source(name, weight=1.0):
    columns = ("text", "label")
    return Source(f"{name}.csv", name, weight, "csv", None, "utf-8", columns, 0, 1, None)


def judged(rows, *, sources=("train",), near=(), earlier=NOTHING, **data):
    """(summary, outcome of each row): rows are (source, text, label[, group]) or (source, reason);
    `near` has pairs of texts."""
    files = [one if isinstance(one, Source) else source(one) for one in sources]
    names = tuple(dict.fromkeys(row[2] for row in rows if len(row) > 2))
    usable = np.array([len(row) > 2 for row in rows], np.bool_)
    keys = [key64(normalize(row[1])) if len(row) > 2 else 0 for row in rows]
    group = [key64(row[3]) if len(row) > 3 and row[3] else 0 for row in rows]
    records = Records(
        np.array([row[0] for row in rows], np.int32),
        usable,
        np.array(keys, np.int64),
        np.array([names.index(row[2]) if len(row) > 2 else 0 for row in rows], np.int32),
        np.array(group, np.int64) if any(group) else None,
        names,
    )
    tree = {"name": "n", "data": {"train": "评论.csv"} | data}
    recipe = make_recipe(tree, "recipe")
    outcome = settle(records, files, recipe)
    pairs = np.array([[key64(a), key64(b)] for a, b in near], np.int64).reshape(-1, 2)
    close = Near(pairs, np.full(len(pairs), THRESHOLD, np.float32), largest=99)
    outcome, unit, _ = divide(records, outcome, close, files, recipe, earlier=earlier)
    reasons = Counter(row[1] for row in rows if len(row) == 2)
    return summarise(records, outcome, unit, reasons, files), outcome.tolist()


PAIRS = [
    (0, f"{word}评{n}", label) for n in range(40) for word, label in (("好", "正"), ("差", "负"))
]


def test_the_counts_of_a_summary():
    rows = [*PAIRS, (0, EMPTY), (0, UNREADABLE), (0, EMPTY), PAIRS[0], (0, "差评0", "正")]
    found, _ = judged(rows)
    assert found["rows_read"] == 85 and found["rows_kept"] == 79
    none = {REMOVED: 0, BRIDGE: 0}
    assert found["quarantined"] == {UNREADABLE: 1, EMPTY: 2, CONFLICT: 2} | none
    assert (found["duplicates"], found["conflicts"]) == (1, 2)
    assert found["labels"] == ["正", "负"]
    assert sum(sum(counts.values()) for counts in found["splits"].values()) == 79
    assert set(found["splits"]) == set(SPLITS)


def test_the_deviation_is_how_far_a_splits_shares_are_from_those_of_all_rows():
    found, _ = judged(PAIRS)
    for split, shares in found["deviation"].items():
        counts = found["splits"][split]
        for label, deviation in shares.items():
            own = counts.get(label, 0) / sum(counts.values())
            assert deviation == pytest.approx(own - 0.5)


def test_near_texts_stand_in_one_split():
    texts = [row[1] for row in PAIRS]
    _, outcome = judged(PAIRS, near=[(texts[0], other) for other in texts[2:30:2]])
    assert len(set(outcome[0:30:2])) == 1


def splits_of(rows, outcome):
    keys = np.array([key64(row[1]) for row in rows], np.int64)
    return Earlier.of_rows(keys, np.array(outcome, np.int8))


def test_earlier_rows_keep_their_split_when_the_data_grows():
    _, before = judged(PAIRS)
    more = [(0, f"新评{n}", "正") for n in range(20)]
    near = [(PAIRS[n][1], f"新评{n}") for n in range(20)]
    _, after = judged([*more, *PAIRS], near=near, earlier=splits_of(PAIRS, before))
    assert after[20:] == before and after[:20] == before[:20]


def test_a_new_row_that_would_bridge_two_splits_is_set_aside():
    _, before = judged(PAIRS)
    trained, tested = (next(i for i, s in enumerate(before) if s == split) for split in (0, 2))
    near = [(PAIRS[trained][1], "新评"), ("新评", PAIRS[tested][1])]
    found, after = judged([*PAIRS, (0, "新评", "正")], near=near, earlier=splits_of(PAIRS, before))
    assert after == [*before, BRIDGING] and found["quarantined"][BRIDGE] == 1


def test_rows_of_a_weighted_source_are_only_trained_on_and_never_near_other_splits():
    _, own = judged(PAIRS)
    tested = own.index(SPLITS.index("test"))
    more = [(1, f"别处评{n}", "正") for n in range(30)] + [
        (1, "差不多", "正"),
        (1, PAIRS[0][1], "正"),
    ]
    found, outcome = judged(
        [*PAIRS, *more],
        sources=("train", source("train", 0.1)),
        near=[("差不多", PAIRS[tested][1])],
    )
    assert outcome[: len(PAIRS)] == own
    assert outcome[len(PAIRS) :] == [0] * 30 + [BRIDGING, DUPLICATE]
    assert found["quarantined"][BRIDGE] == 1


def test_a_weighted_row_of_a_group_with_rows_in_another_split_is_set_aside():
    rows = [(0, text, label, f"组{n // 2}") for n, (_, text, label) in enumerate(PAIRS)]
    more = [(1, f"别处评{n}", "正", f"组{n}") for n in range(40)]
    split = {"valid": 0.2, "test": 0.2, "group_column": "user"}
    _, outcome = judged([*rows, *more], sources=("train", source("train", 0.1)), split=split)
    own = {row[3]: found for row, found in zip(rows, outcome, strict=False)}
    expected = [0 if own[row[3]] == 0 else BRIDGING for row in more]
    assert outcome[len(rows) :] == expected and {0, BRIDGING} == set(expected)


def test_a_new_row_of_a_group_in_train_that_is_near_a_test_row_is_a_bridge():
    rows = [(0, text, label, f"组{n // 2}") for n, (_, text, label) in enumerate(PAIRS)]
    split = {"valid": 0.2, "test": 0.2, "group_column": "user"}
    _, before = judged(rows, split=split)
    trained, tested = (before.index(SPLITS.index(name)) for name in ("train", "test"))
    for n in range(20):  # whatever the order of the hashes
        new = (0, f"新评{n}", "正", rows[trained][3])
        _, after = judged(
            [*rows, new],
            near=[(rows[tested][1], new[1])],
            earlier=splits_of(rows, before),
            split=split,
        )
        assert after == [*before, BRIDGING]


def test_leaks_between_given_splits_are_counted_exact_and_near():
    test = [(1, PAIRS[0][1], "正"), (1, "差不多", "正"), (1, "另一条", "负")]
    found, outcome = judged([*PAIRS, *test], sources=("train", "test"), near=[("差不多", "好评1")])
    assert found["leaks"] == {"test": {"train": {"exact": 1, "near": 1}}}
    assert outcome[0] == DUPLICATE and outcome[-3:] == [SPLITS.index("test")] * 3


ROW = st.tuples(
    st.just(0), st.text("好差评 ", min_size=1, max_size=2), st.sampled_from("正负"),
    st.sampled_from(["甲", "乙", "丙", None]),
)  # fmt: skip
RECORD = ROW.filter(lambda row: normalize(row[1])) | st.sampled_from([(0, EMPTY), (0, UNREADABLE)])


@given(
    conflicts=st.sampled_from(["keep", "drop", "majority"]),
    records=st.lists(RECORD, max_size=30),
)
def test_every_record_is_counted_once_and_no_text_or_group_stands_in_two_splits(conflicts, records):
    rows = [*((*pair, f"组{n}") for n, pair in enumerate(PAIRS)), *records]
    split = {"valid": 0.3, "test": 0.3, "group_column": "user"}
    about, outcomes = judged(rows, conflicts=conflicts, split=split)
    set_aside = sum(about["quarantined"].values()) + about["duplicates"]
    assert about["rows_read"] == len(rows) == about["rows_kept"] + set_aside
    text_in: dict[str, set[int]] = {}
    group_in: dict[str, set[int]] = {}
    for row, outcome in zip(rows, outcomes, strict=True):
        if outcome >= 0:
            text_in.setdefault(normalize(row[1]), set()).add(outcome)
            if row[3] is not None:
                group_in.setdefault(row[3], set()).add(outcome)
    assert all(len(splits) == 1 for splits in text_in.values())
    assert all(len(splits) == 1 for splits in group_in.values())


@pytest.mark.parametrize(
    ("rows", "sources", "data", "said"),
    [
        ([(0, EMPTY)] * 3, ("train",), {}, "have no labels; a classifier needs at least two"),
        (PAIRS[::2], ("train",), {}, "have only the label '正'; a classifier needs at least two"),
        (
            [*PAIRS, (1, "一般", "中")],
            ("train", "test"),
            {},
            r"test\.csv: unknown label '中' \(known: 正, 负\)",
        ),
        (
            [*PAIRS[:2], *((1, f"新{n}", "正") for n in range(9))],
            ("train", "test"),
            {"split": {"valid": 0.0001}},
            r"train\.csv: no row is left for the valid split; add rows, or name a file with data",
        ),
    ],
)
def test_data_that_cannot_be_trained_on_is_refused(rows, sources, data, said):
    with pytest.raises(DataError, match=said):
        judged(rows, sources=sources, **data)


def test_too_many_bad_rows_are_counted_by_reason_with_the_first_one_and_the_way_out():
    reasons = {EMPTY: 1, UNREADABLE: 1, CONFLICT: 40}
    about = {"where": "quarantine.parquet", "first": "评论.csv, row 81"}
    check_bad_rows(reasons, {"columns": 1}, 82, 0.03, **about)
    said = (
        r"评论\.csv, row 81: 2 of 82 rows can't be used \(1 unreadable \(columns: 1\), 1 empty\), "
        r"more than data\.max_bad_rows allows \(2\.00%\); they stand in quarantine\.parquet"
    )
    with pytest.raises(DataError, match=said):
        check_bad_rows(reasons, {"columns": 1}, 82, 0.02, **about)


def test_a_column_of_numbers_is_no_column_of_texts_or_labels():
    check_columns(source("train"), usable=40, num_labels=2, num_numbers=20)
    said = r"train\.csv: 21 of 40 texts in the column 'text' are numbers \(found: text, label\)"
    with pytest.raises(DataError, match=said):
        check_columns(source("train"), usable=40, num_labels=2, num_numbers=21)
    said = "the column 'label' has 39 different values in 40 rows, and labels repeat"
    with pytest.raises(DataError, match=said):
        check_columns(source("train"), usable=40, num_labels=39, num_numbers=0)


def test_a_label_too_rare_for_the_training_split_is_named():
    for n in range(200):
        rows = [*PAIRS, (0, f"中{n}", "中")]
        try:
            judged(rows)
        except DataError as error:
            assert str(error).startswith("train.csv: too few rows with the label '中'")
            return
    raise AssertionError("200 rows, and none fell into valid or test")


def test_labels_are_sorted_and_numbered_by_position():
    labels = LabelSet.of(["负面", "正面", "中性", "正面"])
    assert labels.names == ("中性", "正面", "负面") and len(labels) == 3
    assert labels.ids(["负面", "中性"], where="x").tolist() == [2, 0]
    assert labels.ids([], where="x").tolist() == []
    assert labels == LabelSet.of(reversed(labels.names))


def test_an_unknown_label_is_named_with_the_known_ones():
    with pytest.raises(DataError, match=r"^test\.csv: unknown label '好' \(known: 正面, 负面\); "):
        LabelSet.of(["正面", "负面"]).ids(["正面", "差", "好"], where="test.csv")
