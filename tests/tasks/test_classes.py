"""Classes and guidance as a user meets them: trained from folders, told by name, refused where they mean nothing."""

import json

import numpy as np
import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.models import load_model
from ddbm_cli.tasks import recreate, sample, translate
from ddbm_cli.tasks import train as training
from ddbm_cli.tasks.events import Kept, Written
from tests.tiny import NETWORK, picture, write_tiny
from tests.training.test_training import ONE_LEVEL, same, tiny_request, weights

COLOURS = {"blue": (40, 60, 220), "red": (220, 50, 40)}


def kinds(events, kind):
    return [event for event in events if isinstance(event, kind)]


@pytest.fixture(scope="module")
def classed(tmp_path_factory):
    """Pairs whose sources say nothing of the target's colour, which is the class: A/red/0.png and B/red/0.png."""
    root = tmp_path_factory.mktemp("classes")
    for name, colour in COLOURS.items():
        for side in "AB":
            (root / "pairs" / side / name).mkdir(parents=True)
        for index in range(12):
            place = 2 + index % 4
            for side, tint in (("A", (90, 90, 90)), ("B", colour)):
                image = Image.new("RGB", (16, 16), "white")
                image.paste(tint, (place, 4, place + 8, 12))
                image.save(root / "pairs" / side / name / f"{index}.png")
    return root


@pytest.fixture(scope="module")
def bridge(classed):
    """A bridge trained for as long as it takes to learn two colours."""
    asked = {"steps": 80, "batch_size": 8, "learning_rate": 1e-2, "validate_every": 80, "network": ONE_LEVEL}
    list(training.run(tiny_request(classed, "bridge", classes=True, augment=(), **asked)))
    return str(classed / "bridge" / "model.safetensors")


@pytest.fixture(scope="module")
def prior(classed):
    asked = {"task": "prior", "path": "ve", "times": "log-normal", "augment": (), "network": ONE_LEVEL}
    list(training.run(tiny_request(classed, "prior", classes=True, steps=6, learning_rate=1e-2, **asked)))
    return str(classed / "prior" / "model.safetensors")


def colours(classed, model, folder, **options):
    """Translate four sources; return the mean colour of each result's square, (4, 3)."""
    source = classed / "pairs" / "A" / "red"
    asked = {"source": str(source), "output": classed / folder, "model": model, "device": "cpu", "nfe": 8}
    list(translate.run(translate.request(**asked | options)))
    results = [np.asarray(open_picture(file).convert("RGB")) for file in sorted((classed / folder).glob("*.png"))[:4]]
    return np.stack([each[6:10, 6:10].reshape(-1, 3).mean(0) for each in results])


def test_folders_are_classes(classed, bridge, prior):
    for file in (bridge, prior):
        card = load_model(file, device="cpu").card
        assert (card.class_names, card.network["classes"], card.condition_dropout) == (("blue", "red"), 2, 0.05)


def test_a_class_decides_what_a_source_becomes(classed, bridge):
    blue, red = (colours(classed, bridge, name, class_name=name) for name in COLOURS)
    assert (blue[:, 2] > blue[:, 0] + 40).all(), blue
    assert (red[:, 0] > red[:, 2] + 40).all(), red
    record = json.loads(read_text(sorted((classed / "red").glob("*.png"))[0])["ddbm"])
    assert (record["class"], record["guidance_scale"]) == ("red", 1.0)


def test_scales_of_guidance_act_and_are_recorded(classed, bridge):
    plain = colours(classed, bridge, "scale-1", class_name="red")
    assert np.array_equal(plain, colours(classed, bridge, "ones", class_name="red", guidance_scale=1.0))
    strong = colours(classed, bridge, "scale-3", class_name="red", guidance_scale=3.0)
    image = colours(classed, bridge, "image-2", class_name="red", image_guidance_scale=2.0)
    assert np.abs(strong - plain).max() > 0.5 and np.abs(image - plain).max() > 0.5
    record = json.loads(read_text(sorted((classed / "image-2").glob("*.png"))[0])["ddbm"])
    assert (record["guidance_scale"], record["image_guidance_scale"]) == (1.0, 2.0)
    made = sorted((classed / "image-2").glob("*.png"))[0]
    line = recreate.command(made, source=made, models={"--model": bridge})
    assert "--class red --guidance-scale 1.0 --image-guidance-scale 2.0" in line
    again = translate.request(
        source=str(classed / "pairs" / "A" / "red"), output=classed / "scale-3", model=bridge, device="cpu", nfe=8,
        class_name="red", guidance_scale=4.0,
    )  # fmt: skip
    assert {event.differs for event in kinds(translate.run(again), Kept)} == {"another guidance scale"}


def test_a_comparison_gives_all_models_the_same_class(classed, bridge, tmp_path):
    from ddbm_cli.tasks import compare

    specs = ["dbim:3,class=red", "dbim:3,class=blue,guidance_scale=2.0"]
    source, page = str(classed / "pairs" / "A" / "red"), tmp_path / "c.json"
    asked = compare.request(source=source, methods=specs, model=bridge, device="cpu", outputs=[page])
    list(compare.run(asked))
    found = json.loads(page.read_text())
    assert [each["method"] for each in found["methods"]] == [
        "dbim class red, 3 NFE",
        "dbim class blue guidance scale 2.0, 3 NFE",
    ]
    assert all("error" not in each or not each["error"] for each in found["methods"])
    (warning,) = [each for each in found["warnings"] if each.startswith("Guided")]
    assert "blue" in warning and "red" not in warning


def test_results_do_not_depend_on_the_batch(classed, bridge):
    options = {"class_name": "blue", "guidance_scale": 2.0, "image_guidance_scale": 1.5}
    one, all_at_once = (colours(classed, bridge, f"batch-{size}", batch_size=size, **options) for size in (1, 8))
    assert np.abs(one - all_at_once).max() <= 1


def test_images_from_noise_take_the_classes_in_turn(classed, prior):
    def draw(folder, **options):
        asked = {"output": classed / folder, "model": prior, "device": "cpu", "nfe": 4, "number": 4}
        return kinds(sample.run(sample.request(**asked | options)), Written)

    turns, told = draw("turns"), draw("told", class_name="red")
    assert [event.record["class"] for event in turns] == ["blue", "red", "blue", "red"]
    assert {event.record["class"] for event in told} == {"red"}
    same_class = [
        first.output.read_bytes() == second.output.read_bytes() for first, second in zip(turns, told, strict=True)
    ]
    assert same_class == [False, True, False, True], "a picture depends on its seed, number and class alone"
    guided = draw("guided", guidance_scale=3.0)
    assert all(a.output.read_bytes() != b.output.read_bytes() for a, b in zip(turns, guided, strict=True))


def test_sdedit_takes_a_class(classed, prior):
    common = {"method": "sdedit", "strength": 0.8}
    blue, red = (colours(classed, prior, f"edit-{name}", class_name=name, **common) for name in COLOURS)
    assert not np.array_equal(blue, red)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("plain", {"class_name": "red"}, "has no classes"),
        ("plain", {"guidance_scale": 2.0}, "takes neither a class nor a text"),
        ("plain", {"image_guidance_scale": 2.0}, "was not trained with condition dropout"),
        ("bridge", {"class_name": "green"}, "has no class 'green'"),
        ("bridge", {"guidance_scale": 2.0}, "needs a class"),
        ("prior", {"method": "sdedit", "image_guidance_scale": 2.0}, "does not take the source as a condition"),
    ],
)
def test_what_means_nothing_is_refused(classed, bridge, prior, tmp_path, model, options, message):
    plain = str(write_tiny(tmp_path / "plain.safetensors"))
    file = {"plain": plain, "bridge": bridge, "prior": prior}[model]
    picture(0).save(tmp_path / "a.png")
    asked = translate.request(source=str(tmp_path / "a.png"), model=file, device="cpu", **options)
    with pytest.raises(UsageError, match=message):
        list(translate.run(asked))


def test_a_class_that_must_be_named_is_asked_for(tmp_path):
    """A network that was never trained without a class has nothing to say without one."""
    network = NETWORK | {"classes": 3}
    model = str(write_tiny(tmp_path / "classed.safetensors", network=network))
    picture(0).save(tmp_path / "a.png")
    asked = {"source": str(tmp_path / "a.png"), "model": model, "device": "cpu"}
    with pytest.raises(UsageError, match="needs a class") as caught:
        list(translate.run(translate.request(**asked)))
    assert "--class 0" in caught.value.hint
    assert kinds(translate.run(translate.request(**asked, class_name="2")), Written)


def test_a_image_outside_of_the_classes_is_named(classed, tmp_path):
    for side in "AB":
        (tmp_path / "pairs" / side / "red").mkdir(parents=True)
        picture(0).save(tmp_path / "pairs" / side / "red" / "0.png")
        picture(1).save(tmp_path / "pairs" / side / "1.png")
    with pytest.raises(UsageError, match=r"1\.png has no class that has training images"):
        list(training.run(tiny_request(tmp_path, classes=True, val_share=0)))
    with pytest.raises(UsageError, match="takes no classes"):
        list(
            training.run(
                tiny_request(classed, "pix", classes=True, objective="pix2pix", network="pix2pix:channels=8,depth=3")
            )
        )
    with pytest.raises(UsageError, match="no condition to drop"):
        list(training.run(tiny_request(classed, "bare", task="prior", path="ve", drop=0.1, times="uniform")))


def test_a_run_that_leaves_conditions_out_resumes_bit_identically(classed):
    whole = tiny_request(classed, "whole", classes=True, steps=8, save_every=2)
    list(training.run(whole))
    halves = {"classes": True, "steps": 8, "save_every": 2}
    stops = iter([False] * 4)
    list(training.run(tiny_request(classed, "halves", **halves), stop=lambda: next(stops, True)))
    list(training.run(tiny_request(classed, "halves", **halves)))
    assert same(weights(classed / "whole"), weights(classed / "halves"))


def test_leaving_out_changes_what_is_learnt(classed):
    for name, drop in (("never", 0.0), ("often", 0.3)):
        list(training.run(tiny_request(classed, name, classes=True, steps=3, drop=drop)))
    assert not same(weights(classed / "never"), weights(classed / "often"))
    assert load_model(classed / "never" / "model.safetensors", device="cpu").card.condition_dropout == 0
