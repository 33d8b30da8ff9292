"""The only way from raw texts to ids: the same for a text alone and in company, here and there."""

from dataclasses import replace

import numpy as np
import pytest

from bigmodel.errors import ModelError
from bigmodel.recipe import make_recipe
from bigmodel.text.encoder import EncoderRecipe, TextEncoder
from bigmodel.text.features import NgramTable, Vocabulary
from bigmodel.text.occurrences import CHUNK
from bigmodel.text.segment import Segmenter

TEXTS = ["手机电池不耐用", "电池很耐用，好评", "ＡＢＣ　手机", "", "😀", "房间很干净" * 40]


def recipe_of(kind, **text):
    section = {"min_count": 1} | ({"char_ngrams": [1, 2]} if kind != "mlp" else {})
    model = {"kind": kind, kind: section}
    tree = {"name": "reviews", "data": {"train": "评论.csv"}, "model": model, "text": text}
    return make_recipe(tree, "recipe")


def encoder_of(kind, texts=TEXTS, **text):
    plan = EncoderRecipe.of(recipe_of(kind, **text))
    return plan.fit_on(texts)


def row(encoded, position):
    inside = slice(encoded.offsets[position], encoded.offsets[position + 1])
    values = None if encoded.values is None else encoded.values[inside].tolist()
    return encoded.ids[inside].tolist(), values, bool(encoded.truncated[position])


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp"])
def test_what_a_text_gives_does_not_depend_on_the_others(kind):
    encoder = encoder_of(kind)
    many = TEXTS * (CHUNK // len(TEXTS) + 2)  # more than one chunk
    together = encoder.encode(many)
    assert len(together) == len(many) > CHUNK
    for position in (*range(len(TEXTS)), CHUNK - 1, CHUNK, len(many) - 1):
        alone = encoder.encode([many[position]])
        assert row(alone, 0) == row(together, position)


@pytest.mark.parametrize("kind", ["linear", "bag", "mlp"])
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
    for kind in ("linear", "mlp"):
        nothing = encoder_of(kind).encode([])
        assert len(nothing) == 0 and len(nothing.ids) == 0


def test_counts_of_parts_add_up_to_the_counts_of_the_whole():
    plan = EncoderRecipe.of(recipe_of("linear"))
    keys, counts = plan.count(TEXTS)
    parts = [plan.count(TEXTS[:2]), plan.count(TEXTS[2:])]
    totals = dict.fromkeys(keys.tolist(), 0)
    for part_keys, part_counts in parts:
        for key, count in zip(part_keys.tolist(), part_counts.tolist(), strict=True):
            totals[key] += count
    assert list(totals.values()) == counts.tolist()


def test_a_word_counts_once_a_text_and_a_very_long_one_costs_its_own_length():
    plan = EncoderRecipe.of(recipe_of("mlp"))
    keys, counts = plan.count(["好 好 书", "好", "x" * 200_000, *(f"词{i}" for i in range(3000))])
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
