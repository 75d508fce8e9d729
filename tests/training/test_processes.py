"""Several processes that train together follow a single one, and end together."""

import signal

import pytest
import torch
from torch import nn

from ddbm_cli.objectives import Share
from ddbm_cli.training.optimization import _share_dropout
from tests.tiny import NETWORK, SMALLEST, picture, write_pairs, write_tiny
from tests.training.processes import events, said, together
from tests.training.test_training import same, weights

COMMON = ["--size", 16, "--val-share", 0.3, "-b", 4, "--save-every", 25, "--warmup", 2, "--lr-decay-fraction", 0.0]
BRIDGE = ["pairs", "--network", f"{SMALLEST},dropout=0.1", *COMMON]

DISTILLED = ["pairs", "--task", "distill", "--teacher", "teacher.safetensors", "--adversarial", 0.05, *COMMON[2:]]
SURE = ["pairs", "--network", SMALLEST, *COMMON]
KINDS = {
    "bridge": BRIDGE,
    "pix2pix": [
        "pairs",
        "--objective",
        "pix2pix:channels=8,layers=1",
        "--network",
        "pix2pix:channels=8,depth=3",
        *COMMON,
    ],
    "bridge with a critic": [*BRIDGE, "--objective", "denoising:critic=0.1,crop=32,layers=1"],
    "autoencoder": [
        "images",
        "--task",
        "autoencoder",
        "--network",
        "autoencoder:channels=8,multipliers=1-2,blocks=1,latent_channels=4",
        "--objective",
        "reconstruction:perceptual=0,critic=0.1,critic_after=4,layers=1,crop=32",
        "--size",
        40,
        *COMMON[2:],
    ],
} | {
    method.partition(":")[0]: [*DISTILLED, "--method", method]
    for method in ("cbd", "cbt:every=20", "ibmd:updates=1", "realuid:updates=1")
}
"""What can be trained."""

APART = {"realuid": 1e-2}
"""How far a run of two processes is from one of a single process, relative, where it is not 1e-4: rounding errors grow
in each step. A teacher whose weights are changed by 6e-8 of themselves moves a loss of 0.14 by 2e-4 within 12 steps,
and two processes move it by the same."""


def pictures(root):
    """Fill a folder with what can be trained on; return it."""
    write_pairs(root / "pairs", 12)
    (root / "images").mkdir()
    for index in range(12):
        picture(index, 40).save(root / "images" / f"{index}.png")
    write_tiny(root / "teacher.safetensors", network=NETWORK | {"dropout": 0.1})
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("processes"))


def scores(folder):
    """The validation losses and errors of a run, by step."""
    rows = [line.split(",") for line in (folder / "results.csv").read_text().splitlines()[1:]]
    return {int(step): [float(value) for value in values] for step, *values in rows}


def follows(first, second, apart=1e-4):
    """Whether the models of two runs give the same validation results, within `apart` of them, at every step that both
    validated.

    Weights are not compared one by one: a normalisation cancels some biases, and AdamW moves those by rounding errors.
    """
    one, other = scores(first), scores(second)
    steps = one.keys() & other.keys()
    return len(steps) > 0 and all(one[step] == pytest.approx(other[step], rel=apart) for step in steps)


def losses(found):
    return [event["loss"] for event in found if event["event"] == "stepped"]


def trained(root, output, *arguments, count=2, steps, **environment):
    more = ["--steps", steps, "--validate-every", 5, "-o", output]
    return events(together(root, *arguments, *more, count=count, **environment))


def check_following(root, kind, steps):
    one, two = (trained(root, f"{kind}-{count}-{steps}", *KINDS[kind], count=count, steps=steps) for count in (1, 2))
    size = sum(map(abs, losses(one))) / steps  # of inverse bridge matching, a loss is a difference and may be nearly 0
    apart = APART.get(kind, 1e-4)
    assert len(losses(one)) == steps and losses(two) == pytest.approx(losses(one), rel=apart, abs=apart * size)
    assert follows(root / f"{kind}-1-{steps}", root / f"{kind}-2-{steps}", apart)
    assert "2 processes" in two[0]["facts"]["Device"]


@pytest.mark.parametrize("kind", ["bridge", "bridge with a critic", "pix2pix", "autoencoder", "ibmd"])
def test_two_processes_follow_one(root, kind):
    """With dropout, critics, fake bridges and random crops: all numbers are drawn for the whole batch."""
    check_following(root, kind, steps=6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_follow_one_for_fifty_steps(root, kind):
    check_following(root, kind, steps=50)


@pytest.fixture(scope="module")
def plain(root):
    """A run of two processes."""
    trained(root, "plain", *BRIDGE, steps=5)
    return root / "plain"


def test_two_processes_and_parts_of_their_batches_follow_one(root):
    alone = trained(root, "alone", *BRIDGE, count=1, steps=5)
    parts = trained(root, "parts", *BRIDGE, "--accumulate", 2, steps=5)
    assert losses(parts) == pytest.approx(losses(alone), rel=1e-4) and follows(root / "alone", root / "parts")
    assert "2 processes; 2 parts" in parts[0]["facts"]["Device"]


def test_recomputed_activations_are_bit_equal_in_two_processes(root, plain):
    trained(root, "recomputed", *BRIDGE, "--checkpoint-activations", steps=5)
    assert same(weights(plain), weights(root / "recomputed"))


@pytest.mark.slow
def test_compiled_networks_in_two_processes_follow_plain_ones(root, plain):
    trained(root, "compiled", *BRIDGE, "--compile", steps=5)
    assert follows(plain, root / "compiled")


@pytest.mark.parametrize("count", [1, 2])
def test_a_run_is_resumed_by_another_number_of_processes(root, plain, count):
    trained(root, f"by-{count}", *BRIDGE, count=3 - count, steps=2)
    first, *_ = events(together(root, "--resume", f"by-{count}", "--steps", 5, count=count))
    assert f"in {count} instead of {3 - count} processes: the same data and noise" in first["facts"]["Resumes"]
    assert follows(plain, root / f"by-{count}")


def test_dropout_is_that_of_the_whole_batch():
    x = torch.rand(6, 4, 5, 3) + 1
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        torch.manual_seed(0)
        whole = nn.Dropout(0.5)(given)
        for index in range(3):
            rows = slice(2 * index, 2 * index + 2)
            for share in (Share(index, 3), Share(0, 1, part=index, parts=3)):
                part = nn.Sequential(nn.Dropout(0.5))
                _share_dropout(part, share)
                torch.manual_seed(0)
                assert torch.equal(part(given[rows]), whole[rows])
                assert torch.equal(part.eval()(given[rows]), given[rows])


def test_numbers_of_parts_are_those_of_the_whole():
    torch.manual_seed(0)
    whole = torch.randn(8, 2)
    for index in range(4):
        torch.manual_seed(0)
        share = Share(index // 2, 2, part=index % 2, parts=2)
        assert torch.equal(share.normal(torch.zeros(2, 2)), whole[2 * index : 2 * index + 2])


# How they end


def test_a_signal_to_one_process_saves_the_run_of_all(root):
    ended = together(root, *BRIDGE, "--steps", 5000, "-o", "signalled", strikes={1: ("event", 3, "SIGTERM")})
    assert [each.code for each in ended] == [130, 130] and not said(ended)
    assert ended[0].err.count(": saved") == 1 and (root / "signalled" / "state.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "Error: nowhere: no such file or folder (data)"),
        ([*BRIDGE, "--stepz", 3], "Error: No such option: --stepz"),
        ([*BRIDGE, "-b", 3], "Error: batches of 3 cannot be divided among 2 processes"),
        ([*BRIDGE, "--accumulate", 4], "Error: 2 pairs cannot be divided into 4 equal parts"),
        ([*DISTILLED, "--method", "ibmd:updates=3"], "Error: batches of 2 cannot be divided into 4 parts"),
    ],
)
def test_an_error_of_all_is_printed_once(root, arguments, message):
    ended = together(root, *arguments, "-o", "refused")
    assert [each.code for each in ended] == [2, 2]
    (line,) = said(ended)
    assert line.startswith(message) and not (root / "refused" / "state.safetensors").exists()


def test_an_error_of_the_main_process_ends_the_others(root):
    """Here it cannot write the model; the other one waits for it, ends too, and adds nothing."""
    trained(root, "unwritable", *BRIDGE, steps=2)
    (root / "unwritable" / "model.safetensors").unlink()
    (root / "unwritable" / "model.safetensors").mkdir()
    ended = together(root, "--resume", "unwritable", "--steps", 5000, "--save-every", 2)
    (line,) = said(ended)
    assert "model.safetensors" in line and [each.code for each in ended] == [1, 1]


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_the_others(root, rank):
    ended = together(root, *BRIDGE, "--steps", 5000, "-o", f"lost-{rank}", strikes={rank: ("event", 4, "SIGKILL")})
    assert ended[rank].code == -signal.SIGKILL and ended[1 - rank].code == 1
    (line,) = said(ended)
    assert "another process of this training has ended" in line
    assert f"ddbm train --resume lost-{rank}" in ended[1 - rank].err
