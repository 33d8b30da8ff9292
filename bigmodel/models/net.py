"""What the trainer asks of a model that is trained by gradients."""

from torch import Tensor, nn

from bigmodel.data.batches import Batch


class Net(nn.Module):
    """Ids -> what the last layer sees -> scores.

    `tables`: names of the parameters and buffers whose row i belongs to id i of `batch.ids`. A step
    may put the few rows that it touches in their place, by `torch.func.functional_call`, with ids
    renumbered to match: so id 0 is padding and its row is zero, and no other id means anything.
    """

    tables: tuple[str, ...]
    output: nn.Linear

    def represent(self, batch: Batch) -> Tensor:
        """[B, H]; a row depends on its own text only, however far the batch is padded."""
        raise NotImplementedError

    def from_hidden(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Scores [B, L] of what `represent` gave for `batch`, or of a mixture of its rows."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """[B, L]."""
        return self.from_hidden(self.represent(batch), batch)
