"""Torch beside ONNX Runtime: the network alone, and the Predictor's whole call, for each kind.

    python -m benchmarks.engines [--kinds linear cnn]      # medians of pairs; some five minutes

One thread each, CPU time. Encoders are fitted on the demo's reviews with each kind's defaults;
weights are random, since no time depends on them. Texts are cut out of the reviews.
"""

import argparse
import csv
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from bigmodel.artifact import Artifact
from bigmodel.data.batches import by_length, pad
from bigmodel.data.schema import LabelSet
from bigmodel.engines import InOnnxRuntime
from bigmodel.export.network import to_onnx
from bigmodel.models import MODELS, LinearNgrams, build_model
from bigmodel.models.bag import BagOfNgrams
from bigmodel.models.words import WordVectors
from bigmodel.predictor import Predictor
from bigmodel.recipe import make_recipe
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.text.features import Vocabulary

REVIEWS = Path("jobs/recipes/reviews.csv")
PAIRS = 9
SECONDS = 0.05  # of one side of a pair
SIZES = ((20, 1), (20, 64), (200, 1), (200, 64))  # characters of a text, texts of a call
HEAD = (
    "kind", "characters", "texts", "ids, µs", "torch, µs", "onnx, µs", "ratio",
    "whole torch, µs", "whole onnx, µs", "ratio", "probability off by",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kinds", nargs="*", default=[*MODELS, "mlp, residual"])
    kinds = parser.parse_args().kinds
    torch.set_num_threads(1)
    with REVIEWS.open(encoding="utf-8", newline="") as file:
        reviews = [row["text"] for row in csv.DictReader(file)]
    print(f"load {os.getloadavg()[0]:.1f}\n\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    for kind in kinds:
        artifact = made(kind, reviews)
        start = time.perf_counter()
        onnx = replace(artifact, model=InOnnxRuntime(to_onnx(artifact)))
        seconds = time.perf_counter() - start
        for characters, texts in SIZES:
            compare(kind, artifact, onnx, texts_of(reviews, characters, texts))
        print(f"{kind}: {seconds:.1f} s to export; load {os.getloadavg()[0]:.1f}", flush=True)


def made(kind: str, reviews: list[str]) -> Artifact:
    """The kind as its defaults make it, of random weights."""
    kind, _, residual = kind.partition(", ")
    model: dict[str, Any] = {"kind": kind} | ({"residual": True} if residual else {})
    tree = {"name": "bench", "data": {"train": str(REVIEWS)}, "model": model}
    recipe = make_recipe(tree, "engines")
    encoder = EncoderRecipe.of(recipe).fit_on(reviews)
    torch.manual_seed(0)
    ids = {"num_ids": encoder.num_ids, "num_ngrams": encoder.num_ngrams}
    net = build_model(recipe.model, num_labels=2, **ids).requires_grad_(False)
    for part in net.modules():
        if isinstance(part, LinearNgrams):
            nn.init.normal_(part.weight[1:])
        elif isinstance(part, BagOfNgrams):
            nn.init.normal_(part.output.weight)
        elif isinstance(part, WordVectors) and isinstance(encoder.features, Vocabulary):
            part.spell(encoder.features.words)
    return Artifact(recipe, LabelSet(("正面", "负面")), encoder, net.eval())


def texts_of(reviews: list[str], characters: int, texts: int) -> list[list[str]]:
    """Calls of so many texts of so many characters, all of them different."""
    running = "".join(reviews)
    size = characters * texts
    calls = range(0, min(len(running) - size, 200 * size), size)
    return [
        [running[at : at + characters] for at in range(start, start + size, characters)]
        for start in calls
    ]


def compare(kind: str, artifact: Artifact, onnx: Artifact, calls: list[list[str]]) -> None:
    encoded = [artifact.encoder.encode(texts) for texts in calls]
    batches = [pad(each, rows) for each in encoded for rows in by_length(each, 64)]

    def network(model: nn.Module) -> Callable[[int], Any]:
        return lambda i: model(batches[i % len(batches)])

    def whole(one: Artifact) -> Callable[[int], Any]:
        predictor = Predictor(one)
        return lambda i: predictor.predict(calls[i % len(calls)])

    with torch.inference_mode():
        bare = paired(network(artifact.model), network(onnx.model))
    full = paired(whole(artifact), whole(onnx))
    ids = median(timed(lambda i: artifact.encoder.encode(calls[i % len(calls)])) for _ in range(5))
    off = max(
        float(np.abs(Predictor(artifact).probabilities(t) - Predictor(onnx).probabilities(t)).max())
        for t in calls[:20]
    )
    row = [kind, len(calls[0][0]), len(calls[0]), f"{ids:.0f}"]
    for torch_us, onnx_us, ratio in (bare, full):
        row += [f"{torch_us:.0f}", f"{onnx_us:.0f}", f"{ratio:.2f}"]
    print(f"| {' | '.join(map(str, row))} | {off:.1g} |", flush=True)


def paired(
    torch_call: Callable[[int], Any], onnx_call: Callable[[int], Any]
) -> tuple[float, float, float]:
    """The medians of both in µs a call, and that of torch / onnx."""
    timed(torch_call), timed(onnx_call)
    pairs = [(timed(torch_call), timed(onnx_call)) for _ in range(PAIRS)]
    first, second = (median(side) for side in zip(*pairs, strict=True))
    return first, second, median(a / b for a, b in pairs)


def timed(call: Callable[[int], Any]) -> float:
    """µs of this thread's CPU time a call."""
    start, calls = time.thread_time(), 0
    while (spent := time.thread_time() - start) < SECONDS or calls < 3:
        call(calls)
        calls += 1
    return spent / calls * 1e6


if __name__ == "__main__":
    main()
