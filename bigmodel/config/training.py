"""Sections about training: how a model is fitted, and what is searched."""

from typing import Any, Literal

from pydantic import Field, model_validator

from bigmodel.config.section import Section


class AugmentConfig(Section):
    """Training texts changed anew in each step; kinds of words, where nothing else is said."""

    drop: float = Field(
        0.0, ge=0, lt=1, description="Share of words read as unknown (`bag`: of n-grams)."
    )
    swap: float = Field(0.0, ge=0, le=1, description="Share of words that change places.")
    mix_up: float = Field(
        0.0,
        ge=0,
        description="Alpha of the Beta distribution by which two texts of a step are mixed; 0: "
        "none (Zhang et al. 2018, on what the last layer sees).",
    )


class TrainConfig(Section):
    """One optimisation run; `linear` is solved by Newton's method and reads only `epochs`,
    `class_weights`, `logit_adjustment`, and the keys of workers and checkpoints."""

    epochs: int = Field(10, gt=0, description="Passes over the rows; `linear`: outer steps.")
    learning_rate: float = Field(1e-3, gt=0, description="The highest rate.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="How the rate falls to 0 after the warm-up, or stays."
    )
    warm_up: float = Field(
        0.05, ge=0, lt=1, description="Share of the steps in which the rate rises to its highest."
    )
    rows_per_step: int = Field(256, gt=0, description="Over all workers, not per worker.")
    accumulate: int = Field(
        1, gt=0, description="Slices of a step that a worker computes one after another."
    )
    optimizer: Literal["sgd", "adam", "adamw"] = Field(
        "adam", description="How a step uses its gradient."
    )
    weight_decay: float = Field(
        0.0, ge=0, description="Of matrices, not of biases; of vectors in a table when touched."
    )
    clip_norm: float = Field(
        0.0, ge=0, description="A step's gradient is scaled down to this length; 0: never."
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay a step of the averaged weights that are kept as the model; 0: none.",
    )
    loss: Literal["cross_entropy", "focal"] = Field(
        "cross_entropy", description="focal: rows that are right already count less."
    )
    focal_gamma: float = Field(2.0, ge=0, description="How much less (Lin et al. 2017).")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of each label given to all labels alike."
    )
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        "none",
        description="balanced: each class weighs the same in the loss; or a weight for each label, "
        "1 where none is given.",
    )
    logit_adjustment: float | Literal["auto"] = Field(
        0.0,
        description="How much of each class's log share of the training rows is taken off its "
        "score once the model is trained, which favours rare classes (Menon et al. 2021); auto: "
        "what gives the best macro-F1 on the valid rows, of 0 to 1.",
    )
    resample: Literal["none", "balanced", "root"] = Field(
        "none",
        description="Draw an epoch's rows with equal chances for classes (balanced), or by the "
        "root of their sizes; unused by `linear`.",
    )
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    num_workers: int | tuple[int, int] = Field(
        1,
        description="Processes that share each step's rows; `[fewest, most]`: as many as find room "
        "now, fewer when machines are lost and more when they come.",
    )
    use_gpu: bool | Literal["auto"] = Field(
        "auto",
        description="auto: where the cluster has them now; unused by `linear`.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 autocast on GPU, fp32 on CPU."
    )
    memory_mb: int = Field(
        4096,
        gt=0,
        description="Encoded training rows above this stay in storage, and an epoch reads them in "
        "shards of about a quarter of it (not with `linear` or a residual, which need all rows).",
    )
    early_stop: int = Field(3, ge=0, description="Epochs without a better valid score; 0: never.")
    max_failures: int = Field(
        3, ge=0, description="Lost workers after which training goes on from its checkpoint."
    )
    checkpoint_s: float = Field(
        30.0,
        ge=0,
        description="Seconds between checkpoints; more, where writing one takes over a twentieth.",
    )

    @property
    def fewest_workers(self) -> int:
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[0]

    @property
    def most_workers(self) -> int:
        return self.num_workers if isinstance(self.num_workers, int) else self.num_workers[1]

    @model_validator(mode="after")
    def _values_fit_together(self) -> "TrainConfig":
        if not 1 <= self.fewest_workers <= self.most_workers:
            raise ValueError(
                f"num_workers is {self.num_workers}; expected at least 1, or [fewest, most]"
            )
        if self.logit_adjustment != "auto" and self.logit_adjustment < 0:
            raise ValueError(f"logit_adjustment is {self.logit_adjustment}; it is at least 0")
        if (
            isinstance(self.class_weights, dict)
            and min(self.class_weights.values(), default=1) <= 0
        ):
            raise ValueError(f"class_weights is {self.class_weights}; a weight is greater than 0")
        return self


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
        description="Dotted key of `model`, `train`, `text` or `data` -> {log|range|int = "
        "[low, high]} or {choice = [...]}; empty: the kind's own space.",
    )
    recipes: tuple[dict[str, Any], ...] = Field(
        (), description="For searcher = recipes: what each trial changes, as dotted keys."
    )
    num_trials: int = Field(
        8, gt=0, description="Recipes to try at most; the first is the recipe itself."
    )
    searcher: Literal["tpe", "random", "grid", "recipes"] = Field(
        "tpe",
        description="tpe learns from what was tried (Optuna's); grid tries every point of whole "
        "numbers and choices; recipes those listed.",
    )
    scheduler: Literal["asha", "median", "none"] = Field(
        "asha",
        description="asha stops trials below the best third of their time; median those below the "
        "middle one.",
    )
    grace_epochs: int = Field(2, gt=0, description="No trial is stopped before.")
    metric: Literal["macro_f1", "accuracy"] = Field("macro_f1", description="On the valid split.")
    time_budget_s: float | None = Field(None, gt=0, description="No new epochs after this time.")
    cpus: float = Field(1.0, gt=0, description="Of each worker of a trial.")
    gpus: float = Field(0.0, ge=0, description="Of each worker of a trial; parts of one are fine.")
    keep: int = Field(1, ge=0, description="Trials whose weights stay with the search.")
    refit: bool = Field(
        True,
        description="Train the best recipe anew, with its checkpoints; false: take its trial's "
        "weights.",
    )

    @model_validator(mode="after")
    def _has_recipes(self) -> "TuneConfig":
        if (self.searcher == "recipes") != bool(self.recipes):
            raise ValueError('give tune.recipes with searcher = "recipes", and only then')
        return self
