"""Cross-validation on a local Ray: who stands in which fold, and what the scores are."""

import numpy as np
import pytest
from small_reviews import labelled, write_csv

from bigmodel.data.prepare import prepare
from bigmodel.errors import DataError
from bigmodel.inspection.suspects import suspects_among
from bigmodel.recipe import make_recipe
from bigmodel.training.crossval import _folds, _held_out, cross_validate
from bigmodel.training.folds import units

FOLDS = 4


def recipe_for(folder, **sections):
    tree = {"name": "folds", "storage": str(folder / "storage"), "evaluate": {"folds": FOLDS}}
    tree["data"] = {"train": str(folder / "评论.csv")}
    return make_recipe(tree | sections, "recipe")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folds")
    near = [(f"{text}了", label) for text, label in labelled()[:100]]
    wrong = [(text, "负面" if label == "正面" else "正面") for text, label in labelled()[100:110]]
    write_csv(folder / "评论.csv", [*labelled()[:100], *wrong, *labelled()[110:600], *near])
    return folder


@pytest.fixture(scope="module")
def found(ray_local, folder):
    recipe = recipe_for(folder)
    prepared = prepare(recipe)
    return prepared, cross_validate(prepared, recipe)


def test_every_row_of_train_and_valid_is_answered_and_no_test_row(found):
    prepared, answered = found
    splits = prepared.summary["splits"]
    expected = sum(sum(splits[name].values()) for name in ("train", "valid"))
    assert len(answered.rows) == len(answered.truth) == expected
    assert "test" not in answered.rows["split"].to_pylist()
    assert answered.probabilities.sum(1) == pytest.approx(np.ones(expected))


def test_folds_are_of_almost_one_size_and_rows_near_each_other_share_one(found):
    _, answered = found
    unit = units(answered.rows)
    assert len(np.unique(unit)) < len(unit) - 50
    folds_of = {one: set(answered.fold[unit == one].tolist()) for one in np.unique(unit)}
    assert all(len(folds) == 1 for folds in folds_of.values())
    sizes = np.bincount(answered.fold, minlength=FOLDS)
    assert sizes.max() - sizes.min() <= 1


def test_the_scores_are_those_of_the_folds_and_better_than_guessing(found):
    _, answered = found
    figures = answered.figures()
    said = answered.probabilities.argmax(1)
    each = [np.mean((said == answered.truth)[answered.fold == n]) for n in range(FOLDS)]
    assert figures["accuracy"]["each"] == pytest.approx(each)
    assert figures["accuracy"]["mean"] == pytest.approx(np.mean(each)) and np.mean(each) > 0.6
    assert figures["accuracy"]["spread"] == pytest.approx(np.std(each, ddof=1))


def test_the_same_recipe_gives_the_same_answers(found, folder):
    prepared, answered = found
    again = cross_validate(prepared, recipe_for(folder))
    assert np.array_equal(again.probabilities, answered.probabilities)
    another = cross_validate(prepared, recipe_for(folder, seed=1))
    assert not np.array_equal(another.fold, answered.fold)


def test_labels_that_were_changed_are_among_the_suspects(found):
    prepared, answered = found
    suspects = suspects_among(prepared, answered.rows, answered.probabilities)
    assert suspects.examined == len(answered.rows)
    listed = {row["text"] for row in suspects.rows}
    changed = {text for text, _ in labelled()[100:110]}
    here = changed & set(answered.rows["text"].to_pylist())
    assert len(listed & here) >= max(len(here), len(listed)) / 2


def test_groups_stay_in_one_fold(ray_local, tmp_path):
    rows = [(text, label, f"用户{n % 60}") for n, (text, label) in enumerate(labelled()[:300])]
    lines = ["text,label,user", *(f'"{text}",{label},{user}' for text, label, user in rows)]
    (tmp_path / "评论.csv").write_text("\n".join(lines), encoding="utf-8")
    data = {"train": str(tmp_path / "评论.csv"), "split": {"group_column": "user"}}
    recipe = recipe_for(tmp_path, data=data)
    answered = cross_validate(prepare(recipe), recipe)
    group = np.array(answered.rows["group"].to_pylist(), object)
    assert all(len(set(answered.fold[group == one].tolist())) == 1 for one in set(group))


@pytest.mark.parametrize(
    ("sizes", "folds", "rows"),
    [
        ([600] + [1] * 399, 5, [600, 100, 100, 100, 99]),  # one group is more than a fold
        ([50] * 6 + [1] * 100, 4, [100, 100, 100, 100]),
        ([7, 5, 3, 3, 2], 2, [10, 10]),
        ([1] * 10, 4, [3, 3, 2, 2]),
    ],
)
@pytest.mark.parametrize("seed", [0, 1])
def test_folds_hold_almost_equal_rows_whatever_the_units(sizes, folds, rows, seed):
    unit = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    fold = _folds(unit, folds, seed=seed)
    assert sorted(np.bincount(fold).tolist(), reverse=True) == rows
    assert all(len(set(fold[unit == one].tolist())) == 1 for one in range(len(sizes)))
    for number in range(folds):
        others = unit[fold != number]
        held = _held_out(others, seed=seed)
        assert held.any() and not held.all()
        assert not set(others[held].tolist()) & set(others[~held].tolist())


@pytest.mark.parametrize(("sizes", "folds"), [([300, 200, 100], 4), ([9, 1, 1], 2), ([60], 2)])
def test_fewer_units_than_the_folds_need_are_wrong_data(sizes, folds):
    unit = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    with pytest.raises(DataError) as caught:
        _folds(unit, folds, seed=0)
    assert f"rows in {len(sizes)} units" in str(caught.value)
    assert f"{folds} folds" in str(caught.value) and "lower evaluate.folds" in str(caught.value)
