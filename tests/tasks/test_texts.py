"""Texts as a user meets them: trained from captions, names and classes, given by --prompt, refused where useless."""

import json
import shutil

import pytest
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.io import open_picture, read_text
from ddbm_cli.models import load_model
from ddbm_cli.options.sweep import read_axes
from ddbm_cli.tasks import train as training
from ddbm_cli.tasks import translate
from ddbm_cli.tasks.events import Kept, Noticed, Written
from ddbm_cli.tasks.recreate import recreate
from ddbm_cli.tasks.sweep import grid
from tests.tasks.test_classes import COLOURS
from tests.tiny import write_tiny
from tests.training.test_training import ONE_LEVEL, same, tiny_request, weights

pytest.importorskip("tokenizers", reason='needs pip install "ddbm-cli[text]"')


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """Pairs whose sources say nothing of the target's colour, which is in the caption."""
    root = tmp_path_factory.mktemp("texts")
    (root / "pairs").mkdir()
    lines = []
    for name, colour in COLOURS.items():
        for index in range(12):
            for side, tint in (("source", (90, 90, 90)), ("target", colour)):
                image = Image.new("RGB", (16, 16), "white")
                image.paste(tint, (2 + index % 4, 4, 10 + index % 4, 12))
                image.save(root / "pairs" / f"{side}-{name}-{index}.png")
            line = {side: f"{side}-{name}-{index}.png" for side in ("source", "target")}
            lines.append(json.dumps(line | {"caption": f"make it {name}" if index % 2 else f"paint it {name}"}))
    (root / "pairs" / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return root


def asked(root, folder="run", **options):
    given = {"task": "instruct", "augment": (), "steps": 4, "val_share": 0.0} | options
    return tiny_request(root, folder, data=(root / "pairs" / "pairs.jsonl",), **given)


@pytest.fixture(scope="module")
def editor(captioned):
    """A model trained for as long as it takes to learn two colours."""
    longer = {"steps": 80, "batch_size": 8, "learning_rate": 1e-2, "network": ONE_LEVEL}
    list(training.run(asked(captioned, "editor", **longer)))
    return str(captioned / "editor" / "model.safetensors")


def edited(root, model, folder, **options):
    """Translate a source; return the mean colour of the result's square, and the events."""
    source = root / "pairs" / "source-red-1.png"
    request = translate.request(
        source=str(source), output=root / folder / "out.png", model=model, device="cpu", **options
    )
    events = list(translate.run(request))
    (written,) = [event for event in events if isinstance(event, Written)]
    image = open_picture(written.output).crop((4, 5, 10, 11))
    return image.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)), events


def test_the_text_decides_the_result(captioned, editor):
    red, _ = edited(captioned, editor, "red", prompt="make it red")
    blue, _ = edited(captioned, editor, "blue", prompt="Paint it BLUE")
    assert red[0] - red[2] > 40 and blue[2] - blue[0] > 40


def test_the_guidance_scale_strengthens_it_and_is_recorded(captioned, editor):
    one, _ = edited(captioned, editor, "one", prompt="make it red")
    strong, _ = edited(captioned, editor, "strong", prompt="make it red", guidance_scale=3.0)
    assert one != strong
    record = json.loads(read_text(captioned / "strong" / "out.png")["ddbm"])
    assert record["prompt"] == "make it red" and record["guidance_scale"] == 3.0


def test_unknown_words_are_noted(captioned, editor):
    _, events = edited(captioned, editor, "snow", prompt="make it snow")
    assert ["'snow'" in event.message for event in events if isinstance(event, Noticed)] == [True]


def test_bad_texts_are_refused(captioned, editor, tmp_path):
    with pytest.raises(UsageError, match="tokens; this model takes at most"):
        edited(captioned, editor, "long", prompt="red " * 40)
    with pytest.raises(UsageError, match="needs a text"):
        edited(captioned, editor, "scale", guidance_scale=2.0)
    with pytest.raises(UsageError, match="has no classes"):
        edited(captioned, editor, "class", prompt="make it red", class_name="red")
    with pytest.raises(UsageError, match="takes no text"):
        edited(captioned, str(write_tiny(tmp_path / "m.safetensors")), "none", prompt="red")
    list(training.run(asked(captioned, "always", drop=0.0)))
    with pytest.raises(UsageError, match="needs a text"):
        edited(captioned, str(captioned / "always" / "model.safetensors"), "empty")


def test_without_a_text_it_is_the_estimate_without(captioned, editor):
    edited(captioned, editor, "without")
    assert load_model(editor, device="cpu").takes_text


@pytest.mark.parametrize("text", ["captions", "names", "classes"])
def test_texts_come_from_captions_names_and_classes(captioned, text):
    for side in "AB":
        for name in ("red cat", "blue_dog"):
            (captioned / "named" / side / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), "grey").save(captioned / "named" / side / name / "one-two.png")
    data = (captioned / "pairs" / "pairs.jsonl",) if text == "captions" else (captioned / "named",)
    list(training.run(tiny_request(captioned, text, data=data, text=text, steps=1, batch_size=2, val_share=0)))
    tokens = set(load_model(captioned / text / "model.safetensors", device="cpu").card.vocabulary.tokens)
    words = {"captions": {"paint", "it", "red"}, "names": {"one", "two"}, "classes": {"cat", "dog", "red", "blue"}}
    assert words[text] <= tokens and not words["names" if text == "captions" else "captions"] <= tokens


def several(root, model, output, **options):
    """Translate two sources; return the events, and the records and mean colours by name."""
    (root / "two").mkdir(exist_ok=True)
    for name in ("a", "b"):
        shutil.copy(root / "pairs" / "source-red-1.png", root / "two" / f"{name}.png")
    request = translate.request(
        source=str(root / "two"), output=root / output, model=model, device="cpu", nfe=4, manifest=True, **options
    )
    events = list(translate.run(request))
    files = {name: root / output / f"{name}.png" for name in ("a", "b")}
    records = {name: json.loads(read_text(file)["ddbm"]) for name, file in files.items()}
    return events, records, {name: open_picture(file).tobytes() for name, file in files.items()}


def test_each_image_has_its_own_prompt(captioned, editor, tmp_path):
    """In one batch, resumed by image where a prompt changes, and made again by its record."""
    file = tmp_path / "prompts.txt"
    file.write_text("make it red\nmake it blue\n")
    events, records, pixels = several(captioned, editor, "own", prompts=file, batch_size=2)
    assert [records[name]["prompt"] for name in "ab"] == ["make it red", "make it blue"]
    assert "--prompt 'make it blue'" in recreate(captioned / "own" / "b.png", search=[captioned]).command
    for name, text in (("a", "make it red"), ("b", "make it blue")):
        _, alone, same = several(captioned, editor, f"all-{name}", prompt=text)
        assert same[name] == pixels[name] and alone[name]["guidance_scale"] == records[name]["guidance_scale"]
    assert pixels["a"] != pixels["b"]
    file.write_text("b.png\tmake it red\na.png\tmake it red\n")
    events, *_ = several(captioned, editor, "own", prompts=file)
    assert [event.differs for event in events if isinstance(event, Kept)] == ["", "another prompt"]
    events, *_ = several(captioned, editor, "own")
    assert [event.differs for event in events if isinstance(event, Kept)] == ["another prompt"] * 2
    lines = [json.loads(line) for line in (captioned / "own" / "manifest.jsonl").read_text().splitlines()]
    assert len({line["settings"] for line in lines if line["status"] == "written"}) == 2


def test_text_files_next_to_images_are_their_prompts(captioned, editor):
    several(captioned, editor, "none")
    for name, text in (("a", "make it red"), ("b", "make it snow")):
        (captioned / "two" / f"{name}.txt").write_text(text)
    events, records, _ = several(captioned, editor, "beside", guidance_scale=2.0)
    assert [records[name]["prompt"] for name in "ab"] == ["make it red", "make it snow"]
    assert ["'snow'" in event.message for event in events if isinstance(event, Noticed)] == [True]
    (captioned / "two" / "b.txt").write_text("red " * 40)
    with pytest.raises(UsageError, match=r"the prompt of b\.png: a text of \d+ tokens; this model takes at most"):
        several(captioned, editor, "long")
    for name in "ab":
        (captioned / "two" / f"{name}.txt").unlink()


def test_a_sweep_measures_similarity_and_agreement(captioned, editor, tmp_path):
    source = captioned / "pairs" / "source-red-1.png"
    given = {"source": str(source), "output": tmp_path / "grid", "model": editor, "device": "cpu"}
    axes = read_axes(["guidance-scale=0,1", "nfe=4"])
    list(grid(translate.request(**given, prompt="make it red"), axes))
    header, first, second = (tmp_path / "grid" / "sweep.csv").read_text().splitlines()
    assert header == "guidance-scale,nfe,images,similarity,understood,agreement"
    without, full = (dict(zip(header.split(","), map(float, line.split(",")), strict=True)) for line in (first, second))
    assert full["images"] == full["understood"] == 1 and full["agreement"] > max(0.3, without["agreement"])
    assert 0 < full["similarity"] < 1


def test_prompts_for_a_model_without_texts_are_refused(captioned, tmp_path):
    (tmp_path / "prompts.txt").write_text("a\tred\nb\tblue")
    with pytest.raises(UsageError, match="takes no text"):
        several(captioned, str(write_tiny(tmp_path / "m.safetensors")), "none", prompts=tmp_path / "prompts.txt")


def test_data_without_texts_are_refused(tmp_path):
    from tests.tiny import write_pairs

    write_pairs(tmp_path / "pairs", 4)
    with pytest.raises(UsageError, match="no image has a text"):
        list(training.run(tiny_request(tmp_path, text="captions")))


def test_an_interrupted_run_is_resumed_to_the_same_bits(captioned):
    list(training.run(asked(captioned, "whole", steps=6, save_every=2)))
    for event in training.run(asked(captioned, "part", steps=6, save_every=2)):
        if getattr(event, "step", 0) == 3:
            break
    list(training.run(training.request({}, resume=captioned / "part")))
    assert same(weights(captioned / "whole"), weights(captioned / "part"))


def test_a_run_begins_with_a_model_and_its_vocabulary(captioned, editor):
    list(
        training.run(
            training.request(
                {
                    "data": (captioned / "pairs" / "pairs.jsonl",),
                    "output": captioned / "more",
                    "text": "captions",
                    "start_from": editor,
                    "device": "cpu",
                    "recipe": {"steps": 1, "batch_size": 2},
                }
            )
        )
    )
    first, second = (load_model(file, device="cpu").card for file in (editor, captioned / "more" / "model.safetensors"))
    assert first.vocabulary == second.vocabulary


def test_a_bridge_without_texts_becomes_one_with(captioned, tmp_path):
    plain = tiny_request(captioned, "plain", data=(captioned / "pairs" / "pairs.jsonl",), steps=1)
    list(training.run(plain))
    events = list(
        training.run(
            training.request(
                {
                    "data": (captioned / "pairs" / "pairs.jsonl",),
                    "task": "instruct",
                    "output": tmp_path / "run",
                    "start_from": str(captioned / "plain"),
                    "device": "cpu",
                    "recipe": {"steps": 1, "batch_size": 2},
                }
            )
        )
    )
    assert load_model(tmp_path / "run" / "model.safetensors", device="cpu").takes_text and events
