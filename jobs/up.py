"""`bigmodel up`: a Ray head on this machine that goes on living, for `deploy` and for jobs."""

from typing import TYPE_CHECKING, Any

from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table


def show(result: dict[str, Any]) -> "Table":
    title = "Up" if result["started"] else "Up already"
    rows = {"address": result["address"], "token": result["token"]}
    if back := result["put_back"]:
        rows["put back"] = f"{', '.join(back['models'])} at {back['url']}"
    return table({**rows, "end it with": "bigmodel down"}, title=title)


@verb(show=show)
def main(*, storage: str) -> dict[str, Any]:
    """Start a Ray head on this machine, behind a token.

    What one that crashed had deployed is put back.
    """
    from bigmodel import progress
    from bigmodel.cluster import head, private
    from jobs import remembered
    from serve import ingress

    with progress.stage("up"):
        found, started = head.start(ingress.environment)
        back = remembered.put_back()
    return {
        "address": found.address,
        "token": str(private.path(head.TOKEN)),
        "started": started,
        "put_back": back,
    }


if __name__ == "__main__":
    main()
