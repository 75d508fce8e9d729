"""Where this program keeps what is its own: records of downloads, and models that it converted.

Downloads themselves lie in the hub's cache, which the hub's variables place. DDBM_HOME puts all of
ours into one folder.
"""

import os
from pathlib import Path


def data_folder() -> Path:
    """Return the folder of small files to keep."""
    import platformdirs

    home = os.environ.get("DDBM_HOME")
    return Path(home) / "data" if home else platformdirs.user_data_path("ddbm", appauthor=False)


def cache_folder() -> Path:
    """Return the folder of large files that can be made again."""
    import platformdirs

    home = os.environ.get("DDBM_HOME")
    return Path(home) / "cache" if home else platformdirs.user_cache_path("ddbm", appauthor=False)
