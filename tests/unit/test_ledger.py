"""The ledger of a search: whatever moment it was cut off at, what it says is what had happened."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.errors import ModelError
from bigmodel.storage import folder
from bigmodel.tuning.ledger import Ledger
from bigmodel.tuning.trials import Trial, best_of

VALUES = {"model.mlp.hidden_sizes": [64], "text.stop_words": "停用词.txt"}


def epoch(number: int, score: float) -> dict[str, float]:
    return {"epoch": float(number), "score": score}


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    ledger = Ledger(folder(tmp_path))
    ledger.begin(0, {})
    ledger.begin(1, VALUES)
    ledger.report(1, epoch(1, 0.5))
    ledger.report(0, epoch(1, 0.4))
    ledger.report(1, epoch(2, 0.6))
    ledger.end(1, "ended")
    ledger.end(0, "failed", "内存不足")
    read = Ledger(folder(tmp_path)).trials
    assert read == ledger.trials
    assert read == [
        Trial(0, {}, (epoch(1, 0.4),), "failed", "内存不足"),
        Trial(1, VALUES, (epoch(1, 0.5), epoch(2, 0.6)), "ended"),
    ]
    assert best_of(read) == read[1] and read[0].score is None


def test_a_trial_that_begins_again_forgets_what_it_had_said(tmp_path: Path) -> None:
    ledger = Ledger(folder(tmp_path))
    ledger.begin(0, VALUES)
    ledger.report(0, epoch(1, 0.9))
    again = Ledger(folder(tmp_path))
    again.begin(0, VALUES)
    assert again.trials == [Trial(0, VALUES)]
    again.report(0, epoch(1, 0.3))
    again.end(0, "ended")
    assert [trial.score for trial in Ledger(folder(tmp_path)).trials] == [0.3]


def test_a_damaged_event_is_named(tmp_path: Path) -> None:
    ledger = Ledger(folder(tmp_path))
    ledger.begin(0, VALUES)
    ledger.end(0, "ended")
    (tmp_path / "events" / "000000.json").write_text("{")
    with pytest.raises(ModelError, match=r"000000\.json.*search anew"):
        Ledger(folder(tmp_path))


@pytest.mark.parametrize("text", ["[]", "{}", '{"event": "end", "trial": 7, "at": 0}', "1", "坏"])
def test_what_is_no_event_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "000000.json").write_text(text)
    with pytest.raises(ModelError, match=r"000000\.json"):
        Ledger(folder(tmp_path))


def test_the_time_of_everything_is_kept(tmp_path: Path) -> None:
    ledger = Ledger(folder(tmp_path))
    ledger.begin(0, VALUES)
    ledger.report(0, epoch(1, 0.5))
    ledger.end(0, "ended")
    (trial,) = Ledger(folder(tmp_path)).trials
    assert trial.times == ledger.trials[0].times and sorted(trial.times) == list(trial.times)
    assert len(trial.times) == 3 and trial.seconds == trial.times[2] - trial.times[0]


def test_an_end_without_a_beginning_is_damage(tmp_path: Path) -> None:
    ledger = Ledger(folder(tmp_path))
    ledger.begin(0, VALUES)
    ledger.end(0, "ended")
    (tmp_path / "events" / "000000.json").unlink()
    with pytest.raises(ModelError, match=r"000001\.json"):
        Ledger(folder(tmp_path))


scores = st.one_of(st.none(), st.floats(0, 1))


@given(st.lists(scores))
def test_the_best_trial_has_the_highest_score_and_is_the_first_of_equal_ones(
    found: list[float | None],
) -> None:
    trials = [
        Trial(n, {}, () if score is None else (epoch(1, score),), "ended")
        for n, score in enumerate(found)
    ]
    best = best_of(trials)
    known = [score for score in found if score is not None]
    assert (best is None) == (not known)
    if best:
        assert best.score == max(known) and best.number == found.index(max(known))
