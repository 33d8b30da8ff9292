"""A program: train on two machines (two raylets of this one), of which one goes away.

`python two_machines.py STORAGE CSV END`, with END `killed` (it is gone at once) or `noticed` (it
is said to go, and goes when a checkpoint has been kept). Prints as JSON what came of it.
"""

import json
import sys
from pathlib import Path

import ray
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated import autoscaler_pb2

from bigmodel import progress
from bigmodel.cluster.session import _free_port, environment, prepare_environment
from bigmodel.config import Recipe
from bigmodel.data.prepare import prepare
from bigmodel.recipe import make_recipe
from bigmodel.training.fitting import fit_weights
from bigmodel.training.ingest import training_data
from bigmodel.training.runs import StoredRun
from bigmodel.training.team import Team
from bigmodel.training.trainer import fit

RUN = "two-machines"
DAY_S = 86_400


def recipe_of(storage: str, csv: str, end: str) -> Recipe:
    train = {"epochs": 4, "rows_per_step": 2, "early_stop": 0, "num_workers": [1, 2]}
    kept = {"checkpoint_s": DAY_S if end == "noticed" else 0}
    tree = {
        "name": "two", "storage": storage, "seed": 3, "data": {"train": csv},
        "model": {"kind": "mlp", "mlp": {"dropout": 0}}, "train": train | kept,
    }  # fmt: skip
    return make_recipe(tree, "recipe")


class Losing:
    """Takes the second machine away in the middle of training."""

    def __init__(self, cluster: Cluster, recipe: Recipe, end: str) -> None:
        self._cluster, self._end = cluster, end
        self._checkpoints = StoredRun(recipe, RUN).checkpoints
        self._node = cluster.list_all_nodes()[-1]
        self.said: list[str] = []
        self.noticed = self.lost = False

    def __call__(self, event: progress.Event) -> None:
        if event.said:
            self.said.append(event.said)
        if event.stage != "train" or not event.done or self.lost or event.done < event.total / 4:
            return
        if self._end == "noticed" and not self.noticed:
            assert not self._checkpoints.steps()
            reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
            client = GcsClient(self._cluster.address)
            client.drain_node(self._node.node_id, reason, "taken away", 0)
            self.noticed = True
        elif self._end == "killed" or self._checkpoints.steps():
            self._cluster.remove_node(self._node, allow_graceful=False)
            self.lost = True


def main(storage: str, csv: str, end: str) -> None:
    prepare_environment()
    head = {"num_cpus": 1, "dashboard_port": _free_port()}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.add_node(num_cpus=1)
    own = {"RAY_ADDRESS": cluster.address}  # else Ray Train's clean-up asks any that runs here
    with environment(own):
        ray.init(
            cluster.address,
            runtime_env={"env_vars": own},
            log_to_driver=False,
            logging_level="ERROR",
        )
        assert ray.get_runtime_context().gcs_address == cluster.address
        assert len(ray.nodes()) == 2
        recipe = recipe_of(storage, csv, end)
        prepared = prepare(recipe)
        alone = fit_weights(recipe, training_data(prepared, recipe), Team())
        with progress.listening(losing := Losing(cluster, recipe, end)):
            done = fit(prepared, recipe, run_id=RUN)
        ray.shutdown()
    cluster.shutdown()
    found = {
        "lost": losing.lost,
        "said": losing.said,
        "losses": [epoch["loss"] for epoch in done.epochs],
        "alone": [epoch.loss for epoch in alone.history],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).absolute()), *sys.argv[2:])
