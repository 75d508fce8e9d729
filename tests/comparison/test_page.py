"""The page: self-contained, equal bytes for equal comparisons, safe against what names contain, images first."""

import dataclasses
import re
from html.parser import HTMLParser

from ddbm_cli.comparison import Input
from ddbm_cli.comparison.page import as_html, in_words
from ddbm_cli.comparison.plots import plots
from tests.comparison.made import comparison, paint

VOID = {"meta", "link", "img", "input", "br", "circle", "rect", "path", "use", "line", "polyline"}


class Outline(HTMLParser):
    """Checks that every tag is closed, and collects addresses, counts and identifiers."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.count, self.ids = [], [], {}, []

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def note(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data-strip")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def outline(page: bytes) -> Outline:
    found = Outline()
    found.feed(page.decode())
    assert found.open == []
    return found


def test_it_is_self_contained():
    page = as_html(comparison())
    found = outline(page)
    assert len(found.addresses) > 12 and all(address.startswith(("data:", "#")) for address in found.addresses)
    assert {address[1:] for address in found.addresses if address.startswith("#")} <= set(found.ids)
    assert b"http" not in re.sub(rb"data:[^\"]*|http-equiv", b"", page)
    assert b"Content-Security-Policy" in page


def test_images_come_before_scores_plots_and_models():
    page = as_html(comparison()).decode()
    body = page[page.index("<main>") :]
    places = [body.index(f'<section id="{name}"') for name in ("images", "scores", "plots", "models", "run")]
    assert places == sorted(places)


def test_a_row_has_source_every_method_and_target():
    page = as_html(comparison()).decode()
    row = page[page.index('data-name="1.png"') : page.index('data-name="2.png"')]
    assert re.findall(r'data-label="([^"]*)"', row) == ["Source", "slow, 20 NFE", "fast, 5 NFE", "Target"]
    assert outline(page.encode()).count["figure"] == 2 + 2 + 3 * 4  # plots, the viewer's frames, the grid


def test_the_best_value_of_each_metric_is_marked_once_in_the_table():
    made = comparison()
    table = as_html(made).decode().partition("<tbody>")[2].partition("</tbody>")[0]
    assert table.count('class="win"') == 1 and re.search(r'class="win"><span>1\.25 ', table)
    higher = as_html(comparison(metrics={"MSE": ("x", True)})).decode().partition("<tbody>")[2].partition("</tbody>")[0]
    assert re.search(r'class="win"><span>1\.5 ', higher)


def test_one_method_alone_is_not_the_best():
    page = as_html(comparison(outcomes=comparison().outcomes[:1])).decode()
    assert 'class="win"' not in page and "score win" not in page


def test_means_have_their_interval():
    table = as_html(comparison()).decode().partition("<tbody>")[2]
    assert "0.25 to 2.25</small>" in table and "0.5 to 2.5</small>" in table


def test_series_have_their_own_colour_and_marker_everywhere():
    page = as_html(comparison()).decode()
    drawn = page[page.index('<section id="plots"') : page.index('<section id="models"')]
    assert {'class="c0"', 'class="c1"'} <= set(re.findall(r'class="c\d"', drawn))
    assert drawn.count('class="whisker"') == 4 and "#m-circle" in drawn and "#m-square" in drawn


def test_an_axis_starts_at_zero_or_is_marked():
    page = as_html(comparison()).decode()
    assert 'class="end">0</text>' in page and 'class="break"' not in page
    near = [
        dataclasses.replace(each, scores={"MSE": dict.fromkeys(each.scores["MSE"], 10 + place)}, intervals={})
        for place, each in enumerate(comparison().outcomes[:2])
    ]
    page = as_html(comparison(outcomes=tuple(near))).decode()
    assert 'class="break"' in page and "does not start at 0" in page


def test_a_figure_of_the_set_has_a_column_and_plots_of_its_own():
    made = comparison()
    outcomes = [dataclasses.replace(each, figures={} if each.error else {"SWD": 0.125}) for each in made.outcomes]
    page = as_html(comparison(outcomes=tuple(outcomes), metrics=made.metrics | {"SWD": ("of the set", False)}))
    assert outline(page).count["figure"] == 4 + 2 + 3 * 4
    assert b'data-value="0.125"' in page and b"SWD against seconds" in page


def test_equal_comparisons_are_equal_pages():
    assert as_html(comparison()) == as_html(comparison())
    assert as_html(comparison()) != as_html(comparison(warnings=()))


def test_names_are_not_code():
    bad = "</script><script>alert(1)</script>"
    page = as_html(comparison(facts={"x": bad})).decode()
    assert bad not in page and "&lt;broken&gt;" in page
    page = as_html(comparison(inputs=(Input(name=bad, image=paint("red")),))).decode()
    assert bad not in page
    named = dataclasses.replace(comparison().outcomes[0], label=bad, series=bad, model=bad, card={"data": bad})
    assert bad not in as_html(comparison(outcomes=(named, *comparison().outcomes[1:]))).decode()


def test_names_that_are_not_utf8_can_be_written():
    assert b"data-name" in as_html(comparison(inputs=(Input(name="\udcff.png", image=paint("red")),)))


def test_an_unreadable_input_has_a_row_with_the_reason():
    page = as_html(comparison(inputs=(Input(name="x.png", image=None, error="x.png: damaged image"),))).decode()
    assert "x.png: damaged image" in page


def test_a_model_has_one_card_that_names_its_methods():
    page = as_html(comparison()).decode()
    models = page[page.index('<section id="models"') : page.index('<section id="run"')]
    assert models.count('class="card"') == 1 and "slow, 20 NFE" in models and "fast, 5 NFE" in models
    assert "MIT" in models and "{" not in models


def test_commands_and_tables_can_be_copied():
    page = as_html(comparison()).decode()
    assert page.count('data-copy="ddbm translate 1.png --seed 0"') == 2
    assert "Copy as Markdown" in page and 'data-copy="| method | NFE' in page


def test_card_values_are_in_words():
    assert in_words({"name": "adm", "blocks": 2, "wide": True, "more": []}) == "adm (blocks 2, wide yes)"
    assert in_words([1, 2.5, "x"]) == "1, 2.5, x" and in_words({}) == "" and in_words({"a": {"b": None}}) == ""
    assert in_words({"name": {"x": 1}}) == "name x 1"


def test_two_hundred_inputs_stay_small():
    """Six methods of 64 pixels each, with images of noise, which compress worst."""
    import numpy as np
    from PIL import Image

    from ddbm_cli.imaging.io import encode_picture

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    worst = encode_picture(Image.fromarray(noise), "png")
    made = comparison(200)
    for outcome in made.outcomes[:2]:
        outcome.images.update(dict.fromkeys(outcome.images, worst))
    made = comparison(inputs=made.inputs, outcomes=made.outcomes[:2] * 3)
    assert len(as_html(made)) < 40e6


def test_two_metrics_are_plotted_against_each_other_with_a_thread_along_the_image_scale():
    def edited(scale, text, kept, moved):
        conditions = {"guidance_scale": text, "image_guidance_scale": scale}
        label = f"text {text} image {scale}"
        first = comparison().outcomes[0]
        scores = {"Kept": {"0.png": kept, "1.png": kept}, "Moved": {"0.png": moved}}
        return dataclasses.replace(
            first, label=label, series=label, sampling="same", conditions=conditions, scores=scores, intervals={}
        )

    outcomes = (
        edited(1.5, 3.0, 0.9, 0.5),
        edited(1.0, 3.0, 0.8, 0.75),
        edited(2.0, 3.0, 0.95, 0.25),
        edited(1.0, 7.0, 0.7, 1.0),
    )
    metrics = {"Moved": ("progress", True), "Kept": ("similarity", True)}
    made = comparison(outcomes=outcomes, metrics=metrics, trade_offs=(("Moved", "Kept"), ("none", "Kept")))
    (plot,) = [each for each in plots(made) if each.title == "Kept"]
    assert plot.x_title == "Moved" and plot.broken and not plot.x_broken
    places = {line.series.name: (line.points[0].x, line.points[0].y) for line in plot.lines}
    assert plot.threads == [[places[f"text 3.0 image {scale}"] for scale in (1.0, 1.5, 2.0)]]
    assert places["text 7.0 image 1.0"][0] == max(x for x, _ in places.values())  # farthest right: moved most
    assert places["text 3.0 image 2.0"][1] == min(y for _, y in places.values())  # highest: kept most
    page = as_html(made).decode()
    assert "<b>Kept against Moved</b> higher is better for both" in page and page.count('class="thread"') == 1
    assert "Moved (log scale)" not in page
