"""One text by the Ray stage, the predictor and HTTP: the same ids, the same scores."""

import numpy as np
import pytest
from ray import serve as ray_serve

from bigmodel.data.batches import by_length, pad
from bigmodel.metrics import softmax
from bigmodel.predictor import Predictor
from serve import running
from serve.wanted import Pinned, ServeArgs

NUM_TEXTS = 8


@pytest.fixture(scope="module")
def served(fitted):
    """(what two workers made of the small file, the URL where it answers)."""
    done = fitted("linear")
    version = Pinned(uri=done.uri, digest=done.artifact.digest, version="1")
    yield done, running.start(ServeArgs(name="small"), version, port=running.free_port())
    running.stop()
    ray_serve.shutdown()


@pytest.mark.parametrize("kind", ["linear", "bag"])
def test_the_ids_that_training_read_are_those_that_the_predictor_makes(kind, prepared, fitted):
    artifact, rows = fitted(kind).artifact, prepared(kind)
    texts, _ = rows.rows("valid")
    read, _, _ = rows.encoded("valid")
    written = [ids.tolist() for ids in np.split(read.ids, read.offsets[1:-1])]
    encoded = artifact.encoder.encode(texts)
    made = np.split(encoded.ids, encoded.offsets[1:-1])
    assert [ids.tolist() for ids in made] == written
    assert len(written) > 40 and max(map(len, written)) > 4


def test_scores_from_the_written_ids_are_those_of_the_predictor_and_of_http(prepared, served):
    done, url = served
    texts, _ = prepared("linear").rows("valid")
    encoded, _, _ = prepared("linear").encoded("valid")
    scores = np.zeros((len(texts), 2), np.float32)
    for rows in by_length(encoded, 64):
        scores[rows] = done.artifact.model(pad(encoded, rows)).detach().numpy()
    by_ray = softmax(scores, done.artifact.temperature)
    names = done.artifact.labels.names
    answers = Predictor(done.artifact).predict(texts, top_k=2)
    for text, row, answer in list(zip(texts, by_ray, answers, strict=True))[:NUM_TEXTS]:
        expected = dict(zip(names, row.tolist(), strict=True))
        assert dict(answer.labels) == pytest.approx(expected, abs=1e-5)
        (label,) = running.ask(url, text)["predictions"][0]["labels"]
        assert label["label"] == answer.labels[0][0]
        assert label["score"] == pytest.approx(expected[label["label"]], abs=1e-5)
