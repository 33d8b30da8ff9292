"""The `bigmodel` command: its verbs by name; a verb's module is imported when it is called."""

from importlib import import_module

import click

import bigmodel

VERBS = {
    "new": "Look at a file, and write a recipe for it.",
    "check": "Say what is wrong with the data.",
    "run": "From a file of labelled texts to an endpoint that answered.",
    "prepare": "Read, check, clean and split the data.",
    "train": "Prepare, fit, publish a version.",
    "tune": "Search for the best recipe.",
    "ladder": "Train every kind of model, and say which is small and good enough.",
    "evaluate": "Score a model on its test rows, or on a file.",
    "compare": "Two versions on the same rows: better, worse, or can't tell.",
    "export": "Write a model as ONNX, with its labels and encoder.",
    "predict": "Label texts, or the rows of a file.",
    "serve": "Answer over HTTP from this machine, until Ctrl-C.",
    "deploy": "Answer over HTTP from a living cluster.",
    "jobs": "What runs on a cluster, or ran there: list, status, logs, stop.",
    "up": "Start a Ray head on this machine, behind a token.",
    "down": "End the Ray head that `up` started.",
    "doctor": "Say what is wrong here, or with a cluster, and how to mend it.",
    "models": "List, show, promote, roll back, delete.",
    "keys": "Who may use the endpoint: add, list, revoke.",
}


class Verbs(click.Group):
    """Shows its help without importing a verb."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f"jobs.{cmd_name}").main
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs)
@click.version_option(bigmodel.__version__, prog_name="bigmodel")
def main() -> None:
    """Labelled Chinese text in, an autoscaled HTTP endpoint out."""


if __name__ == "__main__":
    main()
