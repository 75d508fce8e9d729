"""Comparisons: methods, results, and the page and tables that show them."""

from ddbm_cli.comparison.method import Method, parse_methods
from ddbm_cli.comparison.result import Comparison, Input, Outcome, Strip

__all__ = ["Comparison", "Input", "Method", "Outcome", "Strip", "parse_methods"]
