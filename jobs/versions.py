"""What stands beside a version, and its report: for the verbs that judge it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigmodel.evaluation.beside import Beside
    from bigmodel.registry import Version


def beside(version: "Version", storage: str) -> "Beside":
    """The folder of a version, or that of an artefact without a number."""
    from bigmodel.evaluation.beside import Beside
    from bigmodel.storage import folder

    own = f"versions/{version.name}/{version.version}"
    name = own if version.version else f"artefacts/{version.digest[:16]}"
    return Beside(folder(storage).child(f"reports/{name}"))


def save_report(version: "Version", storage: str, found: dict[str, Any]) -> str:
    """Keep the report on the version's own test rows beside it and with its run; where it is."""
    from bigmodel import tracking
    from bigmodel.config import Recipe
    from bigmodel.evaluation.beside import OWN

    own = beside(version, storage)
    place = own.save(OWN, found)
    if version.run_id:
        recipe = Recipe.model_validate(found["recipe"])
        scores = {f"test_{name}": found[name] for name in ("accuracy", "macro_f1")}
        page = own.page(OWN)
        tracking.attach(recipe, storage, version.run_id, files={"report.html": page}, **scores)
    return place
