"""What people see of a search while it goes on."""

import pytest

from bigmodel.tuning.shown import HEADER, left_s, note, rows, sentence
from bigmodel.tuning.trials import Trial


def trial(number: int, scores: list[float], end: str = "", began: float = 0.0) -> Trial:
    """An epoch takes 10 s."""
    epochs = tuple({"epoch": n + 1.0, "score": score} for n, score in enumerate(scores))
    times = tuple(began + 10 * n for n in range(len(scores) + 1))
    values = {"model.mlp.hidden_sizes": [64]} if number else {}
    reason = "内存不足" if end == "failed" else ""
    return Trial(number, values, epochs, end, reason, times)


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (trial(0, [0.5, 0.6], "ended"), "trial 0 (the recipe as it is): 0.6000, 2 epochs"),
        (trial(3, [0.5], "stopped"), "trial 3 (hidden_sizes [64]): 0.5000, stopped after 1 epoch"),
        (trial(2, [0.5], "failed"), "trial 2 (hidden_sizes [64]): failed, 内存不足"),
    ],
)
def test_what_became_of_a_trial(one, said):
    assert sentence(one) == said


def test_the_best_stand_first_and_what_is_under_way_below():
    ended = [trial(n, [score], "ended") for n, score in enumerate((0.5, 0.8, 0.6, 0.7))]
    shown = rows([*ended, trial(4, [0.9, 0.9])])
    assert shown[0] == HEADER and [row[0] for row in shown[1:]] == ["1", "3", "2", "4"]
    assert shown[-1] == ("4", "hidden_sizes [64]", "2", "0.9000", "running")
    assert note([*ended, trial(4, [0.9])]) == "best 0.8000 of trial 1; trial 4 in epoch 2"


@pytest.mark.parametrize(
    ("trials", "now", "left"),
    [
        ([trial(0, [])], 5.0, None),
        ([trial(0, [0.5, 0.6])], 20.0, 4 * 50.0 - 20.0),  # 5 epochs of 10 s each are planned
        ([trial(0, [0.5] * 3, "ended"), trial(1, [0.5], began=30.0)], 40.0, 2 * 30.0 + 20.0),
        ([trial(n, [0.5], "stopped") for n in range(4)], 40.0, 0.0),
    ],
)
def test_the_time_that_is_left(trials, now, left):
    assert left_s(trials, most=4, most_epochs=5, at_a_time=1, now=now) == left


def test_two_at_a_time_take_half_the_time():
    ended = [trial(n, [0.5], "ended") for n in range(2)]
    assert left_s(ended, most=6, most_epochs=5, at_a_time=2, now=0.0) == 2 * 10.0
