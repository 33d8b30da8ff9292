"""From the command given here to the same one on a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bigmodel.errors import RecipeError
from jobs.outcome import outcome
from jobs.terminal import show_progress

if TYPE_CHECKING:
    from bigmodel.cluster.packing import Luggage
    from bigmodel.cluster.submission import Submission

LEFT_HERE = {
    "target", "storage", "overrides", "as_json", "cluster", "follow", "upload_data", "retries",
    "insecure",
}  # fmt: skip
"""Parameters that aren't passed on as they stand; all others of the command are."""

READ = ("data", "file")
"""Parameters that name a file to be read, which may be uploaded; another one is written."""


@dataclass(frozen=True)
class Submitted:
    """What there is to say of a job that nobody waits for."""

    id: str


def submit(
    address: str,
    *,
    recipe: bool,
    quiet: bool,
    follow: bool,
    upload_data: bool,
    retries: int,
    insecure: bool,
) -> Any:
    """Submit the command of the current context; its result, or the id of a job not waited for."""
    from bigmodel.cluster import submission
    from bigmodel.cluster.packing import pack_model, pack_recipe
    from bigmodel.config import ClusterConfig
    from bigmodel.recipe import load_recipe

    if retries and not follow:
        raise RecipeError(
            "--retries needs this command to wait for the job's end, which --detach doesn't; leave "
            "one of them out"
        )
    context = click.get_current_context()
    target, storage = context.params["target"], context.params["storage"]
    config = ClusterConfig()
    if recipe:
        overrides = context.params["overrides"]
        config = load_recipe(target, overrides, storage=storage).cluster
        luggage = pack_recipe(target, overrides, storage, upload_data=upload_data)
    else:
        luggage = pack_model(target, storage, deployed=context.params.get("rollback", False))
    luggage, uploaded = _with_uploads(luggage, context) if upload_data else (luggage, {})

    def send(changed: Mapping[str, str]) -> "Submission":
        own = own_arguments(context, {**uploaded, **changed})
        whole = replace(luggage, arguments=(*luggage.arguments, *own))
        verb = str(context.command.name)
        with show_progress(quiet=quiet):
            return submission.submit(
                verb, whole, address, max_jobs=config.max_jobs, insecure=insecure
            )

    if not follow:
        return Submitted(send({}).id)
    resumes = any(parameter.name == "resume" for parameter in context.command.params)
    return outcome(send, retries=retries, resumes=resumes)


def _with_uploads(luggage: "Luggage", context: click.Context) -> "tuple[Luggage, dict[str, str]]":
    """With the local files that options name, and how these options name them there."""
    from bigmodel.cluster.packing import written_storage
    from bigmodel.cluster.uploads import plan

    root = written_storage(None, (), context.params["storage"])
    given = {name: context.params.get(name) for name in READ}
    planned = {
        name: plan(root, [Path(str(value))]) for name, value in given.items() if _is_local(value)
    }
    sent = [upload for _, uploads in planned.values() for upload in uploads]
    uploaded = {name: uri for name, (uri, _) in planned.items()}
    return replace(luggage, uploads=(*luggage.uploads, *sent)), uploaded


def _is_local(value: str | None) -> bool:
    return value is not None and "://" not in value


def own_arguments(context: click.Context, changed: Mapping[str, str] | None = None) -> list[str]:
    """The command's other options and arguments as they were given, for a command line there;
    those with a `changed` value have that."""
    changed = changed or {}
    options: list[str] = []
    words: list[str] = []
    for parameter in context.command.params:
        name = str(parameter.name)
        value: Any = changed.get(name, context.params.get(name))
        source = context.get_parameter_source(name)
        unsaid = source in (None, click.core.ParameterSource.DEFAULT) and name not in changed
        if name in LEFT_HERE or unsaid:
            continue
        if isinstance(parameter.type, click.Path) and name not in changed:
            _check_uri(parameter, value)
        if isinstance(parameter, click.Argument):
            words += [str(word) for word in (value if parameter.nargs != 1 else [value])]
        elif isinstance(parameter, click.Option):
            options += _as_given(parameter, value)
    return [*options, *(["--", *words] if words else [])]


def _as_given(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        names = option.opts if value else option.secondary_opts
        return names[:1]
    values = value if option.multiple else [value]
    return [part for one in values for part in (option.opts[0], str(one))]


def _check_uri(parameter: click.Parameter, value: str) -> None:
    if _is_local(value):
        upload = "let it go to the storage with --upload-data, or " * (parameter.name in READ)
        raise RecipeError(
            f"{parameter.opts[0]} {value} is a file of this machine, which the cluster can't "
            f"reach; {upload}give a URI such as s3://…"
        )
