"""Options for folders of images: which are processed, what outputs are called, and what happens to existing ones."""

from typing import Annotated

from ddbm_cli.foundation.fields import Field
from ddbm_cli.foundation.settings import settings
from ddbm_cli.options.groups import FILES

EXISTING = ("overwrite", "rename", "fail_existing")


@settings
class FolderOptions:
    """How a folder is processed.

    name: a template of `imaging.naming`.
    """

    overwrite: Annotated[
        bool, Field("Overwrite existing outputs.", panel=FILES, excludes=("rename", "fail_existing"))
    ] = False
    rename: Annotated[
        bool,
        Field(
            "Write NAME-2.png ... where an output exists that was made otherwise.",
            panel=FILES,
            excludes=("overwrite", "fail_existing"),
        ),
    ] = False
    fail_existing: Annotated[
        bool,
        Field(
            "Report existing outputs as failures, and keep them.",
            panel=FILES,
            excludes=("overwrite", "rename"),
        ),
    ] = False
    flatten: Annotated[bool, Field("With -r: write all outputs into one folder.", panel=FILES)] = False
    include: Annotated[
        tuple[str, ...],
        Field(
            "Process only inputs whose name, path or folder matches, such as '*.png'. Repeat it for several.",
            metavar="PATTERN",
            repeat=True,
            unset="all images",
            panel=FILES,
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Field(
            "Leave out inputs whose name, path or folder matches, such as drafts. Repeat it for several.",
            metavar="PATTERN",
            repeat=True,
            unset="none",
            panel=FILES,
        ),
    ] = ()
    limit: Annotated[
        int | None, Field("Process the first N inputs only.", ge=1, metavar="N", unset="all", panel=FILES)
    ] = None
    name: Annotated[
        str | None,
        Field(
            "Template of the outputs' names, of {stem}, {ext}, {parent}, {seed}, {draw}, {model}, {nfe}, {sampler}.",
            metavar="TEMPLATE",
            unset="{stem}{ext}, with draws {stem}_{draw:03d}{ext}",
            panel=FILES,
        ),
    ] = None
    retry: Annotated[
        bool,
        Field(
            "Process only inputs that failed before, as OUTPUT/manifest.jsonl lists them. Includes --manifest.",
            panel=FILES,
        ),
    ] = False
    max_failures: Annotated[
        int | None,
        Field("Stop when N inputs have failed.", ge=1, metavar="N", unset="no limit", panel=FILES),
    ] = None
    manifest: Annotated[
        bool, Field("Write OUTPUT/manifest.jsonl, the list of a folder's outputs, with digests.", panel=FILES)
    ] = False
