"""`bigmodel deploy`: answer over HTTP from a living cluster."""

import signal
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from bigmodel.cluster.session import in_submitted_job, ray_session
from bigmodel.errors import ClusterError
from jobs.start import job
from jobs.terminal import table

if TYPE_CHECKING:
    from rich.table import Table

    from bigmodel.config import Recipe, ServeConfig
    from bigmodel.registry import Registry, Version


def show(result: dict[str, Any]) -> "Table":
    return table({"model": result["model"], **rows_of(result["url"])}, title="Deployed")


def rows_of(url: str) -> dict[str, object]:
    """What people see of an endpoint on a cluster: it listens on the loopback of its head."""
    port = urlsplit(url).port
    return {"url": url, "reach it with": f"ssh -L {port}:localhost:{port} HEAD"}


@job(takes="RECIPE|MODEL", show=show)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def main(target: "Recipe | str", *, storage: str, port: int) -> dict[str, Any]:
    """Answer over HTTP from a living cluster."""
    if not in_submitted_job():
        raise ClusterError(
            "deploy needs a cluster that goes on living; name it with --cluster, "
            "or answer from this machine with: bigmodel serve MODEL"
        )
    from bigmodel.registry import Registry

    if isinstance(target, str):
        registry = Registry(storage)
        version, config = registry.resolve(target), None
    else:
        registry = Registry(target.storage, target.tracking.uri)
        version, config = registry.resolve(f"{target.name}@champion"), target.serve
    args = arguments(version, config)
    with ray_session():
        from serve import running

        url = running.start(args, port=port)
    mark_deployed(version, registry)
    return {"model": str(version), "url": url}


def mark_deployed(version: "Version", registry: "Registry") -> None:
    """Point the alias `deployed` at what the cluster answers with: it is recorded, and not deleted.

    Only a running Serve knows what it answers with, so the alias stays after the endpoint's end.
    """
    if version.version:
        registry.promote(
            version.name,
            "deployed",
            to=version.version,
            expected=registry.current(version.name, "deployed"),
            why="deploy",
            numbers={},
        )


def arguments(version: "Version", config: "ServeConfig | None" = None) -> Any:
    """What replicas of a version are started with; its own recipe's settings unless given."""
    from bigmodel.artifact import Artifact

    if config is None:
        config = Artifact.load(version.uri, digest=version.digest).recipe.serve
    from serve.app import ServeArgs

    return ServeArgs(
        artifact=version.uri,
        digest=version.digest,
        name=version.name,
        version=version.version,
        serve=config,
    )


def endpoint(
    version: "Version", config: "ServeConfig", *, text: str, port: int, keep: bool
) -> dict[str, Any]:
    """Start the endpoint and ask it one text; in a submitted job it stays, and here while `keep`.

    An endpoint that is stopped at once takes any free port.
    """
    from bigmodel import progress
    from serve import running

    stays = in_submitted_job()
    with progress.stage("deploy"):
        args = arguments(version, config)
        url = running.start(args, port=port if stays or keep else running.free_port())
        prediction = running.ask(url, text)["predictions"][0]
    answer = {"text": text, **{key: prediction[key] for key in ("labels", "abstained")}}
    if stays:
        return {"url": url, "answer": answer}
    if keep:
        stay(url)
    running.stop()
    return {"url": None, "answer": answer}


def check_port(host: str, port: int) -> None:
    """What an endpoint on this machine can't listen on, told before Ray starts."""
    from serve.access import require_loopback
    from serve.probe import obstacle

    require_loopback(host)
    if reason := obstacle(host, port):
        raise ClusterError(
            f"the endpoint can't listen on {host}:{port} ({reason}); choose another --port"
        )


def stay(url: str) -> None:
    """Say where the endpoint is, and wait for Ctrl-C or SIGTERM; a second one interrupts."""
    done = threading.Event()
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, lambda *_: done.set())
    click.echo(f"answering at {url}/v1/classify; Ctrl-C stops it", err=True)
    done.wait()
    for each, handler in before.items():
        signal.signal(each, handler)


if __name__ == "__main__":
    main()
