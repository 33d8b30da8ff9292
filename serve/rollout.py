"""Another version for a living endpoint: every replica exchanges it in its own process, or none."""

import getpass
import socket
import time

from bigmodel.errors import BigModelError, ClusterError, ModelError
from serve import outcomes, running
from serve.declared import Declared, address, declare, declared, is_scaled_to_zero, living
from serve.loading import load
from serve.wanted import Pinned, ServeArgs, Wish

TIMEOUT_S = 180.0
SECONDS_BETWEEN_LOOKS = 0.1


def deploy(
    version: Pinned,
    args: ServeArgs,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    other_labels: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Answer with `version` under `args.name`, as one model more where nothing has that name;
    returns the URL. A `port` is for an endpoint that isn't there yet: 8000 if none is given.

    First it is loaded, verified and warmed here; then each replica does so in a thread while it
    goes on with the version before, exchanges one reference, and tells. One refusal (the bytes,
    the golden texts, NaN, labels that the version before doesn't have unless `other_labels`) puts
    the version before back everywhere and is a ModelError. So is another deploy that came first.

    Other settings than the endpoint's (limits, replicas, keys) and another release of our code
    need new processes: as many as there are start beside the old ones, which answer until then,
    so the cluster needs the CPUs of both. The settings are those of the default model; of another
    name's recipe they aren't looked at.
    """
    with outcomes.going_first(_signed(f"{args.name}@{version.version}")):
        before = declared()
        if before is None:
            return running.start(args, version, host=host, port=port or 8000, timeout_s=timeout_s)
        _check_port(port)
        replicas = living()
        load(args.name, version)
        wish = before.wish.with_model(args.name, version, other_labels=other_labels)
        after = before.next(wish, _arguments(args, before.args))
        _exchange(before, after, timeout_s=timeout_s)
        if not living() <= replicas:
            running.wait_until_reached(time.monotonic() + timeout_s)
    return running.url_of_running()


def rollback(name: str, *, timeout_s: float = TIMEOUT_S) -> Pinned:
    """Put back the version that `name` answered with before; twice is as it was. ModelError where
    there is none, or as in `deploy`. It has answered before, so only the replicas look at it."""
    with outcomes.going_first(_signed(f"the rollback of {name}")):
        before = declared()
        if before is None:
            raise ClusterError(
                "no endpoint is deployed on this cluster; start one with: bigmodel deploy MODEL"
            )
        wish = before.wish.rolled_back(name)
        _exchange(before, before.next(wish), timeout_s=timeout_s)
    return wish.models[name].itself


def _check_port(port: int | None) -> None:
    _, present = address()
    if port not in (None, present):
        raise ClusterError(
            f"the endpoint of this cluster is on port {present}, not {port}; leave --port out"
        )


def _arguments(args: ServeArgs, present: ServeArgs | None) -> ServeArgs:
    """What the endpoint has from now on. It never loses its keys, and another model than the
    default one brings no settings."""
    if present is None:
        return args
    if present.name != args.name:
        return present.model_copy(update={"code": args.code})
    return args.model_copy(update={"keys": args.keys or present.keys})


def _exchange(before: Declared, after: Declared, *, timeout_s: float) -> None:
    declare(after)
    try:
        _wait_for(after.wish, timeout_s=timeout_s)
    except BigModelError as error:
        back = before.next(before.wish.again(after=after.wish))
        declare(back)
        try:
            _wait_for(back.wish, timeout_s=timeout_s)
        except BigModelError as another:
            raise ClusterError(
                f"{error}; and the version before couldn't be put back ({another}): look at what "
                "answers"
            ) from None
        raise type(error)(f"{error}; the version before answers on") from None
    except BaseException:  # Ctrl-C, or our own mistake: nobody is there to wait
        declare(before.next(before.wish.again(after=after.wish)))
        raise


def _wait_for(wish: Wish, *, timeout_s: float) -> None:
    """Until each living replica has told that it is as wished; an error where one refuses, Serve
    gives up, or time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        told, ids = outcomes.told(), living()
        heard = [one for id in ids if (one := told.get(id)) and one.generation == wish.generation]
        if refused := next((one.refused for one in heard if one.refused), ""):
            raise ModelError(refused)
        if ids and len(heard) == len(ids):
            return
        running.raise_if_failed()
        if not ids and is_scaled_to_zero():
            return
        if time.monotonic() > deadline:
            raise ClusterError(
                f"{len(heard)} of {len(ids)} replicas had told after {timeout_s:g} s that they "
                "exchanged the model; look at the replicas' logs, and deploy again"
            )
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _signed(what: str) -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "somebody"
    return f"{what}, by {user} on {socket.gethostname()}"
