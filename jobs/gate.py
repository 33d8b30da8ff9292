"""Before an alias moves: the gate between a new version and the champion's place."""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bigmodel.errors import DataError, ModelError

if TYPE_CHECKING:
    from bigmodel.evaluation.compare import Candidate
    from bigmodel.registry import Registry, Version

CHAMPION = "champion"


def promote(
    version: "Version", registry: "Registry", *, storage: str, force: str | None = None
) -> tuple["Version", dict[str, Any]]:
    """Make a version the champion if the gate lets it: (the version, what the gate said).

    ModelError, exit 4, where it doesn't; `force` is a reason to move all the same, which is kept
    with the move beside the gate's numbers.
    """
    from bigmodel.evaluation.beside import OWN
    from bigmodel.evaluation.gate import decide

    expected = registry.current(version.name, CHAMPION)
    new = candidate(version, storage)
    champion = None
    if expected and expected != version.version:
        champion = candidate(registry.resolve(f"{version.name}@{expected}"), storage)
    recipe = new.artifact.recipe
    decision = decide(new, champion, recipe.evaluate, seed=recipe.seed)
    if found := new.beside.report():
        new.beside.save(OWN, found | {"gate": decision.figures()})
    if not decision.passed and force is None:
        raise ModelError(
            f"{version} doesn't become {CHAMPION}: {decision.why}; train a better one, or promote "
            f"it all the same with: bigmodel models promote {version} {CHAMPION} --force WHY"
        )
    moved = registry.promote(
        version.name,
        CHAMPION,
        to=version.version,
        expected=expected,
        why=force or decision.why,
        numbers=decision.figures(),
    )
    return moved, decision.figures()


def candidate(version: "Version", storage: str) -> "Candidate":
    """A version with its own test rows, which are answered now if they never were.

    A champion's may be gone by now: then the other's must do.
    """
    from bigmodel.artifact import Artifact
    from bigmodel.evaluation.beside import Beside
    from bigmodel.evaluation.compare import Candidate
    from jobs.evaluate import evaluate

    beside = Beside.of(storage, version.digest)
    if beside.test_rows() is None:
        with suppress(DataError):
            evaluate(version, storage=storage)
    artifact = Artifact.load(version.uri, digest=version.digest)
    return Candidate(str(version), artifact, beside)
