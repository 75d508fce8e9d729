"""The manual: its pages are found and shown, and every command in them runs."""

import re
import shlex
import shutil
import sys

import pytest
from PIL import Image

from ddbm_cli.cli import manual
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.options.names import aliases, fields, names
from tests.tiny import NETWORK, SMALLEST, picture, write_pairs, write_tiny

PAGES = manual.pages()
BLOCK = re.compile(r"^```console( network)?\n(.*?)^```", re.MULTILINE | re.DOTALL)

TOPICS = (
    *(
        "index",
        "translate",
        "drawings",
        "sample",
        "train",
        "stable-diffusion",
        "compare",
        "evaluate",
        "weights",
        "data",
        "own-data",
        "scaling",
        "samplers",
        "tune",
        "solvers",
    ),
    *(
        "priors-and-sdedit",
        "unpaired",
        "model-card",
        "python",
        "json",
        "architecture",
        "built-in-models",
        "results",
        "benchmarks",
        "reference",
        "names",
    ),
    *("adding-a-path", "adding-a-sampler", "adding-an-importer", "adding-a-metric"),
)


def commands(page, *, network=False):
    """The commands of a page's console blocks, those that need the network or the others."""
    blocks = [body for mark, body in BLOCK.findall(page.read_text()) if bool(mark) == network]
    return [line.removeprefix("$ ") for body in blocks for line in body.splitlines() if line.startswith("$ ")]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """A folder with what the pages' commands read."""
    root = tmp_path_factory.mktemp("manual")
    folders = ("sketches", "pictures", "truth", "photos", "strokes", "cats", "dogs", "drawings", "garments", "samples")
    for folder in (*folders, "draws/0", "draws/1"):
        (root / folder).mkdir(parents=True)
        for index in range(2):
            shift = 3 if folder in ("truth", "draws/1") else 0
            size = 24 if folder == "photos" else 16
            end = ".jpg" if folder == "drawings" else ".png"
            picture(index + shift, size).save(root / folder / f"{index}{end}")
    for file in ("sketch.png", "photo.png", "other.png"):
        picture(5, 20).save(root / file)
    mask = Image.new("L", (20, 20), 0)
    mask.paste(255, (5, 5, 15, 15))
    mask.save(root / "mask.png")
    write_pairs(root / "pairs", 6)
    for label in ("cat", "dog"):
        write_pairs(root / "made" / label, 4)
        for side in "AB":
            shutil.copytree(root / "made" / label / side, root / "classes" / side / label)
    write_tiny(root / "runs" / "mine" / "model.safetensors")
    prior = {"kind": "prior", "path": {"name": "ve"}, "concat_source": False}
    prior["network"] = {**NETWORK, "in_channels": 3}
    prior["defaults"] = {"sampler": {"name": "heun", "churn": 0.0}, "grid": {"name": "karras"}, "steps": 2}
    prior["defaults"] |= {"start": {"name": "prior"}}
    for run in ("prior", "cats", "dogs"):
        write_tiny(root / "runs" / run / "model.safetensors", **prior)
    told = {**NETWORK, "classes": 2}
    write_tiny(
        root / "runs" / "animals" / "model.safetensors",
        network=told,
        class_names=("cat", "dog"),
        condition_dropout=0.05,
    )
    return root


def shortened(words):
    """A training is run for two steps, with tiny networks and small images; everything else as it is written."""
    if words[:2] != ["ddbm", "train"]:
        return words
    small = "64" if "autoencoder-8x" in words else "32"  # latents are smaller still
    words = [{"256": small, "sketch-to-3d-64": "runs/mine"}.get(word, word) for word in words]
    if "--resume" in words:
        return [*words, "--steps", "3"]
    more = ["--validate-every", "2", "--device", "cpu"]
    if "--max_train_steps" not in words:
        more += ["--steps", "2", "--batch-size", "2"]
    if "autoencoder" in words:
        more += ["--network", "autoencoder:channels=8,multipliers=1-2,blocks=1,latent_channels=4"]
    elif not {"--from", "--objective"} & set(words):
        more += ["--network", SMALLEST]
    if not {"--from", "--size", "--resolution"} & set(words):
        more += ["--size", "16"]
    return [*words, *more]


def run_commands(page, sandbox, folder, monkeypatch, ddbm):
    """Run the commands of a page that need no network, in a copy of the sandbox."""
    shutil.copytree(sandbox, folder)
    monkeypatch.chdir(folder)
    if page.stem == "weights":
        ddbm("weights", "export", "runs/mine", "folder", "--format", "diffusers")
    if page.stem == "stable-diffusion":
        pytest.importorskip("diffusers")
        from tests.pipelines import write_pipeline

        write_pipeline(folder / "sd")
    if page.stem == "instruct":
        pytest.importorskip("diffusers")
        from tests.pipelines import write_instruct

        write_instruct(folder / "instruct")
        (folder / "prompts.txt").write_text("make it red\nmake it blue\n")
    for line in commands(page):
        words = shlex.split(line)
        if words[0] == "cp":
            shutil.copytree(words[-2], words[-1], dirs_exist_ok=True)
            continue
        assert words[0] == "ddbm", line
        if page.stem == "translate" and words[1] == "translate" and not {"-m", "--from"} & set(words):
            words += ["-m", "runs/mine"]  # other pages and the README use the built-in model
        code, _, err = ddbm(*shortened(words)[1:])
        assert code in ((0, 3) if "edge-f1" in line else (0,)), (line, err)


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if commands(page)])
def test_the_commands_of_a_page_run(name, sandbox, tmp_path, monkeypatch, ddbm):
    run_commands(PAGES[name], sandbox, tmp_path / "work", monkeypatch, ddbm)


@pytest.mark.network
@pytest.mark.parametrize("line", [line for page in PAGES.values() for line in commands(page, network=True)])
def test_the_commands_that_need_the_network_run(line, tmp_path, monkeypatch, ddbm):
    monkeypatch.chdir(tmp_path)
    code, _, err = ddbm(*shlex.split(line)[1:])
    assert code == 0, err


def test_every_topic_has_a_page_with_a_title():
    assert set(TOPICS) <= set(PAGES)
    for page in PAGES.values():
        assert page.read_text().startswith("# ") and manual.title(page)


def test_topics_are_listed_and_pages_are_plain_in_a_pipe(ddbm):
    code, out, err = ddbm("manual")
    assert code == 0 and err == "" and all(f"{name} " in out.decode() for name in PAGES)
    code, out, _ = ddbm("manual", "samplers")
    assert code == 0 and out.decode().splitlines() == PAGES["samplers"].read_text().splitlines()


@pytest.mark.parametrize(("word", "topic"), [("sdedit", "priors-and-sdedit"), ("adding_a_path", "adding-a-path")])
def test_a_part_of_a_name_is_enough(word, topic):
    assert manual.find(word) == PAGES[topic]


@pytest.mark.parametrize(("word", "hint"), [("sampels", "did you mean 'sampl"), ("adding", "adding-a-path"), ("", "")])
def test_an_unknown_topic_gets_a_suggestion(word, hint):
    with pytest.raises(UsageError) as caught:
        manual.find(word)
    assert hint in caught.value.hint


def test_a_page_is_rendered_on_a_terminal(monkeypatch, capsys):
    from ddbm_cli.cli import terminal

    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    monkeypatch.setenv("LINES", "2000")
    monkeypatch.setenv("COLUMNS", "80")
    manual.manual(topic="samplers")
    text = capsys.readouterr().out
    assert "Which one" in text and "## Which one" not in text and max(map(len, text.splitlines())) <= 100


def test_every_sampler_and_grid_is_in_the_manual():
    text = PAGES["samplers"].read_text()
    for name in (*names("samplers"), *aliases("samplers"), *names("grids")):
        assert f"`{name}" in text, name
    listed = PAGES["names"].read_text()
    for name in names("samplers"):
        assert all(f"`{field}`" in listed for field in fields("samplers", name))


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if "```python" in page.read_text()])
def test_the_python_of_a_page_runs(name, sandbox, tmp_path, monkeypatch):
    shutil.copytree(sandbox, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    names = {"__name__": sys.__name__}
    for code in re.findall(r"```python\n(.*?)```", PAGES[name].read_text(), re.DOTALL):
        exec(code, names)


BANNED = (
    *(r"\banew\b", "costs only itself", "goes on", "to be had", r"\bbeside\b", r"\baught\b", r"\bwhence\b"),
    *(
        r"\bthereby\b",
        "two ways to say",
        "fills holes",
        "nobody to ask",
        r"\bstains\b",
        "not made of finite",
        r"a picture\b",
    ),
)


@pytest.mark.parametrize("name", PAGES)
def test_the_manual_is_in_plain_english(name):
    for words in BANNED:
        assert not re.search(words, PAGES[name].read_text()), words
