"""Very many texts are answered by Ray's processes as they are by one predictor."""

import numpy as np

from bigmodel.answering import answer_everywhere
from bigmodel.predictor import Predictor


def test_all_cores_say_what_one_process_says_in_the_same_order(ray_local, tiny, tiny_uri, reviews):
    texts = [f"{text}，第{n}次" for n in range(250) for text, _ in reviews]
    expected = Predictor(tiny).probabilities(texts)
    found = answer_everywhere(tiny_uri, tiny.digest, texts)
    assert found.shape == (6000, 2) and np.allclose(found, expected, atol=1e-6)
