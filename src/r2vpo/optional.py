"""Packages that only single features need, and the one line that names the extra of a missing one."""

from importlib.util import find_spec

from r2vpo.errors import UserError

PACKAGES = {
    "envpool": ("envpool", "control"),
    "gguf": ("gguf", "embedded"),
    "langdetect": ("langdetect", "ifeval"),
    "matplotlib": ("matplotlib", "report"),
    "mujoco": ("mujoco", "control"),
    "prodigyopt": ("prodigyopt", "prodigy"),
    "psycopg": ("psycopg", "postgres"),
    "reasoning_gym": ("reasoning-gym", "reasoning-gym"),
    "sb3_contrib": ("sb3-contrib", "control"),
    "sqlalchemy": ("sqlalchemy", "store"),
    "stable_baselines3": ("stable-baselines3", "sb3"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "trackio": ("trackio", "trackio"),
    "vllm": ("vllm", "vllm"),
    "wandb": ("wandb", "wandb"),
    "zstandard": ("zstandard", "store"),
}
"""The distribution of each such module, and the extra of r2vpo that installs it."""


def require(module: str, needed_by: str) -> None:
    """Refuse a feature whose package is not installed, before it does any work.

    Args:
        module: one of `PACKAGES`.
        needed_by: the feature, as the user wrote it.

    Raises:
        UserError: the module cannot be found; the message names the package and the command that installs it.
    """
    if find_spec(module) is None:
        raise UserError(f"{needed_by} needs {PACKAGES[module][0]}, which is not installed: {remedy(module)}")


def remedy(module: str | None) -> str:
    """Return the command that installs a module: by its own extra, or by `trl` with all that training needs."""
    return f"pip install 'r2vpo[{PACKAGES[module][1] if module in PACKAGES else 'trl'}]'"


def require_store(needed_by: str = "replay.store") -> None:
    """Refuse a store if its packages are missing; `r2vpo.store` and what imports it are imported after this."""
    for module in ("sqlalchemy", "zstandard"):
        require(module, needed_by)
