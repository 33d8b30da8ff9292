"""Cross-validation of the demo's 10,000 reviews, less their test rows: seconds and load.

    python -m benchmarks.folds [--folds 5] [--kind linear] [--runs 3]

Counted is cross-validation alone: preparing and the start of Ray come before.
"""

import argparse
import os
import statistics
import tempfile
import time

from bigmodel.cluster.session import ray_session
from bigmodel.recipe import load_recipe

RECIPE = "jobs/recipes/reviews.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--kind", default="linear")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    from bigmodel.data.prepare import prepare
    from bigmodel.training.crossval import cross_validate

    changes = [f"evaluate.folds={arguments.folds}", f"model.kind={arguments.kind}"]
    seconds = []
    with tempfile.TemporaryDirectory() as storage, ray_session():
        recipe = load_recipe(RECIPE, changes, storage=storage)
        prepared = prepare(recipe)
        for _ in range(arguments.runs):
            begin = time.monotonic()
            answered = cross_validate(prepared, recipe)
            seconds.append(time.monotonic() - begin)
    accuracy = answered.figures()["accuracy"]
    print(
        f"{arguments.folds} folds of {len(answered.rows):,} rows, kind {arguments.kind}, "
        f"{os.cpu_count()} cores: {statistics.median(seconds):.1f} s, the median of "
        f"{', '.join(f'{one:.1f}' for one in seconds)}; load {os.getloadavg()[0]:.1f}"
    )
    print(f"accuracy {accuracy['mean']:.4f}, spread {accuracy['spread']:.4f} over the folds")


if __name__ == "__main__":
    main()
