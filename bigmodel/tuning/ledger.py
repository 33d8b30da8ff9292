"""What a search did, event by event, under the storage: from this alone a stopped one goes on."""

import json
import time
from typing import Any

from bigmodel.errors import ModelError
from bigmodel.storage import Folder
from bigmodel.tuning.trials import End, Trial

_EVENTS = "events"


class Ledger:
    """Appends events, each a small file of its own that is there whole or not at all."""

    def __init__(self, place: Folder) -> None:
        self._place = place.child(_EVENTS)
        self._next = 0
        self._trials: dict[int, Trial] = {}
        for name in sorted(self._place.names()):
            self._replay(name)
            self._next = int(name.partition(".")[0]) + 1

    @property
    def trials(self) -> list[Trial]:
        """All that have begun, by number."""
        return [self._trials[number] for number in sorted(self._trials)]

    def begin(self, number: int, values: dict[str, Any]) -> None:
        """A trial begins, or begins again: what it said before it was cut off doesn't count."""
        self._append({"event": "begin", "trial": number, "values": values})

    def report(self, number: int, epoch: dict[str, float]) -> None:
        self._append({"event": "epoch", "trial": number, "epoch": epoch})

    def end(self, number: int, how: End, reason: str = "") -> None:
        self._append({"event": "end", "trial": number, "how": how, "reason": reason})

    def _append(self, event: dict[str, Any]) -> None:
        text = json.dumps({**event, "at": round(time.time(), 3)}, ensure_ascii=False)
        self._place.write(f"{self._next:06d}.json", text.encode())
        self._next += 1
        self._apply(json.loads(text))

    def _apply(self, event: dict[str, Any]) -> None:
        number, at = event["trial"], event["at"]
        if event["event"] == "begin":
            trial = Trial(number, event["values"], times=(at,))
        elif event["event"] == "epoch":
            trial = self._trials[number].with_epoch(event["epoch"], at)
        else:
            trial = self._trials[number].with_end(event["how"], event["reason"], at)
        self._trials[number] = trial

    def _replay(self, name: str) -> None:
        try:
            self._apply(json.loads(self._place.read(name)))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise ModelError(
                f"{self._place.uri}/{name}: is no event of a search, or is damaged; search anew "
                "without --resume"
            ) from None
