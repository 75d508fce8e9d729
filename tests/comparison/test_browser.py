"""The page in a real browser: no errors, and everything that moves does."""

import io
import shutil

import pytest
from PIL import Image

from ddbm_cli.comparison.page import as_html
from tests.comparison.made import comparison

playwright = pytest.importorskip("playwright.sync_api", reason='needs pip install "ddbm-cli[browser]"')
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def load(browser, tmp_path):
    """Open the page at a width; at the end see that nothing was amiss, and nothing was asked of a network."""
    errors, opened = [], []

    def run(width=1440, made=None, **options):
        (tmp_path / "page.html").write_bytes(as_html(made or comparison()))
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        opened.append(page)
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and errors.append(request.url))
        page.goto((tmp_path / "page.html").as_uri())
        return page

    yield run
    for page in opened:
        page.close()
    assert errors == []


def colour(locator, x, y):
    """The colour at a share of an element's width and height, as it is shown."""
    picture = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
    return picture.getpixel((round(x * (picture.width - 1)), round(y * (picture.height - 1))))


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_its_window(load, width, scheme):
    page = load(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    wipe, row = page.locator(".wipe").first.bounding_box(), page.locator(".row").first.bounding_box()
    assert wipe["width"] == pytest.approx(wipe["height"], abs=1)
    assert (row["y"] > wipe["y"] + wipe["height"]) == (width == 390), "below each other on a phone, else side by side"


def test_the_table_sorts_both_ways(load):
    page = load()
    first = page.locator("#methods tbody tr td:first-child")
    for column, order in (("NFE", ["fast", "slow", "<broken>"]), ("MSE", ["slow", "fast", "<broken>"])):
        head = page.locator("#methods th", has_text=column)
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert [text.split(",")[0] for text in first.all_inner_texts()] == order
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert [text.split(",")[0] for text in first.all_inner_texts()] == [*order[1::-1], order[2]]


def test_the_cut_moves_with_mouse_and_keys(load):
    page = load()
    wipe = page.locator(".wipe").first
    assert colour(wipe, 0.3, 0.5) == (255, 255, 255) and colour(wipe, 0.7, 0.5) == (255, 0, 0)
    box = wipe.bounding_box()
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"])
    assert colour(wipe, 0.3, 0.5) == (255, 0, 0)
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    assert colour(wipe, 0.5, 0.5) == (255, 255, 255) and colour(wipe, 0.9, 0.5) == (255, 0, 0)


def test_any_two_can_be_laid_over_each_other(load):
    page = load()
    article, wipe = page.locator("article").first, page.locator(".wipe").first
    article.locator("select.left").select_option(label="target")
    article.locator("figure", has_text="fast, 5 NFE").locator("img").click()
    assert article.locator("select.right").input_value() == "2"
    assert colour(wipe, 0.3, 0.5) == (0, 0, 255) and colour(wipe, 0.7, 0.5) == (0, 128, 0)


def test_the_way_is_walked(load):
    page = load()
    way = page.locator(".way").first
    states, estimates = way.locator(".frame").all()
    assert way.locator("output").inner_text() == "evaluation 4, t = 0.2500"
    assert colour(states, 0.5, 0.5) == (180, 0, 90) and colour(estimates, 0.5, 0.5) == (180, 120, 90)
    way.locator("input").focus()
    for _ in range(2):
        page.keyboard.press("ArrowLeft")
    assert way.locator("output").inner_text() == "evaluation 2, t = 0.7500"
    assert colour(states, 0.5, 0.5) == (60, 0, 90) and colour(estimates, 0.5, 0.5) == (60, 120, 90)
    page.locator("article select.right").first.select_option(label="source")
    assert not way.is_visible()


def test_the_way_is_shown_only_where_it_was_kept(load):
    page = load()
    assert [way.is_visible() for way in page.locator(".way").all()] == [True, False, False]


def test_two_hundred_inputs_are_laid_out_when_they_come_into_sight(load):
    made = comparison(200)
    page = load(made=comparison(inputs=made.inputs, outcomes=made.outcomes[:2] * 3))
    last = page.locator("article").nth(199)
    visible = "article => article.firstElementChild.checkVisibility({contentVisibilityAuto: true})"
    assert not last.evaluate(visible)
    last.scroll_into_view_if_needed()
    page.wait_for_function(f"({visible})(document.querySelectorAll('article')[199])")
    assert last.locator("figure img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
