"""The page: complete in itself, the same bytes for the same comparison, safe against what names contain."""

import dataclasses
import re
from html.parser import HTMLParser

from ddbm_cli.comparison import Input
from ddbm_cli.comparison.page import as_html
from tests.comparison.made import comparison, paint

VOID = {"meta", "link", "img", "input", "br"}


class Outline(HTMLParser):
    """Sees that every tag is closed, and collects what the page refers to."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.count = [], [], {}

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        self.addresses += [value for name, value in attrs if name in ("src", "href", "data-strip")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page: bytes) -> Outline:
    found = Outline()
    found.feed(page.decode())
    assert found.open == []
    return found


def test_it_needs_nothing_beside_it():
    page = as_html(comparison())
    addresses = outline(page).addresses
    assert len(addresses) > 12 and all(address.startswith("data:") for address in addresses)
    assert b"http" not in re.sub(rb"data:[^\"]*", b"", page)


def test_it_shows_every_method_and_picture():
    found = outline(as_html(comparison()))
    assert found.count["article"] == 3 and found.count["tr"] == 4 and found.count["circle"] == 4
    assert found.count["figure"] == 2 + 3 * 4  # plots; source, two methods, target


def test_a_figure_of_the_set_has_a_column_and_plots_of_its_own():
    made = comparison()
    outcomes = [dataclasses.replace(each, figures={} if each.error else {"SWD": 0.125}) for each in made.outcomes]
    page = as_html(comparison(outcomes=tuple(outcomes), metrics=made.metrics | {"SWD": ("of the set", False)}))
    found = outline(page)
    assert found.count["circle"] == 8 and found.count["figure"] == 4 + 3 * 4
    assert b'data-value="0.125"' in page and b"SWD against seconds" in page


def test_the_same_comparison_is_the_same_page():
    assert as_html(comparison()) == as_html(comparison())
    assert as_html(comparison()) != as_html(comparison(warnings=()))


def test_names_are_not_code():
    bad = "</script><script>alert(1)</script>"
    page = as_html(comparison(facts={"x": bad})).decode()
    assert bad not in page and "&lt;broken&gt;" in page
    page = as_html(comparison(inputs=(Input(name=bad, picture=paint("red")),))).decode()
    assert bad not in page


def test_the_script_is_short():
    page = as_html(comparison()).decode()
    script = page[page.index("<script>") : page.index("</script>")]
    assert len(script.strip().splitlines()) <= 60


def test_two_hundred_inputs_stay_small():
    """Six methods of 64 pixels each, with the pictures of noise that compress worst."""
    import numpy as np
    from PIL import Image

    from ddbm_cli.imaging.io import encode_picture

    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    worst = encode_picture(Image.fromarray(noise), "png")
    made = comparison(200)
    for outcome in made.outcomes[:2]:
        outcome.pictures.update(dict.fromkeys(outcome.pictures, worst))
    made = comparison(inputs=made.inputs, outcomes=made.outcomes[:2] * 3)
    assert len(as_html(made)) < 40e6
