"""The page in a real browser: no errors, nothing is cut at any width, and every control works."""

import io

import pytest
from PIL import Image

from ddbm_cli.comparison.page import as_html
from tests.comparison.made import comparison

playwright = pytest.importorskip("playwright.sync_api", reason='needs pip install "ddbm-cli[browser]"')


@pytest.fixture
def load(browser, tmp_path):
    """Open the page at a width; at the end check that there was no error and no request to a network."""
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
    image = Image.open(io.BytesIO(locator.screenshot())).convert("RGB")
    return image.getpixel((round(x * (image.width - 1)), round(y * (image.height - 1))))


def open_viewer(page, row=0, label="slow, 20 NFE"):
    page.locator("article").nth(row).locator("figure", has=page.get_by_alt_text(label)).locator("button").click()
    return page.locator("#viewer")


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_and_images_are_on_the_first_screen(load, width, scheme):
    page = load(width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for element in page.locator("#methods td, #methods th[scope=row], .card, figure").all():
        box = element.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width + 1)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    for figure in page.locator("article").first.locator("figure").all():
        box = figure.bounding_box()
        assert box["y"] + box["height"] <= 900


def test_columns_are_aligned_under_their_heads_on_a_wide_screen_only(load):
    page = load(1440)
    heads = [each.bounding_box()["x"] for each in page.locator(".heads span").all()]
    cells = [each.bounding_box()["x"] for each in page.locator("article").first.locator("figure").all()]
    assert cells == pytest.approx(heads, abs=1)
    assert not load(390).locator(".heads").is_visible()


def test_the_table_sorts_both_ways(load):
    page = load()
    first = page.locator("#methods tbody tr th")
    for column, order in (("NFE", ["fast", "slow", "<broken>"]), ("MSE", ["slow", "fast", "<broken>"])):
        head = page.locator("#methods thead th", has_text=column)
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert [text.split(",")[0].strip() for text in first.all_inner_texts()] == order
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        assert [text.split(",")[0].strip() for text in first.all_inner_texts()] == [*order[1::-1], order[2]]


def test_on_a_phone_the_table_sorts_by_a_list(load):
    page = load(390)
    page.locator("#sort-by").select_option(label="NFE")
    assert page.locator("#methods tbody tr th").first.inner_text().strip() == "fast, 5 NFE"


def test_the_cut_moves_with_mouse_and_keys(load):
    page = load()
    wipe = open_viewer(page).locator(".wipe")
    assert colour(wipe, 0.3, 0.4) == (255, 255, 255) and colour(wipe, 0.7, 0.4) == (255, 0, 0)
    box = wipe.bounding_box()
    page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.5 * box["height"])
    assert colour(wipe, 0.3, 0.4) == (255, 0, 0)
    for _ in range(60):
        page.keyboard.press("ArrowRight")
    assert colour(wipe, 0.5, 0.4) == (255, 255, 255) and colour(wipe, 0.9, 0.4) == (255, 0, 0)


def test_any_two_images_can_be_compared(load):
    page = load()
    viewer = open_viewer(page, label="fast, 5 NFE")
    viewer.locator("select.left").select_option(label="Target")
    assert viewer.locator("select.right").input_value() == "2"
    assert colour(viewer.locator(".wipe"), 0.3, 0.4) == (0, 0, 255)
    assert colour(viewer.locator(".wipe"), 0.7, 0.4) == (0, 128, 0)


def test_the_viewer_steps_through_the_inputs_and_keeps_the_choice(load):
    page = load()
    viewer = open_viewer(page, label="fast, 5 NFE")
    for name in ("1.png", "2.png", "0.png"):
        viewer.locator(".step").last.click()
        assert viewer.locator("h2").inner_text() == name
        assert viewer.locator("select.right option:checked").inner_text() == "fast, 5 NFE"
    page.keyboard.press("Escape")
    assert not viewer.is_visible()


def test_the_trajectory_is_shown_from_its_start(load):
    page = load()
    viewer = open_viewer(page)
    states, estimates = viewer.locator(".frame").all()
    output = viewer.locator(".scrub output")
    assert output.inner_text() == "evaluation 1 of 20, t = 1"
    assert colour(states, 0.5, 0.5) == (0, 0, 90) and colour(estimates, 0.5, 0.5) == (0, 120, 90)
    viewer.locator(".time").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert output.inner_text() == "evaluation 3 of 20, t = 0.5"
    assert colour(states, 0.5, 0.5) == (120, 0, 90) and colour(estimates, 0.5, 0.5) == (120, 120, 90)
    viewer.locator("select.right").select_option(label="Source")
    assert not viewer.locator(".trajectory").is_visible() and not viewer.locator("p.command").is_visible()


def test_the_trajectory_plays_to_its_end(load):
    page = load()
    viewer = open_viewer(page)
    viewer.locator(".play").click()
    playwright.expect(viewer.locator(".scrub output")).to_have_text("evaluation 4 of 20, t = 0.25")
    playwright.expect(viewer.locator(".play")).to_have_text("▶")


def test_an_image_without_a_trajectory_is_marked(load):
    page = load()
    viewer = open_viewer(page, row=1)
    assert not viewer.locator(".trajectory").is_visible() and "not recorded" in viewer.inner_text()


def test_copy_buttons_copy(load, browser):
    page = load()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    viewer = open_viewer(page)
    viewer.locator("p.command .copy").click()
    assert page.evaluate("navigator.clipboard.readText()") == "ddbm translate 0.png --seed 0"
    page.keyboard.press("Escape")
    page.get_by_text("Copy as CSV").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("method,nfe,seconds,input")


def test_the_shown_score_can_be_chosen(load):
    made = comparison()
    for outcome in made.outcomes[:2]:
        outcome.scores["PSNR"] = dict.fromkeys(outcome.scores["MSE"], 7.5)
    page = load(made=comparison(outcomes=made.outcomes, metrics=made.metrics | {"PSNR": ("x", True)}))
    caption = page.locator("article").first.locator("figcaption").nth(1)
    assert "0.25" in caption.inner_text() and "7.5" not in caption.inner_text()
    page.locator("#shown-score").select_option("PSNR")
    assert "7.5" in caption.inner_text() and "0.25" not in caption.inner_text()


def test_two_hundred_inputs_are_laid_out_when_they_come_into_sight(load):
    made = comparison(200)
    page = load(made=comparison(inputs=made.inputs, outcomes=made.outcomes[:2] * 3))
    last = page.locator("article[data-name]").nth(199)
    visible = "article => article.firstElementChild.checkVisibility({contentVisibilityAuto: true})"
    assert not last.evaluate(visible)
    last.scroll_into_view_if_needed()
    for _ in range(50):
        if last.evaluate(visible):
            break
        page.wait_for_timeout(50)
    assert last.evaluate(visible)
    assert last.locator("figure img").first.evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
