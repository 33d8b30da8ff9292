"""Sections about the endpoint."""

from typing import Literal

from pydantic import Field, model_validator

from bigmodel.config.section import Section


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

    min_replicas: int | Literal["auto"] = Field(
        "auto",
        description="Replicas without load. auto: 1, or 2 where the cluster has several machines "
        "when the endpoint starts. 0: after a quiet time the first request waits for a replica.",
    )
    max_replicas: int = Field(2, gt=0, description="Replicas under load.")
    target_ongoing_requests: float = Field(
        8.0, gt=0, description="Requests in flight a replica; more start another one."
    )
    upscale_delay_s: float = Field(5.0, ge=0, description="Load must last this long.")
    downscale_delay_s: float = Field(60.0, ge=0, description="Quiet must last this long.")
    replica_cpus: float = Field(0.5, gt=0, description="CPUs that Ray sets aside for a replica.")
    replica_gpus: float = Field(
        0.0,
        ge=0,
        le=1,
        description="GPUs for a replica, which then computes on one; 0.25: four share it.",
    )
    replica_memory_mb: int = Field(
        4_096,
        gt=0,
        description="Memory of a replica's own; one that holds more leaks, and another replica "
        "takes its place. Loading another version takes that of both.",
    )
    engine: Literal["torch", "onnx"] = Field(
        "torch",
        description="What computes the scores. onnx: ONNX Runtime (`bigmodel[onnx]`), quicker for "
        "kinds of words and few texts; `linear` and `bag` stay with torch, which is as quick.",
    )
    page: bool = Field(False, description="A page at / to try the model.")
    hosts: tuple[str, ...] = Field(
        (),
        description="Names in the Host header to answer to, besides this machine's own: those "
        "that people and proxies reach the endpoint by.",
    )
    limits: LimitsConfig = Field(default_factory=LimitsConfig)

    @model_validator(mode="after")
    def _onnx_needs_no_gpu(self) -> "ServeConfig":
        if self.engine == "onnx" and self.replica_gpus:
            raise ValueError(
                f"engine is onnx, which computes on a CPU, and replica_gpus is "
                f"{self.replica_gpus:g}; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> "ServeConfig":
        if self.min_replicas == "auto":
            return self
        if self.min_replicas < 0:
            raise ValueError(f"min_replicas is {self.min_replicas}; it is at least 0, or auto")
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas}, above max_replicas ({self.max_replicas})"
            )
        return self
