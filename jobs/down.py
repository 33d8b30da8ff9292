"""`bigmodel down`: the end of what `bigmodel up` started, and of nothing else."""

from typing import TYPE_CHECKING, Any

from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.console import RenderableType


def show(result: dict[str, Any]) -> "RenderableType":
    if not result["ended"]:
        return "nothing is up on this machine"
    return table({"address": result["address"]}, title="Down")


@verb(show=show)
def main(*, storage: str) -> dict[str, Any]:
    """End the Ray head that `up` started, and forget what it answered with."""
    from bigmodel import progress
    from bigmodel.cluster import head
    from jobs import remembered

    with progress.stage("down"):
        ended = head.stop()
        remembered.forget()
    return {"address": ended.address if ended else None, "ended": ended is not None}


if __name__ == "__main__":
    main()
