"""Laws of `ddbm data instruct` for captions: images by a tiny pipeline, filters by a tiny CLIP."""

import json
import os
import signal
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import UNet2DConditionModel
from PIL import Image

from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.metrics.clip import MissingWeightsError
from ddbm_cli.models import resolve
from ddbm_cli.models.texts import embed
from ddbm_cli.networks.shared_attention import shared_self_attention
from ddbm_cli.registry.locate import finish
from ddbm_cli.tasks.events import Failed, Finished, Made, Noticed, Planned, Written
from ddbm_cli.tasks.instruct import InstructRequest, candidates, run
from ddbm_cli.tasks.instruct.candidates import Draw, Studio
from ddbm_cli.tasks.instruct.captions import HELD_OUT, Caption, read_captions
from tests.pipelines import write_clip, write_instruct, write_pipeline
from tests.tasks.chat import Chat
from tests.tasks.test_edges import files

ROWS = [("a cat", "make it a dog", "a dog"), ("the sea", "add a boat", "sea and boat")]
PUBLISHED = ("original_prompt", "edit_prompt", "edited_prompt")
ALL = {"clip_threshold": -1, "clip_img_threshold": -1, "clip_dir_threshold": -1}
"""Thresholds that every candidate passes."""

QUICK = {"steps": 2, "candidates": 2, "device": "cpu", "dtype": "fp32"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A pipeline whose attention has a strong effect, and CLIP."""
    root = tmp_path_factory.mktemp("parts")
    network = UNet2DConditionModel.from_pretrained(write_pipeline(root / "sd") / "unet")
    for name, weight in network.named_parameters():
        weight.data *= 8 if "attn" in name and "to_out" not in name else 1
    network.save_pretrained(root / "sd" / "unet")
    return {"model": f"diffusers:{write_pipeline(root / 'sd')}", "clip": str(write_clip(root / "clip"))}


@pytest.fixture(scope="module", autouse=True)
def _loaded_once():
    """Models are loaded once for all tests but that of the whole command."""
    pipeline = cache(lambda model, options: finish(resolve.loading(model, **dict(options))))

    def loading(model, **options):
        yield from ()
        return pipeline(model, tuple(options.items()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "loading", loading)
        patch.setattr(candidates, "PairSimilarity", cache(candidates.PairSimilarity))
        yield


def listed(file, rows=ROWS, names=("input", "edit", "output")):
    file.write_text("".join(json.dumps(dict(zip(names, row, strict=False))) + "\n" for row in rows))
    return file


def make(parts, folder, *, output="out", rows=ROWS, **options):
    """Run the task; return its events, by kind."""
    given = {"pictures": listed(folder / "captions.jsonl", rows), "output": folder / output}
    events = list(run(InstructRequest(**(parts | QUICK | ALL | given | options))))
    kinds = (Planned, Written, Failed, Noticed, Finished, Made)
    return {kind: [event for event in events if isinstance(event, kind)] for kind in kinds}


def lines(folder):
    return [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]


def test_from_captions_to_a_training(parts, tmp_path, ddbm, monkeypatch):
    captions, out = listed(tmp_path / "captions.jsonl"), tmp_path / "out"
    options = ["--clip", parts["clip"], "--steps", "2", "--candidates", "2", "--device", "cpu", "--size", "8"]
    options += [word for name, value in ALL.items() for word in (f"--{name.replace('_', '-')}", value)]
    monkeypatch.setattr(candidates, "loading", resolve.loading)
    code, printed, err = ddbm("data", "instruct", captions, out, "-m", parts["model"], *options)
    assert code == 0 and len(printed.splitlines()) == 4, err
    assert "of 4 candidates of 2 captions, 4 have image similarity -1, 4 have caption similarity -1" in err
    found = lines(out)
    assert {(each["caption_before"], each["caption"], each["caption_after"]) for each in found} == set(ROWS)
    for each in found:
        assert each["edit"] == "captions" and each["split"] in ("train", "val")
        assert 0.1 <= each["shared_attention"] <= 0.9 and 7.5 <= each["guidance_scale"] <= 15
        sides = [Image.open(out / each[side]).convert("RGB") for side in ("source", "target")]
        assert sides[0].size == (8, 8) and sides[0].tobytes() != sides[1].tobytes()
    assert {pair.caption for pair in find_pairs([out / "pairs.jsonl"], val_share=0.0).train} == {row[1] for row in ROWS}
    small = "adm:channels=16,multipliers=1,blocks=1,head_channels=16,text_layers=1"
    train = ["--task", "instruct", "--size", "8", "--steps", "1", "-b", "2", "--network", small, "--device", "cpu"]
    code, _, err = ddbm("train", out / "pairs.jsonl", *train, "-o", tmp_path / "run", "-q")
    assert code == 0 and (tmp_path / "run" / "model.safetensors").exists(), err


def sampled(parts, caption, **options):
    """The images of one candidate, as bytes."""
    request = InstructRequest(pictures=Path("x"), output=Path("x"), **(parts | QUICK | {"steps": 4} | options))
    events = finish(Studio.opening(request)).sampled(caption, "name")
    return [each.tobytes() for each in finish(events)]


def test_p_shares_the_self_attention_of_the_image_before(parts):
    caption = Caption("a cat", "make it a dog", "a dog")
    never, always = (sampled(parts, caption, min_p=p, max_p=p) for p in (0.0, 1.0))
    assert never[0] == always[0] and len({*never, *always}) == 3
    same = sampled(parts, Caption("a cat", "keep it", "a cat"), min_p=1.0, max_p=1.0)
    assert same[0] == same[1] == never[0], "the noise is the same for both"


def test_p_is_a_fraction_of_the_steps(parts, monkeypatch):
    states = []

    @contextmanager
    def recorded(network):
        with shared_self_attention(network) as sharing:
            hook = network.model.register_forward_pre_hook(lambda module, given: states.append(sharing.on))
            yield sharing
            hook.remove()

    monkeypatch.setattr(candidates, "shared_self_attention", recorded)
    for p, shared in ((0.0, 0), (0.25, 1), (0.6, 3), (1.0, 4)):
        sampled(parts, Caption("a cat", "make it a dog", "a dog"), min_p=p, max_p=p)
        assert states == [True] * shared + [False] * (4 - shared)
        states.clear()


def test_a_candidate_depends_on_its_caption_and_number_alone(parts, tmp_path):
    make(parts, tmp_path, output="together")
    make(parts, tmp_path, output="alone", rows=ROWS[1:])
    together, alone = files(tmp_path / "together"), files(tmp_path / "alone")
    del together["pairs.jsonl"], alone["pairs.jsonl"]
    assert alone and alone == {name: body for name, body in together.items() if "/the-sea" in name}
    make(parts, tmp_path, output="alone", rows=ROWS[::-1], candidates=1)
    make(parts, tmp_path, output="alone")
    assert files(tmp_path / "alone") == files(tmp_path / "together")


def deadly(pattern, nth):
    """Path.replace that kills the process at the nth complete file whose name fits, before it has its name."""
    replace, seen = Path.replace, []

    def kill(path, target):
        seen.extend([target] * Path(target).match(pattern))
        if len(seen) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    return kill


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_that_is_killed_in_any_step_ends_with_the_same_files(parts, tmp_path, monkeypatch):
    with Chat() as chat:
        given = {"endpoint": chat.url, "endpoint_model": "tiny", "rows": [("a cat",), ("the sea",)], "per_image": 1}
        make(parts, tmp_path, output="whole", **given)
        for pattern, nth in (("captions/*", 2), ("after/*", 1), ("before/*", 2), ("candidates/*", 1), ("*.jsonl", 1)):
            child = os.fork()
            if child == 0:
                monkeypatch.setattr(Path, "replace", deadly(pattern, nth))
                make(parts, tmp_path, **given)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == signal.SIGKILL, pattern
        assert any(name.endswith(".tmp") for name in files(tmp_path / "out")) and len(chat.asked) == 5
        make(parts, tmp_path, **given)
        assert files(tmp_path / "out") == files(tmp_path / "whole") and len(chat.asked) == 5
    assert sum(name.startswith("after/") for name in files(tmp_path / "out")) == 2


def test_filters_choose_by_thresholds_and_then_by_direction(parts, tmp_path):
    make(parts, tmp_path, candidates=3, rows=ROWS[:1])
    found, whole = lines(tmp_path / "out"), files(tmp_path / "out")
    directions = [each["clip_direction"] for each in found]
    assert len(found) == 3 and directions == sorted(directions, reverse=True)
    best = make(parts, tmp_path, candidates=3, rows=ROWS[:1], per_image=1)
    assert best[Finished][0].kept == 1 and lines(tmp_path / "out") == found[:1] and len(files(tmp_path / "out")) == 4
    for option, name in (("clip_img_threshold", "clip_image"), ("clip_dir_threshold", "clip_direction")):
        limit = sorted(each[name] for each in found)[1]
        again = make(parts, tmp_path, candidates=3, rows=ROWS[:1], **{option: limit})
        assert lines(tmp_path / "out") == [each for each in found if each[name] >= limit]
        assert again[Finished][0].written + again[Finished][0].kept == 2
        words = {"clip_image": "2 have image similarity", "clip_direction": "2 have direction similarity"}[name]
        assert (
            words in again[Noticed][0].message and "2 pass all three filters, 2 are kept" in again[Noticed][0].message
        )
    none = make(parts, tmp_path, candidates=3, rows=ROWS[:1], clip_threshold=0.99)
    assert "0 have caption similarity 0.99" in none[Noticed][0].message and "--candidates" in none[Noticed][0].hint
    assert [name.split("/")[0] for name in files(tmp_path / "out")] == ["candidates"]
    make(parts, tmp_path, candidates=3, rows=ROWS[:1])
    assert files(tmp_path / "out") == whole, "what was removed is made again"


@pytest.mark.parametrize("option", ["size", "seed", "steps", "min_p", "max_p", "min_cfg", "max_cfg", "candidates"])
def test_each_option_changes_the_candidates(parts, tmp_path, option):
    usual = {"min_p": 0.4, "max_p": 0.6, "min_cfg": 5.0, "max_cfg": 6.0, "steps": 1, "candidates": 1}
    other = {"size": 8, "seed": 1, "min_p": 0.5, "max_p": 0.5, "min_cfg": 5.5, "max_cfg": 5.5, "candidates": 2}
    requests = [InstructRequest(pictures=Path("x"), output=Path("x"), **each) for each in (usual, usual | other)]
    if option in ("min_p", "max_p", "min_cfg", "max_cfg"):
        one, two = (Draw.of(each, "name") for each in requests)
        field = "p" if option.endswith("p") else "scale"
        assert getattr(requests[0], option) != getattr(two, field) != getattr(one, field)
        assert getattr(two, field) == getattr(requests[1], option)
        return
    found = [make(parts, tmp_path, output=str(each), rows=ROWS[:1], **given) and files(tmp_path / str(each))
             for each, given in enumerate((usual, usual | {option: ({"steps": 2} | other)[option]}))]  # fmt: skip
    assert found[0] != found[1]


def test_bad_captions_are_reported_and_the_others_are_made(parts, tmp_path):
    bad = [("a cat", "make it red"), ("", "x", "y"), ("a" * 600, "x", "y"), ("a\x1b[2J", "x", "y"), ("a", "x", 3)]
    long = ("a b c d e f g h i j k l m n o p q r s t u", "make it red", "a b")
    events = make(parts, tmp_path, rows=[*bad, long, ROWS[0]], candidates=1)
    assert events[Finished][0].failed == 6 and len(lines(tmp_path / "out")) == 1
    words = [
        "line 1: no caption after it",
        "line 2: a text is missing",
        "more than 500",
        "control",
        "missing",
        "takes at most",
    ]
    for event, each in zip(events[Failed], words, strict=True):
        assert each in event.message and event.hint


def test_a_dry_run_writes_and_asks_nothing(parts, tmp_path):
    events = make(parts, tmp_path, dry_run=True)
    assert events[Planned][0].total == 4 and not (tmp_path / "out").exists()


def test_damaged_records_are_explained(parts, tmp_path):
    make(parts, tmp_path, rows=ROWS[:1], candidates=1)
    (file,) = (tmp_path / "out" / "candidates").iterdir()
    for body in ("{", "[1]", '{"x": {}}', file.read_text().replace("-000", "-001")):
        file.write_text(body)
        with pytest.raises(UsageError, match=r"not readable|not a record"):
            make(parts, tmp_path, rows=ROWS[:1], candidates=1)
    before = files(tmp_path / "out")
    assert make(parts, tmp_path, rows=ROWS[:1], candidates=1, overwrite=True)[Finished][0].written == 1
    assert files(tmp_path / "out").keys() == before.keys()


@pytest.mark.parametrize("names", [("input", "edit", "output"), ("before", "instruction", "after"), PUBLISHED])
def test_lists_have_the_names_of_other_lists(tmp_path, names):
    found, problems = read_captions(listed(tmp_path / "list.jsonl", ROWS * 2, names), ask=False)
    assert [(each.before, each.edit, each.after) for each in found] == ROWS and not problems


def test_captions_are_held_out_together_and_a_list_may_say_which(tmp_path):
    (tmp_path / "many.txt").write_text("".join(f"a cat {number}\n" for number in range(2000)))
    found, _ = read_captions(tmp_path / "many.txt", ask=True)
    share = sum(each.split == "val" for each in found) / len(found)
    assert abs(share - HELD_OUT) < 0.02
    (tmp_path / "named.csv").write_text("input,edit,output,split\na cat,x,y,val\na dog,x,y,train\n")
    assert [each.split for each in read_captions(tmp_path / "named.csv", ask=False)[0]] == ["val", "train"]


WRONG = {
    "no model": ({"model": None}, "need a model"),
    "of images": ({"edits": ("flip",)}, "--edits is for a folder of images"),
    "order": ({"min_p": 0.95}, "--min-p is above --max-p"),
    "no endpoint": ({"endpoint_model": "x"}, "no endpoint"),
    "no name": ({"endpoint": "http://localhost/v1"}, "needs the name"),
    "file": ({"endpoint": "file:///etc/passwd", "endpoint_model": "x"}, "not an address"),
    "password": ({"endpoint": "http://a:b@host/v1", "endpoint_model": "x"}, "not an address"),
    "control": ({"endpoint": "http://host/\x1b[2J", "endpoint_model": "x"}, "not an address"),
    "port": ({"endpoint": "http://host:99999/v1", "endpoint_model": "x"}, "not an address"),
    "key": ({"endpoint": "http://host/v1", "endpoint_model": "x", "endpoint_key": "NO_SUCH_KEY"}, "holds no key"),
}


@pytest.mark.parametrize("name", WRONG)
def test_options_that_do_not_go_together(parts, tmp_path, name):
    options, message = WRONG[name]
    with pytest.raises(UsageError, match=message):
        make(parts, tmp_path, **options)


def test_options_of_captions_are_refused_for_images(tmp_path):
    with pytest.raises(UsageError, match="--candidates is for a list of captions"):
        list(run(InstructRequest(pictures=tmp_path, output=tmp_path / "out", candidates=3)))


def test_models_are_checked_before_the_endpoint_is_asked(parts, tmp_path):
    other = str(write_instruct(tmp_path / "instruct"))
    with Chat() as chat:
        given = {"endpoint": chat.url, "endpoint_model": "tiny", "rows": [("a cat",)]}
        for model in ("sketch-to-3d-64", other):
            with pytest.raises(UsageError, match="makes no images of texts"):
                make(parts, tmp_path, model=model, **given)
        with pytest.raises(MissingWeightsError, match="is not in the cache"):
            make(parts, tmp_path, clip="nobody/nothing", **given)
        assert not chat.asked and not (tmp_path / "out").exists()


def test_texts_of_earlier_captions_take_no_memory(parts):
    model = finish(candidates.loading(parts["model"], device="cpu", dtype="fp32"))
    for texts in (["a", "b"], ["b", "c"], ["d"]):
        model.texts.replace(texts)
        assert len(model.denoiser.network.context) == 1 + len(texts) == len(model.texts)
        fresh = embed(Path(parts["model"].removeprefix("diffusers:")), texts)[0]
        assert torch.equal(model.denoiser.network.context[1 + model.texts.label(texts[-1])], fresh[-1])


def test_the_key_is_sent_and_written_nowhere(parts, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret-1")
    with Chat() as chat:
        options = {"endpoint": chat.url, "endpoint_model": "tiny", "endpoint_key": "MY_KEY", "candidates": 1}
        events = make(parts, tmp_path, rows=[("a cat",)], **options)
        assert chat.asked[0][2]["Authorization"] == "Bearer secret-1"
    assert "secret-1" not in str(events) and all(b"secret-1" not in body for body in files(tmp_path / "out").values())
    (line,) = lines(tmp_path / "out")
    assert (line["caption"], line["caption_after"]) == ("make it red", "a red cat")
    assert torch.is_grad_enabled()
