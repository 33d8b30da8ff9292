"""The file of mended labels: what it says, what is refused, what a spreadsheet does to it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigmodel.data.corrections import open_corrections, quoted, read_corrections, unquoted
from bigmodel.data.split import key64
from bigmodel.errors import DataError
from bigmodel.inspection.suspects import Suspects
from bigmodel.text.normalize import Normalizer


def corrections(tmp_path, text):
    file = tmp_path / "更正.csv"
    file.write_text(text, encoding="utf-8")
    return read_corrections(open_corrections(str(file)), Normalizer())


def test_a_label_mends_a_text_and_none_takes_it_out(tmp_path):
    found = corrections(tmp_path, "text,label,score\n物流很慢,负面,0.1\n广告 广告,,0.2\n")
    assert found == {key64("物流很慢"): "负面", key64("广告 广告"): ""}


def test_the_same_line_again_says_nothing_new(tmp_path):
    assert len(corrections(tmp_path, "text,label\n很好,正面\n很好,正面\n")) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("很好,正面\n很好,负面\n", "row 2: its text is '负面' here and '正面' in row 1; decide"),
        ("很好,正面\n ，\t\n", "row 2: it can't be read (columns); mend the line"),
        ("很好,正面\n　,负面\n", "row 2: it has no text; mend the line, or take it out"),
    ],
)
def test_a_line_that_says_nothing_sure_is_refused_by_its_row(tmp_path, lines, said):
    with pytest.raises(DataError) as error:
        corrections(tmp_path, f"text,label\n{lines}")
    assert said in str(error.value)


@given(st.text())
def test_a_quoted_cell_is_read_as_it_was(cell):
    assert unquoted(quoted(cell)) == cell
    assert quoted(cell)[:1] not in set("=+-@")


def test_texts_that_look_like_formulas_come_back_from_the_list_of_suspects(tmp_path):
    texts = ["=1+1 很好", "-五星", "'=引号", "@小王 很好", "很好"]
    row = {"source": "评论.csv", "row": 1, "suggested": "+1", "score": 0.5, "label": "-1"}
    found = Suspects([row | {"text": text} for text in texts], 5, 5, False, 0.5, [])
    written = found.csv().decode("utf-8-sig")
    cells = [cell for line in csv.reader(io.StringIO(written)) for cell in line]
    assert not any(cell[:1] in ("=", "+", "-", "@") for cell in cells)
    mended = corrections(tmp_path, written)
    assert mended == {key64(Normalizer()(text)): "-1" for text in texts}
