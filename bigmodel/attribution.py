"""What each word of a text adds to a label's log-odds: exactly where scores are sums of n-grams,
by integrated gradients where they are not."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bigmodel.artifact import Artifact
from bigmodel.models import LinearNgrams, Residual
from bigmodel.models.bag import BagOfNgrams
from bigmodel.models.gradients import integrated_gradients
from bigmodel.models.words import WordModel
from bigmodel.text.features import Encoded, NgramTable
from bigmodel.text.ngrams import Ints, NgramSpans
from bigmodel.text.segment import Segmenter

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attribution:
    """The words of a normalised text and what each adds.

    Word i is written[starts[i]:ends[i]]. The sum of `weights`, float64 [words], and the `rest` (of
    no word: the bias, what a net says where it sees none) is `log_odds` of the text's scores.
    """

    starts: Ints
    ends: Ints
    weights: Doubles
    rest: float


def attribute(artifact: Artifact, written: str, *, label: int, budget_s: float) -> Attribution:
    """The log-odds of `label`, taken apart by the words of a normalised text.

    An n-gram is shared out evenly among the characters, or the words, that it covers, blanks not.
    A net is asked until it adds up within a hundredth, or `budget_s` is over.
    """
    until = time.monotonic() + budget_s
    text = _Cut.of(artifact.encoder.segmenter, written)
    encoded = artifact.encoder.encode([written])
    against = _against(artifact, label)
    model = artifact.model
    weights, rest = np.zeros(len(text.starts)), 0.0
    if isinstance(model, Residual):
        scaled = against * float(model.scale.detach())
        weights, rest = _of_linear(
            model.linear, artifact.encoder.ngrams, encoded.ngrams, scaled, text
        )
        model = model.net
    if isinstance(model, WordModel):
        ids = torch.from_numpy(encoded.ids.astype(np.int64))
        added, nothing = integrated_gradients(model, ids, against, until=until)
        weights[text.read[: len(added)]] += added  # the words after max_tokens add nothing
        rest += nothing
    elif isinstance(model, LinearNgrams):
        weights, rest = _of_linear(model, artifact.encoder.features, encoded, against, text)
    else:
        assert isinstance(model, BagOfNgrams)
        weights, rest = _of_bag(model, artifact.encoder.features, encoded, against, text)
    return Attribution(text.starts, text.ends, weights, rest)


def log_odds(artifact: Artifact, scores: npt.ArrayLike, *, label: int) -> float:
    """Of one text's scores [L]: the label's less the mean of the others', over the temperature.

    That is ln p(label) - mean of ln p(other); of two labels the usual ln(p / (1 - p)).
    """
    return float(np.asarray(scores, np.float64) @ _against(artifact, label))


def _against(artifact: Artifact, label: int) -> Doubles:
    """What scores [L] are multiplied with to give the log-odds of `label`."""
    others = len(artifact.labels) - 1
    against = np.full(others + 1, -1 / others)
    against[label] = 1
    return against / artifact.temperature


@dataclass(frozen=True)
class _Cut:
    """A normalised text: word i is written[starts[i]:ends[i]], and `tokens` are those that models
    read, which stop words are not; `read` are their places among all."""

    written: str
    starts: Ints
    ends: Ints
    read: Ints
    tokens: Sequence[str]

    @classmethod
    def of(cls, segmenter: Segmenter, written: str) -> "_Cut":
        words = replace(segmenter, stop_words=frozenset()).cut(written)
        starts, place = [], 0
        for word in words:
            place = written.index(word, place)
            starts.append(place)
            place += len(word)
        first = np.array(starts, np.int64)
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        read = [place for place, word in enumerate(words) if word not in segmenter.stop_words]
        tokens = [words[place] for place in read]
        return cls(written, first, first + lengths, np.array(read, np.int64), tokens)


def _of_linear(
    model: LinearNgrams, table: object, encoded: Encoded | None, against: Doubles, text: _Cut
) -> tuple[Doubles, float]:
    """(what each word adds, the rest)."""
    assert encoded is not None and isinstance(table, NgramTable)
    weights = _doubles(model.weight[torch.from_numpy(encoded.ids)]) @ against
    said, rest = _shared_out(table, encoded, weights, text)
    return said, rest + float(_doubles(model.bias) @ against)


def _of_bag(
    model: BagOfNgrams, table: object, encoded: Encoded, against: Doubles, text: _Cut
) -> tuple[Doubles, float]:
    """The same: a sum of vectors through a linear layer is a sum of what that gives for each."""
    assert isinstance(table, NgramTable)
    through = against @ _doubles(model.output.weight)
    weights = _doubles(model.embedding[torch.from_numpy(encoded.ids)]) @ through
    said, rest = _shared_out(table, encoded, weights, text)
    return said, rest + float(_doubles(model.output.bias) @ against)


def _shared_out(
    table: NgramTable, encoded: Encoded, weights: Doubles, text: _Cut
) -> tuple[Doubles, float]:
    """`weights` of the n-grams that a text holds, [ids], times their values, to its words.

    The rest is of n-grams that are nothing but blanks.
    """
    assert encoded.values is not None
    said = np.append(weights * encoded.values, 0.0)  # an n-gram that the table lacks says 0
    chars, words = _found(table, encoded, text)
    every = np.concatenate([np.zeros(0, np.int64), *chars, *words])
    times = np.bincount(every, minlength=len(said))
    said /= times.clip(1)
    visible = np.array([character != " " for character in text.written], np.float64)
    of_chars, rest = _spread([said[found] for found in chars], visible)
    of_words, _ = _spread([said[found] for found in words], np.ones(len(text.tokens)))
    before = np.concatenate([[0.0], np.cumsum(of_chars)])
    added = before[text.ends] - before[text.starts]
    added[text.read] += of_words
    return added, rest


def _spread(grams: Sequence[Doubles], visible: Doubles) -> tuple[Doubles, float]:
    """`grams[i]` are what those of one size say, from each place [units - size + 1] on; -> what
    each unit says [units], and what nothing visible says."""
    said, rest = np.zeros(len(visible)), 0.0
    for gram in grams:
        size = len(visible) - len(gram) + 1
        seen = sum(visible[k : k + len(gram)] for k in range(size))
        share = gram / np.maximum(seen, 1)
        rest += float(gram[seen == 0].sum())
        for k in range(size):
            said[k : k + len(gram)] += share * visible[k : k + len(gram)]
    return said, rest


def _found(table: NgramTable, encoded: Encoded, text: _Cut) -> tuple[list[Ints], list[Ints]]:
    """For each size, of characters and of words, and each place in the text: the position in
    `encoded` of the n-gram that begins there, or the number of ids where the table lacks it."""
    written, tokens, spans = text.written, text.tokens, table.spans

    def position(buckets: Ints) -> Ints:
        id_ = np.searchsorted(table.buckets, buckets)
        kept = np.append(table.buckets, -1)[id_] == buckets
        return np.where(kept, np.searchsorted(encoded.ids, id_ + 1), len(encoded.ids))

    chars = []
    for size in _sizes(spans.chars, len(written)):
        grams = [written[k : k + size] for k in range(len(written) - size + 1)]
        chars.append(position(_buckets(NgramSpans((size, size), (0, 0)), grams, [()] * len(grams))))
    words = []
    for size in _sizes(spans.words, len(tokens)):
        rows = [tokens[k : k + size] for k in range(len(tokens) - size + 1)]
        words.append(position(_buckets(NgramSpans((0, 0), (size, size)), [""] * len(rows), rows)))
    return chars, words


def _sizes(span: tuple[int, int], units: int) -> range:
    return range(span[0], min(span[1], units) + 1) if span[1] else range(0)


def _buckets(spans: NgramSpans, texts: Sequence[str], tokens: Sequence[Sequence[str]]) -> Ints:
    """Of texts that are one n-gram each, in their order."""
    rows, buckets = spans.count(texts, tokens)
    return buckets[np.argsort(rows)]


def _doubles(tensor: Tensor) -> Doubles:
    found: Doubles = tensor.detach().double().numpy()
    return found
