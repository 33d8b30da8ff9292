"""`bigmodel doctor`: what is wrong with this machine or a cluster, and how to mend it."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from jobs.start import verb

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.cluster.facts import Facts

STYLES = {"ok": "green", "warning": "yellow", "wrong": "bold red"}


def show(result: list[dict[str, str]]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    grid = Table("check", "", "found", "mend it with")
    for row in result:
        state = Text(row["state"], style=STYLES[row["state"]])
        grid.add_row(row["check"], state, row["found"], row["mend"])
    return grid


def exit_code(result: list[dict[str, str]]) -> int:
    return 5 if any(row["state"] == "wrong" for row in result) else 0


@verb(show=show, exit_code=exit_code)
@click.option(
    "--cluster",
    envvar="BIGMODEL_CLUSTER",
    metavar="ADDRESS",
    help="Look at the Ray cluster at http://HOST:8265 too.  [default: $BIGMODEL_CLUSTER]",
)
def main(*, storage: str, cluster: str | None) -> list[dict[str, str]]:
    """Say what is wrong here, or with a cluster: versions, token, ports, disk, memory.

    Ends with 5 where something is wrong.
    """
    from dataclasses import asdict

    from bigmodel.cluster.diagnosis import diagnose
    from bigmodel.cluster.examination import examine

    facts = with_serving(examine(storage, cluster), storage)
    return [asdict(finding) for finding in diagnose(facts)]


def with_serving(facts: "Facts", storage: str) -> "Facts":
    """The facts with what an endpoint here would need: HAProxy, and keys that are their owner's."""
    from bigmodel.errors import BigModelError
    from serve import ingress
    from serve.keyfile import read_keys

    changes: dict[str, Any] = {}
    try:
        with ingress.embedded() as variables:
            if variables["RAY_SERVE_ENABLE_HA_PROXY"] != "1":
                changes["proxy"] = "Ray's own"
    except BigModelError as error:
        changes["proxy_fault"] = str(error)
    if "://" not in storage:
        try:
            read_keys(storage)
        except BigModelError as error:
            changes["keys"] = str(error)
    return replace(facts, **changes)


if __name__ == "__main__":
    main()
