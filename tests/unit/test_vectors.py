"""Word vectors: words in the same company are near each other."""

import numpy as np
import pytest

from bigmodel.text.features import Encoded
from bigmodel.training.vectors import _pairs, ppmi_vectors


def encoded(*texts: list[int]) -> Encoded:
    offsets = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    ids = np.array([i for text in texts for i in text], np.int32)
    return Encoded(ids, None, offsets, np.zeros(len(texts), np.bool_))


def test_pairs_count_by_nearness_within_a_text_and_not_the_unknown():
    counts = _pairs(encoded([2, 3, 1, 4], [4], [], [2, 3]), 5).toarray()
    expected = np.zeros((5, 5))
    expected[2, 3], expected[2, 4], expected[3, 4] = 2.0, 1 / 3, 1 / 2
    assert np.allclose(counts, expected)


def test_words_in_the_same_company_are_near():
    generator = np.random.default_rng(0)
    fruit, phone = [2, 3, 4, 5, 6], [7, 8, 9, 10, 11]  # 苹果 … and 电池 …
    texts = [list(generator.permutation(kind)) for kind in (fruit, phone) for _ in range(30)]
    vectors = ppmi_vectors([encoded(*texts)], num_ids=13, size=2, seed=0)
    assert vectors.shape == (13, 2) and vectors.dtype == np.float32
    assert not vectors[[0, 1, 12]].any()
    unit = vectors[2:12] / np.linalg.norm(vectors[2:12], axis=1, keepdims=True)
    near = unit @ unit.T
    assert near[:5, :5].min() > 0.9 > 0.5 > near[:5, 5:].max()
    assert np.sqrt(np.mean(vectors[2:12] ** 2)) == pytest.approx(0.3, rel=1e-3)


def test_counts_of_parts_add_up():
    generator = np.random.default_rng(1)
    texts = [list(generator.integers(1, 30, generator.integers(0, 12))) for _ in range(40)]
    whole = ppmi_vectors([encoded(*texts)], num_ids=30, size=5, seed=0)
    parts = [encoded(*texts[:7]), encoded(*texts[7:])]
    assert np.allclose(
        np.abs(ppmi_vectors(parts, num_ids=30, size=5, seed=0)), np.abs(whole), atol=1e-3
    )


@pytest.mark.parametrize("texts", [[], [[]], [[2], [3]]])
def test_without_pairs_there_is_nothing_to_know(texts):
    assert not ppmi_vectors([encoded(*texts)], num_ids=6, size=9, seed=0).any()
