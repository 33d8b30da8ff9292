"""N-grams by hash against a slow, obvious count; tables fitted in a fixed order."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfTransformer

from bigmodel.text.features import (
    UNKNOWN,
    Vocabulary,
    fit_ngrams,
    fit_vocabulary,
)
from bigmodel.text.ngrams import BUCKETS, NgramSpans
from bigmodel.text.occurrences import occurrences_of

SPANS = NgramSpans(chars=(1, 4), words=(1, 2))
CUT = [
    ["手机", "电池", "不", "耐用"],
    ["电池", "耐用", ",", "手机", "也", "好"],
    [],
    ["手", "机电", "池", "手机"],
    ["好", "好", "好"],
]
TEXTS = ["".join(row) for row in CUT]


def spelled_out(spans: NgramSpans, text: str, words: list[str]) -> Counter:
    """Every n-gram as what it is: a piece of the text, or a tuple of words."""
    found: Counter = Counter()
    for units, (shortest, longest) in ((text, spans.chars), (tuple(words), spans.words)):
        for size in range(shortest, longest + 1) if longest else ():
            found.update(units[i : i + size] for i in range(len(units) - size + 1))
    return found


def by_text(spans: NgramSpans, texts: list[str], cut: list[list[str]]) -> list[dict[int, int]]:
    held = occurrences_of(spans, texts, cut)
    tables: list[dict[int, int]] = [{} for _ in texts]
    rows = np.repeat(np.arange(len(texts)), np.diff(held.offsets))
    entries = zip(rows.tolist(), held.keys.tolist(), held.counts.tolist(), strict=True)
    for row, bucket, count in entries:
        tables[row][bucket] = count
    return tables


@pytest.mark.parametrize(
    "spans",
    [SPANS, NgramSpans((1, 1), (0, 0)), NgramSpans((0, 0), (1, 3)), NgramSpans((2, 3), (2, 2))],
)
def test_equal_pieces_share_a_bucket_and_different_ones_do_not(spans):
    tables = by_text(spans, TEXTS, CUT)
    bucket_of: dict[object, int] = {}
    for table, text, words in zip(tables, TEXTS, CUT, strict=True):
        pieces = spelled_out(spans, text, words)
        assert sorted(table.values()) == sorted(pieces.values())
        for piece in pieces:
            alone = [piece] if isinstance(piece, str) else ["".join(piece)]
            only = NgramSpans((len(piece),) * 2, (0, 0))
            if not isinstance(piece, str):
                only = NgramSpans((0, 0), (len(piece),) * 2)
            (bucket,) = by_text(only, alone, [list(piece)])[0]
            assert bucket_of.setdefault(piece, bucket) == bucket
            assert table[bucket] == pieces[piece]
    assert len(set(bucket_of.values())) == len(bucket_of)  # 64 pieces in 2**22 buckets


def test_words_lie_above_the_characters_and_their_boundaries_matter():
    one, other = by_text(NgramSpans((1, 4), (1, 2)), ["手机电池"] * 2, [CUT[0][:2], CUT[3][:3]])
    assert {b for b in one if b < BUCKETS} == {b for b in other if b < BUCKETS}
    assert not {b for b in one if b >= BUCKETS} & {b for b in other if b >= BUCKETS}
    assert max(one) < 2 * BUCKETS


def test_the_order_of_two_words_matters():
    pairs = NgramSpans((0, 0), (2, 2))
    one, other = by_text(pairs, ["", ""], [["不", "好"], ["好", "不"]])
    assert one != other


def test_a_piece_falls_into_the_same_bucket_wherever_it_stands():
    start, late = by_text(NgramSpans((3, 3), (0, 0)), ["电池好", "手机的" * 30_000 + "电池好"], [])
    assert set(start) <= set(late)


@given(st.lists(st.lists(st.text(min_size=1, max_size=3), max_size=6), max_size=5))
def test_the_counts_of_any_texts_are_the_spelled_out_ones(cut):
    texts = ["".join(row) for row in cut]
    found = [sorted(table.values()) for table in by_text(SPANS, texts, cut)]
    pieces = [spelled_out(SPANS, *pair) for pair in zip(texts, cut, strict=True)]
    assert found == [sorted(counts.values()) for counts in pieces]


def test_a_vocabulary_is_ordered_by_count_then_code_point():
    words, counts = ["好", "书", "a", "很", "差"], [3, 5, 3, 1, 2]
    found = fit_vocabulary(words, counts, min_count=2, size=3, max_tokens=4)
    assert found == Vocabulary(("书", "a", "好"), max_tokens=4)
    assert found.num_ids == 5
    shuffled = fit_vocabulary(words[::-1], counts[::-1], min_count=2, size=3, max_tokens=4)
    assert shuffled == found


def test_words_become_ids_in_order_cut_at_the_longest_length():
    table = Vocabulary(("书", "好"), max_tokens=3)
    found = table.look_up(
        occurrences_of(None, ["", "", ""], [["好", "书"], [], ["书", "很", "好", "好"]])
    )
    assert found.ids.tolist() == [3, 2, 2, UNKNOWN, 3]
    assert found.offsets.tolist() == [0, 2, 2, 5]
    assert found.truncated.tolist() == [False, False, True]
    assert found.values is None and len(found) == 3


def fitted(spans, *, min_count=1, size=0):
    held, counts = occurrences_of(spans, TEXTS, CUT).held_by(np.ones(len(TEXTS), np.bool_))
    return fit_ngrams(
        spans, held, counts, num_texts=len(TEXTS), min_count=min_count, size=size
    ), dict(zip(held.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("spans", [NgramSpans((1, 3), (0, 0)), NgramSpans((0, 0), (1, 2))])
def test_values_are_scikit_learns_sublinear_tf_idf_of_length_1(spans):
    table, _ = fitted(spans)
    tables = by_text(spans, TEXTS, CUT)
    columns = sorted({bucket for one in tables for bucket in one})
    counts = np.array([[one.get(bucket, 0) for bucket in columns] for one in tables])
    expected = TfidfTransformer(sublinear_tf=True).fit_transform(counts).toarray()
    found = table.look_up(occurrences_of(spans, TEXTS, CUT))
    dense = np.zeros_like(expected)
    dense[np.repeat(np.arange(len(TEXTS)), np.diff(found.offsets)), found.ids - 1] = found.values
    assert np.allclose(dense, expected, atol=1e-6)


def test_characters_and_words_are_each_of_length_1():
    table, _ = fitted(SPANS)
    found = table.look_up(occurrences_of(SPANS, TEXTS, CUT))
    is_word = table.buckets[found.ids - 1] >= BUCKETS
    for start, end in zip(found.offsets[:-1], found.offsets[1:], strict=True):
        for block in (is_word[start:end], ~is_word[start:end]):
            length = np.linalg.norm(found.values[start:end][block])
            assert length == pytest.approx(1.0 if block.any() else 0.0)


def test_rare_ngrams_are_dropped_and_the_most_frequent_kept():
    full, counts = fitted(SPANS)
    often, _ = fitted(SPANS, min_count=2)
    few, _ = fitted(SPANS, size=5)
    assert set(often.buckets.tolist()) == {b for b, count in counts.items() if count >= 2}
    best = sorted(counts, key=lambda bucket: (-counts[bucket], bucket))[:5]
    assert few.buckets.tolist() == sorted(best)
    assert full.num_ids == len(counts) + 1 and few.num_ids == 6
    assert full != few and few == fitted(SPANS, size=5)[0]


def test_unknown_ngrams_have_no_id_and_a_table_may_be_empty():
    table, _ = fitted(SPANS)
    assert len(table.look_up(occurrences_of(SPANS, ["天气"], [["天气"]])).ids) == 0
    none, _ = fitted(SPANS, min_count=99)
    found = none.look_up(occurrences_of(SPANS, TEXTS, CUT))
    assert none.num_ids == 1 and len(found.ids) == 0
    assert found.offsets.tolist() == [0] * (len(TEXTS) + 1)


@given(
    st.lists(st.lists(st.sampled_from("好书很差的 手机".split() + ["a"]), max_size=9), max_size=40)
)
def test_held_by_counts_each_of_the_chosen_texts_once(tokens):
    chosen = np.arange(len(tokens)) % 3 != 1
    keys, counts = occurrences_of(None, [""] * len(tokens), tokens).held_by(chosen)
    held = [set(row) for row, is_chosen in zip(tokens, chosen, strict=True) if is_chosen]
    expected = {word: sum(word in row for row in held) for word in set().union(*held)}
    assert dict(zip(keys, counts.tolist(), strict=True)) == expected


@given(st.lists(st.text("好书很差ab ", max_size=12), max_size=30), st.integers(1, 7))
def test_slices_hold_what_their_texts_hold_alone(texts, size):
    whole = occurrences_of(SPANS, texts, [text.split() for text in texts])
    for number, part in enumerate(whole.slices(size)):
        some = texts[number * size : (number + 1) * size]
        alone = occurrences_of(SPANS, some, [text.split() for text in some])
        assert part.keys.tolist() == alone.keys.tolist()
        assert part.counts.tolist() == alone.counts.tolist()
        assert part.offsets.tolist() == alone.offsets.tolist()


@given(st.lists(st.text("好书很差ab ", max_size=12), max_size=30))
def test_words_and_the_ngrams_beside_them_are_what_each_is_alone(texts):
    tokens = [text.split() for text in texts]
    both = occurrences_of(None, texts, tokens, beside=SPANS)
    words, ngrams = occurrences_of(None, texts, tokens), occurrences_of(SPANS, texts, tokens)
    assert words.ngrams is None and ngrams.ngrams is None
    for found, expected in ((both, words), (both.ngrams, ngrams)):
        assert found.keys.tolist() == expected.keys.tolist()
        assert found.offsets.tolist() == expected.offsets.tolist()
        assert len(found) == len(texts) and found.words == expected.words
    assert both.ngrams.counts.tolist() == ngrams.counts.tolist()
