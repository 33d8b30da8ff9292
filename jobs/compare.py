"""`bigmodel compare`: of two versions one is better on the same rows, or it can't be told."""

import logging
import time
from typing import TYPE_CHECKING, Any

import click

from bigmodel.errors import DataError
from jobs.start import verb

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.artifact import Artifact
    from bigmodel.evaluation.labelled import Labelled
    from bigmodel.registry import Version

log = logging.getLogger(__name__)

_TIMED = 200  # texts, one by one


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group
    from rich.table import Table

    one, other = result["one"], result["other"]
    grid = Table("", one["model"], other["model"], "difference", "95 % interval")
    for name, title in (("accuracy", "accuracy"), ("macro_f1", "macro-F1")):
        grid.add_row(title, *_figures(result[name]))
    for label, scores in result["per_class"].items():
        grid.add_row(f"  F1 of {label}", *_figures(scores["f1"]))
    if result["slices"]:
        grid.add_row("accuracy where")
    for part in result["slices"]:
        grid.add_row(f"  {part['by']} {part['value']}", *_figures(part["accuracy"]))
    grid.add_row("MB", *(f"{each['bytes'] / 1e6:.1f}" for each in (one, other)))
    grid.add_row("ms a text", *(f"{each['ms_a_text']:.2f}" for each in (one, other)))
    verdict = {
        "better": f"{other['model']} is better",
        "worse": f"{other['model']} is worse",
        "can't tell": "which one is better can't be told from these rows",
    }[result["verdict"]]
    left_out = f" ({result['left_out']:,} that one of them knows left out)"
    return Group(
        grid,
        f"{verdict}: {result['rows']:,} rows{left_out if result['left_out'] else ''}, McNemar's p "
        f"{result['mcnemar']['p']:.3g}",
        f"rows where they differ {result['differing']}",
    )


def _figures(scores: dict[str, float]) -> tuple[str, ...]:
    return (
        f"{scores['one']:.4f}",
        f"{scores['other']:.4f}",
        f"{scores['difference']:+.4f}",
        f"{scores['low']:+.4f} to {scores['high']:+.4f}",
    )


@click.argument("one", metavar="MODEL")
@click.argument("other", metavar="MODEL")
@click.option("--data", type=click.Path(), metavar="FILE", help="Instead of the test rows of both.")
def compare(*, storage: str, one: str, other: str, data: str | None) -> dict[str, Any]:
    """Two versions on the same rows: better, worse, or can't tell."""
    from bigmodel.data.prepared import write_parquet
    from bigmodel.evaluation import compare as evaluation
    from bigmodel.evaluation.labelled import rows_of_file
    from bigmodel.registry import Registry
    from jobs.evaluate import candidate

    versions = [Registry(storage).resolve(model) for model in (one, other)]
    first, second = (candidate(version, storage) for version in versions)
    if data:
        known = {name for one in (first, second) for name in one.artifact.labels.names}
        rows = rows_of_file(data, first.artifact, known)
    else:
        rows = evaluation.both_test_rows(first, second)
    if unknown := [one.name for one in (first, second) if not one.is_known]:
        log.warning("which rows %s was trained on isn't known any more", " and ".join(unknown))
    pair = evaluation.ask_both(first, second, rows)
    if not len(pair.rows):
        raise DataError(
            f"{data or 'the test rows of both'}: of {len(rows)} rows none is left that neither "
            "model knows; give a file of others with --data"
        )
    recipe = second.artifact.recipe
    found = evaluation.compare(pair, patterns=recipe.evaluate.patterns, seed=recipe.seed)
    name = f"against-{versions[0].name}-{versions[0].version}.parquet"
    write_parquet(second.beside.place, name, evaluation.differing(pair))
    about = [
        _about(version, each.artifact, pair.rows)
        for version, each in zip(versions, (first, second), strict=True)
    ]
    place = second.beside.place.child(name).uri
    return {"one": about[0], "other": about[1], **found, "differing": place}


def _about(version: "Version", artifact: "Artifact", rows: "Labelled") -> dict[str, Any]:
    """Size, and the time of a text that comes alone, after the first few."""
    from bigmodel.predictor import Predictor
    from bigmodel.storage import folder

    predictor, texts = Predictor(artifact), rows.texts[:_TIMED]
    predictor.predict(texts[:10])
    start = time.perf_counter()
    for text in texts:
        predictor.predict([text])
    seconds = time.perf_counter() - start
    return {
        "model": str(version),
        "bytes": sum(folder(version.uri).sizes().values()),
        "ms_a_text": 1000 * seconds / len(texts),
    }


main = verb(show=show)(compare)


if __name__ == "__main__":
    main()
