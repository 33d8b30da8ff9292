"""The loop: the same course for any number of members, the same bytes after any stop."""

import math
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from small_training import (
    NUM_IDS,
    EveryStep,
    as_team,
    data_for,
    recipe_of,
    stored,
    training_data,
)

from bigmodel.config import Recipe, TrainConfig
from bigmodel.data.batches import pad, take
from bigmodel.errors import ModelError
from bigmodel.metrics import log_loss
from bigmodel.models import build_model
from bigmodel.recipe import with_values
from bigmodel.text.features import Encoded
from bigmodel.training import netrun
from bigmodel.training.base import fit_base
from bigmodel.training.checkpoints import Checkpoint
from bigmodel.training.fitting import fit_weights
from bigmodel.training.loop import Loop, validate
from bigmodel.training.optimizer import Optimizer, rate
from bigmodel.training.parameters import Parameters
from bigmodel.training.rows import Rows, TrainingData
from bigmodel.training.team import Team
from bigmodel.training.vectors import ppmi_vectors
from bigmodel.training.watch import Weights

NETS = ("bag", "mlp", "cnn", "rnn", "transformer", "residual-cnn")
BUSY: dict[str, Any] = {
    "dropout": 0.3, "ema": 0.9, "clip_norm": 0.5, "label_smoothing": 0.1, "weight_decay": 0.01,
    "optimizer": "adamw", "augment": {"drop": 0.2, "swap": 0.2, "mix_up": 0.4},
    "resample": "root", "accumulate": 2,
}  # fmt: skip
"""All that a step can do at once."""


def course(recipe: Recipe, team: Team) -> list[float]:
    """The loss of each step of the first two epochs, by what has been summed up."""
    watch = EveryStep()
    fit_weights(recipe, data_for(recipe), team, watch)
    sums = [kept.tensors["loop.sums"] for kept in watch.kept]
    before = [torch.zeros(2)] + sums[:-1]
    ends = [kept.about["steps_done"] == 1 for kept in watch.kept]
    before = [torch.zeros(2) if new else old for old, new in zip(before, ends, strict=True)]
    return [float((a - b)[0] / (a - b)[1]) for a, b in zip(sums, before, strict=True)]


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that are threads share one source of chance; processes don't."""
    lock, made = threading.Lock(), netrun._new_net

    def new_net(*given: Any) -> Any:
        with lock:
            return made(*given)

    monkeypatch.setattr(netrun, "_new_net", new_net)


@pytest.mark.usefixtures("one_at_a_time")
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("kind", NETS)
def test_any_number_of_members_has_the_losses_of_one_at_every_step(kind, size):
    recipe = recipe_of(kind, epochs=2, rows_per_step=16, learning_rate=0.01, early_stop=0)
    alone = course(recipe, Team())
    assert len(alone) == 12 and len(set(alone)) == 12
    for found in as_team(size, lambda team: course(recipe, team)):
        assert found == pytest.approx(alone, rel=1e-4)


@pytest.mark.parametrize("kind", NETS)
def test_a_run_that_stops_after_any_step_goes_on_to_the_same_bytes(kind):
    recipe = recipe_of(kind, epochs=3, rows_per_step=32, early_stop=0, **BUSY)
    data = data_for(recipe)
    whole = EveryStep()
    expected = fit_weights(recipe, data, Team(), whole)
    assert len(whole.kept) == 9
    for checkpoint in whole.kept[1::3]:
        found = fit_weights(recipe, data, Team(), EveryStep(checkpoint))
        assert found.state.keys() == expected.state.keys()
        for name, value in found.state.items():
            assert torch.equal(value, expected.state[name]), (name, checkpoint.step)
        losses = [[epoch.loss for epoch in run.history] for run in (found, expected)]
        assert losses[0] == losses[1]


@pytest.mark.parametrize("nb", [True, "both"])
def test_a_linear_run_goes_on_to_the_same_bytes(nb):
    settings = {"model.linear.tolerance": 1e-6, "model.linear.nb": nb}
    recipe = with_values(recipe_of("linear", epochs=6), settings)
    whole = EveryStep()
    expected = fit_weights(recipe, training_data(), Team(), whole)
    assert len(whole.kept) > 2
    for checkpoint in whole.kept:
        found = fit_weights(recipe, training_data(), Team(), EveryStep(checkpoint))
        assert all(torch.equal(value, expected.state[name]) for name, value in found.state.items())
        assert len(found.history) == len(expected.history)


@pytest.mark.parametrize("kind", NETS)
def test_a_second_run_gives_the_same_bytes_and_another_seed_does_not(kind):
    recipe = recipe_of(kind, epochs=1, rows_per_step=16, **BUSY)
    first, second, other = (
        fit_weights(one, data_for(one), Team()).state
        for one in (recipe, recipe, with_values(recipe, {"seed": 1}))
    )
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not all(torch.equal(value, other[name]) for name, value in first.items())


BOUNDS = [0, 20, 50, 50, 61, 90]


@pytest.mark.usefixtures("one_at_a_time")
def test_rows_in_storage_are_trained_on_each_once_an_epoch_by_any_number_of_members():
    recipe = recipe_of("cnn", epochs=2, rows_per_step=16, early_stop=0)
    data, parts = stored(data_for(recipe), BOUNDS, most=45)
    windows = data.train.windows
    assert all(len(window) <= 45 for window in windows) and len(windows) > 2
    assert sorted(np.concatenate([window.rows for window in windows])) == list(range(90))
    watch = EveryStep()
    expected = fit_weights(recipe, data, Team(), watch)
    assert sorted(parts.read) == sorted([0, 1, 2, 3, 4] * 2)
    assert [kept.tensors["loop.sums"][1].item() for kept in watch.kept if ends(kept)] == [90, 90]
    for found in as_team(2, lambda team: fit_weights(recipe, data, team)):
        losses = [[epoch.loss for epoch in run.history] for run in (found, expected)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def ends(checkpoint: Checkpoint) -> bool:
    """Was it kept after the last step of an epoch?"""
    return checkpoint.about["steps_done"] == 7


def test_a_run_over_rows_in_storage_goes_on_to_the_same_bytes():
    recipe = recipe_of("mlp", epochs=2, rows_per_step=16, early_stop=0, **BUSY)
    data, _ = stored(data_for(recipe), BOUNDS, most=45)
    whole = EveryStep()
    expected = fit_weights(recipe, data, Team(), whole).state
    for checkpoint in whole.kept[1::4]:
        found = fit_weights(recipe, data, Team(), EveryStep(checkpoint)).state
        assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_what_the_linear_part_says_of_a_row_is_not_learnt_from_its_like():
    chance = np.random.default_rng(5)
    ids = np.concatenate([np.sort(chance.choice(499, 9, replace=False)) + 1 for _ in range(200)])
    one = np.ones(len(ids), np.float32)
    texts = Encoded(ids.astype(np.int32), one, np.arange(201) * 9, np.zeros(200, np.bool_))
    label = chance.integers(0, 2, 200)
    chosen = np.repeat(np.arange(200), 2)  # each text twice, under a label of chance
    weight = np.ones(400, np.float32)
    twice = Rows(take(texts, chosen), label[chosen], weight, unit=chosen)
    given = {"weight": weight, "num_ids": 500, "num_labels": 2, "on_note": print}
    right = []
    for rows in (twice, replace(twice, unit=None)):
        base = fit_base(recipe_of("residual-cnn"), rows, twice, Team(), **given)
        right.append(np.mean(base.train.argmax(1) == twice.label))
    assert right[0] < 0.65 and right[1] > 0.9


def test_reduced_precision_trains_as_well():
    for kind in NETS:
        recipe = recipe_of(kind, epochs=2, precision="bf16", learning_rate=0.01)
        exact = with_values(recipe, {"train.precision": "fp32"})
        found, expected = (fit_weights(r, data_for(r), Team()).history for r in (recipe, exact))
        assert found[-1].loss == pytest.approx(expected[-1].loss, rel=0.05)
        assert found[-1].loss != expected[-1].loss


def test_vectors_from_neighbours_are_where_a_net_starts():
    recipe = with_values(recipe_of("cnn", epochs=1, learning_rate=1e-12), {"model.vectors": "ppmi"})
    data = data_for(recipe)
    more = replace(data, unlabelled=replace(data.valid.texts, ngrams=None))
    for given, texts in ((data, [data.train.texts]), (more, [data.train.texts, more.unlabelled])):
        expected = ppmi_vectors(texts, num_ids=NUM_IDS, size=8, seed=0)
        found = fit_weights(recipe, given, Team()).state["words.weight"].numpy()
        assert np.allclose(found, expected, atol=1e-6)


def test_slices_of_a_step_add_up_to_it():
    losses = [
        course(recipe_of("cnn", epochs=1, rows_per_step=16, accumulate=slices), Team())
        for slices in (1, 3, 50)
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert losses[2] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize(
    ("kind", "reference"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_an_update_is_the_one_of_torch(kind, reference, decay):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(5, 3, generator=generator)
    theirs = torch.nn.Parameter(start.clone())
    extra = {"momentum": 0.9} if kind == "sgd" else {}
    optimizer = reference([theirs], lr=0.05, weight_decay=decay, **extra)
    ours, rule = start.clone(), Optimizer(kind, decay)
    moments = rule.moments(ours)
    for step in range(1, 8):
        theirs.grad = torch.randn(5, 3, generator=generator)
        rule.update(ours, theirs.grad.clone(), moments, step=step, rate=0.05, decayed=1.0)
        optimizer.step()
        assert torch.allclose(ours, theirs.detach(), atol=1e-6)


def test_rows_of_a_table_that_no_step_touches_keep_their_bytes():
    recipe = recipe_of("mlp", epochs=2, weight_decay=0.1, optimizer="adamw")
    data = data_for(recipe)
    used = np.unique(data.train.texts.ids)
    wide = replace(data, num_ids=NUM_IDS + 5, words=(*data.words, *"龙凤龟麟虎"))
    torch.manual_seed(recipe.seed)
    new = build_model(recipe.model, num_ids=NUM_IDS + 5, num_labels=3).state_dict()
    table = fit_weights(recipe, wide, Team()).state["words.weight"]
    same = (table == new["words.weight"]).all(1).numpy()
    assert not same[used].any() and same[NUM_IDS:].all() and same[0]


def test_the_average_of_a_table_is_that_of_every_step_also_of_rows_that_rested():
    net = build_model(recipe_of("bag").model, num_ids=6, num_labels=2)
    parameters = Parameters(net, Optimizer("sgd", 0.0), ema=0.8)
    expected, touched = torch.zeros(6, 8), [[0, 1, 2], [0, 2, 5], [0, 1], [0, 5]]
    for step, rows in enumerate(touched, 1):
        parameters.begin(np.array(rows))
        for gradient in parameters.gradients():
            gradient.fill_(float(step))
        parameters.step(step, 0.1)
        expected = 0.8 * expected + 0.2 * net.embedding.detach()
    before = net.embedding.detach().clone()
    with parameters.averaged(4):
        found = net.embedding.detach().clone()
    assert torch.equal(net.embedding, before)
    assert torch.allclose(found[[1, 2, 5]], expected[[1, 2, 5]] / (1 - 0.8**4), atol=1e-6)
    assert torch.equal(found[3:5], before[3:5])


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_the_rate_rises_then_falls_to_nothing_or_stays(schedule):
    config = TrainConfig(learning_rate=0.1, schedule=schedule)
    rates = [rate(config, step, 100) for step in range(1, 101)]
    assert rates[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    if schedule == "constant":
        assert set(rates[5:]) == {0.1}
    else:
        assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.002
    assert rate(replace_warm(config), 1, 100) == 0.1


def replace_warm(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"warm_up": 0.0})


TIMES = 1 + np.arange(90) % 3


def weighted_and_repeated(
    data: TrainingData, times: np.ndarray
) -> tuple[TrainingData, TrainingData]:
    """Each training row `times` times, once by its weight and once by standing there so often."""
    chosen = np.repeat(np.arange(len(times)), times)
    rows = data.train
    one = np.ones(len(chosen), np.float32)
    repeated = replace(rows, texts=take(rows.texts, chosen), label=rows.label[chosen], weight=one)
    weighted = replace(rows, weight=times.astype(np.float32))
    return replace(data, train=weighted), replace(data, train=repeated)


@pytest.mark.usefixtures("one_at_a_time")
@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("times", [np.ones(90, np.int64), TIMES])
def test_the_loss_of_an_epoch_is_the_weighted_mean_over_its_rows(times, size):
    data, _ = weighted_and_repeated(training_data(), times)
    recipe = recipe_of("bag", learning_rate=1e-12, epochs=1, rows_per_step=8)
    torch.manual_seed(recipe.seed)
    model = build_model(recipe.model, num_ids=NUM_IDS, num_labels=3)
    with torch.no_grad():
        whole = model(pad(data.train.texts, np.arange(90))).numpy()
    expected = log_loss(whole.repeat(times, axis=0), data.train.label.repeat(times))
    found = as_team(size, lambda team: fit_weights(recipe, data, team).history[0].loss)
    assert found == pytest.approx([expected] * size, rel=1e-5)


@pytest.mark.parametrize("kind", ["linear", "bag"])
@pytest.mark.parametrize("class_weights", ["none", "balanced", {"乙": 0.5}])
def test_a_row_of_weight_two_is_worth_the_row_twice(kind, class_weights):
    recipe = with_values(
        recipe_of(kind, epochs=5, rows_per_step=1000, class_weights=class_weights),
        {"model.linear.tolerance": 1e-6, "model.linear.nb": False},
    )
    weighted, repeated = (
        fit_weights(recipe, data, Team()) for data in weighted_and_repeated(training_data(), TIMES)
    )
    losses = [[epoch.loss for epoch in weights.history] for weights in (weighted, repeated)]
    assert np.allclose(*losses, rtol=1e-4) and len(losses[0]) >= 4
    for name, value in weighted.state.items():
        assert torch.allclose(value.float(), repeated.state[name].float(), atol=2e-3), name


def test_a_loss_that_is_no_number_stops_the_run_and_names_step_and_rows():
    recipe = recipe_of("mlp", learning_rate=1e30, optimizer="sgd", rows_per_step=30)
    watch = EveryStep()
    with pytest.raises(ModelError, match=r"the loss became (nan|inf) in step 2 of 30, with 30 行"):
        fit_weights(recipe, data_for(recipe), Team(), watch)
    assert [kept.step for kept in watch.kept] == [1]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_validation_counts_every_row_once(size):
    data = training_data()
    model = build_model(recipe_of("bag").model, num_ids=NUM_IDS, num_labels=3)
    for counts in as_team(size, lambda team: validate(model, data.valid, num_labels=3, team=team)):
        assert counts.sum() == 30
        assert counts.sum(1).tolist() == np.bincount(data.valid.label, minlength=3).tolist()


def fitted(kind: str, **train: Any) -> tuple[Weights, list[int]]:
    watch = EveryStep()
    return fit_weights(recipe_of(kind, **train), training_data(), Team(), watch), watch.epochs


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_best_epoch_is_kept_and_the_run_stops_when_none_is_better(ema):
    train = {"epochs": 40, "early_stop": 2, "learning_rate": 0.05, "rows_per_step": 16}
    weights, told = fitted("bag", ema=ema, **train)
    scores = [epoch.macro_f1 for epoch in weights.history]
    best = scores.index(max(scores)) + 1
    assert told == [epoch.epoch for epoch in weights.history] == list(range(1, len(scores) + 1))
    assert len(scores) == best + 2 < 40
    model = build_model(recipe_of("bag").model, num_ids=NUM_IDS, num_labels=3)
    model.load_state_dict(weights.state)
    counts = validate(model, training_data().valid, num_labels=3, team=Team())
    assert np.trace(counts) / 30 == weights.history[best - 1].accuracy


def test_without_early_stopping_every_epoch_runs():
    assert fitted("bag", epochs=4, early_stop=0)[1] == [1, 2, 3, 4]


def test_a_gradient_is_scaled_down_to_the_given_length():
    data = training_data()
    recipe = recipe_of("bag", learning_rate=1.0, optimizer="sgd", clip_norm=1e-3, warm_up=0)
    net = build_model(recipe.model, num_ids=NUM_IDS, num_labels=3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    loop = Loop(net, recipe.train, Team(), num_steps=1, num_ids=NUM_IDS, seed=0)
    loop.train_on(data.train, np.arange(90))
    moved = [
        float((value - before[name]).square().sum()) for name, value in net.state_dict().items()
    ]
    assert math.sqrt(sum(moved)) == pytest.approx(1e-3, rel=1e-3)
