"""What making pairs from a folder of images needs: the images, tables about them, and randomness."""

from pathlib import Path

import numpy as np

from ddbm_cli.foundation.documents import read_table
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.hashing import number_of
from ddbm_cli.imaging.walk import Listing, list_images


def images_in(folder: Path, output: Path, *, recursive: bool) -> Listing:
    """Return the images of a folder, without those in the folder that pairs are written to.

    Raises:
        UsageError: there are none, or the folders cannot be used.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="pass a folder of images")
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: not a folder", hint="choose another folder for the pairs")
    if recursive and output.exists() and output.samefile(folder):
        raise UsageError(
            f"{output}: with -r the pairs would be taken for images", hint="choose another folder for the pairs"
        )
    listing = list_images(folder, recursive=recursive, exclude=(output,))
    if not listing.names and listing.problems:
        raise UsageError(listing.problems[0].message, hint=listing.problems[0].hint)
    if not listing.names:
        left = f"; left out: {listing.skipped}" if listing.skipped else ""
        hint = "pass another folder" if recursive else "pass another folder, or add -r to search its sub-folders"
        raise UsageError(f"{folder}: no images in it{left}", hint=hint)
    return listing


def table_by_file(table: Path, columns: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return the rows of a table by their column `file`.

    Args:
        table: its columns are separated by tabs or commas.
        columns: those that it must have besides file.

    Raises:
        UsageError: the table cannot be read, or lacks a column.
    """
    names = ("file", *columns)
    rows = read_table(table, hint=f"pass a text file with the columns {' and '.join(names)}")
    missing = [column for column in names if column not in (rows[0] if rows else ())]
    if missing:
        raise UsageError(
            f"{table}: no column '{missing[0]}'",
            hint=f"its first line must contain the column names {' and '.join(names)}",
        )
    return {row["file"]: row for row in rows}


def splits_of(table: Path) -> dict[str, str]:
    """Return the split of each file in a table with the columns file and split.

    Raises:
        UsageError: the table cannot be read, lacks a column, or names something that is not a split.
    """
    splits = {file: row["split"] for file, row in table_by_file(table, ("split",)).items()}
    for file, split in splits.items():
        if not split or Path(split).name != split:
            raise UsageError(
                f"{table}: '{split or ''}' is not a split, for {file}",
                hint="a split is a plain word, such as train or val",
            )
    return splits


def random_of(seed: int, name: str, purpose: str) -> np.random.Generator:
    """Return a generator that depends on one image, so that order and other images change nothing."""
    return np.random.default_rng(number_of(f"{seed}\n{purpose}\n{name}"))
