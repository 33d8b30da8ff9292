"""The ladder: every kind of model on the same rows, and the smallest that is good enough."""

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from bigmodel.config import Recipe
from bigmodel.evaluation.answers import Answers, answer
from bigmodel.evaluation.labelled import Labelled
from bigmodel.evaluation.paired import difference
from bigmodel.evaluation.scores import interval_of
from bigmodel.predictor import Predictor
from bigmodel.recipe import KIND_DEFAULTS, make_recipe, merge

FEWEST_TIMED = 1_000  # texts; the slowest ten of them decide the 99th percentile
_WARM_UP = 20


@dataclass(frozen=True)
class Rung:
    """A trained kind: the bytes of its artefact, and the seconds that its training took."""

    predictor: Predictor
    num_bytes: int
    train_s: float


def of_kind(recipe: Recipe, kind: str) -> Recipe:
    """The recipe with another kind of model, whose defaults give way to what was written in it.

    A value that is also the default of the recipe's own kind counts as not written.
    """
    if kind == recipe.model.kind:
        return recipe
    written = recipe.model_dump(mode="json", by_alias=True, exclude_unset=True)
    written = _without(written, KIND_DEFAULTS[recipe.model.kind])
    merge(written, {"model": {"kind": kind}})
    if kind in ("linear", "bag"):  # they read no words in order
        written["model"] |= {"residual": False, "vectors": "none"}
    return make_recipe(written, recipe.name)


def _without(tree: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A tree of tables less the values that are also in `defaults`."""
    return {
        key: _without(value, defaults.get(key, {})) if isinstance(value, dict) else value
        for key, value in tree.items()
        if isinstance(value, dict) or key not in defaults or value != defaults[key]
    }


def climb(rungs: Mapping[str, Rung], rows: Labelled, *, margin: float, seed: int) -> dict[str, Any]:
    """Every kind's figures on the same rows, at least one, the smallest first, fit for JSON.

    `best` has the highest macro-F1; `chosen` is the smallest that is shown to be not worse: the
    lower end of the 95 % interval of its difference from the best lies above -margin, as at the
    gate. The best itself is; its `against_best` is None.
    """
    order = sorted(rungs, key=lambda kind: rungs[kind].num_bytes)
    said = {kind: answers_of(rungs[kind].predictor, rows) for kind in order}
    scored = {kind: interval_of(said[kind], seed=seed) for kind in order}
    best = max(order, key=lambda kind: scored[kind]["macro_f1"])
    taken = latency({kind: rungs[kind].predictor for kind in order}, rows.texts)
    figures = []
    for kind in order:
        behind = None if kind == best else _behind(said[best], said[kind], seed=seed)
        figures.append(
            {
                "kind": kind,
                **scored[kind],
                **taken[kind],
                "train_s": rungs[kind].train_s,
                "bytes": rungs[kind].num_bytes,
                "against_best": behind,
                "not_worse": behind is None or behind["low"] > -margin,
            }
        )
    chosen = next(one["kind"] for one in figures if one["not_worse"])
    return {"rungs": figures, "best": best, "chosen": chosen, "margin": margin, "rows": len(rows)}


def _behind(best: Answers, other: Answers, *, seed: int) -> dict[str, float]:
    found = difference(best, other, seed=seed)["macro_f1"]
    return {name: found[name] for name in ("difference", "low", "high")}


def answers_of(predictor: Predictor, rows: Labelled) -> Answers:
    truth = predictor.artifact.labels.ids(rows.labels, where="prepared rows")
    return answer(predictor, rows.texts, truth, rows.unit)


def latency(predictors: Mapping[str, Predictor], texts: Sequence[str]) -> dict[str, Any]:
    """Milliseconds to answer one text alone, on one thread: `p50_ms` and `p99_ms` of each.

    They take turns with every text, so that a busy machine is so for all of them.
    """
    asked = itertools.islice(itertools.cycle(texts), max(FEWEST_TIMED, len(texts)) + _WARM_UP)
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    with _one_thread():
        for text in asked:
            for name, predictor in predictors.items():
                start = time.perf_counter()
                predictor.predict([text])
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {
            f"p{share}_ms": 1e3 * float(np.percentile(taken[_WARM_UP:], share))
            for share in (50, 99)
        }
        for name, taken in seconds.items()
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """As a replica of the endpoint."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
