"""What a model must beat: the largest class, and a model of seconds."""

import numpy as np
import pytest
from answered import of_predictions

from bigmodel.evaluation import baselines as module
from bigmodel.evaluation.baselines import baselines

ABOUT = {
    0: "球队 比赛 进球 教练 联赛 冠军 球员 主场".split(),
    1: "股市 基金 银行 利率 央行 投资 汇率 债券".split(),
}


def headlines(num_rows, *, share, seed):
    """Texts of two subjects, `share` of them of the first, with their class ids."""
    generator = np.random.default_rng(seed)
    truth = (generator.random(num_rows) >= share).astype(np.int64)
    texts = ["".join(generator.choice(ABOUT[k], 3)) for k in truth.tolist()]
    return texts, truth


@pytest.fixture(scope="module")
def found():
    texts, truth = headlines(200, share=0.7, seed=0)
    test_texts, test_truth = headlines(80, share=0.6, seed=1)
    answers = of_predictions(test_truth, 1 - test_truth, 2)
    return baselines(texts, truth, answers, test_texts, seed=0), test_truth


def test_the_majority_is_that_of_the_training_rows(found):
    scores, truth = found
    share = (truth == 0).mean()
    assert scores["majority"]["accuracy"] == pytest.approx(share)
    assert scores["majority"]["macro_f1"] == pytest.approx(share / (1 + share))
    assert scores["majority"]["rows"] == 80


def test_the_quick_model_reads_the_texts(found):
    scores, _ = found
    assert scores["quick linear"]["accuracy"] > 0.95
    low, high = scores["quick linear"]["interval"]["accuracy"]
    assert scores["majority"]["interval"]["accuracy"][1] < low < high <= 1


def test_the_same_seed_gives_the_same():
    texts, truth = headlines(60, share=0.5, seed=0)
    answers = of_predictions(truth, truth, 2)
    assert baselines(texts, truth, answers, texts, seed=1) == baselines(
        texts, truth, answers, texts, seed=1
    )


def test_a_single_class_to_learn_leaves_the_majority():
    texts, truth = headlines(20, share=0.5, seed=0)
    answers = of_predictions(truth, truth, 2)
    assert list(baselines(["很好"], np.array([1]), answers, texts, seed=0)) == ["majority"]


def test_of_many_rows_it_learns_a_sample(monkeypatch):
    monkeypatch.setattr(module, "MOST_LEARNT", 100)
    texts, truth = headlines(1000, share=0.5, seed=0)
    answers = of_predictions(truth, truth, 2)
    found = baselines(texts, truth, answers, texts, seed=0)
    assert found["quick linear"]["accuracy"] > 0.9
