"""The recipe: every setting of a model's life as one frozen, checked value."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"


class Section(BaseModel):
    """A table of the recipe: frozen, and no key it doesn't know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SplitConfig(Section):
    """How the rows of `data.train` are divided where no split is given."""

    valid: float = Field(0.1, ge=0, lt=1, description="Share of rows for choosing settings.")
    test: float = Field(0.1, ge=0, lt=1, description="Share of rows for the final score.")
    group_column: str | None = Field(
        None, description="Rows with the same value here stay in one split."
    )

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> "SplitConfig":
        if self.valid + self.test >= 1:
            raise ValueError("split.valid and split.test leave no rows to train on")
        return self


class WeightedSource(Section):
    """One of several sources of training rows."""

    path: str = Field(min_length=1, description="A file, glob, folder or URI.")
    weight: float = Field(
        1.0,
        gt=0,
        description="Of its rows in training; with any but 1 they are only trained on, never split "
        "off for valid or test.",
    )


def _listed(written: Any) -> Any:
    """One path is a list of one source."""
    return [{"path": written}] if isinstance(written, str) else written


class DataConfig(Section):
    """Where the labelled texts are and how to read them."""

    train: Annotated[
        tuple[WeightedSource, ...],
        BeforeValidator(_listed, json_schema_input_type=str | tuple[WeightedSource, ...]),
    ] = Field(
        min_length=1,
        description="CSV, TSV, JSON lines, Parquet or text, also as `.gz` or `.zst`: a file, glob, "
        "folder or URI, or a list of `{path, weight}`.",
    )
    valid: str | None = Field(None, description="A given valid split; overrides `split.valid`.")
    test: str | None = Field(None, description="A given test split; overrides `split.test`.")
    text_column: str = Field("text", description="Name of the column with the texts.")
    label_column: str = Field("label", description="Name of the column with the labels.")
    encoding: str = Field(
        "auto", description="Of the files; auto: UTF-8, else what the bytes look like, said aloud."
    )
    max_bad_rows: float = Field(
        0.01, ge=0, le=1, description="Share of unreadable or empty rows above which a job stops."
    )
    corrections: str | None = Field(
        None, description="The CSV of `check` with mended labels; an empty label drops the text."
    )
    conflicts: Literal["drop", "majority", "keep"] = Field(
        "drop", description="What happens to one text under several labels."
    )
    split: SplitConfig = Field(default_factory=SplitConfig)

    @model_validator(mode="after")
    def _every_split_has_rows(self) -> "DataConfig":
        for name in ("valid", "test"):
            if getattr(self, name) is None and getattr(self.split, name) == 0:
                raise ValueError(f"split.{name} is 0 and no data.{name} is given; give one of them")
        return self

    def of_another_file(self) -> "DataConfig":
        """Of a file with the same columns, whose encoding nobody has told."""
        return self.model_copy(update={"encoding": "auto"})


class TextConfig(Section):
    """From a string to words."""

    engine: Literal["rjieba", "jieba"] = Field("rjieba", description="What segments words.")
    hmm: bool = Field(False, description="Let the engine guess words that its dictionary lacks.")
    segmenter: Literal["words", "chars"] = Field("words", description="The unit of a token.")
    user_dictionary: str | None = Field(
        None, description="A jieba dictionary (`word [count [tag]]` a line) of your own words."
    )
    stop_words: str | None = Field(None, description="A file of words to leave out, one a line.")
    links: Literal["keep", "drop"] = Field("keep", description="Web addresses in the texts.")
    user_names: Literal["keep", "drop"] = Field("keep", description="`@name` in the texts.")
    traditional: Literal["keep", "simplify"] = Field(
        "keep", description="Traditional characters; simplify: by OpenCC."
    )
    mask: tuple[Literal["phone", "id_number", "bank_card", "email"], ...] = Field(
        (), description="Personal data read as placeholders everywhere; `storage` keeps it, though."
    )
    max_tokens: int = Field(256, gt=0, description="Longer texts are cut (kind `mlp`).")
    vocabulary_size: int = Field(
        50_000, gt=1, description="The most tokens or n-grams to keep (kinds `mlp` and `bag`)."
    )


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


class PatternSlice(Section):
    """Rows whose text fits a pattern."""

    name: str = Field(min_length=1, description="What the report calls them.")
    pattern: str = Field(min_length=1, description="A regular expression, searched in the text.")

    @model_validator(mode="after")
    def _can_be_read(self) -> "PatternSlice":
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"{self.pattern!r} is no regular expression ({error})") from None
        return self


class PromiseConfig(Section):
    """What answers must keep; where the model isn't sure enough, it abstains."""

    precision: float = Field(
        gt=0, lt=1, description="Share of right answers among those given, at least."
    )


class GateConfig(Section):
    """When a new version may become champion."""

    margin: float = Field(
        0.02, gt=0, lt=1, description="Macro-F1 that a version may seem to lose, at most."
    )
    slices: tuple[str, ...] = Field(
        (), description='Values of slices that mustn\'t lose more either, as `"city=北京"`.'
    )


Change = Literal["names", "numbers", "blanks", "width", "traditional", "negation"]


class EvaluateConfig(Section):
    """How a version is judged, and when it may take the champion's place."""

    slices: tuple[str | PatternSlice, ...] = Field(
        (),
        description="Columns of the data, or `{name, pattern}`: scores for each value as well.",
    )
    folds: int = Field(
        0, ge=0, description="Cross-validation over train and valid with so many parts; 0: none."
    )
    promise: PromiseConfig | None = Field(
        None, description="With it, answers that aren't sure enough say `abstained`."
    )
    behaviour: tuple[Change, ...] = Field(
        ("names", "numbers", "blanks", "width", "traditional", "negation"),
        description="What is changed in texts to see whether the answer moves as it should.",
    )
    gate: GateConfig = Field(default_factory=GateConfig)

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the data, that have slices."""
        return tuple(one for one in self.slices if isinstance(one, str))

    @property
    def patterns(self) -> tuple[PatternSlice, ...]:
        return tuple(one for one in self.slices if isinstance(one, PatternSlice))

    @model_validator(mode="after")
    def _folds_are_several(self) -> "EvaluateConfig":
        if self.folds == 1:
            raise ValueError("folds = 1 leaves nothing to train on; take 0 or at least 2")
        return self


class ReportConfig(Section):
    """What reports may hold."""

    texts: bool = Field(False, description="Rows of your data as examples of mistakes.")


class LimitsConfig(Section):
    """What the endpoint accepts."""

    body_bytes: int = Field(1_048_576, gt=0, description="Of a request's body.")
    body_timeout_s: float = Field(10.0, gt=0, description="To receive the body.")
    items: int = Field(64, gt=0, description="Texts in a request.")
    item_characters: int = Field(8_192, gt=0, description="In one text.")
    total_characters: int = Field(131_072, gt=0, description="In all texts of a request.")
    deadline_s: float = Field(5.0, gt=0, description="To answer.")
    in_flight: int = Field(256, gt=0, description="Requests admitted by one replica at a time.")


class ServeConfig(Section):
    """Replicas of the endpoint and what they accept."""

    min_replicas: int = Field(1, gt=0, description="Replicas without load.")
    max_replicas: int = Field(2, gt=0, description="Replicas under load.")
    target_ongoing_requests: float = Field(
        8.0, gt=0, description="Requests in flight a replica; more start another one."
    )
    upscale_delay_s: float = Field(5.0, ge=0, description="Load must last this long.")
    downscale_delay_s: float = Field(60.0, ge=0, description="Quiet must last this long.")
    replica_cpus: float = Field(0.5, gt=0, description="CPUs that Ray sets aside for a replica.")
    limits: LimitsConfig = Field(default_factory=LimitsConfig)

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> "ServeConfig":
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas}, above max_replicas ({self.max_replicas})"
            )
        return self


class TrackingConfig(Section):
    """Where runs and versions are recorded."""

    uri: str | None = Field(
        None,
        description="An MLflow server; default: `MLFLOW_TRACKING_URI`, else a database under a "
        "local `storage`.",
    )


class Recipe(Section):
    """One model's whole life; the only configuration there is."""

    name: str = Field(pattern=NAME_PATTERN, description="Of the model; letters, digits, - and _.")
    storage: str = Field("./storage", description="Root of all files: a folder, `s3://`, `gs://`.")
    seed: int = Field(0, ge=0, description="Of every random choice.")
    data: DataConfig
    text: TextConfig = Field(default_factory=TextConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    tune: TuneConfig | None = Field(None, description="With it, `run` searches first.")
    evaluate: EvaluateConfig = Field(default_factory=EvaluateConfig)
    serve: ServeConfig = Field(default_factory=ServeConfig)
    report: ReportConfig = Field(default_factory=ReportConfig)
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)
