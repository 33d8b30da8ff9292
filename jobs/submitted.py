"""Around the work of a submitted job: it keeps a record of itself, however it was submitted."""

import json
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

import bigmodel
from bigmodel.cluster.session import JOB_CONFIG, RESULT_MARK, ray_session

if TYPE_CHECKING:
    from bigmodel.cluster.recording import Recorder
    from bigmodel.config import Recipe


def run(work: Callable[[], Any], subject: "Recipe | str", storage: str) -> Any:
    """What the work comes to; what becomes of it is written under the storage, to the end of the
    command. `subject`: a recipe, or a model as it was named."""
    context = click.get_current_context()
    recorder = _recorder(str(context.command.name), subject, storage)
    if recorder is None:
        return _checked(work, subject, storage)
    recorder.begin()
    context.call_on_close(lambda: recorder.end(_exit_code(sys.exc_info()[1])))

    def stop(number: int, frame: FrameType | None) -> None:
        recorder.stopping()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGTERM, stop)  # as `ray job stop` sends it
    result = _checked(work, subject, storage)
    recorder.tell(result)
    return result


def _checked(work: Callable[[], Any], subject: "Recipe | str", storage: str) -> Any:
    """The work, once what would end it in vain was looked for; in one Ray session, so that the
    processes that were started for the one are there for the other."""
    from bigmodel.cluster import preflight

    verb = str(click.get_current_context().command.name)
    with ray_session():
        preflight.check(subject, storage, verb=verb)
        return work()


def _recorder(verb: str, subject: "Recipe | str", storage: str) -> "Recorder | None":
    """None for a job whose id can't be the name of a folder."""
    from bigmodel.cluster.job_records import ID, Record, now, place_of
    from bigmodel.cluster.recording import Recorder, log_file
    from bigmodel.recipe import PASSWORD

    about = json.loads(os.environ[JOB_CONFIG]).get("metadata", {})
    job = str(about.get("job_submission_id", ""))
    if not ID.fullmatch(job):
        return None
    source = log_file(job)
    named = subject.partition("@")[0] if isinstance(subject, str) else subject.name
    record = Record(
        id=job,
        verb=verb,
        name=about.get("name") or named,
        who=about.get("who", ""),
        argv=tuple(PASSWORD.sub("***@", word) for word in sys.argv),
        bigmodel=bigmodel.__version__,
        mark=os.environ.get(RESULT_MARK, ""),
        source=str(source or ""),
        began=now(),
        seen=now(),
    )
    return Recorder(place_of(storage, job), record, source)


def _exit_code(error: BaseException | None) -> int:
    """Of a command that ends with this error."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return 0 if error is None else getattr(error, "exit_code", 1)
