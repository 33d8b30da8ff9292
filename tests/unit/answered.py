"""Made-up answers, for the tests of what is made of answers."""

import numpy as np
from hypothesis import strategies as st

from bigmodel.evaluation.answers import Answers

NAMES = tuple("体育 财经 房产 家居 教育 科技 时尚 时政 游戏 娱乐 彩票 社会 股票 星座".split())


def made_up(
    num_rows: int, num_labels: int, *, seed: int = 0, skill: float = 1.5, units: int | None = None
) -> Answers:
    """Answers right more often the higher the `skill`; without `units` every row is one."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(num_labels, size=num_rows)
    scores = generator.normal(size=(num_rows, num_labels))
    scores[np.arange(num_rows), truth] += skill
    powers = np.exp(scores)
    unit = np.arange(num_rows) if units is None else generator.integers(units, size=num_rows)
    return Answers(NAMES[:num_labels], truth, powers / powers.sum(1, keepdims=True), unit)


def of_predictions(truth: np.ndarray, predicted: np.ndarray, num_labels: int) -> Answers:
    """Answers given with full confidence, every row its own unit."""
    certain = np.eye(num_labels)[predicted]
    return Answers(NAMES[:num_labels], truth, certain, np.arange(len(truth)))


@st.composite
def some_answers(draw: st.DrawFn) -> Answers:
    """1 to 40 rows of 2 to 5 classes, often with absent classes, ties and units of several rows."""
    num_rows, num_labels = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = generator.integers(0, 4, size=(num_rows, num_labels)) + 1e-300
    return Answers(
        NAMES[:num_labels],
        generator.integers(draw(st.integers(1, num_labels)), size=num_rows),
        weights / weights.sum(1, keepdims=True),
        generator.integers(draw(st.integers(1, 2 * num_rows)), size=num_rows),
    )
