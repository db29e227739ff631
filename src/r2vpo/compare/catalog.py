"""Read an experiment's file."""

from pathlib import Path

from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.compare.schema import Experiment
from r2vpo.compare.tasks import TasksExperiment
from r2vpo.config.errors import validated
from r2vpo.config.yaml_files import read_mapping


def load_experiment(path: Path) -> Experiment | TasksExperiment | ControlExperiment:
    """Read an experiment's file; one with ``kind`` is on control tasks, another with ``tasks`` over tasks.

    Args:
        path: a YAML file.

    Returns:
        The experiment, with every default filled in.

    Raises:
        UserError: it cannot be read, or it is not an experiment. One line.
    """
    content = read_mapping(path, "experiment")
    if "kind" in content:
        return validated(ControlExperiment, content, source=str(path))
    if "tasks" in content:
        return validated(TasksExperiment, content, source=str(path))
    return validated(Experiment, content, source=str(path))
