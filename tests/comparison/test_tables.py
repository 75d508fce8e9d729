"""The tables of a comparison."""

import csv
import io
import json

from ddbm_cli.comparison.tables import as_csv, as_json, as_markdown, rows
from tests.comparison.made import comparison


def test_rows_have_the_means():
    slow, fast, broken = rows(comparison())
    assert slow == {"method": "slow, 20 NFE", "series": "slow", "nfe": 20, "seconds": 0.2, "MSE": 1.25}
    assert fast["MSE"] == 1.5 and broken == {"method": "<broken>", "series": "<broken>", "error": "it broke"}


def test_csv_has_a_row_per_method_and_image():
    lines = list(csv.DictReader(io.StringIO(as_csv(comparison()).decode())))
    assert len(lines) == 9
    assert lines[4] | {"method": "fast, 5 NFE", "input": "1.png", "nfe": "5", "MSE": "1.5", "error": ""} == lines[4]
    assert lines[8]["error"] == "it broke" and lines[8]["MSE"] == ""


def test_json_has_everything_except_the_images():
    body = json.loads(as_json(comparison()))
    assert body["methods"][0]["scores"]["MSE"]["2.png"] == 2.25 and body["warnings"] == ["few images"]
    assert body["methods"][1]["commands"]["0.png"] == "ddbm translate 0.png --seed 0"
    assert body["metrics"]["MSE"] == {"what": "mean squared error", "higher_is_better": False}


def test_markdown_is_a_table_with_its_recipe():
    text = as_markdown(comparison()).decode()
    assert "| method | NFE | s/image | MSE ↓ |" in text and "| slow, 20 NFE | 20 | 0.200 | **1.25** |" in text
    assert "failed: it broke" in text and "- MSE: mean squared error" in text and "**few images**" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {5}


def test_without_metrics_the_tables_are_whole():
    text = as_markdown(comparison(metrics={})).decode()
    assert {line.count("|") for line in text.splitlines() if line.startswith("|")} == {4}
