"""The log of a job as it grows at its cluster, which gives the whole of it each time."""

import time
from typing import Any

SHARE_OF_TIME = 0.1
"""That may be spent fetching: a long log is looked at less often, so that following it costs no
more than in proportion to a job's time."""


class GrowingLog:
    """A log as far as it was fetched, which is the `text`."""

    def __init__(self, client: Any, job: str) -> None:
        self.text = ""
        self._client, self._job = client, job
        self._next = 0.0

    def look(self, *, last: bool = False) -> str:
        """What is new of it; "" as well while it isn't time to fetch it again, but for the `last`
        look. ClusterError where it can't be had."""
        began = time.monotonic()
        if began < self._next and not last:
            return ""
        known, self.text = len(self.text), str(self._client.get_job_logs(self._job))
        self._next = time.monotonic() + (time.monotonic() - began) / SHARE_OF_TIME
        return self.text[known:]
