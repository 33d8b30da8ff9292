"""What is remembered of a name's prepares: splits that hold on, whatever was prepared between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.data.history import History
from bigmodel.data.prepared import SPLITS_FILE, SealedFolder, find_sealed, seal, write_arrow
from bigmodel.data.split import Earlier
from bigmodel.errors import DataError
from bigmodel.storage import Folder, folder

TEXT = {"user dictionary": ""}


def inputs(*files, split="by hash"):
    return {"files": [[name, "train", 1.0, data] for name, data in files], "split": split}


def rows_of(place: Folder, key: str, splits: dict[int, int]) -> SealedFolder:
    """A prepared folder of texts with these keys and splits."""
    keys, split = np.array(list(splits), np.int64), np.array(list(splits.values()), np.int8)
    here = place.child(f"rows/{key}")
    seal(here, [write_arrow(here, SPLITS_FILE, Earlier.of_rows(keys, split).table())])
    return find_sealed(here)


def remember(place, what, splits):
    history = History.of(place, "reviews")
    origin = rows_of(place, history.rows_key(what), splits)
    history.remember(what, TEXT, origin=origin, encoded="e")
    return origin


def earlier(place, what):
    found = History.of(place, "reviews").earlier(what)
    return dict(zip(found.keys.tolist(), found.split.tolist(), strict=True))


FULL, SAMPLE = inputs(("评论.csv", "a")), inputs(("样本.csv", "b"))
MORE = inputs(("评论.csv", "c"))


def test_a_sample_prepared_in_between_forgets_no_row(tmp_path):
    place = folder(tmp_path)
    remember(place, FULL, {5: 0, -7: 2, 9: 1})
    remember(place, SAMPLE, {5: 0})
    assert earlier(place, MORE) == {-7: 2, 5: 0, 9: 1}


def test_the_splits_hold_on_when_the_rows_they_came_with_are_deleted(tmp_path):
    place = folder(tmp_path)
    origin = remember(place, FULL, {5: 0, -7: 2})
    origin.place.remove()
    assert earlier(place, MORE) == {-7: 2, 5: 0}
    assert History.of(place, "reviews").rows_key(FULL) == origin.place.name


def test_another_way_to_split_begins_anew_and_the_first_one_comes_back(tmp_path):
    place = folder(tmp_path)
    remember(place, FULL, {5: 0})
    other = inputs(("评论.csv", "a"), split="another seed")
    assert earlier(place, other) == {}
    remember(place, other, {5: 2})
    assert earlier(place, MORE) == {5: 0}


def test_the_same_inputs_keep_their_rows_and_grown_ones_have_others(tmp_path):
    place = folder(tmp_path)
    first = History.of(place, "reviews").rows_key(FULL)
    unheld = History.of(place, "reviews").rows_key(MORE)
    remember(place, FULL, {5: 0})
    history = History.of(place, "reviews")
    assert history.rows_key(FULL) == first
    assert history.rows_key(MORE) != unheld  # what they hold on to is part of them
    assert History.of(place, "another").rows_key(MORE) == unheld


def test_rows_of_which_none_was_split_are_remembered_too(tmp_path):
    place = folder(tmp_path)
    remember(place, FULL, {})
    assert earlier(place, MORE) == {}
    remember(place, MORE, {5: 0})
    assert earlier(place, FULL) == {5: 0}


def test_two_at_once_are_both_remembered_and_one_that_contradicts_is_told(tmp_path):
    place = folder(tmp_path)
    slow, contradicting = History.of(place, "reviews"), History.of(place, "reviews")
    remember(place, FULL, {5: 0, 7: 1})
    slow.remember(SAMPLE, TEXT, origin=rows_of(place, "s", {7: 1, 8: 2}), encoded="e")
    assert earlier(place, MORE) == {5: 0, 7: 1, 8: 2}
    found = History.of(place, "reviews")
    assert len(found.known) == 2 and found.latest["rows"] == "s"
    with pytest.raises(DataError, match="reviews: another prepare .* run the command again"):
        contradicting.remember(MORE, TEXT, origin=rows_of(place, "c", {8: 0}), encoded="e")
    assert earlier(place, MORE) == {5: 0, 7: 1, 8: 2}


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-40], lambda data: b"{}"])
def test_a_damaged_memory_is_no_empty_one(tmp_path, damage):
    place = folder(tmp_path)
    remember(place, FULL, {5: 0})
    file = tmp_path / "names" / "reviews.arrow"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=r"reviews\.arrow: damaged, .* bring it back"):
        History.of(place, "reviews")


def test_nothing_is_written_where_nothing_is_new(tmp_path):
    place = folder(tmp_path)
    origin = remember(place, FULL, {5: 0})
    file = tmp_path / "names" / "reviews.arrow"
    before = file.stat()
    History.of(place, "reviews").remember(FULL, TEXT, origin=origin, encoded="e")
    assert file.stat() == before


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ([("评论.csv", "c")], ["评论.csv changed"]),
        ([("数据/评论.csv", "a"), ("更多/新.csv", "n")], ["更多/新.csv is new"]),  # renamed all
        ([("新.csv", "n")], ["新.csv is new", "评论.csv is gone"]),
    ],
)
def test_why_rows_are_made_anew(tmp_path, now, why):
    place = folder(tmp_path)
    remember(place, FULL, {5: 0})
    assert History.of(place, "reviews").why_rows(inputs(*now)) == why


SPLIT_OF = st.dictionaries(st.integers(-9, 9), st.integers(0, 2))


@given(SPLIT_OF, SPLIT_OF)
def test_splits_are_joined_where_none_contradicts(one, other):
    def earlier_of(splits):
        keys, split = np.array(list(splits), np.int64), np.array(list(splits.values()), np.int8)
        return Earlier.of_rows(keys, split)

    found = earlier_of(one).joined(earlier_of(other))
    if any(one[key] != other[key] for key in one.keys() & other.keys()):
        assert found is None
    else:
        expected = sorted((one | other).items())
        assert list(zip(found.keys.tolist(), found.split.tolist(), strict=True)) == expected
