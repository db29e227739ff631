"""Upload the folder of a model to the hub."""

from __future__ import annotations

from pathlib import Path

from r2vpo.errors import UserError
from r2vpo.weights import first_line


def check_push(name: str) -> None:
    """Refuse a push that cannot succeed, before any work is done for it.

    Args:
        name: of the repository, with or without its owner.

    Raises:
        UserError: the name cannot be one on the hub, nobody is logged in, or the hub is switched off.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # documented there

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"--push {name}: this cannot be a name on the hub ({first_line(error)}): name OWNER/MODEL"
        ) from None
    if constants.HF_HUB_OFFLINE:
        raise UserError("--push: HF_HUB_OFFLINE is set, so the hub is not reached: unset it, or leave --push out")
    if get_token() is None:
        raise UserError("--push: nobody is logged in to the hub: run `hf auth login`, or set HF_TOKEN")


def push(folder: Path, name: str, *, private: bool) -> str:
    """Create a repository unless it exists, and upload a folder into it.

    Args:
        folder: all of it is uploaded.
        name: of the repository, with or without its owner.
        private: whether a new repository is private.

    Returns:
        The repository's full name.

    Raises:
        UserError: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    # Of the HTTP library, which depends on the hub's version.
    unreachable: tuple[type[Exception], ...] = HfHubHTTPError.__bases__
    try:
        full = api.create_repo(name, private=private, exist_ok=True).repo_id
        api.upload_folder(repo_id=full, folder_path=folder, commit_message=f"Upload {folder.absolute().name} by r2vpo")
    except HfHubHTTPError as error:
        raise UserError(
            f"--push {name}: the hub refuses ({first_line(error)}): log in with a token that may write there"
        ) from error
    except unreachable as error:
        raise UserError(
            f"--push {name}: the hub cannot be reached ({first_line(error)}): the model is in {folder}, push it again "
            "when there is a network"
        ) from error
    return full
