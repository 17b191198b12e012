"""A secret key for installations that set none: made once, kept with the data."""

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def stored(data_dir: Path) -> str:
    """Return the key kept in `data_dir`, making it at the first call; readable by its owner only.

    Two processes that start at the same moment agree on one key: the file appears whole. Raises
    ImproperlyConfigured for a directory that cannot be used.
    """
    try:
        return _stored(data_dir)
    except OSError as error:
        message = f"CDP_DATA_DIR cannot be used, {data_dir}: {error.strerror}."
        raise ImproperlyConfigured(message) from error


def _stored(data_dir: Path) -> str:
    path = data_dir / "secret_key"
    if not path.exists():
        data_dir.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"secret_key.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(50))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text()
