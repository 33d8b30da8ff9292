"""The only way from raw texts to ids: the same for a text alone and in company, here and there."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.errors import ModelError
from bigmodel.recipe import make_recipe
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.features import NgramTable, Vocabulary, concatenate
from bigmodel.text.occurrences import CHUNK
from bigmodel.text.segment import Segmenter

TEXTS = ["手机电池不耐用", "电池很耐用，好评", "ＡＢＣ　手机", "", "😀", "房间很干净" * 40]


def recipe_of(kind, **text):
    """Of a kind of model; "both" is a net of words on what `linear` leaves over."""
    ngrams, words = {"min_count": 1, "char_ngrams": [1, 2]}, {"min_count": 1}
    model = {"kind": kind, kind: words if kind == "mlp" else ngrams}
    if kind == "both":
        model = {"kind": "mlp", "residual": True, "mlp": words, "linear": ngrams}
    tree = {"name": "reviews", "data": {"train": "评论.csv"}, "model": model, "text": text}
    return make_recipe(tree, "recipe")


def encoder_of(kind, texts=TEXTS, **text):
    plan = EncoderRecipe.of(recipe_of(kind, **text))
    return plan.fit_on(texts)


def row(encoded, position):
    inside = slice(encoded.offsets[position], encoded.offsets[position + 1])
    values = None if encoded.values is None else encoded.values[inside].tolist()
    found = encoded.ids[inside].tolist(), values, bool(encoded.truncated[position])
    return found if encoded.ngrams is None else (*found, row(encoded.ngrams, position))


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp", "both"])
def test_what_a_text_gives_does_not_depend_on_the_others(kind):
    encoder = encoder_of(kind)
    many = TEXTS * (CHUNK // len(TEXTS) + 2)  # more than one chunk
    together = encoder.encode(many)
    assert len(together) == len(many) > CHUNK
    for position in (*range(len(TEXTS)), CHUNK - 1, CHUNK, len(many) - 1):
        alone = encoder.encode([many[position]])
        assert row(alone, 0) == row(together, position)


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp", "both"])
@pytest.mark.parametrize("text", [{}, {"segmenter": "chars"}, {"engine": "rjieba", "hmm": True}])
def test_an_encoder_comes_back_from_its_files_and_equal_ones_are_equal_bytes(kind, text):
    encoder = encoder_of(kind, **text)
    files = encoder.files()
    again = TextEncoder.from_files(files)
    assert again == encoder
    assert again.files() == files == encoder_of(kind, TEXTS[::-1], **text).files()


def test_the_users_words_travel_in_the_files(tmp_path):
    (tmp_path / "词典.txt").write_text("电池不耐用\n", encoding="utf-8")
    (tmp_path / "停用词.txt").write_text("很\n", encoding="utf-8")
    text = {"user_dictionary": f"{tmp_path}/词典.txt", "stop_words": f"{tmp_path}/停用词.txt"}
    encoder = encoder_of("mlp", **text)
    assert "电池不耐用" in encoder.features.words and "很" not in encoder.features.words
    again = TextEncoder.from_files(encoder.files())
    assert again == encoder and again.segmenter.own_words() == ["电池不耐用"]


def test_another_version_of_the_engine_is_refused():
    files = encoder_of("mlp").files()
    files["text.json"] = files["text.json"].replace(
        b'"engine_version": "0', b'"engine_version": "9'
    )
    with pytest.raises(ModelError, match=r"made with rjieba 9\.\d+\.\d+, installed is 0\."):
        TextEncoder.from_files(files)


def test_the_kind_decides_on_the_features():
    assert isinstance(encoder_of("mlp").features, Vocabulary)
    linear, bag = encoder_of("linear"), encoder_of("bag", vocabulary_size=10)
    assert isinstance(linear.features, NgramTable)
    assert bag.num_ids == 11 < linear.num_ids == encoder_of("linear", vocabulary_size=10).num_ids


def test_a_long_text_is_cut_where_words_are_read_in_order():
    assert row(encoder_of("mlp", max_tokens=5).encode(TEXTS), 5)[2] is True
    assert not encoder_of("linear", max_tokens=5).encode(TEXTS).truncated.any()


def test_no_texts_give_no_rows():
    for kind in ("linear", "mlp", "both"):
        nothing = encoder_of(kind).encode([])
        assert len(nothing) == 0 and len(nothing.ids) == 0


def counted(plan, texts):
    held = plan.occurrences([plan.normalizer(text) for text in texts])
    return held.held_by(np.ones(len(texts), np.bool_))


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    plan = EncoderRecipe.of(recipe_of("linear"))
    keys, counts = counted(plan, TEXTS)
    parts = [counted(plan, TEXTS[:2]), counted(plan, TEXTS[2:])]
    totals = dict.fromkeys(keys.tolist(), 0)
    for part_keys, part_counts in parts:
        for key, count in zip(part_keys.tolist(), part_counts.tolist(), strict=True):
            totals[key] += count
    assert list(totals.values()) == counts.tolist()


def test_a_word_counts_once_a_text_and_a_very_long_one_costs_its_own_length():
    plan = EncoderRecipe.of(recipe_of("mlp"))
    texts = ["好 好 书", "好", "x" * 200_000, *(f"词{i}" for i in range(3000))]
    keys, counts = counted(plan, texts)
    found = dict(zip(keys, np.asarray(counts).tolist(), strict=True))
    assert (found["好"], found["书"], found["x" * 200_000]) == (2, 1, 1)


def test_an_encoders_inputs_do_not_follow_the_order_of_a_set():
    words = [f"词{number}" for number in range(1000)]
    plan = EncoderRecipe.of(recipe_of("linear"))
    one, other = (
        replace(plan, segmenter=Segmenter(stop_words=frozenset(order)))
        for order in (words, words[::-1])
    )
    assert list(one.segmenter.stop_words) != list(other.segmenter.stop_words)
    assert one.inputs() == other.inputs() != plan.inputs()


def test_words_with_ngrams_beside_them_are_those_of_either_kind_alone():
    both = encoder_of("both", max_tokens=5)
    words, ngrams = encoder_of("mlp", max_tokens=5), encoder_of("linear", max_tokens=5)
    assert (both.features, both.ngrams) == (words.features, ngrams.features)
    assert both.num_ids == words.num_ids and both.num_ngrams == ngrams.num_ids > 1
    assert words.num_ngrams == ngrams.num_ngrams == 0
    found = both.encode(TEXTS)
    alone, beside = words.encode(TEXTS), ngrams.encode(TEXTS)
    for position in range(len(TEXTS)):
        expected = (*row(alone, position), row(beside, position))
        assert row(found, position) == expected  # of the long text too: n-grams see all of it
    assert found.truncated[5] and not found.ngrams.truncated.any()


def test_the_ngrams_beside_words_follow_the_table_of_linear():
    recipe = recipe_of("both", vocabulary_size=3)
    few = EncoderRecipe.of(recipe).fit_on(TEXTS)
    assert few.num_ids == 3 + 2 and few.num_ngrams == encoder_of("linear").num_ids
    linear = recipe.model.linear.model_copy(update={"min_count": 2, "word_ngrams": (0, 0)})
    model = recipe.model.model_copy(update={"linear": linear})
    plan = EncoderRecipe.of(recipe.model_copy(update={"model": model}))
    rare = plan.fit_on(TEXTS)
    assert rare.features == few.features and rare.num_ngrams < few.num_ngrams
    assert rare.ngrams.spans.words == (0, 0)
    assert plan.inputs() != EncoderRecipe.of(recipe).inputs()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_files_of_either_kind_alone_say_what_they_always_did(kind):
    files = encoder_of(kind).files()
    about = json.loads(files["text.json"])
    own = {"linear": ("ngrams", ["features", "chars", "words"], "ngrams.safetensors")}
    own |= {"mlp": ("words", ["features", "max_tokens"], "vocabulary.json")}
    features, keys, name = own[kind]
    assert about["features"] == features and list(about)[-len(keys) :] == keys
    assert sorted(files) == sorted(["text.json", "user_dictionary.txt", name])


BOTH = encoder_of("both")


@given(st.lists(st.text("手机电池好差 。", max_size=9), max_size=12), st.lists(st.integers(0, 12)))
def test_parts_put_together_are_the_whole_wherever_they_were_cut(texts, cuts):
    bounds = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    parts = [BOTH.encode(texts[start:end]) for start, end in zip(bounds, bounds[1:], strict=False)]
    whole, found = BOTH.encode(texts), concatenate([part for part in parts if len(part)])
    assert len(found) == len(whole) == len(texts)
    for position in range(len(texts)):
        assert row(found, position) == row(whole, position)
    if texts:
        assert len(found.ngrams) == len(texts)
