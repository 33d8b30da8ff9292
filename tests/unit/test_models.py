"""Ids to scores, for every kind: a text's scores are its own, and a step needs few rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.func import functional_call

from bigmodel.config import ModelConfig
from bigmodel.data.batches import Batch, pad
from bigmodel.models import Net, Residual, build_model
from bigmodel.models.cnn import windows
from bigmodel.models.rnn import backward_order, reordered
from bigmodel.models.transformer import rotated
from bigmodel.models.words import WordVectors, largest_over, mean_over
from bigmodel.text.features import Encoded

WORDS = ["手机", "很", "不耐用", "电池", "x1", "中华人民共和国", "😀", "的"]
NUM_IDS = len(WORDS) + 2
SPELLED = {"embedding_size": 6, "character_size": 4}
SECTIONS = {
    "linear": ("linear", {}),
    "bag": ("bag", {"embedding_size": 5}),
    "mlp": ("mlp", {"embedding_size": 6, "hidden_sizes": [7, 5]}),
    "mlp, no hidden layer": ("mlp", SPELLED | {"hidden_sizes": []}),
    "cnn": ("cnn", SPELLED | {"widths": [1, 2, 3, 4], "channels": 5}),
    "lstm": ("rnn", SPELLED | {"cell": "lstm", "hidden_size": 5, "num_layers": 2}),
    "gru": ("rnn", {"embedding_size": 6, "cell": "gru", "hidden_size": 5}),
    "rnn, one direction": ("rnn", {"cell": "rnn", "hidden_size": 5, "bidirectional": False}),
    "transformer": ("transformer", SPELLED | {"width": 8, "num_heads": 2}),
    "transformer, learned": ("transformer", {"width": 8, "num_heads": 2, "positions": "learned"}),
    "residual": ("cnn", SPELLED | {"channels": 5, "residual": True}),
}
KINDS = sorted(SECTIONS)
NETS = [kind for kind in KINDS if kind != "linear"]


def made(name: str) -> torch.nn.Module:
    """A model for serving whose every weight says something, but for padding's."""
    torch.manual_seed(3)
    kind, section = SECTIONS[name]
    section = dict(section)
    residual = section.pop("residual", False)
    config = ModelConfig.model_validate({"kind": kind, kind: section, "residual": residual})
    model = build_model(config, num_ids=NUM_IDS, num_labels=3, num_ngrams=NUM_IDS)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim():
                weight.add_(torch.randn_like(weight), alpha=0.5)
            if len(weight.shape) > 1 and weight.shape[0] in (NUM_IDS, 8192):
                weight[0] = 0
    for part in model.modules():
        if isinstance(part, WordVectors):
            part.spell(WORDS)
    return model.eval()


MADE = {name: made(name) for name in KINDS}


def encoded(texts: list[list[int]], name: str) -> Encoded:
    """Texts of ids, with the values or the n-grams that the model reads."""
    ids = np.array([one for text in texts for one in text], np.int32)
    offsets = np.cumsum([0, *map(len, texts)])
    cut = np.zeros(len(texts), np.bool_)
    words = Encoded(ids, None, offsets, cut)
    ngrams = Encoded(ids, np.linspace(0.2, 0.9, 97, dtype=np.float32)[ids], offsets, cut)
    if name in ("linear", "bag"):
        return ngrams
    return replace(words, ngrams=ngrams) if name == "residual" else words


def batch_of(texts: list[list[int]], name: str, *, width: int = 1) -> Batch:
    return pad(encoded(texts, name), np.arange(len(texts)), width=width)


TEXT = st.lists(st.integers(1, NUM_IDS - 1), max_size=7)


@pytest.mark.parametrize("name", KINDS)
@given(texts=st.lists(TEXT, min_size=1, max_size=5), width=st.integers(1, 12))
def test_a_text_scores_alone_as_it_does_in_a_batch_padded_further(name, texts, width):
    together = MADE[name](batch_of(texts, name, width=width))
    alone = torch.cat([MADE[name](batch_of([text], name)) for text in texts])
    assert torch.isfinite(together).all()
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_the_words_of_a_text_move_its_scores(name):
    scores = MADE[name](batch_of([[2, 3], [4, 5], []], name))
    assert (scores[0] - scores[1]).abs().max() > 0.01
    assert (scores[0] - scores[2]).abs().max() > 0.01


@pytest.mark.parametrize("name", ["cnn", "lstm", "gru", "rnn, one direction", "transformer"])
def test_the_order_of_words_moves_the_scores(name):
    scores = MADE[name](batch_of([[2, 3, 4], [4, 3, 2]], name))
    assert (scores[0] - scores[1]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("training", [True, False])
def test_the_rows_that_a_step_touches_are_enough(name, training):
    model = MADE[name]
    assert isinstance(model, Net)
    batch = batch_of([[7, 2, 7], [], [9, 1, 2]], name)
    touched = torch.tensor([0, 9, 2, 7, 1])  # padding first; id 1 is no longer unknown words'
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    rows = {table: tensors[table][touched] for table in model.tables}
    place = torch.zeros(NUM_IDS, dtype=torch.int64)
    place[touched] = torch.arange(len(touched))
    for part in model.modules():
        part.training = training and not isinstance(part, torch.nn.Dropout)
    few = functional_call(model, rows, (replace(batch, ids=place[batch.ids]),))
    assert torch.allclose(few, model(batch), atol=1e-6)
    model.eval()


@pytest.mark.parametrize("name", NETS)
def test_the_tables_are_what_has_a_row_for_each_id(name):
    model = MADE[name]
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    tables = [key for key, value in tensors.items() if value.dim() and len(value) == NUM_IDS]
    assert sorted(model.tables) == sorted(key for key in tables if key != "linear.weight")


@pytest.mark.parametrize("name", NETS)
def test_padding_gets_no_gradient(name):
    model = made(name).train()
    model(batch_of([[2, 3, 1], [4]], name)).square().sum().backward()
    for key, value in model.named_parameters():
        if key in model.tables or key.endswith("character_weight"):
            assert value.grad is not None and not value.grad[0].any()
            assert value.grad[1:].any()


@pytest.mark.parametrize("name", NETS)
def test_scores_come_from_what_the_last_layer_sees(name):
    model, batch = MADE[name], batch_of([[2, 3], [4]], name)
    hidden = model.represent(batch)
    assert hidden.shape[0] == 2 and hidden.dim() == 2
    assert torch.equal(model.from_hidden(hidden, batch), model(batch))


@pytest.mark.parametrize("name", ["cnn", "lstm", "gru", "transformer", "mlp, no hidden layer"])
def test_a_text_without_words_is_the_zero_vector(name):
    hidden = MADE[name].represent(batch_of([[], [2]], name, width=3))
    assert not hidden[0].any() and hidden[1].any()


def test_a_word_has_its_own_vector_and_the_mean_of_its_characters():
    words = MADE["cnn"].words
    vectors = words(torch.tensor([[2, 7, 0, 1]]))[0]
    characters = words.character_weight[torch.tensor([ord(c) % 8191 + 1 for c in "手机"])]
    assert torch.allclose(vectors[0], torch.cat([words.weight[2], characters.mean(0)]))
    first = words.character_weight[torch.tensor([ord(c) % 8191 + 1 for c in "中华人民"])]
    assert torch.allclose(vectors[1], torch.cat([words.weight[7], first.mean(0)]))
    assert not vectors[2].any()
    assert vectors[3, :6].any() and not vectors[3, 6:].any()  # an unknown word has no characters


def test_the_characters_of_words_are_kept_with_the_weights():
    state = MADE["cnn"].state_dict()
    assert state["words.characters"].shape == (NUM_IDS, 4)
    assert state["words.characters"][3].tolist() == [ord("很") % 8191 + 1, 0, 0, 0]
    assert "words.characters" not in MADE["mlp"].state_dict()


def test_a_vocabulary_of_another_size_can_not_be_spelled():
    with pytest.raises(ValueError, match="zip"):
        MADE["cnn"].words.spell(WORDS[:-1])


def test_means_and_maxima_leave_padding_out():
    words = torch.tensor([[True, True, False], [False, False, False]])
    states = torch.tensor([[[1.0], [-4.0], [9.0]], [[5.0], [6.0], [7.0]]])
    assert mean_over(words, states).tolist() == [[-1.5], [0.0]]
    assert largest_over(words, states).tolist() == [[1.0], [0.0]]
    assert largest_over(words, -states.abs()).tolist() == [[-1.0], [0.0]]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
def test_windows_are_those_of_a_same_convolution(width):
    torch.manual_seed(0)
    convolution = torch.nn.Conv1d(4, 6, width, padding=0, bias=False)
    vectors = torch.randn(2, 3, 4)
    left = (width - 1) // 2
    padded = torch.nn.functional.pad(vectors.transpose(1, 2), (left, width - 1 - left))
    weight = convolution.weight.permute(0, 2, 1).flatten(1)
    expected = convolution(padded).transpose(1, 2)
    assert torch.allclose(windows(vectors, width) @ weight.T, expected, atol=1e-6)


def test_the_backward_direction_reads_each_text_from_its_own_end():
    ids = torch.tensor([[2, 3, 4, 0], [5, 0, 0, 0], [0, 0, 0, 0]])
    order = backward_order(ids > 0)
    found = reordered(ids.unsqueeze(-1), order).squeeze(-1)
    assert found.tolist() == [[4, 3, 2, 0], [5, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn, one direction"])
def test_states_are_those_of_packed_sequences(cell):
    model = MADE[cell]
    texts = [[2, 3, 4, 5], [6], [7, 8]]
    batch = batch_of(texts, cell)
    packed = torch.nn.utils.rnn.pack_padded_sequence
    states = model.words(batch.ids)
    lengths = torch.tensor([4, 1, 2])
    for layer, forwards in enumerate(model.forwards):
        size = forwards.hidden_size
        both = type(forwards)(
            states.shape[2], size, batch_first=True, bidirectional=len(model.backwards) > 0
        )
        weights = forwards.state_dict()
        if model.backwards:
            back = model.backwards[layer].state_dict()
            weights |= {f"{key}_reverse": value for key, value in back.items()}
        both.load_state_dict(weights)
        found, _ = both(packed(states, lengths, batch_first=True, enforce_sorted=False))
        states, _ = torch.nn.utils.rnn.pad_packed_sequence(found, batch_first=True)
    words, vectors = batch.ids > 0, model.words(batch.ids)
    pools = (largest_over(words, states), mean_over(words, states), mean_over(words, vectors))
    assert torch.allclose(model.represent(batch), torch.cat(pools, dim=1), atol=1e-6)


@given(shift=st.integers(0, 500))
def test_rotated_vectors_know_distances_and_no_places(shift):
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, 1, 6, 8)
    at = torch.arange(6)
    here = rotated(query, at) @ rotated(key, at).transpose(2, 3)
    there = rotated(query, at + shift) @ rotated(key, at + shift).transpose(2, 3)
    assert torch.allclose(here, there, atol=1e-3)
    assert torch.allclose(rotated(query, at).norm(dim=-1), query.norm(dim=-1), atol=1e-5)


def test_words_after_the_last_learned_position_share_it():
    scores = MADE["transformer, learned"](batch_of([[2] * 700], "transformer"))
    assert torch.isfinite(scores).all()


def test_a_residual_adds_what_the_linear_part_says():
    model = MADE["residual"]
    assert isinstance(model, Residual)
    batch = batch_of([[2, 3], []], "residual")
    with torch.no_grad():
        net, linear = model.net(batch), model.linear(batch.ngrams)
        assert torch.allclose(model(batch), net + model.scale * linear)
        base = torch.tensor([[1.0, 0, -1], [0, 2, 0]])
        assert torch.allclose(model(replace(batch, base=base)), net + model.scale * base)


def test_a_residual_begins_with_what_the_linear_part_says():
    model = made("residual")
    model.begin_with(3.5)
    batch = batch_of([[2, 3], [4]], "residual")
    with torch.no_grad():
        assert torch.equal(model(batch), 3.5 * model.linear(batch.ngrams))


def test_the_linear_part_of_a_residual_is_not_trained():
    model = made("residual").train()
    model(batch_of([[2, 3], [4]], "residual")).sum().backward()
    assert model.scale.item() == 1 and model.scale.grad is not None
    assert all(value.grad is None for value in model.linear.parameters())
    assert not any(value.requires_grad for value in model.linear.parameters())
