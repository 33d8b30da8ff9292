"""`POST /v1/classify`: our own protocol."""

import time
from typing import TYPE_CHECKING

from serve.http import Answer, Request
from serve.models import Models, Served
from serve.problems import Problem
from serve.schemas import Asked, ClassifyResponse, TextAnswer, read_request, text_answer, usage
from serve.work import Work

if TYPE_CHECKING:
    from bigmodel.explanation import Word
    from bigmodel.predictor import Prediction


class Classify:
    """Answers with the default model."""

    def __init__(self, models: Models, work: Work) -> None:
        self._models, self._work = models, work

    async def __call__(self, request: Request) -> Answer:
        start = time.perf_counter()
        self._work.draining.check()
        with self._work.admitted:
            served = default_of(self._models)
            document, deadline = await self._work.body(request)
            num_labels = len(served.predictor.labels)
            asked = read_request(document, self._work.limits, num_labels=num_labels)
            read = time.perf_counter()
            answers, words = await self._work.predict(served, asked, deadline=deadline)
        body = response(answers, words, asked, served, request.id.decode())
        return Answer.json(
            body, model=served.name, version=served.version, timing=timing(start, read)
        )


def default_of(models: Models) -> Served:
    """Problem 503 before any model came."""
    if (served := models.default) is None:
        raise Problem(
            "not-ready", "no model is loaded yet; try again", headers={"Retry-After": "1"}
        )
    return served


def response(
    answers: "list[Prediction]",
    words: "list[tuple[Word, ...]]",
    asked: Asked,
    served: Served,
    request_id: str,
) -> ClassifyResponse:
    predictions: list[TextAnswer] = [
        text_answer(answer, cut=position in asked.cut) for position, answer in enumerate(answers)
    ]
    for prediction, found in zip(predictions, words, strict=False):
        prediction["words"] = [
            {"text": word.text, "start": word.start, "end": word.end, "weight": word.weight}
            for word in found
        ]
    return {
        "model": served.name,
        "version": served.version,
        "request_id": request_id,
        "predictions": predictions,
        "usage": usage(asked.texts),
    }


def timing(start: float, read: float) -> str:
    """For the `Server-Timing` header, in milliseconds, as of now."""
    now = time.perf_counter()
    return f"read;dur={(read - start) * 1e3:.2f}, predict;dur={(now - read) * 1e3:.2f}"
