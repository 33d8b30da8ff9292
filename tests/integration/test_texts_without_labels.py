"""Texts without labels beside prepared rows: what is read, counted, written, and done again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_reviews import labelled, write_csv

from bigmodel.config import Recipe
from bigmodel.data import prepare as stage
from bigmodel.data.prepare import find_prepared, prepare
from bigmodel.errors import DataError
from bigmodel.recipe import make_recipe

MORE = ["物流太慢了等了一周", "客服一直不在线", "　", "物流太慢了等了一周", "快递员态度好"]
"""Four texts, of which one is there twice."""


@pytest.fixture
def home(ray_local, tmp_path: Path) -> Path:
    write_csv(tmp_path / "评论.csv", labelled()[:300])
    return tmp_path


@pytest.fixture
def recipe(home: Path) -> Callable[..., Recipe]:
    def of(kind: str = "mlp", **data: Any) -> Recipe:
        tree = {
            "name": "texts",
            "storage": str(home / "storage"),
            "data": {"train": str(home / "评论.csv"), **data},
            "model": {"kind": kind, kind: {"min_count": 1}},
        }
        return make_recipe(tree, "recipe")

    return of


def words(prepared) -> list[list[str]]:
    """Each text without labels, in words."""
    known = ["", "?", *prepared.encoder().features.words]
    found = prepared.unlabelled()
    return [[known[one] for one in ids] for ids in np.split(found.ids, found.offsets[1:-1])][
        : len(found)
    ]


def test_each_text_is_encoded_once_and_none_that_a_row_has(home, recipe):
    plain = prepare(recipe())
    assert plain.summary["unlabelled"] == 0 and len(plain.unlabelled()) == 0
    rows = {split: plain.rows(split)[0] for split in ("train", "valid", "test")}
    of_rows = [texts[0] for texts in rows.values()]
    file = home / "语料.txt"
    file.write_text("\n".join([*of_rows, MORE[0], *MORE, *of_rows]), encoding="utf-8")
    found = prepare(recipe(unlabelled=str(file)))
    assert found.why == ("unlabelled texts changed",) and found.origin == plain.origin
    assert found.summary == plain.summary | {"unlabelled": 3}
    encoder = found.encoder()
    expected = [encoder.segmenter.cut(MORE[place]) for place in (0, 1, 4)]
    assert words(found) == expected
    new = {word for row in expected for word in row} - set(plain.encoder().features.words)
    assert new and new <= set(encoder.features.words)  # the vocabulary counts them
    for split in ("train", "valid"):
        assert len(found.encoded(split)[0]) == len(rows[split])
    assert find_prepared(recipe(unlabelled=str(file))).reused


def test_what_is_written_does_not_depend_on_the_size_of_the_pieces(home, recipe, monkeypatch):
    file = home / "语料.csv"
    texts = [f"{text}，{number % 97}分" for number, (text, _) in enumerate(labelled() * 2)]
    file.write_text("text\n" + "\n".join(f'"{text}"' for text in texts), encoding="utf-8")
    found = []
    for size in (1 << 9, 1 << 20):
        monkeypatch.setattr(stage, "PIECE_BYTES", size)
        monkeypatch.setattr(stage, "FEWEST_BYTES", size)
        part = recipe(unlabelled=str(file)).model_copy(
            update={"storage": str(home / f"storage-{size}")}
        )
        found.append(prepare(part))
    small, large = found
    assert len(small.encodings.parts("unlabelled")) > 20
    assert len(large.encodings.parts("unlabelled")) <= 2
    assert small.summary == large.summary and small.summary["unlabelled"] == len(set(texts))
    assert small.encoder() == large.encoder()
    assert words(small) == words(large)


def test_they_are_done_again_when_they_change_and_nothing_else_is(home, recipe):
    file = home / "语料.txt"
    file.write_text("\n".join(MORE), encoding="utf-8")
    first = prepare(recipe(unlabelled=str(home / "语*.txt")))
    (home / "语料二.txt").write_text("包装破了\n\n", encoding="utf-8")
    second = prepare(recipe(unlabelled=str(home / "语*.txt")))
    assert second.why == ("unlabelled texts changed",) and second.origin == first.origin
    assert (first.summary["unlabelled"], second.summary["unlabelled"]) == (3, 4)
    gone = prepare(recipe())
    assert gone.why == ("unlabelled texts changed",) and gone.summary["unlabelled"] == 0


def test_beside_words_the_ngrams_are_of_the_training_texts_alone(home, recipe):
    file = home / "语料.txt"
    file.write_text("\n".join(MORE), encoding="utf-8")
    both = recipe(unlabelled=str(file))
    model = both.model.model_copy(update={"residual": True})
    found = prepare(both.model_copy(update={"model": model}))
    assert found.unlabelled().ngrams is None and found.summary["unlabelled"] == 3
    without = prepare(recipe().model_copy(update={"model": model}))
    assert without.encoder().ngrams == found.encoder().ngrams
    assert without.encoder().features != found.encoder().features


def test_kinds_of_ngrams_read_past_them(home, recipe):
    alone = prepare(recipe("linear"))
    found = prepare(recipe("linear", unlabelled=str(home / "gibt-es-nicht.csv")))
    assert found.reused and found.encodings == alone.encodings
    assert found.summary["unlabelled"] == 0


def test_bad_files_are_refused_in_a_sentence_and_leave_nothing(home, recipe):
    file = home / "语料.csv"
    file.write_text('text\n好评,如潮\n"没有闭合\n很好\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"语料\.csv: 2 of 3 texts without labels can't be read"):
        prepare(recipe(unlabelled=str(file)))
    assert not list((home / "storage").rglob("unlabelled-*"))
    allowed = prepare(recipe(unlabelled=str(file), max_bad_rows=0.7))
    assert allowed.summary["unlabelled"] == 1
    assert words(allowed) == [allowed.encoder().segmenter.cut("很好")]
    plan = stage.Plan.of(recipe(unlabelled=str(file), max_bad_rows=0.7))
    file.write_text("text\n很好\n不好\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"语料\.csv: the file changed while it was read"):
        stage.carry_out(plan)
