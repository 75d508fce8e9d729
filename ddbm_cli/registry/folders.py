"""Where this program keeps its own files: records of downloads, and models that it converted.

Downloads are in the cache of Hugging Face, which its own variables place. DDBM_HOME puts all other files into one
folder.
"""

import os
from pathlib import Path

NOWHERE = Path(os.devnull) / "ddbm"
"""The folder where there is no home: nothing is found in it, and writing to it fails with a message."""


def data_folder() -> Path:
    """Return the folder of small files to keep."""
    return _folder("data")


def cache_folder() -> Path:
    """Return the folder of large files that can be created again."""
    return _folder("cache")


def _folder(kind: str) -> Path:
    home = os.environ.get("DDBM_HOME")
    if home:
        return Path(home) / kind
    import platformdirs

    find = platformdirs.user_data_path if kind == "data" else platformdirs.user_cache_path
    try:
        return find("ddbm", appauthor=False)
    except RuntimeError:  # neither HOME nor a user of this number
        return NOWHERE
