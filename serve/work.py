"""What both protocols do with a body: let it in, read it, and have it answered in time."""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from bigmodel.config import LimitsConfig
from serve.access import Admission, Draining, check_content, deadline_s, read_body
from serve.http import Request
from serve.metrics import Metrics
from serve.models import Served
from serve.problems import Problem
from serve.schemas import Asked
from serve.strict_json import parse

if TYPE_CHECKING:
    from bigmodel.explanation import Word
    from bigmodel.predictor import Prediction

FOR_EXPLAINING = 0.8
"""Of the time left: who explains may take somewhat longer than told."""
EXPLAINING_S = 1.0
"""The most that one text's words may take: others wait for theirs in the same thread."""


class Work:
    """The work of one replica, of all its models: `with work.admitted:` one request of it."""

    def __init__(
        self, limits: LimitsConfig, admitted: Admission, draining: Draining, metrics: Metrics
    ) -> None:
        self.limits, self.admitted, self.draining = limits, admitted, draining
        self._metrics = metrics
        self._explaining = ThreadPoolExecutor(1, "explain")

    async def body(self, request: Request, *, untyped: bool = False) -> tuple[Any, float]:
        """The document, and the seconds that its answer may take; Problem for anything else."""
        check_content(request, untyped=untyped)
        deadline = deadline_s(request, self.limits)
        return parse(await read_body(request, self.limits)), deadline

    async def predict(
        self, served: Served, asked: Asked, *, deadline: float
    ) -> "tuple[list[Prediction], list[tuple[Word, ...]]]":
        """An answer a text, in order; and the words of each where they are asked for, else none."""
        words: list[tuple[Word, ...]] = []
        ends = time.perf_counter() + deadline
        try:
            async with asyncio.timeout(deadline):
                answers = await served.batch.predict(asked.texts, top_k=asked.top_k)
                for position, answer in enumerate(answers if asked.explain else ()):
                    share = 1 / (len(answers) - position)
                    text = asked.texts[position]
                    words.append(await self._explain(served, text, answer, ends, share))
        except TimeoutError:
            raise Problem("deadline", f"no answer within {deadline:g} s") from None
        if not all(math.isfinite(score) for answer in answers for _, score in answer.labels):
            raise ArithmeticError("a score is no number")
        self._metrics.predicted(served, answers)
        return answers, words

    async def _explain(
        self, served: Served, text: str, answer: "Prediction", ends: float, share: float
    ) -> "tuple[Word, ...]":
        loop = asyncio.get_running_loop()
        call = partial(_explain, served, text, answer, ends=ends, share=share)
        return await loop.run_in_executor(self._explaining, call)


def _explain(
    served: Served, text: str, answer: "Prediction", *, ends: float, share: float
) -> "tuple[Word, ...]":
    """In the thread that explains, with this share of the time left once it has begun."""
    from bigmodel.explanation import explain  # not every replica is ever asked

    left = max(ends - time.perf_counter(), 0.0)
    budget = min(EXPLAINING_S, left * share * FOR_EXPLAINING)
    label = served.predictor.labels.index(answer.labels[0][0])
    return explain(served.predictor.artifact, text, label=label, budget_s=budget)
