"""Sections about models: the kinds, and what each is made of."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from bigmodel.config.section import Section


class NgramSection(Section):
    """Hashed n-grams of characters and words."""

    char_ngrams: tuple[int, int] = Field((1, 4), description="Shortest and longest; [0, 0]: none.")
    word_ngrams: tuple[int, int] = Field((1, 2), description="Shortest and longest; [0, 0]: none.")
    min_count: int = Field(2, gt=0, description="Training texts an n-gram must stand in.")

    @model_validator(mode="after")
    def _ranges_are_ranges(self) -> "NgramSection":
        for low, high in (self.char_ngrams, self.word_ngrams):
            if not (low == high == 0 or 1 <= low <= high <= 8):
                raise ValueError(f"[{low}, {high}] is not a range of lengths within 1 to 8")
        if self.char_ngrams == self.word_ngrams == (0, 0):
            raise ValueError("char_ngrams and word_ngrams are both empty")
        return self


class LinearConfig(NgramSection):
    """TF-IDF of n-grams under one-vs-rest squared hinge; naive-Bayes weighted or not."""

    C: float | Literal["auto"] = Field(
        "auto",
        description="Weight of the loss against the L2 term; auto: 0.3 with nb, 0.5 without.",
    )
    nb: bool | Literal["both"] = Field(
        True,
        description="Scale features by the naive-Bayes ratios of each class; both: the mean of a "
        "model with and one without, in twice the time.",
    )

    @field_validator("nb", mode="before")
    @classmethod
    def _was_auto(cls, written: Any) -> Any:
        """Of a release before, where it meant: with two classes."""
        return True if written == "auto" else written

    tolerance: float = Field(
        0.03,
        gt=0,
        lt=1,
        description="Stop after a step that took no more than this share off any class's loss.",
    )

    @model_validator(mode="after")
    def _c_is_positive(self) -> "LinearConfig":
        if self.C != "auto" and self.C <= 0:
            raise ValueError(f"C is {self.C}; it must be greater than 0")
        return self


class BagConfig(NgramSection):
    """The mean of n-gram embeddings, then one linear layer."""

    char_ngrams: tuple[int, int] = Field((1, 3), description="Shortest and longest; [0, 0]: none.")
    embedding_size: int = Field(32, gt=0, description="Width of an n-gram's vector.")
    dropout: float = Field(0.3, ge=0, lt=1, description="Share of the mean vector set to 0.")


class WordSection(Section):
    """Words in order, each as a vector."""

    embedding_size: int = Field(200, gt=0, description="Width of a word's vector.")
    character_size: int = Field(
        100, ge=0, description="Width of the mean of its characters' vectors beside it; 0: none."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Before the last layer.")
    min_count: int = Field(2, gt=0, description="Training texts a word must stand in.")


class MlpConfig(WordSection):
    """Fully connected layers with ReLU over the masked mean and maximum of word vectors."""

    embedding_size: int = Field(64, gt=0, description="Width of a word's vector.")
    character_size: int = Field(
        0, ge=0, description="Width of the mean of its characters' vectors beside it; 0: none."
    )
    hidden_sizes: tuple[int, ...] = Field(
        (128,), description="Widths of the layers, first to last."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Before each layer.")

    @model_validator(mode="after")
    def _sizes_are_positive(self) -> "MlpConfig":
        if any(size <= 0 for size in self.hidden_sizes):
            raise ValueError(f"hidden_sizes is {list(self.hidden_sizes)}; each must be at least 1")
        return self


class CnnConfig(WordSection):
    """Convolutions over word vectors, their maximum over the text (after Kim 2014)."""

    widths: tuple[int, ...] = Field((1, 2, 3), min_length=1, description="Words a filter sees.")
    channels: int = Field(128, gt=0, description="Filters of each width.")

    @model_validator(mode="after")
    def _widths_are_widths(self) -> "CnnConfig":
        if not all(1 <= width <= 9 for width in self.widths):
            raise ValueError(f"widths is {list(self.widths)}; each must be within 1 to 9")
        return self


class RnnConfig(WordSection):
    """A recurrent network over word vectors, the maximum and mean of its states over the text."""

    cell: Literal["lstm", "gru", "rnn"] = Field("gru", description="What a step computes.")
    hidden_size: int = Field(128, gt=0, description="Width of a state, of each direction.")
    num_layers: int = Field(1, gt=0, description="Layers, one on the other.")
    bidirectional: bool = Field(True, description="Read in both directions.")


class TransformerConfig(WordSection):
    """A Transformer encoder over word vectors, the mean and maximum of its states."""

    width: int = Field(128, gt=0, description="Width of a state.")
    num_layers: int = Field(2, gt=0, description="Layers, one on the other.")
    num_heads: int = Field(4, gt=0, description="Heads of each layer; they divide `width`.")
    positions: Literal["learned", "rotary"] = Field(
        "rotary", description="How a layer knows the order of words."
    )

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> "TransformerConfig":
        if self.width % self.num_heads or self.width // self.num_heads % 2:
            raise ValueError(
                f"width is {self.width}; expected an even multiple of num_heads ({self.num_heads})"
            )
        return self


class ModelConfig(Section):
    """Which model; only the chosen kind's table is read, so one recipe can hold several."""

    kind: Literal["linear", "bag", "mlp", "cnn", "rnn", "transformer"] = Field(
        "linear", description="The family of models."
    )
    residual: bool = Field(
        False,
        description="Train a `linear` model first, and the net on what it leaves over (kinds of "
        "words: `mlp`, `cnn`, `rnn`, `transformer`); the answer is their sum.",
    )
    vectors: Literal["none", "ppmi"] = Field(
        "none",
        description="Word vectors to start from; ppmi: from the neighbours of words in the "
        "training texts and `data.unlabelled` (kinds of words).",
    )
    linear: LinearConfig = Field(default_factory=LinearConfig)
    bag: BagConfig = Field(default_factory=BagConfig)
    mlp: MlpConfig = Field(default_factory=MlpConfig)
    cnn: CnnConfig = Field(default_factory=CnnConfig)
    rnn: RnnConfig = Field(default_factory=RnnConfig)
    transformer: TransformerConfig = Field(default_factory=TransformerConfig)

    @property
    def of_words(self) -> bool:
        """Does the kind read words in order?"""
        return self.kind not in ("linear", "bag")

    @property
    def of_ngrams(self) -> bool:
        """Does it read n-grams, alone or beside words?"""
        return self.residual or not self.of_words

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of kinds that the model is made of."""
        return (self.kind, "linear") if self.residual else (self.kind,)

    @model_validator(mode="after")
    def _only_words_have_vectors_and_residuals(self) -> "ModelConfig":
        for key, default in (("residual", False), ("vectors", "none")):
            if not self.of_words and getattr(self, key) != default:
                raise ValueError(
                    f"{key} needs a kind of words (mlp, cnn, rnn, transformer), and kind is "
                    f"{self.kind}"
                )
        return self
