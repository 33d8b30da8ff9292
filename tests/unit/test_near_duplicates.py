"""Near-duplicates: what is found, against sets of shingles compared one by one."""

import csv
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from bigmodel.data.duplicates import (
    BANDS,
    NEIGHBOURS,
    SHINGLE,
    THRESHOLD,
    Groups,
    band_hashes,
    candidates,
    groups,
    similarity,
)
from bigmodel.data.split import key64
from bigmodel.text.ngrams import window_hashes
from bigmodel.text.normalize import normalize

REVIEWS = Path(__file__).parents[2] / "jobs" / "recipes" / "reviews.csv"
HOTEL = "酒店位置很好,离地铁站只有五分钟,房间干净,前台态度热情,早餐种类多,下次来还会住这里"
PHONE = "手机收到了,屏幕清晰,电池耐用,系统流畅,拍照效果也不错,就是物流慢了一点,总体满意"
NEAR = [
    pytest.param(HOTEL, HOTEL + "。", id="a full stop more"),
    pytest.param(HOTEL, HOTEL.replace("五", "十"), id="a character differs"),
    pytest.param(HOTEL, HOTEL.replace("前台", ""), id="a word is missing"),
    pytest.param(HOTEL, HOTEL.replace("还会", "不会"), id="it means the opposite"),
    pytest.param("味道好" * 40, "味道好" * 50, id="the same again and again"),
    pytest.param(PHONE * 300, "京东" + PHONE * 300, id="a long text"),
    pytest.param("很好用👍👍👍👍", "很好用👍👍👍👍👍👍", id="more thumbs"),
]
FAR = [
    pytest.param(HOTEL, PHONE, id="different things"),
    pytest.param("好", "很好", id="short texts"),
    pytest.param("很好", "很好!", id="short texts, punctuation"),
    pytest.param("好", "坏", id="a character each"),
    pytest.param("不错不错", "不错不错不错", id="half of the shingles"),
    pytest.param(HOTEL, HOTEL[::-1], id="the same characters"),
    pytest.param(HOTEL, HOTEL[:20] + PHONE[20:], id="the same start"),
]

some_texts = st.lists(st.text("好坏很不书👍,", max_size=12).map(normalize), max_size=20)
some_keys = st.lists(st.integers(-9, 9), max_size=40)


def shingles(text: str) -> set[str]:
    return {text[i : i + SHINGLE] for i in range(max(1, len(text) - SHINGLE + 1))}


def exact(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def proposed(keys: np.ndarray, bands: np.ndarray) -> np.ndarray:
    found = np.concatenate([candidates(column, keys) for column in bands.T])
    return np.unique(found, axis=0)


def found_groups(texts: list[str], *, largest: int = 50) -> list[set[str]]:
    """Groups of two and more texts, as prepare finds them."""
    keys = np.array([key64(text) for text in texts], np.int64)
    pairs = proposed(keys, band_hashes(texts))
    by_key = dict(zip(keys.tolist(), texts, strict=True))
    found = groups(keys, pairs, similarity(pairs, by_key), largest=largest)
    members = defaultdict(set)
    for key, leader in zip(found.keys.tolist(), found.leader.tolist(), strict=True):
        members[leader].add(by_key[key])
    return [group for group in members.values() if len(group) > 1]


@pytest.mark.parametrize(("one", "other"), NEAR)
def test_texts_that_differ_little_are_one_group(one, other):
    assert exact(one, other) >= THRESHOLD
    assert found_groups([one, "书很好看", other, PHONE[:20]]) == [{one, other}]


@pytest.mark.parametrize(("one", "other"), FAR)
def test_texts_that_differ_much_are_not(one, other):
    assert exact(one, other) < THRESHOLD
    assert found_groups([one, other]) == []


def test_reviews_of_their_own_are_each_alone(reviews):
    assert found_groups([text for text, _ in reviews]) == []


def test_a_chain_of_small_changes_is_one_group():
    chain = [HOTEL]
    for place in (3, 16, 30, 40):
        chain.append(chain[-1][:place] + "啊" + chain[-1][place + 1 :])
    assert exact(chain[0], chain[-1]) < THRESHOLD
    assert found_groups(chain) == [set(chain)]


def test_nearly_all_near_reviews_are_found_and_no_others():
    with REVIEWS.open(encoding="utf-8") as file:
        texts = sorted({normalize(row["text"]) for row in csv.DictReader(file)})[::2]
    texts += [text.replace("了", "啦") for text in texts[::10] if "了" in text]
    near = exactly_near(texts)
    edges = {frozenset((texts[one], texts[other])) for one, other in near}
    together = {frozenset(pair) for group in found_groups(texts) for pair in combinations(group, 2)}
    assert len(edges) > 100
    assert len(edges & together) >= 0.99 * len(edges)
    reached = {text for edge in edges for text in edge}
    assert all(pair <= reached for pair in together)


def exactly_near(texts: list[str]) -> list[tuple[int, int]]:
    """All pairs of positions whose shingles are near, by an inverted index."""
    column: dict[str, int] = {}
    rows = [[column.setdefault(s, len(column)) for s in sorted(shingles(t))] for t in texts]
    offsets = np.cumsum([0] + [len(row) for row in rows])
    flat = np.concatenate(rows)
    table = csr_array((np.ones(len(flat)), flat, offsets), shape=(len(texts), len(column)))
    shared = (table @ table.T).tocoo()
    sizes = np.diff(offsets)
    one, other = shared.coords
    near = shared.data / (sizes[one] + sizes[other] - shared.data) >= THRESHOLD
    return [(a, b) for a, b in zip(one[near].tolist(), other[near].tolist(), strict=True) if a < b]


def test_the_hashes_are_the_same_on_every_machine():
    first = band_hashes(["手机电池不耐用", "好"])[:, 0]
    assert first.tolist() == [2614935958499644851, 15895022861462132014]


@given(some_texts)
def test_a_texts_hashes_depend_on_it_alone(texts):
    bands = band_hashes(texts)
    assert bands.shape == (len(texts), BANDS) and bands.dtype == np.uint64
    for text, row in zip(texts, bands, strict=True):
        assert np.array_equal(row, band_hashes([text])[0])
    names = {text: row.tobytes() for text, row in zip(texts, bands, strict=True)}
    short = {text: name for text, name in names.items() if len(text) <= SHINGLE}
    assert len(set(short.values())) == len(short)


def test_long_and_short_texts_in_one_batch_keep_their_hashes():
    texts = [PHONE * 2_000, "", "好", HOTEL] + [f"{HOTEL}{i}" for i in range(2_000)] + [PHONE * 900]
    bands = band_hashes(texts)
    for row in (0, 1, 2, 3, 4, 1_000, -1):
        assert np.array_equal(bands[row], band_hashes([texts[row]])[0])


def test_texts_agree_in_a_band_as_often_as_the_formula_says():
    characters = np.random.default_rng(0).integers(0x4E00, 0x9FA5, (4_000, 40))
    texts = ["".join(map(chr, row)) for row in characters]
    half = [text[:28] + other[28:] for text, other in zip(texts, texts[1:], strict=False)]
    share = np.mean(band_hashes(texts[:-1]) == band_hashes(half))
    jaccard = exact(texts[0], half[0])
    assert share == pytest.approx(jaccard**5, rel=0.1)


def test_windows_are_the_same_wherever_they_stand():
    inside, alone = window_hashes("手机电池不耐用", 4), window_hashes("电池不耐", 4)
    assert len(inside) == 4 and len(set(inside.tolist())) == 4
    assert inside[2] == alone[0]
    counts = [len(window_hashes(text, 4)) for text in ("", "好", "手机电", "手机电池")]
    assert counts == [0, 0, 0, 1]


@given(some_texts)
def test_similarity_is_that_of_the_sets(texts):
    by_key = dict(enumerate(texts))
    pairs = np.array(list(combinations(by_key, 2)), np.int64).reshape(-1, 2)
    expected = [exact(texts[one], texts[other]) for one, other in pairs.tolist()]
    assert np.array_equal(similarity(pairs, by_key), np.array(expected, np.float32))


def test_similarity_of_long_texts_and_of_many():
    by_key = {-5: PHONE * 2_000, 2: PHONE * 2_000 + HOTEL, 7: HOTEL, 9: PHONE}
    pairs = np.array([(2, -5), (7, 2), (9, -5), (9, 7)] * 3)
    expected = [exact(by_key[one], by_key[other]) for one, other in pairs.tolist()]
    assert np.array_equal(similarity(pairs, by_key), np.array(expected, np.float32))


def test_exactly_the_threshold_is_near():
    one, other = "手机很好用,推荐", "手机很好用,推"
    jaccard = similarity(np.array([(1, 0)]), {0: one, 1: other})
    assert jaccard.tolist() == [np.float32(4 / 5)]
    for value, leader in ((jaccard, 0), (np.nextafter(jaccard, np.float32(0)), 1)):
        found = groups(np.arange(2), np.array([(1, 0)]), value, largest=50)
        assert found.leader.tolist() == [0, leader]


@given(st.lists(st.tuples(st.integers(-30, 30), st.integers(0, 4)), max_size=60), st.randoms())
def test_candidates_are_the_smallest_of_a_bucket_and_the_neighbours(rows, random):
    bucket_of = dict(rows)
    rows = [(key, bucket_of[key]) for key, _ in rows]
    expected = set()
    for bucket in set(bucket_of.values()):
        members = sorted(key for key in bucket_of if bucket_of[key] == bucket)
        for place, key in enumerate(members):
            before = members[:place]
            expected |= {(key, other) for other in before[:1] + before[-NEIGHBOURS:]}
    random.shuffle(rows)
    keys, bands = np.array(rows, np.int64).reshape(-1, 2).T
    found = candidates(bands.astype(np.uint64), keys)
    assert found.shape == (len(expected), 2)
    assert set(map(tuple, found.tolist())) == expected


def test_a_crowded_bucket_gives_few_pairs():
    found = candidates(np.zeros(10_000, np.uint64), np.arange(10_000))
    assert len(found) < (1 + NEIGHBOURS) * 10_000


@given(some_keys, st.data())
def test_groups_are_what_pairs_connect(keys, data):
    links, found = linked(keys, data)
    parent = {key: {key} for key in keys}
    for one, other in links:
        joined = parent[one] | parent[other]
        parent |= dict.fromkeys(joined, joined)
    assert found.keys.tolist() == sorted(set(keys))
    assert found.leader.tolist() == [min(parent[key]) for key in found.keys.tolist()]
    assert len(found.split) == 0


@given(some_keys, some_keys, st.data())
def test_groups_of_disjoint_texts_do_not_interact(one, other, data):
    above = [key + 100 for key in other]
    (low, first), (high, second) = linked(one, data), linked(above, data)
    both = join_pairs(above + one, high + low)
    assert both.keys.tolist() == first.keys.tolist() + second.keys.tolist()
    assert both.leader.tolist() == first.leader.tolist() + second.leader.tolist()


def linked(keys: list[int], data: st.DataObject) -> tuple[list[tuple[int, int]], Groups]:
    pair = st.tuples(st.sampled_from(keys), st.sampled_from(keys)) if keys else st.nothing()
    links = data.draw(st.lists(pair, max_size=20) if keys else st.just([]))
    return links, join_pairs(keys, links)


def join_pairs(keys: list[int], links: list[tuple[int, int]]) -> Groups:
    pairs = np.array(links, np.int64).reshape(-1, 2)
    near = np.ones(len(links), np.float32)
    return groups(np.array(keys, np.int64), pairs, near, largest=10**6)


def test_a_group_that_is_too_large_is_divided_and_others_stay():
    pairs = np.array([(2, 1), (3, 2), (4, 3), (5, 4), (8, 7), (9, 8)])
    jaccard = np.array([0.95, 0.85, 0.9, 0.82, 0.85, 0.85], np.float32)
    found = groups(np.arange(10), pairs, jaccard, largest=4)
    assert found.leader.tolist() == [0, 1, 1, 3, 3, 5, 6, 7, 7, 7]
    assert found.split.tolist() == [1]


def test_texts_in_another_order_give_the_same_groups(reviews):
    texts = [text + end for text, _ in reviews for end in ("", "。", "!", "~,推荐")]
    shuffled = np.random.default_rng(3).permutation(texts).tolist()
    one, other = found_groups(texts), found_groups(shuffled + texts[:9])
    assert one and one == other


def test_no_texts_give_no_groups():
    assert band_hashes([]).shape == (0, BANDS)
    pairs = candidates(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    assert pairs.shape == (0, 2)
    assert similarity(pairs, {}).shape == (0,)
    found = groups(np.zeros(0, np.int64), pairs, similarity(pairs, {}), largest=50)
    assert (len(found.keys), len(found.leader), len(found.split)) == (0, 0, 0)
