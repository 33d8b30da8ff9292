"""Made-up answers, for the tests of what is made of answers."""

import numpy as np
from hypothesis import strategies as st

from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.counts import Counts, accuracy, macro_f1
from bigmodel.evaluation.scores import interval_of

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


def of_predictions(
    truth: np.ndarray, predicted: np.ndarray, num_labels: int, *, unit: np.ndarray | None = None
) -> Answers:
    """Answers given with full confidence; without `unit` every row is one."""
    certain = np.eye(num_labels)[predicted]
    unit = np.arange(len(truth)) if unit is None else unit
    return Answers(NAMES[:num_labels], truth, certain, unit)


def two_models(
    num_rows: int, num_labels: int, *, chances: list[float], generator: np.random.Generator
) -> tuple[Answers, Answers]:
    """Two models that are right, with these chances, both, only one, only the other, neither."""
    truth = generator.integers(num_labels, size=num_rows)
    wrong = (truth + generator.integers(1, num_labels, size=num_rows)) % num_labels
    outcome = generator.choice(4, num_rows, p=chances)
    one, other = (
        of_predictions(truth, np.where(np.isin(outcome, right), truth, wrong), num_labels)
        for right in ([0, 1], [0, 2])
    )
    return one, other


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


def coverage(
    num_labels: int, num_rows: int, *, skill: tuple[float, float], trials: int, most_alike: int
) -> np.ndarray:
    """How often the intervals of accuracy and macro-F1 hold the population's.

    Each trial has its own chances of answers to each class and draws `num_rows` rows in units of
    one to `most_alike` rows with the same truth and answer.
    """
    generator = np.random.default_rng(0)
    hits = np.zeros(2)
    for trial in range(trials):
        right = generator.uniform(*skill, size=num_labels)
        wrong = (1 - np.eye(num_labels)) * generator.exponential(size=(num_labels, num_labels))
        wrong /= wrong.sum(1, keepdims=True)
        chances = (np.diag(right) + (1 - right[:, None]) * wrong) / num_labels
        true = Counts(np.diag(chances), chances.sum(0), chances.sum(1))
        alike = generator.integers(1, most_alike + 1, size=num_rows)
        unit = np.repeat(np.arange(num_rows), alike)[:num_rows]
        cells = generator.choice(num_labels**2, size=unit.max() + 1, p=chances.ravel())[unit]
        answers = of_predictions(cells // num_labels, cells % num_labels, num_labels, unit=unit)
        interval = interval_of(answers, seed=trial)["interval"]
        for place, score in enumerate((accuracy, macro_f1)):
            low, high = interval[score.__name__]
            hits[place] += low <= float(score(true)) <= high
    return hits / trials
