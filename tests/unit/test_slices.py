"""Scores of parts of the rows, and gaps between groups of them."""

import json

import numpy as np
import pytest
from answered import made_up, of_predictions

from bigmodel.config import PatternSlice
from bigmodel.evaluation.answers import Answers
from bigmodel.evaluation.scores import interval_of
from bigmodel.evaluation.slices import FEWEST, MOST_UNSCORED, gaps, parts, slices


def sliced(answers, texts=None, *, columns=None, patterns=(), unknown=()):
    return slices(
        answers,
        texts or ["很好"] * len(answers),
        columns=columns or {},
        patterns=patterns,
        unknown=unknown,
        seed=3,
    )


def values_of(found, by):
    return [one["value"] for one in found if one["by"] == by]


@pytest.mark.parametrize(
    ("length", "named"),
    [
        (0, "1–10"), (10, "1–10"), (11, "11–20"), (20, "11–20"), (50, "21–50"), (51, "51–100"),
        (200, "101–200"), (201, "201+"), (9_999, "201+"),
    ],
)  # fmt: skip
def test_a_text_is_in_the_slice_of_its_length(length, named):
    found = parts(["好" * length], columns={}, patterns=(), unknown=())
    assert list(found["length"]) == [named]


@pytest.mark.parametrize(
    ("share", "named"),
    [
        (0.0, "0 %"),
        (0.01, "0–5 %"),
        (0.05, "0–5 %"),
        (0.1, "5–10 %"),
        (0.2, "10–20 %"),
        (1, "20 %+"),
    ],
)
def test_a_text_is_in_the_slice_of_its_unknown_words(share, named):
    found = parts(["好"], columns={}, patterns=(), unknown=[share])
    assert list(found["unknown words"]) == [named]


def test_a_slice_has_the_scores_of_its_rows_and_the_worst_comes_first():
    answers = made_up(300, 3)
    city = ["上海" if row % 3 else "北京" for row in range(300)]
    found = sliced(answers, columns={"city": city})
    for one in found:
        if one["by"] == "city":
            rows = np.array([value == one["value"] for value in city])
            assert one == {"by": "city", "value": one["value"]} | interval_of(
                answers.take(rows), seed=3
            )
    accuracies = [one["accuracy"] for one in found]
    assert accuracies == sorted(accuracies) and len(found) == 3  # the third: all are short
    assert json.loads(json.dumps(found)) == found


def test_the_slice_where_a_model_guesses_is_found():
    truth = np.arange(400) % 2
    guessed = np.arange(400) // 2 % 2
    source = ["微博" if row < 60 else "京东" for row in range(400)]
    predicted = np.where(np.arange(400) < 60, guessed, truth)
    worst, *others = sliced(of_predictions(truth, predicted, 2), columns={"source": source})
    assert (worst["value"], worst["rows"], worst["accuracy"]) == ("微博", 60, 0.5)
    assert worst["interval"]["accuracy"][1] < min(
        one["interval"]["accuracy"][0] for one in others if one["by"] == "source"
    )


def test_rows_without_a_value_are_in_no_slice_and_patterns_are_searched_in_the_text():
    texts = ["物流太慢，退货", "很好"] * 30
    column = ["京东", None] * 30
    returns = PatternSlice(name="退货", pattern="退(货|款)")
    found = sliced(
        made_up(60, 2), texts, columns={"shop": column}, patterns=[returns], unknown=[0.3] * 60
    )
    assert {one["by"] for one in found} == {"length", "shop", "pattern", "unknown words"}
    assert values_of(found, "shop") == ["京东"] and values_of(found, "pattern") == ["退货"]
    assert {one["rows"] for one in found if one["by"] in ("shop", "pattern")} == {30}


def test_slices_of_few_rows_are_named_without_scores_the_largest_first():
    users = [f"用户{number:02}" for number in range(19) for _ in range(number + 1)]
    users += ["京东"] * FEWEST
    found = sliced(made_up(len(users), 2), columns={"user": users})
    scored, few = found[:-MOST_UNSCORED], found[-MOST_UNSCORED:]
    assert all("accuracy" in one for one in scored) and values_of(scored, "user") == ["京东"]
    assert few[0] == {"by": "user", "value": "用户18", "rows": 19}
    assert [one["rows"] for one in few] == list(range(19, 19 - MOST_UNSCORED, -1))


def test_a_pattern_that_no_text_fits_says_so():
    none = PatternSlice(name="英文", pattern="[a-z]{9}")
    found = sliced(made_up(30, 2), patterns=[none])
    assert found[-1] == {"by": "pattern", "value": "英文", "rows": 0}


def treated(rows: int, recall: dict[str, float], seed: int) -> tuple[Answers, list[str]]:
    """Rows of each value, half of each class; those of the class 财经 are found so often."""
    generator = np.random.default_rng(seed)
    values = [value for value in recall for _ in range(rows)]
    truth = np.tile([0, 1], len(values) // 2)
    found = generator.random(len(values)) < np.array([recall[value] for value in values])
    return of_predictions(truth, np.where(found, truth, 0), 2), values


def test_a_gap_between_groups_is_shown_with_its_rates():
    answers, gender = treated(600, {"女": 0.6, "男": 0.9}, seed=0)
    first = gaps(answers, columns={"gender": gender}, seed=0)[0]
    women, men = (np.array([value == one for value in gender]) for one in ("女", "男"))
    of_class, right = answers.truth == 1, answers.predicted == answers.truth
    assert (first["by"], first["label"]) == ("gender", "财经")
    assert first["recall"] == {
        "女": pytest.approx(right[women & of_class].mean()),
        "男": pytest.approx(right[men & of_class].mean()),
    }
    assert first["selection_rate"]["女"] == pytest.approx((answers.predicted[women] == 1).mean())
    assert first["gap"]["recall"] == pytest.approx(first["recall"]["男"] - first["recall"]["女"])
    low, high = first["interval"]["recall"]
    assert 0 < low < first["gap"]["recall"] < high < 1


def test_the_interval_of_a_gap_holds_the_true_one():
    held = 0
    for seed in range(300):
        answers, group = treated(100, {"A": 0.75, "B": 0.95}, seed)
        *_, found = sorted(gaps(answers, columns={"g": group}, seed=seed), key=lambda g: g["label"])
        low, high = found["interval"]["recall"]
        held += low <= 0.2 <= high
    assert 0.91 <= held / 300 <= 0.99  # 95 %, and what chance may do to 300 draws


def test_copies_of_the_same_rows_make_no_gap_surer():
    answers, group = treated(100, {"A": 0.7, "B": 0.9}, seed=1)
    many = np.repeat(np.arange(len(answers)), 4)
    copies, of_each = answers.take(many), [group[row] for row in many]
    (once, four) = (
        gaps(some, columns={"g": named}, seed=0)[0]["interval"]["recall"]
        for some, named in ((answers, group), (copies, of_each))
    )
    assert four == pytest.approx(once, abs=0.03)


def test_groups_of_few_rows_have_no_part_in_a_gap():
    answers = made_up(100, 2)
    large = ["北京"] * 50 + ["上海"] * 40
    (one, _) = gaps(answers, columns={"city": [*large, *["拉萨"] * 10]}, seed=0)
    assert set(one["selection_rate"]) == {"北京", "上海"}
    assert gaps(answers, columns={"city": ["北京"] * 90 + [None] * 10}, seed=0) == []


def test_a_label_that_is_rare_in_all_groups_but_one_has_no_gap_of_recall():
    truth = np.array([1] * 40 + [0] * 60)
    answers = of_predictions(truth, truth, 2)
    found = gaps(answers, columns={"city": ["北京"] * 45 + ["上海"] * 55}, seed=0)
    (rare,) = (one for one in found if one["label"] == "财经")
    assert rare["recall"] == {"北京": 1.0}
    assert rare["gap"]["recall"] is rare["interval"]["recall"] is None
    assert rare["gap"]["selection_rate"] == pytest.approx(40 / 45)
    assert json.loads(json.dumps(found)) == found
