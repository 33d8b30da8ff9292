"""Before the champion's alias moves: the gate, its decision, and where that is kept."""

from typing import TYPE_CHECKING, Any

from bigmodel.errors import BigModelError, ModelError
from bigmodel.registry import CHAMPION
from jobs.evaluate import candidate
from jobs.versions import save_report

if TYPE_CHECKING:
    from bigmodel.evaluation.compare import Candidate
    from bigmodel.evaluation.gate import Decision
    from bigmodel.registry import Registry, Version


def promote(
    version: "Version", registry: "Registry", *, storage: str, force: str | None = None
) -> tuple["Version", dict[str, Any]]:
    """Make a version the champion if the gate lets it: (the version, what the gate said).

    ModelError, exit 4, where it doesn't; `force` is a reason to move all the same, which is kept
    with the move beside the gate's numbers. Nothing is asked where it is champion already.
    """
    expected = registry.current(version.name, CHAMPION)
    new = candidate(version, storage)
    if expected == version.version:
        figures = new.beside.gate() or {}
    else:
        decision = _decide(new, f"{version.name}@{expected}" if expected else "", registry, storage)
        figures = decision.figures()
        new.beside.keep_gate(figures)
        if found := new.beside.report():
            save_report(version, storage, found | {"gate": figures})
        if not decision.passed and force is None:
            raise ModelError(
                f"{version} doesn't become {CHAMPION}: {decision.why}; train a better one, or "
                "promote it all the same with: "
                f"bigmodel models promote {version} {CHAMPION} --force WHY"
            )
    moved = registry.promote(
        version.name,
        CHAMPION,
        to=version.version,
        expected=expected,
        why=force or figures.get("why", "promoted again"),
        numbers=figures,
    )
    return moved, figures


def _decide(new: "Candidate", champion: str, registry: "Registry", storage: str) -> "Decision":
    """What the gate says; a champion that can't be asked lets nobody pass but by force."""
    from bigmodel.evaluation.gate import Decision, decide

    config, seed = new.artifact.recipe.evaluate, new.artifact.recipe.seed
    if not champion:
        return decide(new, None, config, seed=seed)
    try:
        other = candidate(registry.resolve(champion), storage)
    except BigModelError as error:
        why = f"the champion {champion} can't be asked ({str(error).partition(';')[0]})"
        return Decision(False, why, {"champion": champion})
    return decide(new, other, config, seed=seed)
