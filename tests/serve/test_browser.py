"""The page in a real browser: drawing by pointer events gives a result, and every control changes something."""

import io
import math
from pathlib import Path

import pytest
from PIL import Image

from tests.serve.conftest import png

playwright = pytest.importorskip("playwright.sync_api", reason='needs pip install "ddbm-cli[browser]"')


@pytest.fixture
def load(browser, server):
    """Open the page; at the end check that nothing failed and that only the server was asked."""
    errors, opened = [], []

    def run(width=1440, height=900, url=server.url, **options):
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        opened.append(page)
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((url.partition("#")[0], "data:", "blob:")) or errors.append(request.url)
            ),
        )
        page.goto(url)
        page.wait_for_selector("body[data-ready=yes]")
        return page

    yield run
    for page in opened:
        page.close()
    assert errors == []


def circle(page, share=0.3, steps=24):
    """Draw a circle with the mouse."""
    box = page.locator("#canvas").bounding_box()
    places = [
        (
            box["x"] + box["width"] * (0.5 + share * math.cos(2 * math.pi * step / steps)),
            box["y"] + box["height"] * (0.5 + share * math.sin(2 * math.pi * step / steps)),
        )
        for step in range(steps + 1)
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def wait(page, after=0):
    """Wait until there are more finished requests than before, and no other is running; return their number."""
    script = "before => Number(document.body.dataset.done || 0) > before && page.running === null && !page.wanted"
    page.wait_for_function(script, arg=after)
    return int(page.evaluate("document.body.dataset.done"))


def result(page):
    return page.locator("#image").get_attribute("src")


def test_a_circle_gives_a_result_with_its_command_and_trajectory(load):
    page = load()
    assert page.locator("#invite").is_visible() and not page.locator("#image").is_visible()
    circle(page)
    wait(page)
    assert page.locator("#image").evaluate("image => image.decode().then(() => image.naturalWidth)") == 16
    assert page.locator("#command").inner_text().startswith("ddbm translate drawing.png ")
    assert page.locator("#states img").count() == 4
    assert not page.locator("#error").is_visible()


def test_undo_redo_and_clear(load):
    page = load()
    circle(page)
    done = wait(page)
    first = result(page)
    circle(page, 0.15)
    done = wait(page, done)
    second = result(page)
    assert second != first
    page.keyboard.press("Control+z")
    done = wait(page, done)
    assert result(page) == first
    page.keyboard.press("Control+Shift+z")
    done = wait(page, done)
    assert result(page) == second
    page.locator("#clear").click()
    playwright.expect(page.locator("#image")).to_be_hidden()
    page.locator("#undo").click()
    wait(page, done)
    assert result(page) == second


def test_colours_eraser_width_and_settings_change_the_result(load):
    page = load()
    circle(page)
    done = wait(page)
    seen = {result(page)}
    for change in (
        lambda: page.keyboard.press("3") or circle(page),
        lambda: page.keyboard.press("]") or circle(page),
        lambda: page.keyboard.press("e") or circle(page, 0.28),
        lambda: page.keyboard.press("r"),
        lambda: page.locator("#nfe").fill("5") or page.keyboard.press("Tab"),
        lambda: page.locator("#seed").fill("77") or page.keyboard.press("Tab"),
    ):
        change()
        done = wait(page, done)
        assert result(page) not in seen
        seen.add(result(page))
    assert "--seed 77" in page.locator("#command").inner_text()


def test_draws_can_be_chosen(load):
    page = load()
    page.locator("#number").fill("3")
    circle(page)
    wait(page)
    draws = page.locator("#draws button")
    assert draws.count() == 3
    first = result(page)
    draws.nth(2).click()
    assert result(page) != first and "--start 2" in page.locator("#command").inner_text()


def test_pressure_of_a_pen_widens_the_stroke_and_its_eraser_button_erases(load):
    page = load()
    script = """([pressure, y, buttons]) => {
        const canvas = document.getElementById("canvas"), box = canvas.getBoundingClientRect();
        canvas.setPointerCapture = () => {};
        const pen = {pointerId: 7, pointerType: "pen", pressure, buttons, bubbles: true, cancelable: true};
        const send = (name, x) => canvas.dispatchEvent(new PointerEvent(name,
            {...pen, clientX: box.left + x * box.width, clientY: box.top + y * box.height}));
        send("pointerdown", 0.2); send("pointermove", 0.8); send("pointerup", 0.8);
    }"""
    dark = "canvas.getContext('2d').getImageData(0, 0, 768, 768).data.filter((v, i) => i % 4 === 0 && v < 128).length"
    dark = f"(() => {{ const canvas = document.getElementById('canvas'); return {dark}; }})()"
    page.evaluate(script, [0.1, 0.3, 1])
    light = page.evaluate(dark)
    page.evaluate(script, [1.0, 0.7, 1])
    both = page.evaluate(dark)
    assert both - light > 2 * light > 0
    page.evaluate(script, [1.0, 0.7, 32])
    assert page.evaluate(dark) == light


def test_an_opened_photograph_is_sent_as_it_is_and_saved_results_keep_their_record(load, tmp_path):
    page = load()
    body = io.BytesIO()
    Image.radial_gradient("L").resize((900, 700)).save(body, "JPEG")
    page.locator("#file").set_input_files([{"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": body.getvalue()}])
    wait(page)
    assert page.locator("#command").inner_text().startswith("ddbm translate photo.jpg ")
    with page.expect_download() as download:
        page.keyboard.press("s")
    assert download.value.suggested_filename == "photo-0.png"
    download.value.save_as(tmp_path / "photo-0.png")
    assert "ddbm" in Image.open(tmp_path / "photo-0.png").text
    with page.expect_download() as download:
        page.locator("#save-drawing").click()
    assert download.value.suggested_filename == "photo.jpg"
    assert Path(download.value.path()).read_bytes() == body.getvalue()


def test_dropped_and_pasted_images_are_translated(load):
    page = load()
    script = """([kind, name, bytes]) => {
        const data = new DataTransfer(), how = {bubbles: true, cancelable: true};
        data.items.add(new File([new Uint8Array(bytes)], name, {type: "image/png"}));
        document.dispatchEvent(kind === "drop" ? new DragEvent(kind, {...how, dataTransfer: data})
            : new ClipboardEvent(kind, {...how, clipboardData: data}));
    }"""
    done = 0
    for number, kind in enumerate(("drop", "paste")):
        page.evaluate(script, [kind, f"{kind}.png", list(png(number))])
        done = wait(page, done)
        assert page.locator("#command").inner_text().startswith(f"ddbm translate {kind}.png ")


def test_errors_are_shown_with_what_to_do(load):
    page = load()
    body = 'event: error\ndata: {"what": "5000 is too much", "do": "ask for fewer"}\n\n'
    page.route("**/translate?*", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    circle(page)
    playwright.expect(page.locator("#error")).to_have_text("5000 is too much ask for fewer")


def test_a_token_in_the_address_is_used_and_removed_from_it(load, serve):
    url = serve(token="a-secret-of-some-length").url
    page = load(url=f"{url}#token=a-secret-of-some-length")
    assert "a-secret" not in page.url
    circle(page)
    wait(page)


@pytest.mark.parametrize("width", [390, 820, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_at_any_width(load, width, scheme):
    page = load(width, color_scheme=scheme)
    circle(page)
    wait(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for element in page.locator("button, select, input:not(.hidden), .button, .sheet").all():
        box = element.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= width + 1)
    box = page.locator("#canvas").bounding_box()
    assert box["width"] == pytest.approx(box["height"], abs=2)
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 18, 25)"
    assert dark == (scheme == "dark")


def test_every_control_has_a_name(load):
    page = load()
    script = """() => [...document.querySelectorAll("button, input, select, canvas, a")].filter((each) =>
        !(each.getAttribute("aria-label") || each.textContent.trim() || each.labels?.length)).map((each) => each.id)"""
    assert page.evaluate(script) == []
