"""Which rows are kept, and for what: duplicates, conflicts, units, splits that hold."""

import numpy as np
import pytest

from bigmodel.config import SplitConfig
from bigmodel.data.split import (
    BRIDGING,
    CONFLICTING,
    DUPLICATE,
    Earlier,
    by_hash,
    decide,
    flood,
    hold,
    join,
    key64,
)

TEST, VALID, TRAIN = 0, 1, 2
KEPT, AGAIN, BOTH = 0, DUPLICATE, CONFLICTING

A, B, C = ("好", "正"), ("好", "负"), ("差", "负")


@pytest.mark.parametrize(
    ("rows", "conflicts", "found"),
    [
        ([A, C], "drop", [KEPT, KEPT]),
        ([A, A, C, A], "drop", [KEPT, AGAIN, KEPT, AGAIN]),
        ([A, B, C], "drop", [BOTH, BOTH, KEPT]),
        ([A, A, B], "drop", [BOTH, BOTH, BOTH]),  # nothing is kept that one could repeat
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
        ([("好", "正", TEST), ("好", "负", TEST), ("好", "正", TRAIN)], [BOTH, BOTH, BOTH]),
    ],
)
def test_a_text_of_a_given_split_is_never_trained_on(rows, found):
    assert decided(rows, "drop") == found


def decided(rows, conflicts):
    keys = np.array([key64(text) for text, _, _ in rows], np.int64)
    labels = np.array([ord(label) for _, label, _ in rows], np.int32)
    ranks = np.array([rank for _, _, rank in rows], np.int8)
    return decide(keys, labels, ranks, conflicts=conflicts).tolist()


def test_a_texts_hash_is_the_same_everywhere():
    assert key64("我喜欢读书") == -6460955342988728632
    assert key64("") == -5426141060434712860


@pytest.mark.parametrize(
    ("leader", "group", "units"),
    [
        ([1, 2, 3], None, [1, 2, 3]),
        ([1, 2, 3], [0, 0, 0], [1, 2, 3]),
        ([1, 2, 1], [50, 60, 50], [50, 60, 50]),
        ([1, 2, 1, 3], [50, 60, 60, 0], [50, 50, 50, 3]),  # a text near another group's joins both
        ([7, 7, 2], [0, 50, 0], [50, 50, 2]),
    ],
)
def test_rows_near_each_other_or_of_one_group_are_one_unit(leader, group, units):
    groups = None if group is None else np.array(group, np.int64)
    assert join(np.array(leader, np.int64), groups).tolist() == units


UNITS = np.array([key64(f"评论{number}") for number in range(10_000)], np.int64)


def placed(units, *, seed=0, given=(), **shares):
    return by_hash(units, SplitConfig(**shares), seed=seed, given=given)


def test_shares_hold_on_average_and_a_unit_is_placed_by_itself():
    found = placed(UNITS, valid=0.1, test=0.2)
    counts = np.bincount(found, minlength=3) / len(UNITS)
    assert counts == pytest.approx([0.7, 0.1, 0.2], abs=0.01)
    assert placed(UNITS[::-7], valid=0.1, test=0.2).tolist() == found[::-7].tolist()
    assert placed(UNITS, seed=1, valid=0.1, test=0.2).tolist() != found.tolist()


def test_a_given_split_takes_no_rows():
    assert set(placed(UNITS[:999], given=("train", "valid", "test")).tolist()) == {0}
    assert set(placed(UNITS[:999], given=("test",)).tolist()) == {0, 1}
    assert set(placed(UNITS[:999], given=("valid",)).tolist()) == {0, 2}


TRAINED, CHECKED, TESTED, NEW = 0, 1, 2, -1


@pytest.mark.parametrize(
    ("units", "early", "found", "contested"),
    [
        ([5, 5, 6], [NEW, NEW, NEW], [0, 0, 0], []),
        ([5, 5, 6], [TESTED, NEW, NEW], [2, 2, 0], []),
        ([5, 5, 6], [TESTED, TESTED, CHECKED], [2, 2, 1], []),
        ([5, 5, 5, 6], [TESTED, NEW, TRAINED, NEW], [0, 0, 0, 0], [5]),
        ([], [], [], []),
    ],
)
def test_earlier_splits_hold(units, early, found, contested):
    by_hash = np.zeros(len(units), np.int8)
    split, several = hold(by_hash, np.array(units, np.int64), np.array(early, np.int8))
    assert several.tolist() == contested
    agreed = ~np.isin(units, contested)
    assert split[agreed].tolist() == np.array(found, np.int8)[agreed].tolist()


@pytest.mark.parametrize(
    ("early", "links", "found"),
    [
        ({1: TRAINED}, [(1, 2)], {2: TRAINED}),
        ({1: TRAINED}, [(2, 1), (2, 3), (3, 4)], {2: TRAINED, 3: TRAINED, 4: TRAINED}),
        ({1: TRAINED, 9: TESTED}, [(1, 5), (5, 9)], {5: BRIDGING}),
        ({1: TRAINED, 9: TESTED}, [(1, 5), (5, 6), (6, 9)], {5: TRAINED, 6: BRIDGING}),
        ({1: TRAINED, 9: TESTED}, [(1, 5), (5, 9), (5, 7)], {5: BRIDGING}),  # 7: by its hash
        ({1: TRAINED, 9: TESTED}, [(1, 9)], {}),
    ],
)
def test_a_new_row_between_two_splits_is_a_bridge(early, links, found):
    assert flood(early, links) == early | found


def test_an_earlier_text_is_found_by_its_key():
    earlier = Earlier(np.array([-5, 3, 8], np.int64), np.array([2, 0, 1], np.int8))
    assert earlier.where(np.array([8, -5, 4, 9, -9], np.int64)).tolist() == [1, 2, -1, -1, -1]
    nothing = Earlier.none()
    assert nothing.where(np.array([8], np.int64)).tolist() == [-1]
