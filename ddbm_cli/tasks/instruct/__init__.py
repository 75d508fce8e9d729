"""Create triplets for training edits by instruction: OUT/before, OUT/after, and their instructions in OUT/pairs.jsonl.

The list has the columns source, target, caption, edit and split; `ddbm train OUT/pairs.jsonl` reads it. There are two
sources of triplets: edits of images (`edits`), and captions of which a text-to-image model makes images (`captioned`).
What is made depends on names and the seed alone, so that the same command resumes an interrupted run.
"""

from ddbm_cli.options.data import InstructRequest
from ddbm_cli.tasks.instruct.run import run

__all__ = ["InstructRequest", "run"]
