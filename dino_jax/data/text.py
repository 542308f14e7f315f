"""Lists and numbers in text files."""

import pathlib

from dino_jax.config import UserError


def read_text(path: pathlib.Path) -> str:
    """The whole file, as UTF-8; raises `UserError` where it is none or cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text: expected UTF-8") from error
