"""Drawings as people have them, brought to what a model expects: one step per file, pure functions on arrays."""

from ddbm_cli.imaging.preparing.drawing import Part, Prepared, Steps, prepare
from ddbm_cli.imaging.preparing.expects import Expects
from ddbm_cli.imaging.preparing.findings import LARGER, SEVERAL, Finding, large
from ddbm_cli.imaging.preparing.layout import Layout
from ddbm_cli.imaging.preparing.measuring import measure

__all__ = [
    "LARGER",
    "SEVERAL",
    "Expects",
    "Finding",
    "Layout",
    "Part",
    "Prepared",
    "Steps",
    "large",
    "measure",
    "prepare",
]
