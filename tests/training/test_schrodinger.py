"""`ddbm train A B --task schrodinger`: both directions without pairs, with the guarantees of every training."""

import pytest
import torch

from ddbm_cli.foundation.errors import DdbmError, UsageError
from ddbm_cli.foundation.events import Planned, Validated
from ddbm_cli.models.load import load_file
from ddbm_cli.samplers import Bridge, EulerMaruyama, NoiseSource, finish, sample
from ddbm_cli.tasks.exchange import export_model
from ddbm_cli.tasks.train import request, run
from ddbm_cli.training import Recipe, Stepped
from tests.tiny import SMALLEST, picture
from tests.training.interruptions import interrupted
from tests.training.processes import events, together
from tests.training.test_training import same, weights

ROUNDS = {"rounds": 3, "first_round_steps": 6, "round_steps": 5, "simulation_steps": 3, "cache_pairs": 8}
"""16 steps; the rounds begin at steps 0, 6 and 11, each with two batches of pairs."""


def write_images(folder):
    for side, shift in (("A", 0), ("B", 20)):
        (folder / side).mkdir()
        for index in range(12):
            picture(index + shift).save(folder / side / f"{side}{index:03d}.png")


@pytest.fixture
def root(tmp_path):
    write_images(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run with all defaults, of the same images as in every `root`."""
    folder = tmp_path_factory.mktemp("whole")
    write_images(folder)
    list(run(asked(folder)))
    return folder / "run"


def asked(root, output="run", **changes):
    """Return the request of a small run; fields of the recipe are given like others."""
    given = {"task": "schrodinger", "data": [root / "A", root / "B"], "output": root / output, "network": SMALLEST}
    given |= {"size": 16, "val_share": 0.3, "device": "cpu", **ROUNDS}
    given |= {"batch_size": 4, "save_every": 4, "validate_every": 8, "warmup": 2, "learning_rate": 1e-2, **changes}
    given = {name: value for name, value in given.items() if value is not None}
    recipe = {name: given.pop(name) for name in list(given) if name in Recipe.__dataclass_fields__}
    return request({**given, "recipe": recipe})


def steps_of(events):
    return [event.step for event in events if isinstance(event, Stepped)]


def stop_at(step, made):
    """Run until a step, then stop as after Ctrl-C."""
    done = []
    events = run(made, stop=lambda: len(done) >= step)
    for event in events:
        done += [event] if isinstance(event, Stepped) else []
    assert len(done) == step


def test_a_run_ends_with_a_model_of_both_directions(root):
    events = list(run(asked(root)))
    assert isinstance(events[0], Planned) and steps_of(events) == list(range(1, 17))
    validated = [event for event in events if isinstance(event, Validated)]
    assert [event.step for event in validated] == [8, 16]
    assert set(validated[-1].scores) == {"loss", "distance", "cycle"}
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    made = []
    for direction in ("AtoB", "BtoA"):
        model = load_file(root / "run" / "model.safetensors", device="cpu", direction=direction)
        assert not model.denoiser.sees_source and model.plan().nfe == 3
        made.append(finish(model.translate(source, NoiseSource(0, ["a", "b"]), model.plan())))
    assert not torch.allclose(*made, atol=1e-3)
    assert model.plan("auto", nfe=7).sampler == model.plan(nfe=7).sampler == EulerMaruyama()
    assert model.plan("implicit:eta=1", nfe=7).nfe == 7
    assert (root / "run" / "samples" / "step_0000016.png").exists()
    assert events[0].facts["Rounds"].startswith("3 rounds, the first of 6 steps, the others of 5")
    report = (root / "run" / "report.html").read_text()
    assert "and back" in report and "validation cycle" in report.lower()


def test_the_probability_flow_takes_both_directions_of_a_file(whole, tmp_path):
    """Samplers that need the source get the other direction's estimate; a file of one direction has none."""
    source = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    file = whole / "model.safetensors"
    there, back = (load_file(file, device="cpu", direction=each) for each in ("AtoB", "BtoA"))
    plan = there.plan("ode", nfe=20)
    assert plan.estimates_source and 18 <= plan.nfe <= 22
    assert plan.nfe == len(list(there.translate(source, NoiseSource(0, "ab"), plan)))
    path = plan.path

    def estimate_source(x, t, given):
        return back.denoiser(x, path.mirrored(t), given).clamp(-1, 1)

    bridge = Bridge(path, source, torch.zeros_like, estimate_source=estimate_source)
    made = finish(there.translate(source, NoiseSource(1, "ab"), plan))
    wanted = finish(sample(lambda *at: there.denoiser(*at).clamp(-1, 1), bridge, plan.sampler, plan.start, plan.times))
    torch.testing.assert_close(made, wanted)
    half = plan.stopped_at(0.5)
    assert half.nfe == len(list(there.translate(source, NoiseSource(0, "ab"), half)))
    finish(export_model(str(file), tmp_path / "one.safetensors", direction="AtoB"))
    with pytest.raises(UsageError, match="is a Markov process"):
        load_file(tmp_path / "one.safetensors", device="cpu").plan("ode", nfe=10)


@pytest.mark.parametrize("stop_after", [3, 6, 8, 11, 13])
def test_stopping_and_resuming_changes_nothing(root, whole, stop_after):
    """In the first round, between rounds, and in the middle of later ones."""
    stop_at(stop_after, asked(root, "parts"))
    list(run(request({}, resume=root / "parts")))
    assert same(weights(whole), weights(root / "parts"))


def test_kills_between_and_inside_rounds_change_nothing(root, whole):
    """SIGKILL after an event, inside the write of a state or of pairs, and at any moment."""
    list(run(asked(root, "killed"), stop=lambda: True))
    moments = [("event", 3), ("write", 1), ("write", 4), ("event", 7), ("time", 30), ("write", 3)]
    assert interrupted(root, "killed", [], [{0: moment} for moment in moments], count=1) >= 4
    assert same(weights(whole), weights(root / "killed"))
    results = [(folder / "results.csv").read_text() for folder in (whole, root / "killed")]
    assert results[0] == results[1]


@pytest.mark.parametrize("harm", ["removed", "damaged", "of others"])
def test_pairs_that_are_lost_are_simulated_again(root, whole, harm):
    stop_at(13, asked(root, "parts"))
    files = list((root / "parts" / "pairs").iterdir())
    assert len(files) == 2 and all(file.name.startswith("round-00000011-") for file in files)
    for file in files:
        if harm == "removed":
            file.unlink()
        elif harm == "damaged":
            file.write_bytes(file.read_bytes()[:-8])
        else:
            file.write_bytes(next((whole / "pairs").iterdir()).read_bytes())
    list(run(request({}, resume=root / "parts")))
    assert same(weights(whole), weights(root / "parts"))


def test_files_of_others_next_to_the_pairs_stay(root):
    (root / "run" / "pairs").mkdir(parents=True)
    for name in ("mine.txt", "round-00000000-batch-00000-rows-0-4.safetensors.txt"):
        (root / "run" / "pairs" / name).write_text("mine")
    list(run(asked(root)))
    assert len(list((root / "run" / "pairs").glob("*.txt"))) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_processes_train_as_one(root):
    names = {**ROUNDS, "validate_every": 8, "warmup": 2, "learning_rate": 1e-2, "save_every": 4}
    options = [text for name, value in names.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    options = ["A", "B", "--task", "schrodinger", "--network", SMALLEST, "-b", "4", "--size", "16", *options]
    options += ["--val-share", "0.3"]
    events(together(root, *options, "-o", "one", count=1))
    events(together(root, *options, "-o", "two"))
    one, two = ((root / name / "results.csv").read_text().splitlines() for name in ("one", "two"))
    assert [float(text) for text in two[-1].split(",")] == pytest.approx([float(x) for x in one[-1].split(",")], 1e-3)
    in_a_round, between_rounds, while_writing = ("event", 12), ("event", 3), ("write", 2)
    kills = [{0: in_a_round, 1: in_a_round}, {1: between_rounds}, {0: while_writing}]
    assert interrupted(root, "killed", options, kills) == len(kills)
    assert same(weights(root / "two"), weights(root / "killed"))


@pytest.mark.parametrize(
    "change",
    [
        {"coupling": "reference"},
        {"matching": "mean"},
        {"coupling": "ot"},
        {"coupling": "ot:entropy=20"},
        {"round_steps": 4, "rounds": None, "steps": 16},
        {"first_round_steps": 11, "rounds": 2},
        {"simulation_steps": 4},
        {"cache_pairs": 4},
        {"path": "brownian:variance=0.3"},
        {"prediction": "drift"},
        {"direction": "BtoA"},
        {"networks": "two"},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(root, whole, change):
    list(run(asked(root, **change)))
    one, other = weights(whole), weights(root / "run")
    assert not same(one, other) and (one.keys() == other.keys() or "networks" in change)


@pytest.mark.parametrize("stop_after", [pytest.param(3, marks=pytest.mark.slow), 13])
def test_whole_trajectories_are_resumed_too(root, stop_after):
    list(run(asked(root, "whole", matching="mean")))
    stop_at(stop_after, asked(root, "parts", matching="mean"))
    list(run(request({}, resume=root / "parts")))
    assert same(weights(root / "whole"), weights(root / "parts"))


@pytest.mark.parametrize("path", ["ve-bridge:sigma_max=1,sigma_min=0.01", "vp-bridge", "i2sb", "rectified"])
def test_every_reference_can_be_trained(root, path):
    events = list(run(asked(root, path=path, rounds=2)))
    assert all(event.loss == event.loss for event in events if isinstance(event, Stepped))
    model = load_file(root / "run" / "model.safetensors", device="cpu", direction="BtoA")
    assert model.plan().path.name == path.partition(":")[0]
    assert ("rectified flow" in events[0].facts["Rounds"]) == (path == "rectified")


def test_a_folder_of_both_sides_has_no_need_of_names(root):
    """The layout of unpaired data sets: trainA, trainB."""
    (root / "set").mkdir()
    (root / "A").rename(root / "set" / "trainA")
    (root / "B").rename(root / "set" / "trainB")
    events = list(run(asked(root, data=[root / "set"], rounds=1)))
    assert "(" in events[0].facts["Data"] and "of A" in events[0].facts["Data"]


def test_two_priors_give_the_pairs_of_the_first_round(root, whole):
    """They are kept as those of later rounds, and the priors are needed again only where they are lost."""
    for name in "AB":
        prior = {"task": "prior", "data": [root / name], "path": "ve", "rounds": None}
        prior |= {"first_round_steps": None, "round_steps": 1000, "simulation_steps": 20, "cache_pairs": 2048}
        list(run(asked(root, f"prior{name}", **prior, steps=2)))
    coupling = f"priors:a={root / 'priorA'},b={root / 'priorB'},nfe=4"
    list(run(asked(root, "priors", coupling=coupling)))
    assert not same(weights(root / "priors"), weights(whole))
    stop_at(4, asked(root, "parts", coupling=coupling))
    files = list((root / "parts" / "pairs").iterdir())
    assert len(files) == 2 and all(file.name.startswith("round-00000000-") for file in files)
    list(run(request({}, resume=root / "parts")))
    assert same(weights(root / "priors"), weights(root / "parts"))


def test_two_networks_are_two_models_in_one_file(root):
    list(run(asked(root, networks="two")))
    file = root / "run" / "model.safetensors"
    models = [load_file(file, device="cpu", direction=direction) for direction in ("AtoB", "BtoA")]
    one, other = (model.denoiser.network.state_dict() for model in models)
    assert one.keys() == other.keys() and not same(one, other)
    averaged = weights(root / "run")
    for name, state in zip(("AtoB", "BtoA"), (one, other), strict=True):
        for key, value in state.items():
            assert torch.allclose(value, averaged[f"average.module.network.{name}.{key}"], atol=2e-3)


@pytest.mark.parametrize("networks", ["one", "two"])
def test_a_run_begins_with_both_directions_of_a_model(root, whole, networks):
    """So do two networks that begin with one, whose embedding of the direction is merged into each."""
    model = whole / "model.safetensors"
    list(run(asked(root, "run", start_from=str(model), networks=networks, network=None, rounds=1, learning_rate=1e-9)))
    source = torch.rand(2, 3, 16, 16) * 2 - 1
    for direction in ("AtoB", "BtoA"):
        files = (model, root / "run" / "model.safetensors")
        models = [load_file(file, device="cpu", direction=direction) for file in files]
        made = [finish(each.translate(source, NoiseSource(0, ["a", "b"]), each.plan())) for each in models]
        assert torch.allclose(*made, atol=0.02), "the file has half precision"


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"batch_size": 3}, "cannot be divided into two directions", "--batch-size 4"),
        ({"data": ["A"]}, "holds one set of images", "ddbm train A B"),
        ({"data": ["A", "B", "A"]}, "takes two folders, not 3", "ddbm train A B"),
        ({"path": "ve"}, "path 've' has no source", "brownian"),
        ({"prediction": "noise"}, "uses the source", "drift"),
        ({"sampling": {"sampler": "implicit:eta=0"}}, "is a Markov process", "euler-maruyama"),
        ({"coupling": "reference", "path": "rectified"}, "needs noise", "independent"),
        ({"matching": "mean", "path": "rectified"}, "needs noise", "bridge"),
        ({"matching": "mean", "coupling": "ot:entropy=1"}, "begins with trajectories of the reference", "--coupling"),
        ({"steps": 9}, "--rounds and --steps are mutually exclusive", "one of them"),
        ({"coupling": "magic"}, "unknown coupling", "independent"),
        ({"coupling": "priors:a=nowhere.safetensors,b=nowhere.safetensors"}, "nowhere.safetensors", ""),
        ({"network": "pix2pix:channels=8,depth=3"}, "cannot be trained without pairs", "adm"),
        ({"classes": True}, "--classes is not for", "--classes"),
        ({"source": "degrade:sr2"}, "--source is not for", "--source"),
        ({"task": "bridge"}, "--rounds is an option of", "--task schrodinger"),
    ],
    ids=str,
)
def test_wrong_values_are_answered(root, change, message, hint):
    if "data" in change:
        change = {"data": [root / name for name in change["data"]]}
    with pytest.raises(DdbmError) as error:
        list(run(asked(root, **change)))
    assert message in error.value.message and hint in (error.value.hint or ""), error.value


def test_without_the_task_two_unpaired_folders_are_told_what_to_do(root):
    with pytest.raises(UsageError) as error:
        list(run(request({"data": [root / "A", root / "B"], "output": root / "run"})))
    assert "no two images have the same name" in error.value.message and "--task schrodinger" in error.value.hint
