"""What computes a model's scores in a replica: torch on a CPU or a GPU, or ONNX Runtime."""

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from bigmodel.artifact import GOLDEN_TOLERANCE, Artifact
from bigmodel.data.batches import Batch
from bigmodel.errors import ModelError
from bigmodel.export.network import check_packages, compare, inputs_of, to_onnx
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


class InOnnxRuntime(nn.Module):
    """What `export.network.to_onnx` made of a network, on one thread of a CPU."""

    def __init__(self, network: bytes) -> None:
        super().__init__()
        import onnxruntime  # an extra, for those who ask for it

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(network, options, providers=providers)

    def forward(self, batch: Batch) -> Tensor:
        """[B, L]."""
        inputs = {name: tensor.numpy() for name, tensor in inputs_of(batch).items()}
        (scores,) = self._session.run(["scores"], inputs)
        return torch.from_numpy(scores)


def network_for(artifact: Artifact, *, engine: str = "torch", gpus: float = 0) -> nn.Module | None:
    """What scores in a replica with this engine or so many GPUs; None: the artefact's own network.

    It answers as the artefact does. Of n-grams torch is as quick as ONNX Runtime, so these kinds
    stay with it. ModelError where it doesn't, or can't be had; RecipeError where the packages for
    it aren't installed.
    """
    if engine == "onnx" and artifact.recipe.model.of_words:
        return _in_onnx_runtime(artifact)
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


def _in_onnx_runtime(artifact: Artifact) -> nn.Module:
    check_packages("serve.engine = onnx")
    network = to_onnx(artifact)
    compare(artifact, network)
    return InOnnxRuntime(network)


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
