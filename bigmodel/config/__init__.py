"""The recipe: every setting of a model's life as one frozen, checked value."""

from pydantic import Field

from bigmodel.config.data import DataConfig, SplitConfig, TextConfig, WeightedSource
from bigmodel.config.evaluation import (
    Change,
    EvaluateConfig,
    GateConfig,
    PatternSlice,
    PromiseConfig,
    ReportConfig,
)
from bigmodel.config.models import (
    BagConfig,
    CnnConfig,
    LinearConfig,
    MlpConfig,
    ModelConfig,
    NgramSection,
    RnnConfig,
    TransformerConfig,
    WordSection,
)
from bigmodel.config.section import Section
from bigmodel.config.serving import LimitsConfig, ServeConfig
from bigmodel.config.training import AugmentConfig, Dimension, TrainConfig, TuneConfig

__all__ = [
    "AugmentConfig",
    "BagConfig",
    "Change",
    "ClusterConfig",
    "CnnConfig",
    "DataConfig",
    "Dimension",
    "EvaluateConfig",
    "GateConfig",
    "LimitsConfig",
    "LinearConfig",
    "MlpConfig",
    "ModelConfig",
    "NAME_PATTERN",
    "NgramSection",
    "PatternSlice",
    "PromiseConfig",
    "Recipe",
    "ReportConfig",
    "RnnConfig",
    "Section",
    "ServeConfig",
    "SplitConfig",
    "TextConfig",
    "TrackingConfig",
    "TrainConfig",
    "TransformerConfig",
    "TuneConfig",
    "WeightedSource",
    "WordSection",
]

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"


class TrackingConfig(Section):
    """Where runs and versions are recorded."""

    uri: str | None = Field(
        None,
        description="An MLflow server; default: `MLFLOW_TRACKING_URI`, else a database under a "
        "local `storage`.",
    )


class ClusterConfig(Section):
    """The cluster that jobs are submitted to."""

    max_jobs: int = Field(
        8, gt=0, description="Of ours that it runs at once; a further one waits before it is sent."
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
    cluster: ClusterConfig = Field(default_factory=ClusterConfig)
