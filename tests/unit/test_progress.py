"""Progress: told by stages, heard by who listens, written for people."""

import pytest

from bigmodel import progress
from bigmodel.progress import Event
from jobs.terminal import PlainLines, describe


def test_a_stage_tells_how_it_stands_and_keeps_what_is_not_updated():
    heard: list[Event] = []
    with progress.listening(heard.append), progress.stage("train", total=80) as stage:
        stage.update(done=20, note="epoch 1 of 4")
        stage.update(done=40)
    assert heard == [
        Event("train", total=80),
        Event("train", total=80, done=20, note="epoch 1 of 4"),
        Event("train", total=80, done=40, note="epoch 1 of 4"),
        Event("train", total=80, done=40, note="epoch 1 of 4", ended=True),
    ]


def test_nobody_hears_what_comes_after_listening_or_of_an_end_that_never_was():
    heard: list[Event] = []
    with pytest.raises(ValueError), progress.listening(heard.append), progress.stage("train"):
        raise ValueError
    with progress.stage("evaluate"):
        pass
    assert heard == [Event("train")]


@pytest.mark.parametrize(
    ("event", "seconds", "said"),
    [
        (Event("train"), 0.0, ""),
        (Event("train", note="fit the encoder"), 3.0, "fit the encoder"),
        (
            Event("train", done=24_000, total=80_000, note="epoch 1 of 3"),
            2.0,
            "epoch 1 of 3, 24,000 of 80,000 rows, 12,000 rows/s, 5 s left",
        ),
        (Event("tune", unit="trials", done=2, total=8), 20.0, "2 of 8 trials, 60 s left"),
        (Event("train", done=500, ended=True), 2.0, "500 rows, 250 rows/s, 2.0 s"),
    ],
)
def test_what_people_read(event, seconds, said):
    assert describe(event, seconds) == said


def test_plain_lines_come_at_the_beginning_now_and_then_and_at_the_end(capsys):
    lines = PlainLines()
    for done in range(1000):
        lines(Event("train", done=done, total=1000, note="epoch 1 of 1"))
    lines(Event("train", done=1000, total=1000, ended=True))
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("train: epoch 1 of 1, 0 of 1,000 rows")
    assert last.startswith("train: 1,000 of 1,000 rows")
