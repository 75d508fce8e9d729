"""Methods side by side: what a method is, what came out, and the forms in which it is told."""

from ddbm_cli.comparison.method import Method, parse_methods
from ddbm_cli.comparison.result import Comparison, Input, Outcome, Strip

__all__ = ["Comparison", "Input", "Method", "Outcome", "Strip", "parse_methods"]
