"""What can go wrong for a user, and the exit code each kind of trouble ends with."""


class BigModelError(Exception):
    """Something a user can cause or mend: one finished sentence, and nothing else.

    An error whose constructor takes other arguments than it passes on would come back from a Ray
    task as `UnserializableException`, so every class here takes exactly that sentence.
    """

    exit_code = 1


class RecipeError(BigModelError):
    """The command or the recipe is wrong."""

    exit_code = 2


class DataError(BigModelError):
    """The data is wrong."""

    exit_code = 3


class ModelError(BigModelError):
    """The model is wrong: damaged, unknown, refused, or it lost a race for an alias."""

    exit_code = 4


class ClusterError(BigModelError):
    """The cluster or the service can't be reached, refuses, or lost the job."""

    exit_code = 5
