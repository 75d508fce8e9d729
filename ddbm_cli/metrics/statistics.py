"""Statistics of a set of images in an .npz file: mean and covariance of Inception's features.

The file has `mu` (2048,) and `sigma` (2048, 2048), as pytorch-fid and the evaluators of EDM and ADM write it. Nothing
is unpickled, and no array is read whose declared shape is another one.
"""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ddbm_cli.foundation.errors import UsageError

SUFFIX = ".npz"
HINT = "pass an .npz with mu (2048) and sigma (2048 x 2048), as pytorch-fid writes it"


def read_statistics(path: Path, features: int) -> dict[str, NDArray[np.float64]]:
    """Return {"mu": (features,), "sigma": (features, features)}.

    Raises:
        UsageError: the file is missing or damaged, or lacks an array of that name, shape and kind.
    """
    shapes = {"mu": (features,), "sigma": (features, features)}
    try:
        with zipfile.ZipFile(path) as archive:
            found = {name: _array(archive, name, shape) for name, shape in shapes.items()}
    except OSError as error:
        raise UsageError(f"{path}: not readable ({error.strerror or error})", hint="check the path") from None
    except (ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error.args[0] if error.args else error).split())[:120]
        raise UsageError(f"{path}: no statistics of a set of images ({reason})", hint=HINT) from None
    return found


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> NDArray[np.float64]:
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"it has no array '{name}'")
    with archive.open(f"{name}.npy") as file:
        declared, fortran, kind = _header(file)
        if declared != shape or kind.kind != "f":
            raise ValueError(f"'{name}' is {kind} of shape {declared}, not numbers of shape {shape}")
        size = math.prod(shape) * kind.itemsize
        body = file.read(size)
    if len(body) != size:
        raise ValueError(f"'{name}' is cut off")
    values = np.frombuffer(body, dtype=kind).reshape(shape, order="F" if fortran else "C").astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"'{name}' contains NaN or infinity")
    return values


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)
