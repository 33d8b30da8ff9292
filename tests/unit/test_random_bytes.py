"""Any bytes in a file of any kind: rows or one sentence come out, and no record gets lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_files import REVIEWS, WHOLE, check, damaged


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_has_all_its_rows(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(WHOLE[name])
    assert check(path) == len(REVIEWS)


names = st.sampled_from(list(WHOLE))


@settings(max_examples=150)
@given(name=names, data=st.binary(max_size=300))
def test_any_bytes_are_rows_or_one_sentence(tmp_path_factory, name, data):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data)
    check(path)


@settings(max_examples=150)
@given(name=names, chance=st.randoms(use_true_random=True))
def test_a_damaged_file_is_rows_or_one_sentence(tmp_path_factory, name, chance):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(damaged(WHOLE[name], chance))
    check(path)
