"""What a run was started with, which ones can go on, and with which changes."""

import fcntl
import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_training import recipe_of

from bigmodel import progress
from bigmodel.config import Recipe
from bigmodel.errors import ModelError, RecipeError
from bigmodel.recipe import with_values
from bigmodel.storage import folder
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.runs import StoredRun, unfinished
from bigmodel.training.told import Told
from jobs.train import _name_unfinished


def rows(**other: str) -> Any:
    """Stands for prepared data: the ids of its rows, its splits and its encoded rows."""
    ids = {"data_id": "数据一", "split_id": "划分一", "encoded": "编码一"} | other
    place = folder(f"/storage/prepared/encoded/{ids['encoded']}")
    return SimpleNamespace(lineage=ids, encodings=SimpleNamespace(place=place))


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    return with_values(recipe_of("mlp", epochs=4), {"storage": str(tmp_path)})


def begun(recipe: Recipe, run_id: str, *, step: int = 0) -> StoredRun:
    run = StoredRun(recipe, run_id)
    run.begin(rows())
    if step:
        run.checkpoints.save(Checkpoint(step, {"w": torch.ones(2)}))
    return run


def test_a_run_goes_on_as_it_was_started(recipe):
    run = begun(recipe, "甲")
    run.check_recipe()
    run.check_rows(rows())
    assert run.as_started() == recipe


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.num_workers", [1, 4]),
        ("train.max_failures", 9),
        ("train.checkpoint_s", 0),
        ("train.learning_rate", 0.5),
        ("train.clip_norm", 1.0),
        ("evaluate.gate.margin", 0.3),
        ("serve.max_replicas", 7),
    ],
)
def test_what_changes_nothing_or_mends_a_run_may_be_changed(key, value, recipe):
    begun(recipe, "甲")
    StoredRun(with_values(recipe, {key: value}), "甲").check_recipe()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 9}, "seed = 0, and now it is 9"),
        ({"name": "other"}, "name = n, and now it is other"),
        ({"train.epochs": 5}, "train.epochs = 4, and now it is 5"),
        ({"text.hmm": True, "train.epochs": 5}, "text.hmm = false, and now it is true"),
        ({"model.kind": "bag"}, "model.kind = mlp, and now it is bag"),
        ({"model.mlp.hidden_sizes": [6, 6]}, "model.mlp.hidden_sizes = [6], and now it is [6, 6]"),
        ({"evaluate.folds": 5, "train.ema": 0.5}, "train.ema = 0.0, and now it is 0.5"),
    ],
)
def test_another_recipe_is_refused_by_the_first_key_that_differs(changes, said, recipe):
    begun(recipe, "甲")
    with pytest.raises(RecipeError) as caught:
        StoredRun(with_values(recipe, changes), "甲").check_recipe()
    way_out = "set it back, or train anew without --resume"
    assert str(caught.value) == f"--resume 甲: that run was started with {said}; {way_out}"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"data_id": "数据二", "split_id": "划分二", "encoded": "编码二"}, "other rows (data_id"),
        ({"split_id": "划分二"}, "other splits (split_id was 划分一, and now it is 划分二)"),
        ({"encoded": "编码二"}, "rows encoded otherwise (encoded rows was 编码一"),
    ],
)  # fmt: skip
def test_other_rows_are_refused(other, said, recipe):
    run = begun(recipe, "甲")
    with pytest.raises(RecipeError) as caught:
        run.check_rows(rows(**other))
    assert said in str(caught.value)


def test_runs_that_have_something_to_go_on_from_are_named_oldest_first(recipe, monkeypatch):
    assert unfinished(recipe) == []
    begun(recipe, "nothing-kept")
    begun(recipe, "b-first", step=3)
    begun(with_values(recipe, {"name": "other"}), "another-model", step=3)
    ended = begun(recipe, "c-ended")
    ended.keep_weights(Checkpoint(1, {"w": torch.zeros(2)}))
    about = ended.about() | {"started": "2999-01-01T00:00:00+00:00"}
    ended.place.write("run.json", json.dumps(about).encode())
    assert unfinished(recipe) == ["b-first", "c-ended"]
    StoredRun(recipe, "c-ended").remove()
    folder(recipe.storage).child("runs/damaged").write("run.json", b"{")
    assert unfinished(recipe) == ["b-first"]


def test_a_run_that_goes_on_right_now_is_not_named(recipe, caplog):
    for run_id in ("stopped", "living"):
        begun(recipe, run_id, step=3)
    place = folder(recipe.storage).child("mlflow/running")
    place.write("living", b"{}")
    with open(place.local / "living") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        _name_unfinished(recipe)
    assert "stopped of n was stopped before its end, and --resume stopped goes on" in caplog.text
    assert "living" not in caplog.text


@pytest.mark.parametrize("run_id", ["没有", "", "../runs/甲", "甲/checkpoints", "."])
def test_a_run_that_is_not_there_is_refused_with_those_that_are(run_id, recipe):
    begun(recipe, "甲", step=3)
    with pytest.raises(RecipeError) as caught:
        StoredRun(recipe, run_id).check_recipe()
    place = f"{recipe.storage}/runs"
    assert f"--resume {run_id}: {place} has no such run (found: 甲); " in str(caught.value)


def test_a_damaged_run_is_told(recipe):
    run = begun(recipe, "甲", step=3)
    run.place.write("run.json", b"{")
    with pytest.raises(ModelError, match="run.json is damaged; train anew without --resume"):
        run.check_recipe()


def test_a_recipe_of_a_later_release_is_told(recipe):
    run = begun(recipe, "甲", step=3)
    about = run.about()
    about["recipe"]["train"]["speed"] = 9
    run.place.write("run.json", json.dumps(about).encode())
    with pytest.raises(RecipeError, match="another release started that run"):
        run.check_recipe()


def test_damaged_weights_are_made_again_from_the_checkpoints_and_never_from_nothing(recipe, caplog):
    run = begun(recipe, "甲", step=3)
    assert run.weights() is None
    run.keep_weights(Checkpoint(1, {"w": torch.zeros(2)}))
    assert torch.equal(run.weights().tensors["w"], torch.zeros(2))
    (run.place.local / "ended" / "0000000001" / "state.json").write_bytes(b"{}")
    assert run.weights() is None
    assert "state.json is damaged" in caplog.text
    run.keep_weights(Checkpoint(1, {"w": torch.ones(2)}))
    assert torch.equal(run.weights().tensors["w"], torch.ones(2))
    run.place.child("checkpoints").remove()
    (run.place.local / "ended" / "0000000001" / "state.json").write_bytes(b"{}")
    with pytest.raises(ModelError, match="no checkpoint of this run is whole"):
        run.weights()


def test_what_a_search_had_found_is_gone_on_with_and_the_rest_is_as_given(recipe):
    found = {"model.kind": "bag", "train.learning_rate": 0.07, "train.max_failures": 1}
    begun(with_values(recipe, found | {"model.vectors": "none"}), "r1")
    now = with_values(recipe, {"train.max_failures": 9, "serve.max_replicas": 3, "tune": {}})
    gone_on = StoredRun(now, "r1").as_searched()
    assert (gone_on.model.kind, gone_on.train.learning_rate, gone_on.tune) == ("bag", 0.07, None)
    assert (gone_on.train.max_failures, gone_on.serve.max_replicas) == (9, 3)


def test_what_a_killed_run_left_that_had_nothing_yet_goes_with_the_next_one(recipe):
    begun(recipe, "r1")
    begun(recipe, "r2", step=3)
    other = begun(with_values(recipe, {"name": "other"}), "r3")
    _name_unfinished(recipe)
    assert not StoredRun(recipe, "r1").place.names()
    assert unfinished(recipe) == ["r2"] and other.place.names()


@pytest.mark.parametrize(
    ("resumed_as", "said"),
    [
        (None, ["a checkpoint is kept; if stopped, the same command with --resume r1 goes on"]),
        ("s1", ["a checkpoint is kept; if stopped, the same command with --resume s1 goes on"]),
        ("", []),  # of `ladder`, which takes no --resume
    ],
)
def test_a_training_says_what_its_command_goes_on_with(recipe, resumed_as, said):
    heard: list[str] = []
    run = StoredRun(recipe, "r1", resumed_as)
    with (
        progress.listening(lambda event: heard.append(event.said)),
        progress.stage("train", total=24) as stage,
    ):
        told = Told(stage, 2, 12, run.way_on, lambda _: None)
        told.hear({"kept": 3})
        told.hear({"kept": 6})
    assert [one for one in heard if one] == said
