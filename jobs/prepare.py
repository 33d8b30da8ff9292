"""`bigmodel prepare`: what `train` would learn from, read, checked, cleaned and split."""

from typing import TYPE_CHECKING, Any

from bigmodel.cluster.session import ray_session
from jobs.start import job
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.config import Recipe
    from bigmodel.data.prepared import PreparedData


def show(result: dict[str, Any]) -> "RenderableType":
    from rich.console import Group

    title = "Nothing changed; prepared before" if result["reused"] else "Prepared"
    below = [f"data id {result['data_id']}"]
    if sum(result["quarantined"].values()):
        below.append(f"quarantine {result['quarantine']}")
    return Group(table(rows_of(result), title=title), *below)


def rows_of(result: dict[str, Any]) -> dict[str, object]:
    """What people see of prepared rows: where every record went, and what stands out."""
    from bigmodel.inspection.data_warnings import each_leak

    rows: dict[str, object] = {"done again": "; ".join(result["why"])} if result["why"] else {}
    rows["rows read"] = f"{result['rows_read']:,}"
    rows |= read_as(result)
    rows |= {"rows kept": f"{result['rows_kept']:,}", "duplicates": f"{result['duplicates']:,}"}
    if kept := result["conflicts"] - result["quarantined"]["conflict"]:
        rows["conflicts kept"] = f"{kept:,}"
    aside = {reason: count for reason, count in result["quarantined"].items() if count}
    rows["quarantined"] = ", ".join(f"{count:,} {reason}" for reason, count in aside.items()) or 0
    if unmatched := result["corrections"]["unmatched"]:
        rows["corrections"] = f"{unmatched:,} of {result['corrections']['given']:,} match no text"
    if near := result["near_duplicates"]["groups"]:
        rows["near-duplicates"] = f"{near:,} {'groups' if near > 1 else 'group'}, each in one split"
    if divided := result["near_duplicates"]["split_at_0.9"]:
        rows["  divided at 0.9"] = f"{divided:,}, over 1% of the rows"
    for split, where, leaks in each_leak(result):
        rows[f"{split} rows also in {where}"] = f"{leaks['exact']:,}, and {leaks['near']:,} nearly"
    for split, labels in result["splits"].items():
        rows[split] = ", ".join(f"{label} {count:,}" for label, count in labels.items())
    if unlabelled := result.get("unlabelled"):
        rows["without labels"] = f"{unlabelled:,} texts, for the vocabulary and word vectors"
    shares = [abs(share) for labels in result["deviation"].values() for share in labels.values()]
    rows["shares of labels"] = f"in each split at most {100 * max(shares):.1f} points off"
    if weak := result["weak_words"]:
        rows["user dictionary"] = f"{len(weak):,} words don't take effect, such as: {weak[0]}"
    return rows


def read_as(result: dict[str, Any]) -> dict[str, str]:
    """The files that were read in another encoding than UTF-8."""
    found: dict[str, list[str]] = {}
    for file in result["files"]:
        if file["encoding"] != "utf-8":
            found.setdefault(f"  as {file['encoding']}", []).append(file["path"])
    return {encoding: "\n".join(paths) for encoding, paths in found.items()}


@job(show=show)
def main(recipe: "Recipe") -> dict[str, Any]:
    """Read, check, clean and split the data; nothing is done twice."""
    return result_of(prepare(recipe))


def prepare(recipe: "Recipe") -> "PreparedData":
    """The prepared rows; Ray is started only where nothing is there to reuse."""
    from bigmodel.data import prepare as stage

    plan = stage.Plan.of(recipe)
    if found := plan.reuse():
        return found
    plan.encoder.segmenter.check()
    with ray_session():
        return stage.carry_out(plan)


def result_of(prepared: "PreparedData") -> dict[str, Any]:
    """The counts of the contract, and where the quarantine stands."""
    return {
        **prepared.summary,
        "reused": prepared.reused,
        "why": list(prepared.why),
        "quarantine": prepared.quarantine_uri,
        "weak_words": prepared.weak_words,
    }


def check_files(recipe: "Recipe") -> None:
    """DataError where a file is missing, empty, or lacks a column, or a word of the user's
    dictionary can't take effect; starts no Ray."""
    from bigmodel.data.sources import sources_of, unlabelled_of
    from bigmodel.text.encoder import make_segmenter

    sources_of(recipe.data, keep=recipe.evaluate.columns)
    unlabelled_of(recipe.data)
    make_segmenter(recipe.text).check()


if __name__ == "__main__":
    main()
