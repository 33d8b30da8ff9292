"""Which kind of model the ladder takes, and the page that says why."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bigmodel.data.schema import LabelSet
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.ladder import FEWEST_TIMED, Rung, climb, latency, of_kind
from bigmodel.pages.ladder_page import ladder_page, sentence
from bigmodel.recipe import KIND_DEFAULTS, make_recipe

LABELS = LabelSet(("正面", "负面"))


@dataclass
class Said:
    """A predictor that is right in the first of the texts, which are numbers."""

    right: int
    labels: tuple[str, ...] = LABELS.names
    asked: list[str] = field(default_factory=list)

    @property
    def artifact(self) -> SimpleNamespace:
        return SimpleNamespace(labels=LABELS)

    def probabilities(self, texts):
        numbers = np.array([int(text) for text in texts])
        truth = numbers % 2
        said = np.where(numbers < self.right, truth, 1 - truth)
        return np.eye(2)[said] * 0.8 + 0.1

    def predict(self, texts):
        assert torch.get_num_threads() == 1
        self.asked += texts


def rows(count: int) -> Labelled:
    texts = [str(number) for number in range(count)]
    return Labelled(texts, [LABELS.names[n % 2] for n in range(count)], np.arange(count))


def ladder_of(count: int, **rungs: tuple[int, int]) -> dict:
    """Kind -> (megabytes, rows of `count` that it is right in)."""
    made = {kind: Rung(Said(right), mb * 10**6, 1.0) for kind, (mb, right) in rungs.items()}
    return climb(made, rows(count), margin=0.02, seed=3)


@pytest.mark.parametrize(
    ("count", "rungs", "best", "chosen"),
    [
        (1000, {"linear": (3, 850), "mlp": (5, 840)}, "linear", "linear"),
        (1000, {"mlp": (5, 855), "linear": (3, 850)}, "mlp", "linear"),
        (1000, {"linear": (3, 700), "mlp": (5, 850)}, "mlp", "mlp"),
        # 5 of 50 less may be chance, and may as well be a tenth: nothing is shown
        (50, {"linear": (3, 40), "mlp": (5, 45)}, "mlp", "mlp"),
        (1000, {"linear": (3, 700), "mlp": (5, 852), "bag": (9, 855)}, "bag", "mlp"),
    ],
)
def test_the_smallest_that_is_shown_to_be_not_worse_is_taken(count, rungs, best, chosen):
    found = ladder_of(count, **rungs)
    assert (found["best"], found["chosen"], found["rows"]) == (best, chosen, count)
    sizes = [rung["bytes"] for rung in found["rungs"]]
    assert sizes == sorted(sizes)
    for rung in found["rungs"]:
        assert rung["accuracy"] == rungs[rung["kind"]][1] / count
        assert (rung["against_best"] is None) == (rung["kind"] == best)
        low, high = rung["interval"]["accuracy"]
        assert low < rung["accuracy"] < high
        assert 0 < rung["p50_ms"] <= rung["p99_ms"]


@pytest.mark.parametrize("count", [1, 30, FEWEST_TIMED + 500])
def test_every_kind_is_timed_on_the_same_texts_one_by_one(count):
    kinds = {"linear": Said(0), "mlp": Said(0)}
    threads = torch.get_num_threads()
    latency(kinds, rows(count).texts)
    assert kinds["linear"].asked == kinds["mlp"].asked
    assert len(kinds["linear"].asked) >= max(FEWEST_TIMED, count)
    assert torch.get_num_threads() == threads


def test_another_kind_keeps_the_recipe_and_brings_its_own_defaults():
    tree = {"name": "reviews", "data": {"train": "评论.csv"}}
    recipe = make_recipe(tree | {"model": {"kind": "mlp", "bag": {"embedding_size": 8}}}, "r")
    assert of_kind(recipe, "mlp") == recipe
    bag = of_kind(recipe, "bag")
    assert (bag.model.kind, bag.train.learning_rate) == ("bag", 5e-3)
    assert bag.model.bag.embedding_size == 8
    assert (bag.data, bag.text, bag.seed) == (recipe.data, recipe.text, recipe.seed)
    assert of_kind(recipe, "linear").train.learning_rate == 1e-3


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp"])
def test_what_was_written_in_the_recipe_goes_before_a_kinds_defaults(kind):
    train = {"learning_rate": 0.5, "epochs": 7}
    tree = {"name": "reviews", "data": {"train": "评论.csv"}, "model": {"kind": kind}}
    recipe = make_recipe(tree | {"train": train}, "r")
    for other in KIND_DEFAULTS:
        made = of_kind(recipe, other)
        assert made.model.kind == other
        assert (made.train.learning_rate, made.train.epochs) == (0.5, 7)


@pytest.mark.parametrize(
    ("rungs", "english", "chinese"),
    [
        (
            {"linear": (3, 850), "mlp": (5, 840)},
            "linear is the best and the smallest: macro-F1 0.850 (3.0\N{NO-BREAK SPACE}MB, ",
            "linear 得分最高，体积也最小：宏平均 F1 0.850（3.0\N{NO-BREAK SPACE}MB",
        ),
        (
            {"linear": (3, 700), "mlp": (5, 850)},
            "mlp is the best, and no smaller model is shown to lose less than 0.02 against it",
            "没有更小的模型能证明差距在 0.02 以内",
        ),
        (
            {"linear": (3, 850), "mlp": (5, 855)},
            "linear is the smallest model that is not worse than the best: macro-F1 0.850 (",
            "linear 是不逊于最佳模型的最小模型：宏平均 F1 0.850（3.0\N{NO-BREAK SPACE}MB",
        ),
    ],
)
def test_the_choice_is_a_sentence_in_both_languages(rungs, english, chinese):
    said = sentence(ladder_of(1000, **rungs))
    assert said.en.startswith(english)
    assert chinese in said.zh


@pytest.mark.parametrize("tested", [True, False])
def test_the_page_has_every_kind_and_the_test_rows_of_the_chosen_one(tested):
    found = ladder_of(1000, linear=(3, 850), mlp=(5, 855), bag=(9, 790))
    test = {"accuracy": 0.8412, "interval": {"accuracy": [0.82, 0.86]}, "rows": 1046}
    about = {"test": test if tested else None, "data_id": "0123456789abcdef"}
    shown = ladder_page("<b>评论</b>", found | about).decode()
    assert "<b>评论" not in shown and "&lt;b&gt;评论" in shown
    assert all(shown.count(f">{kind}<") == 2 for kind in ("linear", "mlp", "bag"))
    assert shown.count('class="two"') == 2, "the chosen one stands out"
    assert ("84.1%" in shown) == ("1,046" in shown) == tested
    assert "bigmodel run RECIPE --set model.kind=linear" in shown
