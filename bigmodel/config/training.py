"""Sections about models: their kinds, how they are trained, and what is searched."""

from typing import Any, Literal

from pydantic import Field, model_validator

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
    """TF-IDF of n-grams under one-vs-rest squared hinge; optionally naive-Bayes weighted."""

    C: float | Literal["auto"] = Field(
        "auto",
        description="Weight of the loss against the L2 term; auto: 0.3 with nb, 0.5 without.",
    )
    nb: bool | Literal["auto"] = Field(
        "auto", description="Scale features by naive-Bayes ratios; auto: with two classes."
    )
    tolerance: float = Field(
        0.02, gt=0, lt=1, description="Stop when every class's gradient fell to this share."
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


class MlpConfig(Section):
    """Word embeddings, fully connected layers with ReLU over their masked mean and maximum."""

    embedding_size: int = Field(64, gt=0, description="Width of a word's vector.")
    hidden_sizes: tuple[int, ...] = Field(
        (128,), description="Widths of the layers, first to last."
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="Before each layer.")
    min_count: int = Field(2, gt=0, description="Training texts a word must stand in.")

    @model_validator(mode="after")
    def _sizes_are_positive(self) -> "MlpConfig":
        if any(size <= 0 for size in self.hidden_sizes):
            raise ValueError(f"hidden_sizes is {list(self.hidden_sizes)}; each must be at least 1")
        return self


class ModelConfig(Section):
    """Which model; only the chosen kind's table is read, so one recipe can hold several."""

    kind: Literal["linear", "bag", "mlp"] = Field("linear", description="The family of models.")
    linear: LinearConfig = Field(default_factory=LinearConfig)
    bag: BagConfig = Field(default_factory=BagConfig)
    mlp: MlpConfig = Field(default_factory=MlpConfig)


class TrainConfig(Section):
    """One optimisation run on a fixed set of workers."""

    epochs: int = Field(10, gt=0, description="Passes over the rows; `linear`: outer steps.")
    learning_rate: float = Field(1e-3, gt=0, description="Highest rate; unused by `linear`.")
    rows_per_step: int = Field(256, gt=0, description="Over all workers, not per worker.")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="Unused by `linear`.")
    weight_decay: float = Field(0.0, ge=0, description="Unused by `linear`.")
    num_workers: int = Field(1, gt=0, description="Processes that share each step's rows.")
    use_gpu: bool | Literal["auto"] = Field(
        "auto",
        description="auto: where the cluster has them now; unused by `linear`.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 autocast on GPU, fp32 on CPU."
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: each class weighs the same in the loss."
    )
    early_stop: int = Field(3, ge=0, description="Epochs without a better valid score; 0: never.")
    max_failures: int = Field(
        0, ge=0, description="Lost workers after which training is begun anew."
    )


class Dimension(Section):
    """The values one key may take in a search: exactly one of the four forms."""

    log: tuple[float, float] | None = Field(None, description="Log-uniform between two numbers.")
    uniform: tuple[float, float] | None = Field(
        None, alias="range", description="Uniform between two numbers."
    )
    integer: tuple[int, int] | None = Field(
        None, alias="int", description="Whole numbers, both ends included."
    )
    choice: tuple[Any, ...] | None = Field(None, min_length=1, description="One of these values.")

    @model_validator(mode="after")
    def _has_one_form(self) -> "Dimension":
        forms = self.model_dump(by_alias=True, exclude_none=True)
        if len(forms) != 1:
            raise ValueError("give exactly one of log, range, int and choice")
        form, bounds = next(iter(forms.items()))
        if form != "choice" and not (bounds[0] < bounds[1] and (form != "log" or bounds[0] > 0)):
            raise ValueError(f"{form} = {list(bounds)} is not a range of numbers, low before high")
        return self


class TuneConfig(Section):
    """A search over the recipe's own keys."""

    space: dict[str, Dimension] = Field(
        default_factory=dict,
        description="Dotted key -> {log|range|int = [low, high]} or {choice = [...]}; "
        "empty: the kind's own space.",
    )
    num_trials: int = Field(8, gt=0, description="Recipes to try; the first is the recipe itself.")
    scheduler: Literal["asha", "none"] = Field("asha", description="asha stops poor trials early.")
    metric: Literal["macro_f1", "accuracy"] = Field("macro_f1", description="On the valid split.")
    time_budget_s: float | None = Field(None, gt=0, description="No new epochs after this time.")
