"""The quick linear model that labels and scores are held against: seconds, no settings."""

from typing import Any

import numpy as np

from bigmodel.text.normalize import normalize


def features() -> Any:
    """TF-IDF of characters and their pairs, not yet fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        preprocessor=normalize,
        analyzer="char",
        ngram_range=(1, 2),
        sublinear_tf=True,
        dtype=np.float32,
    )


def classifier(seed: int) -> Any:
    """Logistic regression by stochastic gradient descent over them, not yet fitted."""
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", alpha=3e-5, random_state=seed)
