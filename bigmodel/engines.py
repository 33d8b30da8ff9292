"""What computes a model's scores in a replica, where it isn't torch on a CPU."""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from bigmodel.artifact import GOLDEN_TOLERANCE, Artifact
from bigmodel.data.batches import Batch
from bigmodel.errors import ModelError
from bigmodel.golden import GOLDEN_TEXTS


class OnDevice(nn.Module):
    """A copy of a network on a device: batches go there, scores [B, L] come back."""

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(device)
        self._device = device

    def forward(self, batch: Batch) -> Tensor:
        scores: Tensor = self.network(batch.to(self._device))
        return scores.cpu()


def network_for(artifact: Artifact, *, gpus: float) -> nn.Module | None:
    """What scores in a replica with so many GPUs; None: the artefact's own network on its CPU.

    ModelError where torch sees no GPU, or says there something else to the golden texts.
    """
    if not gpus:
        return None
    if not torch.cuda.is_available():
        raise ModelError(
            f"serve.replica_gpus is {gpus:g}, and torch {torch.__version__} sees no GPU where the "
            "replica runs; install torch for CUDA there, or set it to 0"
        )
    torch.backends.cudnn.allow_tf32 = False  # its 10 bits would move the third digit of a score
    network = OnDevice(artifact.model, torch.device("cuda"))
    check(artifact, network, where="on the GPU")
    return network


def check(artifact: Artifact, network: nn.Module, *, where: str) -> None:
    """ModelError where `network` doesn't score the golden texts as the artefact's own does."""
    expected = artifact.score(GOLDEN_TEXTS).scores
    found = replace(artifact, model=network).score(GOLDEN_TEXTS).scores
    gap = np.abs(found - expected).max()
    if not gap <= GOLDEN_TOLERANCE:
        raise ModelError(
            f"the golden texts score {gap:.2g} away {where} from what they do on the CPU (at most "
            f"{GOLDEN_TOLERANCE:g} is allowed); serve the model on CPUs"
        )
