"""The words that moved an answer: they add up to it, and stand where they were sent."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_recipe

from bigmodel.artifact import Artifact
from bigmodel.attribution import attribute, log_odds
from bigmodel.data.schema import LabelSet
from bigmodel.explanation import Word, explain
from bigmodel.metrics import softmax
from bigmodel.models import Residual, build_model
from bigmodel.models.gradients import CLOSE
from bigmodel.models.words import WordVectors
from bigmodel.text.encoder import EncoderRecipe
from bigmodel.text.features import Vocabulary

TEXTS = [
    "手机很卡，电池不耐用",
    "书很好看 一口气读完",
    "物流太慢 13812345678",
    "味道太差，还会再来",
]
LABELS = ("负面", "中性", "正面")
EXACT = ("linear", "bag")
SECTIONS = {
    "mlp": {"embedding_size": 6, "hidden_sizes": [7]},
    "cnn": {"embedding_size": 6, "character_size": 4, "channels": 5},
    "rnn": {"embedding_size": 6, "hidden_size": 5},
    "transformer": {"embedding_size": 6, "width": 8, "num_heads": 2},
}
KINDS = [*EXACT, *SECTIONS, "residual-cnn"]


def made(kind: str, *, labels: tuple[str, ...] = LABELS, **text: object) -> Artifact:
    """A model of random weights over the words and n-grams of TEXTS."""
    residual, kind = kind.startswith("residual-"), kind.removeprefix("residual-")
    section = {"min_count": 1} | SECTIONS.get(kind, {})
    model = {"kind": kind, kind: section, "residual": residual, "linear": {"min_count": 1}}
    recipe = tiny_recipe(kind, model=model, text=text)
    encoder = EncoderRecipe.of(recipe).fit_on(TEXTS)
    torch.manual_seed(3)
    net = build_model(
        recipe.model, num_ids=encoder.num_ids, num_labels=len(labels), num_ngrams=encoder.num_ngrams
    )
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim():
                weight.add_(torch.randn_like(weight), alpha=0.5)
    for part in net.modules():
        if isinstance(part, Residual):
            torch.nn.init.constant_(part.scale, 2.5)
        if isinstance(part, WordVectors):
            assert isinstance(encoder.features, Vocabulary)
            part.spell(encoder.features.words)
    return Artifact(recipe, LabelSet(labels), encoder, net.eval(), temperature=1.7)


made_once = cache(made)


def whole(artifact: Artifact, text: str, label: int) -> float:
    return log_odds(artifact, artifact.score([text]).scores[0], label=label)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*TEXTS, "手机 手机 手机", "没见过的话", "慢"])
def test_weights_and_rest_add_up_to_the_log_odds(kind, text):
    artifact = made_once(kind)
    for label in range(len(LABELS)):
        written = artifact.encoder.normalizer(text)
        found = attribute(artifact, written, label=label, budget_s=60)
        expected = whole(artifact, text, label)
        exact = kind in EXACT
        close = 1e-5 if exact else CLOSE * max(1, abs(expected - found.rest)) + 1e-4
        assert found.weights.sum() + found.rest == pytest.approx(expected, abs=close)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_log_odds_are_against_the_mean_of_the_other_labels(label):
    artifact = made_once("linear")
    scores = artifact.score(TEXTS[:1]).scores
    logs = np.log(softmax(scores, artifact.temperature)[0])
    expected = logs[label] - np.delete(logs, label).mean()
    assert log_odds(artifact, scores[0], label=label) == pytest.approx(expected, abs=1e-5)


def test_of_two_labels_they_are_the_usual_log_odds():
    artifact = made("linear", labels=("负面", "正面"))
    (scores,) = artifact.score(TEXTS[:1]).scores
    p = softmax(scores[None], artifact.temperature)[0, 1]
    assert log_odds(artifact, scores, label=1) == pytest.approx(np.log(p / (1 - p)), abs=1e-5)


def only(table: dict[str, object], text: str, **changed: object) -> Artifact:
    """A linear model of two labels that knows the one n-gram of `text`, and adds 2 for 正面."""
    recipe = tiny_recipe(
        "linear", model={"kind": "linear", "linear": {"min_count": 1} | table}, text=changed
    )
    encoder = EncoderRecipe.of(recipe).fit_on([text])
    model = build_model(recipe.model, num_ids=encoder.num_ids, num_labels=2)
    assert encoder.num_ids == 2
    with torch.no_grad():
        model.weight[1] = torch.tensor([-1.0, 1.0])
    return Artifact(recipe, LabelSet(("负面", "正面")), encoder, model.eval())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电池不耐用", {"不": 1.0, "耐用": 1.0}),
        ("不耐, 不耐", {"不耐": 2.0}),
        ("电池", {}),
    ],
)
def test_characters_share_an_ngram_evenly(text, expected):
    artifact = only({"char_ngrams": [2, 2], "word_ngrams": [0, 0]}, "不耐")
    found: dict[str, float] = {}
    for word in explain(artifact, text, label=1, budget_s=1):
        key = "不耐" if word.text in "不耐" and "," in text else word.text
        found[key] = found.get(key, 0) + word.weight
    assert found == pytest.approx(expected)
    against = [word.weight for word in explain(artifact, text, label=0, budget_s=1)]
    assert sum(against) == pytest.approx(-sum(expected.values()))


def test_words_share_an_ngram_evenly_and_blanks_take_nothing():
    artifact = only({"char_ngrams": [0, 0], "word_ngrams": [2, 2]}, "手机 漂亮")
    assert explain(artifact, "这 手机  漂亮", label=1, budget_s=1) == (
        Word("手机", 2, 4, pytest.approx(1.0)),
        Word("漂亮", 6, 8, pytest.approx(1.0)),
    )
    artifact = only({"char_ngrams": [3, 3], "word_ngrams": [0, 0]}, "好 坏")
    assert explain(artifact, "好　坏", label=1, budget_s=1) == (
        Word("好", 0, 1, pytest.approx(1.0)),
        Word("坏", 2, 3, pytest.approx(1.0)),
    )


def test_words_behind_a_stop_word_keep_what_they_say(tmp_path):
    (tmp_path / "停用词.txt").write_text("很", encoding="utf-8")
    table = {"char_ngrams": [0, 0], "word_ngrams": [1, 1]}
    artifact = only(table, "很 漂亮", stop_words=str(tmp_path / "停用词.txt"))
    found = explain(artifact, "很 漂亮", label=1, budget_s=1)
    assert found == (Word("漂亮", 2, 4, pytest.approx(2.0)),)


def test_words_that_were_sent_as_one_character_are_one():
    artifact = only({"char_ngrams": [3, 3], "word_ngrams": [0, 0]}, "(1)")
    assert artifact.encoder.segmenter.cut("(1)") == ["(", "1", ")"]
    found = explain(artifact, "好⑴ 好", label=1, budget_s=1)
    assert found == (Word("⑴", 1, 2, pytest.approx(2.0)),)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ["", " ", "\u3000\n\u200b", "https://t.cn/x"])
def test_a_blank_text_has_no_words(kind, text):
    assert explain(made_once(kind, links="drop"), text, label=0, budget_s=1) == ()


SENT = st.lists(
    st.sampled_from([*TEXTS, "電池", "ＡＢＣ", "　", "\n", "…", "\u200b", "e\u0301", "😀", "❤️",
                     "㍿", "https://t.cn/x", "@张三 ", "13912345678", "慢"]), max_size=8,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("kind", ["linear", "residual-cnn"])
@given(sent=SENT, whole_way=st.booleans())
def test_words_stand_where_they_were_sent(kind, sent, whole_way):
    changed = {"links": "drop", "user_names": "drop", "traditional": "simplify", "mask": ("phone",)}
    artifact = made_once(kind, **(changed if whole_way else {}))
    words = explain(artifact, sent, label=2, budget_s=60)
    end = 0
    for word in words:
        assert word.text == sent[word.start : word.end] != ""
        assert end <= word.start and np.isfinite(word.weight) and word.weight != 0
        assert word.text.strip() == word.text
        end = word.end
    found = attribute(artifact, artifact.encoder.normalizer(sent), label=2, budget_s=60)
    assert sum(word.weight for word in words) == pytest.approx(found.weights.sum(), abs=1e-6)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_a_masked_number_is_one_word_as_it_was_sent(kind):
    artifact = made_once(kind, mask=("phone",))
    words = explain(artifact, "物流太慢 139-1234-5678！", label=0, budget_s=60)
    (number,) = (word for word in words if "1" in word.text)
    assert (number.text, number.start) == ("139-1234-5678", 5)


@pytest.mark.parametrize("kind", SECTIONS)
def test_an_unknown_word_alone_moves_a_net_by_nothing(kind):
    assert explain(made_once(kind), "鹦鹉", label=0, budget_s=60) == ()


@pytest.mark.parametrize("kind", KINDS)
def test_equal_texts_have_equal_words(kind):
    first, again = (explain(made(kind), TEXTS[0], label=1, budget_s=60) for _ in range(2))
    assert first and first == again


def test_stop_words_and_what_is_cut_off_move_a_net_by_nothing(tmp_path):
    listed = tmp_path / "停用词.txt"
    listed.write_text("很\n,\n", encoding="utf-8")
    artifact = made("mlp", stop_words=str(listed), max_tokens=2)
    words = explain(artifact, "手机很卡，电池不耐用", label=0, budget_s=60)
    assert [word.text for word in words] == ["手机", "卡"]
    only_stops = attribute(artifact, "很,", label=0, budget_s=60)
    assert only_stops.rest == pytest.approx(whole(artifact, "很，", 0), abs=1e-5)


def passes(artifact: Artifact, text: str, budget_s: float) -> int:
    """Forward passes that an explanation takes."""
    count = []
    handle = artifact.model.register_forward_hook(lambda *_: count.append(1))
    try:
        explain(artifact, text, label=0, budget_s=budget_s)
    finally:
        handle.remove()
    return len(count)


def with_an_edge() -> Artifact:
    """An answer that turns over at one point of the way, as a sure network's do."""
    artifact = made("mlp")
    with torch.no_grad():
        artifact.model.layers[1].weight *= 30
        artifact.model.output.weight *= 10
    return artifact


def test_a_sharp_edge_on_the_way_is_found():
    artifact = with_an_edge()
    assert passes(artifact, TEXTS[0], 60) > 3
    written = artifact.encoder.normalizer(TEXTS[0])
    found = attribute(artifact, written, label=0, budget_s=60)
    expected = whole(artifact, written, 0)
    close = CLOSE * abs(expected - found.rest)
    assert found.weights.sum() + found.rest == pytest.approx(expected, abs=close)


def test_a_short_budget_is_kept():
    assert passes(with_an_edge(), TEXTS[0], 0) == 1


def test_others_are_answered_as_ever_while_a_text_is_explained(monkeypatch):
    artifact = made_once("cnn")
    before, seen = artifact.score(TEXTS).scores, []
    gradient = torch.autograd.grad

    def meanwhile(*arguments, **named):
        seen.append(artifact.score(TEXTS).scores)
        return gradient(*arguments, **named)

    monkeypatch.setattr(torch.autograd, "grad", meanwhile)
    explain(artifact, TEXTS[0], label=0, budget_s=60)
    assert seen and all(np.array_equal(before, scores) for scores in seen)
    assert all(weight.grad is None for weight in artifact.model.parameters())


def test_a_text_can_be_explained_where_answers_are_given():
    artifact = made_once("cnn")
    with torch.inference_mode():
        inside = explain(artifact, TEXTS[0], label=0, budget_s=60)
    assert inside == explain(artifact, TEXTS[0], label=0, budget_s=60)
