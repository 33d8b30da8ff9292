"""Files to prepared rows by real Ray tasks: counts, quarantine, splits, bytes, reuse, history."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from small_reviews import labelled, write_csv

from bigmodel.config import Recipe
from bigmodel.data import prepare as stage
from bigmodel.data.prepare import find_prepared, prepare
from bigmodel.data.prepared import PreparedData, find_rows
from bigmodel.errors import DataError
from bigmodel.recipe import load_recipe, make_recipe

MESSY = [
    "\ufefftext,label",
    *(f"{text},{label}" for text, label in labelled()[:200]),
    "这本书很好,正面",  # again, with the same label
    "这本书很差,正面",  # again, with another one
    " ，。！ ,正面",  # kept: punctuation is a text
    "　 ,负面",  # nothing but blanks
    "没有标签,",
    "字段太多,正面,负面",
    '"引号没有闭合"了,正面',
    "",  # an empty line is no record
]
BROKEN = b"\xb2\xbb\xca\xc7utf-8,\xd5\xfd\xc3\xe6\n"  # GB18030 in a UTF-8 file


def write_messy(path: Path) -> Path:
    path.write_bytes("\n".join(MESSY).encode() + BROKEN)
    return path


def recipe_for(train: Path, *, name: str = "messy", **data: object) -> Recipe:
    tree = {
        "name": name,
        "storage": str(train.parent / "storage"),
        "data": {"train": str(train), "max_bad_rows": 0.1, **data},
    }
    return make_recipe(tree, "recipe")


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Each file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def messy(ray_local, tmp_path_factory):
    return prepare(recipe_for(write_messy(tmp_path_factory.mktemp("messy") / "评论.csv")))


def test_every_record_is_counted_once(messy):
    summary = messy.summary
    assert not messy.reused
    assert summary["rows_read"] == 208
    quarantined = {"unreadable": 3, "empty": 2, "conflict": 2, "removed": 0, "bridge": 0}
    assert summary["quarantined"] == quarantined
    assert (summary["duplicates"], summary["conflicts"], summary["rows_kept"]) == (1, 2, 200)
    kept = sum(count for split in summary["splits"].values() for count in split.values())
    assert kept == summary["rows_kept"]
    assert summary["labels"] == ["正面", "负面"]


def test_what_is_set_aside_stands_in_the_quarantine_with_its_reason(messy):
    rows = messy.quarantine().to_pylist()
    assert {row["source"] for row in rows} == {"评论.csv"}
    found = [(row["reason"], row["row"], row["raw"]) for row in rows]
    assert [(reason, row) for reason, row, _ in found] == [
        ("conflict", 2),
        ("conflict", 202),
        ("empty", 204),
        ("empty", 205),
        ("unreadable", 206),
        ("unreadable", 207),
        ("unreadable", 208),
    ]
    assert found[-1][2] == BROKEN.rstrip()


def test_the_splits_share_no_text_and_hold_about_their_share(messy):
    texts = {split: set(messy.rows(split)[0]) for split in ("train", "valid", "test")}
    assert not texts["train"] & texts["valid"]
    assert not (texts["train"] | texts["valid"]) & texts["test"]
    assert 8 <= len(texts["test"]) <= 35 and 8 <= len(texts["valid"]) <= 35


def home_of(prepared: PreparedData) -> Path:
    """The folder with the file and the storage."""
    return prepared.origin.place.local.parents[3]


def test_a_second_call_reuses_what_the_first_wrote(messy):
    recipe = recipe_for(home_of(messy) / "评论.csv")
    before = bytes_of(home_of(messy) / "storage" / "prepared")
    again = prepare(recipe)
    assert again.reused and again.summary == messy.summary and again.why == ()
    assert again.encodings == messy.encodings
    assert bytes_of(home_of(messy) / "storage" / "prepared") == before
    assert find_rows(messy.lineage).summary | {"unlabelled": 0} == messy.summary


@pytest.mark.parametrize("name", ["rows-00000.parquet", "summary.json", "manifest.json"])
@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: None])
def test_a_half_written_folder_is_not_used_and_written_anew(messy, name, damage):
    recipe = recipe_for(home_of(messy) / "评论.csv")
    before = bytes_of(messy.origin.place.local)
    file = messy.origin.place.local / name
    damaged = damage(file.read_bytes())
    file.unlink() if damaged is None else file.write_bytes(damaged)
    assert find_prepared(recipe) is None
    assert not prepare(recipe).reused
    assert bytes_of(messy.origin.place.local) == before


@pytest.mark.parametrize("folder", ["origin", "encodings"])
def test_a_flipped_byte_is_found_when_it_is_read(messy, folder):
    place = getattr(messy, folder).place.local
    file = next(place.glob("*-00000.*"))
    before = file.read_bytes()
    file.write_bytes(before[:-9] + bytes([before[-9] ^ 1]) + before[-8:])
    with pytest.raises(DataError, match=r"00000\.\w+: damaged, .* delete the folder"):
        messy.rows("train") if folder == "origin" else messy.encoded(file.name.partition("-")[0])
    file.write_bytes(before)


@pytest.fixture
def growing(ray_local, tmp_path):
    """A recipe for a file of its own, prepared once."""
    recipe = recipe_for(write_csv(tmp_path / "评论.csv", labelled()[:300]), name="growing")
    return recipe, prepare(recipe)


def with_dictionary(recipe: Recipe, path: Path, words: list[str]) -> Recipe:
    path.write_text("\n".join(words), encoding="utf-8")
    text = recipe.text.model_copy(update={"user_dictionary": str(path)})
    return recipe.model_copy(update={"text": text})


def test_only_what_changed_is_done_again_and_the_reason_is_said(growing, tmp_path):
    recipe, first = growing
    words = with_dictionary(recipe, tmp_path / "词典.txt", [f"词语{n}" for n in range(14)])
    second = prepare(words)
    assert second.why == ("user dictionary changed: 14 words",)
    assert second.origin == first.origin and second.encodings != first.encodings
    write_csv(tmp_path / "评论.csv", labelled()[:301])
    third = prepare(words)
    assert third.why == ("评论.csv changed",) and third.origin != first.origin
    assert prepare(words).reused


def test_when_the_data_grows_earlier_rows_stay_in_their_split(growing, tmp_path):
    recipe, first = growing
    before = dict(zip(*(first.table()[c].to_pylist() for c in ("text", "split")), strict=True))
    near = [(f"{text}了", label) for text, label in labelled()[:300]]
    write_csv(tmp_path / "评论.csv", [*near, *labelled()[:400]])
    found = prepare(recipe).table().to_pylist()
    after = {row["text"]: row["split"] for row in found}
    assert {text: after[text] for text in before} == before
    units = {}
    for row in found:
        units.setdefault(row["unit"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in units.values())


def splits_by_text(prepared: PreparedData) -> dict[str, str]:
    table = prepared.table()
    return dict(zip(table["text"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_earlier_splits_hold_after_a_sample_and_without_the_rows_they_came_with(growing, tmp_path):
    recipe, first = growing
    before, lineage = splits_by_text(first), first.lineage
    write_csv(tmp_path / "评论.csv", labelled()[:150])
    prepare(recipe)
    shutil.rmtree(first.origin.place.local.parent)
    near = [(f"{text}了", label) for text, label in labelled()[:300]]
    write_csv(tmp_path / "评论.csv", [*near, *labelled()[:300]])
    after = splits_by_text(prepare(recipe))
    assert {text: after[text] for text in before} == before
    assert find_rows(lineage) is None
    write_csv(tmp_path / "评论.csv", labelled()[:300])
    assert splits_by_text(prepare(recipe)) == before
    assert find_rows(lineage).lineage == lineage


def test_rows_that_are_others_by_now_are_not_taken_for_those_of_a_model(growing):
    _, first = growing
    assert find_rows(first.lineage).rows("test")[0] == first.rows("test")[0]
    assert find_rows(first.lineage | {"split_id": "0" * 64}) is None
    assert find_rows({}) is None


def test_two_prepares_at_once_end_with_the_same_rows(ray_local, tmp_path):
    recipe = recipe_for(write_csv(tmp_path / "评论.csv", labelled()[:300]))
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(prepare, [recipe, recipe])
    assert one.summary == other.summary and one.lineage == other.lineage
    assert one.encoded("train")[1].tolist() == other.encoded("train")[1].tolist()
    assert prepare(recipe).reused
    assert not list(tmp_path.rglob(".*"))


def test_a_file_that_changes_while_it_is_read_is_refused(ray_local, tmp_path):
    recipe = recipe_for(write_csv(tmp_path / "评论.csv", labelled()[:300]))
    plan = stage.Plan.of(recipe)
    write_csv(tmp_path / "评论.csv", labelled()[:301])
    with pytest.raises(DataError, match=r"评论\.csv: the file changed while it was read; run"):
        stage.carry_out(plan)
    assert not list(tmp_path.rglob("manifest.json"))


def test_corrected_labels_and_dropped_texts(growing, tmp_path):
    recipe, first = growing
    (good, label), (bad, _) = labelled()[:2]
    other = "负面" if label == "正面" else "正面"
    mended = write_csv(tmp_path / "更正.csv", [(good, other), (bad, "")])
    data = recipe.data.model_copy(update={"corrections": str(mended)})
    found = prepare(recipe.model_copy(update={"data": data}))
    assert found.why == ("corrections changed",)
    labels = {row["text"]: row["label"] for row in found.table().to_pylist()}
    assert labels[good] == other and bad not in labels
    assert found.summary["quarantined"]["removed"] == 1
    assert first.summary["rows_kept"] == found.summary["rows_kept"] + 1
    write_csv(mended, [(good, "正 面")])
    with pytest.raises(DataError, match="更正.csv: unknown label '正 面' \\(known: 正面, 负面\\)"):
        prepare(recipe.model_copy(update={"data": data}))


REFUSED = {
    "one class only": ("书很好,正面\n书不错,正面\n", {}, "only the label '正面'"),
    "too many bad rows": (
        "书很好,正面\n书很差,负面\n,正面\n",
        {"max_bad_rows": 0.2},
        "1 of 3 rows can't be used",
    ),
    "no rows": ("", {}, "no rows after the header"),
    "numbers for texts": ("3.5,正面\n4,负面\n2,正面\n", {}, "3 of 3 texts .* are numbers"),
    "labels that don't repeat": (
        "".join(f"书评{n},{n}\n" for n in range(60)),
        {},
        "'label' has 60 different values in 60 rows",
    ),
    "nothing to test on": (
        "".join(f"{text},{label}\n" for text, label in labelled()[:20]),
        {"split": {"test": 1e-9}},
        "no row is left for the test split",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_no_model_can_come_from_are_refused_and_leave_nothing(ray_local, tmp_path, case):
    rows, data, said = REFUSED[case]
    file = tmp_path / "评论.csv"
    file.write_text(f"text,label\n{rows}")
    recipe = recipe_for(file, **{"max_bad_rows": 0, **data})
    with pytest.raises(DataError, match=said):
        prepare(recipe)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files - {"quarantine.parquet"} == {"评论.csv"}
    assert ("quarantine.parquet" in files) == ("can't be used" in said)


def test_an_unknown_label_in_a_given_test_split_is_refused(ray_local, tmp_path):
    test = write_csv(tmp_path / "测试.csv", [("还可以", "中性")])
    file = write_csv(tmp_path / "评论.csv", labelled()[:60])
    with pytest.raises(DataError, match="测试.csv: unknown label '中性'"):
        prepare(recipe_for(file, test=str(test)))


def test_a_given_test_split_is_kept_whole_and_never_trained_on(ray_local, tmp_path):
    rows = labelled()
    test = write_csv(tmp_path / "测试.csv", rows[:20])
    file = write_csv(tmp_path / "评论.csv", rows[:200])
    prepared = prepare(recipe_for(file, test=str(test)))
    assert prepared.summary["duplicates"] == 20
    assert prepared.rows("test")[0] == [text for text, _ in rows[:20]]
    assert not set(prepared.rows("test")[0]) & set(prepared.rows("train")[0])


ELSEWHERE = """
import sys
from bigmodel.cluster.session import ray_session
from bigmodel.data import prepare as stage
from bigmodel.recipe import load_recipe

stage.PIECE_BYTES = stage.FEWEST_BYTES = int(sys.argv[3])
with ray_session(num_cpus=int(sys.argv[2])):
    stage.prepare(load_recipe(sys.argv[1], sys.argv[4:]))
"""
WORDS_AND_NGRAMS = ["model.kind=mlp", "model.residual=true"]
"""An encoding with all that the encodings of other models hold."""

SAME = """
name = "same"
storage = "storage"
[data]
train = "评论.csv"
unlabelled = "语料.txt"
"""
SMALL = 1 << 13


def with_texts(home: Path) -> Path:
    """A recipe in a new folder, with many texts beside the labelled ones."""
    home.mkdir()
    write_csv(home / "评论.csv", labelled())
    more = [f"{text}。{text}" for text, _ in labelled()]
    (home / "语料.txt").write_text("\n".join([*more[:300], *more]))
    recipe = home / "recipe.toml"
    recipe.write_text(SAME)
    return recipe


@pytest.mark.parametrize("num_cpus", [1, pytest.param(2, marks=pytest.mark.chaos)])
def test_the_bytes_do_not_depend_on_the_cpus(num_cpus, ray_local, tmp_path, monkeypatch):
    """The session's Ray has four."""
    for name in ("PIECE_BYTES", "FEWEST_BYTES"):
        monkeypatch.setattr(stage, name, SMALL)
    recipe = with_texts(tmp_path / "four")
    prepared = prepare(load_recipe(recipe, WORDS_AND_NGRAMS))
    assert prepared.summary["unlabelled"] > 300
    by_four = bytes_of(tmp_path / "four" / "storage")
    assert sum(name.endswith(".arrow") for name in by_four) > 12  # several parts of each kind
    recipe = with_texts(tmp_path / "fewer")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-c", ELSEWHERE, recipe, str(num_cpus), str(SMALL)]
    command += WORDS_AND_NGRAMS
    subprocess.run(command, env=environment, check=True, timeout=240)
    assert bytes_of(tmp_path / "fewer" / "storage") == by_four


def test_what_is_prepared_does_not_depend_on_the_size_of_the_pieces(
    ray_local, tmp_path, monkeypatch
):
    found = []
    for size in (1 << 9, 1 << 12, 1 << 20):
        home = tmp_path / str(size)
        home.mkdir()
        monkeypatch.setattr(stage, "PIECE_BYTES", size)
        monkeypatch.setattr(stage, "FEWEST_BYTES", size)
        prepared = prepare(with_both(recipe_for(write_messy(home / "评论.csv"))))
        rows = prepared.encoded("train")[0]
        found.append((prepared.summary, prepared.table(), prepared.quarantine(), rows))
    for summary, table, quarantine, rows in found[1:]:
        assert summary == found[0][0]
        assert table.equals(found[0][1]) and quarantine.equals(found[0][2])
        assert rows.ids.tolist() == found[0][3].ids.tolist()
        assert rows.ngrams.ids.tolist() == found[0][3].ngrams.ids.tolist()
        assert rows.ngrams.values.tolist() == found[0][3].ngrams.values.tolist()


def with_both(recipe: Recipe) -> Recipe:
    """For a net of words on what the n-grams of `linear` leave over."""
    model = recipe.model.model_copy(update={"kind": "mlp", "residual": True})
    return recipe.model_copy(update={"model": model})


def test_what_is_written_of_words_and_ngrams_is_what_the_encoder_makes_of_the_texts(messy):
    prepared = prepare(with_both(recipe_for(home_of(messy) / "评论.csv")))
    assert prepared.origin == messy.origin  # only the encoding is done anew
    assert prepared.encoder().ngrams == messy.encoder().features
    for split in ("train", "valid"):
        written, label, _ = prepared.encoded(split)
        made = prepared.encoder().encode(prepared.rows(split)[0])
        assert len(written) == len(written.ngrams) == len(label) > 8
        for one, other in ((written, made), (written.ngrams, made.ngrams)):
            assert one.offsets.tolist() == other.offsets.tolist()
            assert one.ids.tolist() == other.ids.tolist()
        assert written.values is None
        assert written.ngrams.values.tolist() == made.ngrams.values.tolist()
        alone = messy.encoded(split)[0]
        assert written.ngrams.ids.tolist() == alone.ids.tolist()
        assert written.ngrams.values.tolist() == alone.values.tolist()


ENCODINGS = {"utf-8-sig": "utf-8", "gb18030": "gb18030", "utf-16": "utf-16"}


def test_the_same_rows_in_other_encodings_are_the_same_data(ray_local, tmp_path):
    text = "".join(f"{text},{label}\n" for text, label in [("text", "label"), *labelled()])
    found = {}
    for encoding in ("utf-8", *ENCODINGS):
        home = tmp_path / encoding
        home.mkdir()
        (home / "评论.csv").write_bytes(text.encode(encoding))
        found[encoding] = prepare(recipe_for(home / "评论.csv")).summary
    assert len({summary["data_id"] for summary in found.values()}) == 1
    for encoding, said in ENCODINGS.items():
        assert found[encoding]["files"][0]["encoding"].startswith(said)
