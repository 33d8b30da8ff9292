"""The frame of every command: options, errors, progress, and the result's way out.

A job is a function from a recipe to a JSON value; `python -m jobs.prepare` and `bigmodel prepare`
are the same command, and with `--cluster` it runs there and nothing else differs.

    @job(show=table)                               # the result -> what people see of it
    def main(recipe: "Recipe") -> dict[str, Any]:
        \"""Search for the best recipe.\"""            # the command's help
        from bigmodel.tuning import search          # imports stay inside: --help is quick

        check_files(recipe)                         # what is wrong is told before Ray starts
        with ray_session():
            return search(recipe).best.values

    if __name__ == "__main__":
        main()

`takes="MODEL"` hands over the argument as it stands, and `storage`; `takes="RECIPE|MODEL"` a
`Recipe` where the argument ends in .toml. Options of one's own stand below as `@click.option`,
those that name a file with `type=click.Path()`. `@verb` is for what is no job.
"""

import atexit
import gc
import inspect
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from bigmodel.cluster.session import RESULT_MARK, in_submitted_job, prepare_environment
from bigmodel.errors import BigModelError, ClusterError, RecipeError
from jobs import submitted
from jobs.outcome import telling_run
from jobs.submit import Submitted, submit
from jobs.terminal import complain, show_progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bigmodel.config import Recipe

Function = Callable[..., Any]
Show = Callable[[Any], "RenderableType"]
Takes = Literal["RECIPE", "MODEL", "RECIPE|MODEL"]

COMMON = [
    click.Option(
        ["--storage"],
        metavar="URI",
        help="Root of all files: a folder, s3://, gs://.  "
        "[default: --set storage, $BIGMODEL_STORAGE, the recipe's, ./storage]",
    ),
    click.Option(["--json", "as_json"], is_flag=True, help="The result as one JSON value."),
    click.Option(["-q", "--quiet"], is_flag=True, help="No progress."),
    click.Option(["--debug"], is_flag=True, help="With an error, where it arose."),
]
SET = click.Option(
    ["--set", "overrides"],
    metavar="KEY=VALUE",
    multiple=True,
    help="Change a key of the recipe, as in train.epochs=3; repeatable.",
)
CLUSTER = click.Option(
    ["--cluster"],
    envvar="BIGMODEL_CLUSTER",
    metavar="ADDRESS",
    help="Run on the Ray cluster at http://HOST:8265.  [default: $BIGMODEL_CLUSTER, else here]",
)
SENDING = [
    click.Option(
        ["--follow/--detach"], default=True, help="With --cluster: wait, or print the job's id."
    ),
    click.Option(
        ["--upload-data"],
        is_flag=True,
        help="Let data files that are too large to travel go to the storage, once.",
    ),
    click.Option(
        ["--retries"],
        type=click.IntRange(min=0),
        default=0,
        metavar="N",
        help="With --cluster: submit a job again that is lost, so many times.",
    ),
    click.Option(["--insecure"], is_flag=True, help="Let the token cross a network unencrypted."),
]


def verb(
    *, show: Show, exit_code: Callable[[Any], int] = lambda result: 0
) -> Callable[[Function], click.Command]:
    """A command that runs here; the function gets `storage` and its own options. `exit_code`: of a
    result that is shown and is no good news all the same."""

    def decorate(function: Function) -> click.Command:
        def call(*, storage: str | None, quiet: bool, **options: Any) -> Any:
            with show_progress(quiet=quiet):
                return function(storage=storage_root(storage), **options)

        return _command(function, call, show=show, options=COMMON, exit_code=exit_code)

    return decorate


def job(
    *, show: Show, takes: Takes = "RECIPE", when: Callable[..., bool] | None = None
) -> Callable[[Function], click.Command]:
    """A command that runs here or on a cluster; the function opens its Ray session where needed.

    Where `when`, asked with the command's own options, says no, it is no job after all and always
    runs here.
    """

    def decorate(function: Function) -> click.Command:
        def call(
            *,
            target: str,
            storage: str | None,
            cluster: str | None,
            quiet: bool,
            overrides: tuple[str, ...] = (),
            **options: Any,
        ) -> Any:
            sent = {option.name: options.pop(option.name) for option in SENDING}
            is_job = when is None or when(**options)
            recipe = takes == "RECIPE" or (takes == "RECIPE|MODEL" and target.endswith(".toml"))
            if cluster and is_job and not in_submitted_job():
                return submit(cluster, recipe=recipe, quiet=quiet, **sent)
            if not sent["follow"] or sent["retries"]:
                option = "--retries" if sent["follow"] else "--detach"
                raise RecipeError(
                    f"{option} is for a job on a cluster, and this one runs here; name the cluster "
                    f"with --cluster, or leave {option} out"
                )
            subject, root = _read_target(target, recipe, storage, overrides)
            keywords = {} if takes == "RECIPE" else {"storage": root}
            work = partial(function, subject, **keywords, **options)
            with show_progress(quiet=quiet), telling_run():
                return submitted.run(work, subject, root) if in_submitted_job() else work()

        inputs = [click.Argument(["target"], metavar=takes), *([SET] if "RECIPE" in takes else [])]
        return _command(function, call, show=show, options=[*inputs, *COMMON, CLUSTER, *SENDING])

    return decorate


def storage_root(given: str | None) -> str:
    """Where no recipe says it: the option, else the environment, else `./storage`; absolute."""
    from bigmodel.recipe import absolute_path

    chosen = given or os.environ.get("BIGMODEL_STORAGE") or "./storage"
    return absolute_path(chosen, Path.cwd())


def user_error(
    error: BaseException, *, within: tuple[BaseException, ...] = ()
) -> BigModelError | None:
    """What a user can mend in `error`, however deep Ray wrapped it: `within` these."""
    if isinstance(error, BigModelError) and not hasattr(error, "cause"):
        return error  # with a cause it is Ray's copy, whose text is a trace
    causes = [getattr(error, name, None) for name in ("cause", "controller_failure", "__cause__")]
    causes += getattr(error, "worker_failures", {}).values()
    within = (*within, error)  # of which Ray's copies may be each other's cause
    inner = [one for one in causes if isinstance(one, BaseException) and one not in within]
    found = (user_error(one, within=within) for one in inner)
    return next((error for error in found if error), None) or _lost(error)


def _lost(error: BaseException) -> ClusterError | None:
    """What became of a process or a machine of Ray's, as a sentence; None where its error carries
    one of ours, or of our code."""
    known: Any = sys.modules.get("ray.exceptions")  # who never imported it can't have raised it
    if not known or not isinstance(error, known.RayError) or isinstance(error, known.RayTaskError):
        return None
    if getattr(error, "actor_init_failed", False):
        return None
    said = str(error).strip().partition("\n")[0].rstrip(".:")
    return ClusterError(
        f"Ray lost what it ran for us ({type(error).__name__}: {said}); see that the machine has "
        "memory and CPUs left, and run the command again"
    )


def _read_target(
    target: str, recipe: bool, storage: str | None, overrides: tuple[str, ...]
) -> tuple["Recipe | str", str]:
    """The recipe or the model's name, and the storage; in a submitted job one that outlives it."""
    from bigmodel.cluster.packing import check_storage, written_storage
    from bigmodel.recipe import load_recipe

    read = load_recipe(target, overrides, storage=storage) if recipe else None
    if in_submitted_job():
        check_storage(written_storage(target if recipe else None, overrides, storage))
    return (read, read.storage) if read else (target, storage_root(storage))


def _command(
    function: Function,
    call: Function,
    *,
    show: Show,
    options: Sequence[click.Parameter],
    exit_code: Callable[[Any], int] = lambda result: 0,
) -> click.Command:
    """`function` as a click command that is run by `call`, with its own options first."""

    def callback(*, as_json: bool, quiet: bool, debug: bool, **given: Any) -> None:
        with _guarded(debug=debug):
            with redirect_stdout(sys.stderr):
                result = call(quiet=quiet, **given)
            _print(result, show=show, as_json=as_json)
        if code := exit_code(result):
            sys.exit(code)

    own = list(reversed(getattr(function, "__click_params__", [])))
    positional = [o for o in (*options, *own) if isinstance(o, click.Argument)]
    named = [o for o in (*own, *options) if isinstance(o, click.Option)]
    return click.Command(
        Path(inspect.getfile(function)).stem,  # the module's name is __main__ under python -m
        callback=callback,
        params=[*positional, *named],
        help=function.__doc__,
    )


@contextmanager
def _guarded(*, debug: bool) -> Iterator[None]:
    """An error becomes one sentence and an exit code."""
    atexit.register(gc.freeze)  # it would look for cycles in all of torch and Ray: a second
    prepare_environment()
    logging.basicConfig(format="%(name)s: %(message)s", level=logging.WARNING)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as `ray job stop` sends it
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        complain("interrupted")
        sys.exit(130)
    except Exception as error:
        sys.exit(_report(error, debug=debug))


def _report(error: Exception, *, debug: bool) -> int:
    """Say what went wrong; the exit code that goes with it."""
    mendable = user_error(error)
    if debug or not mendable:
        traceback.print_exception(error)
    if mendable:
        complain(str(mendable).partition("\n")[0])  # below it Ray Data has put advice of its own
        return mendable.exit_code
    complain(f"this is a bug of ours ({type(error).__name__}); please report the lines above")
    return 1


def _print(result: Any, *, show: Show, as_json: bool) -> None:
    """The result as it is; what looks like Rich's markup in a user's text is text."""
    if isinstance(result, Submitted):
        click.echo(json.dumps({"job": result.id}) if as_json else result.id)
    elif mark := os.environ.get(RESULT_MARK):
        click.echo(mark + json.dumps(result))
    elif as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        from rich.console import Console

        Console(markup=False, highlight=False, emoji=False).print(show(result))
