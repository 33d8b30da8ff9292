"""`bigmodel serve`: the endpoint on this machine, in the foreground, until Ctrl-C."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from bigmodel.cluster.session import ray_session
from jobs.deploy import DRAIN_S, arguments, check_port, keys_in, pinned, stay
from jobs.start import verb
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table


def show(result: dict[str, Any]) -> "Table":
    return table(result, title="Stopped")


@verb(show=show)
@click.argument("model")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Beyond the loopback every request needs a key.",
)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def main(*, storage: str, model: str, host: str, port: int) -> dict[str, Any]:
    """Answer over HTTP from this machine, until Ctrl-C."""
    from bigmodel import progress
    from bigmodel.loopback import is_loopback
    from bigmodel.registry import Registry
    from serve import ingress
    from serve.access import require_loopback

    keys = "" if is_loopback(host) else keys_in(storage)
    if not keys:
        require_loopback(host)
    check_port(host, port)
    version = Registry(storage).resolve(model)
    args = arguments(version, keys=keys)
    with ExitStack() as until_the_end:
        variables = until_the_end.enter_context(ingress.embedded())
        with progress.stage("serve"):
            until_the_end.enter_context(ray_session(variables=variables))
            from serve import running

            url = running.start(args, pinned(version), host=host, port=port)
        stay(url)
        running.stop(drain_s=DRAIN_S)
    return {"model": str(version), "url": url}


if __name__ == "__main__":
    main()
