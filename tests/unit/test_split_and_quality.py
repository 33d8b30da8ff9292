"""Which rows are kept and for what; and the counts that say so."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.config import SplitConfig
from bigmodel.data.quality import Judgement, judge
from bigmodel.data.read import ROWS, Source
from bigmodel.data.schema import CONFLICT, EMPTY, UNREADABLE, LabelSet
from bigmodel.data.split import CONFLICTING, DUPLICATE, SPLITS, assign, decide, join, key64
from bigmodel.errors import DataError
from bigmodel.recipe import make_recipe
from bigmodel.text.normalize import normalize

TEST, VALID, TRAIN = 0, 1, 2
KEPT, AGAIN, BOTH = 0, DUPLICATE, CONFLICTING

A, B, C = ("好", "正"), ("好", "负"), ("差", "负")


@pytest.mark.parametrize(
    ("rows", "conflicts", "found"),
    [
        ([A, C], "drop", [KEPT, KEPT]),
        ([A, A, C, A], "drop", [KEPT, AGAIN, KEPT, AGAIN]),
        ([A, B, C], "drop", [BOTH, BOTH, KEPT]),
        ([A, A, B], "drop", [BOTH, AGAIN, BOTH]),
        ([A, A, B], "majority", [KEPT, AGAIN, BOTH]),
        ([B, A, A], "majority", [BOTH, KEPT, AGAIN]),
        ([A, B], "majority", [BOTH, BOTH]),  # a tie
        ([A, A, B, C], "keep", [KEPT, AGAIN, KEPT, KEPT]),
        ([], "drop", []),
        ([A], "drop", [KEPT]),
        ([A, A], "drop", [KEPT, AGAIN]),
    ],
)
def test_duplicates_and_conflicts(rows, conflicts, found):
    ranked = [(text, label, TRAIN) for text, label in rows]
    assert decided(ranked, conflicts) == found


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([("好", "正", TRAIN), ("好", "正", TEST)], [AGAIN, KEPT]),
        ([("好", "正", TRAIN), ("好", "正", VALID), ("好", "正", TEST)], [AGAIN, AGAIN, KEPT]),
        ([("好", "负", TRAIN), ("好", "正", TEST)], [BOTH, KEPT]),
        ([("好", "正", TRAIN), ("好", "正", TRAIN), ("好", "正", VALID)], [AGAIN, AGAIN, KEPT]),
        ([("好", "正", TEST), ("好", "负", TEST), ("好", "正", TRAIN)], [BOTH, BOTH, AGAIN]),
    ],
)
def test_a_text_of_a_given_split_is_never_trained_on(rows, found):
    assert decided(rows, "drop") == found


def decided(rows, conflicts):
    keys = np.array([key64(text) for text, _, _ in rows], np.int64)
    labels = np.array([ord(label) for _, label, _ in rows], np.int64)
    ranks = np.array([rank for _, _, rank in rows], np.int8)
    return decide(keys, labels, ranks, conflicts=conflicts).tolist()


def test_a_texts_hash_is_the_same_everywhere():
    assert key64("我喜欢读书") == -6460955342988728632
    assert key64("") == -5426141060434712860


@pytest.mark.parametrize(
    ("units", "texts", "joined"),
    [
        (["甲", "乙", "丙"], [1, 2, 3], ["甲", "乙", "丙"]),
        (["甲", "乙", "丙"], [1, 2, 1], ["甲", "乙", "甲"]),
        (["甲", "乙", "乙", "丙", "丙"], [1, 1, 2, 2, 3], ["甲"] * 5),
        (["甲", "乙", "丙", "丁", "乙"], [1, 1, 2, 2, 2], ["丙", "丙", "丙", "丙", "丙"]),
    ],
)
def test_units_with_a_text_in_common_are_one(units, texts, joined):
    assert join(units, texts) == joined


def assigned(units, *, seed=0, given=(), **shares):
    return assign(units, SplitConfig(**shares), seed=seed, given=given)


def test_shares_hold_on_average_and_a_unit_is_placed_by_itself():
    units = [f"评论{number}" for number in range(10_000)]
    found = assigned(units, valid=0.1, test=0.2)
    counts = np.bincount(found, minlength=3) / len(units)
    assert counts == pytest.approx([0.7, 0.1, 0.2], abs=0.01)
    assert assigned(units[::-7], valid=0.1, test=0.2).tolist() == found[::-7].tolist()
    assert assigned(units, seed=1, valid=0.1, test=0.2).tolist() != found.tolist()


def test_a_given_split_takes_no_rows():
    units = [f"评论{number}" for number in range(1000)]
    both = assigned(units, given=("train", "valid", "test"))
    assert set(both.tolist()) == {SPLITS.index("train")}
    assert set(assigned(units, given=("train", "test")).tolist()) == {0, 1}
    assert set(assigned(units, given=("train", "valid")).tolist()) == {0, 2}


def judged(rows, *, sources=("train",), **data) -> Judgement:
    """Rows are (source, text, label[, group]), or (source, reason)."""
    table = []
    numbers = dict.fromkeys(range(len(sources)), 0)
    for source, *rest in rows:
        numbers[source] += 1
        record = {"source": source, "row": numbers[source]}
        if len(rest) == 1:
            table.append(record | {"reason": rest[0], "key": 0})
            continue
        text, label, *group = rest
        record |= {"text": text, "label": label, "key": key64(normalize(text))}
        table.append(record | {"group": group[0] if group else None})
    schema = ROWS.append(pa.field("key", pa.int64()))
    tree = {"name": "n", "data": {"train": "评论.csv", "max_bad_rows": 1.0} | data}
    files = [Source(f"{name}.csv", name, ("text", "label"), 0, 1, None) for name in sources]
    return judge(pa.Table.from_pylist(table, schema), files, make_recipe(tree, "recipe"))


PAIRS = [
    (0, f"{word}评{n}", label) for n in range(40) for word, label in (("好", "正"), ("差", "负"))
]


def test_the_counts_of_a_summary():
    rows = [*PAIRS, (0, EMPTY), (0, UNREADABLE), (0, EMPTY), PAIRS[0], (0, "差评0", "正")]
    found = judged(rows).summary()
    assert found["rows_read"] == 85 and found["rows_kept"] == 79
    assert found["quarantined"] == {UNREADABLE: 1, EMPTY: 2, CONFLICT: 2}
    assert (found["duplicates"], found["conflicts"]) == (1, 2)
    assert found["labels"] == ["正", "负"]
    assert sum(sum(counts.values()) for counts in found["splits"].values()) == 79
    assert set(found["splits"]) == set(SPLITS)


def test_a_record_finds_its_outcome_by_source_and_number():
    rows = [*PAIRS, (1, "另评", "正"), (1, EMPTY), (1, "又评", "负")]
    found = judged(rows, sources=("train", "test"))
    outcome = found.of(np.array([1, 0, 1, 1], np.int16), np.array([3, 1, 2, 1]))
    assert outcome.tolist()[::3] == [SPLITS.index("test")] * 2
    assert outcome[1] in (0, 1) and outcome[2] < 0
    assert found.num_rows("test") == 2


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
    found = judged(rows, conflicts=conflicts, split=split)
    about = found.summary()
    set_aside = sum(about["quarantined"].values()) + about["duplicates"]
    assert about["rows_read"] == len(rows) == about["rows_kept"] + set_aside
    text_in: dict[str, set[int]] = {}
    group_in: dict[str, set[int]] = {}
    for row, outcome in zip(rows, found.outcomes[0].tolist(), strict=True):
        if outcome >= 0:
            text_in.setdefault(normalize(row[1]), set()).add(outcome)
            if row[3] is not None:
                group_in.setdefault(row[3], set()).add(outcome)
    assert all(len(splits) == 1 for splits in text_in.values())
    assert all(len(splits) == 1 for splits in group_in.values())


@pytest.mark.parametrize(
    ("rows", "sources", "data", "said"),
    [
        ([], ("train",), {}, r"train\.csv: no rows after the header"),
        ([(0, EMPTY)] * 3, ("train",), {}, "have no labels; a classifier needs at least two"),
        (PAIRS[::2], ("train",), {}, "have only the label '正'; a classifier needs at least two"),
        (
            [*PAIRS, (0, EMPTY), (0, UNREADABLE)],
            ("train",),
            {"max_bad_rows": 0.02},
            r"train\.csv: 2 of 82 rows can't be used \(1 empty, 1 unreadable; the first is row 81, "
            r"empty\), more than data\.max_bad_rows allows \(2%\)",
        ),
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


def test_a_label_too_rare_for_the_training_split_is_named():
    placed = {SPLITS[int(assigned([str(key64(f"中{n}"))])[0])]: f"中{n}" for n in range(200)}
    with pytest.raises(DataError, match=r"train\.csv: too few rows with the label '中'"):
        judged([*PAIRS, (0, placed["test"], "中")])


def test_labels_are_sorted_and_numbered_by_position():
    labels = LabelSet.of(["负面", "正面", "中性", "正面"])
    assert labels.names == ("中性", "正面", "负面") and len(labels) == 3
    assert labels.ids(["负面", "中性"], where="x").tolist() == [2, 0]
    assert labels.ids([], where="x").tolist() == []
    assert labels == LabelSet.of(reversed(labels.names))


def test_an_unknown_label_is_named_with_the_known_ones():
    with pytest.raises(DataError, match=r"^test\.csv: unknown label '好' \(known: 正面, 负面\); "):
        LabelSet.of(["正面", "负面"]).ids(["正面", "差", "好"], where="test.csv")
