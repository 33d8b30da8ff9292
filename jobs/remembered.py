"""What the head of `bigmodel up` answers with, kept beside it: after a crash the next `up` puts it
back."""

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from bigmodel.cluster import head, private
from bigmodel.cluster.session import attached
from bigmodel.config import Section
from bigmodel.errors import BigModelError
from serve.wanted import Pinned, ServeArgs, Wanted

log = logging.getLogger(__name__)

FILE = "deployed.json"


class Deployed(Section):
    """All models of an endpoint, with the versions that a rollback puts back; where it listens;
    the storage of its keys."""

    port: int
    args: ServeArgs
    models: Mapping[str, Wanted]

    def versions(self) -> Iterator[tuple[str, Pinned, bool]]:
        """Names and versions in the order in which they are deployed, the default model's first;
        of each name the one before it first, which isn't needed."""
        for name in sorted(self.models, key=lambda name: name != self.args.name):
            if fallback := self.models[name].fallback:
                yield name, fallback, False
            yield name, self.models[name].itself, True


def remember() -> None:
    """Write down what answers on the connected cluster, where that is the head of this machine's
    `up`; nothing is written otherwise."""
    from serve import declared

    try:
        found = head.living_head()
        if found is None or os.environ.get("RAY_ADDRESS") != f"127.0.0.1:{found[0].gcs}":
            return
        now = declared.declared()
        if now is None or now.args is None:
            return
        port = declared.address()[1]
        kept = Deployed(port=port, args=now.args, models=now.wish.models)
        private.write(FILE, kept.model_dump_json())
    except BigModelError as error:  # it answers all the same
        log.warning("what answers can't be put back after a crash: %s", error)


def forget() -> None:
    private.remove(FILE)


def put_back() -> dict[str, Any] | None:
    """Deploy what was remembered on the head that lives, where nothing is deployed there; what
    answers then, and its URL. None where there is nothing to do."""
    kept, living = _read(), head.living_head()
    if kept is None or living is None or head.applications(*living):
        return None
    found, token = living
    url, models = "", []
    with attached(found.gcs, token):  # Ray reads what this sets when it is imported
        from serve import rollout
        from serve.declared import code_digest

        for name, version, needed in kept.versions():
            args = kept.args.model_copy(update={"name": name, "code": code_digest()})
            try:
                url = rollout.deploy(version, args, port=kept.port, other_labels=True)
            except BigModelError as error:
                if needed:
                    raise _not_back(f"{name}@{version.version}", error) from None
                continue
            models += [f"{name}@{version.version}"] if needed else []
    return {"models": models, "url": url}


def _not_back(model: str, error: BigModelError) -> BigModelError:
    said = str(error).partition("\n")[0]
    return type(error)(
        f"the head is up, but {model} couldn't be put back ({said}); deploy it again, or forget it "
        "with: bigmodel down"
    )


def _read() -> Deployed | None:
    """None where nothing is kept, or what is kept is of another release."""
    if not (written := private.read(FILE)):
        return None
    try:
        return Deployed.model_validate_json(written)
    except ValidationError:
        log.warning("%s is of another release: deploy again", private.path(FILE))
        return None
