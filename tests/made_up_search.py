"""A search that never was, for its page: twelve trials across two kinds, one of which failed."""

import random
from typing import Any

from bigmodel.config import Dimension, TuneConfig
from bigmodel.recipe import make_recipe
from bigmodel.tuning.figures import figures_of
from bigmodel.tuning.searchers import suggest
from bigmodel.tuning.space import Space
from bigmodel.tuning.trials import Trial

SPACE = {
    "model.kind": Dimension(choice=("mlp", "cnn")),
    "train.learning_rate": Dimension(log=(1e-4, 1e-2)),
    "model.mlp.hidden_sizes": Dimension(choice=([64], [128], [256, 128])),
    "text.stop_words": Dimension(choice=("没有.txt", "停用词<b>.txt")),
}
FAILS = 5
EPOCHS = 9  # no kind has them by default, so all keep them


def made_up_search(num_trials: int = 12) -> dict[str, Any]:
    config = TuneConfig(space=SPACE, num_trials=num_trials, searcher="random")
    tree = {"name": "reviews", "data": {"train": "评论.csv"}, "model": {"kind": "mlp"}}
    recipe = make_recipe({**tree, "train": {"epochs": EPOCHS}}, "recipe")
    recipe = recipe.model_copy(update={"tune": config})
    space = Space(recipe, SPACE)
    generator, trials = random.Random(1), []
    for number in range(num_trials):
        values = suggest(space, config, trials, number=number)
        trials.append(_trial(number, values or {}, generator))
    return figures_of(space, trials)


def _trial(number: int, values: dict[str, Any], generator: random.Random) -> Trial:
    if number == FAILS:
        return Trial(number, values, (), "failed", "OutOfMemoryError: 内存不足", (0.0, 3.0))
    good = 0.75 + 0.1 * generator.random()
    count = EPOCHS if number == 0 or good > 0.8 else generator.randrange(1, 6)
    course = tuple(
        {"epoch": float(epoch), "score": good - 0.3 / epoch**1.5} for epoch in range(1, count + 1)
    )
    times = tuple(float(2 * at) for at in range(count + 2))
    return Trial(number, values, course, "ended" if count == EPOCHS else "stopped", "", times)
