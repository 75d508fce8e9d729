"""Checkpoints of ADM and I2SB: what its authors' network would give is what ours gives."""

import pytest
import torch

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.models.importers import i2sb
from ddbm_cli.models.importers.adm import by_kind, read, read_new_attention
from ddbm_cli.models.importers.container import open_checkpoint
from ddbm_cli.networks import ADMConfig, normalise

CONFIG = ADMConfig(
    in_channels=3, channels=32, multipliers=(1, 2), blocks=1, attention=(1, 2), head_channels=16, dropout=0.0
)


def network(config=CONFIG, seed=0):
    torch.manual_seed(seed)
    made = config.create()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def shapes():
    return {name: tuple(value.shape) for name, value in CONFIG.create().state_dict().items()}


def theirs(weights, *, by_head):
    """The file of the same network: with a variance next to the noise, and attention in 3 dimensions."""
    file = normalise(dict(weights), dimensions=3)
    for name in ("out.2.weight", "out.2.bias"):
        file[name] = torch.cat([file[name], torch.full_like(file[name], 7.0)])
    for name, value in file.items():
        if by_head and ".qkv." in name:
            heads = len(value) // (3 * 16)
            parts = [value[kind * len(value) // 3 + head * 16 :][:16] for head in range(heads) for kind in range(3)]
            file[name] = torch.cat(parts)
    return file


@pytest.mark.parametrize(("importer", "by_head"), [(read, True), (read_new_attention, False)])
def test_it_is_the_same_network(importer, by_head):
    ours = network()
    weights, notes = importer(theirs(ours.state_dict(), by_head=by_head), CONFIG, shapes(), file="adm.pt")
    assert all(torch.equal(weights[name], value) for name, value in ours.state_dict().items())
    assert any("variance" in note for note in notes)


def test_the_orders_of_attention_are_not_mixed_up():
    ours = network()
    weights, _ = read_new_attention(theirs(ours.state_dict(), by_head=True), CONFIG, shapes(), file="adm.pt")
    made = CONFIG.create().eval()
    made.load_state_dict(weights)
    x, time = torch.randn(2, 3, 8, 8), torch.tensor([3.0])
    with torch.no_grad():
        assert (made(x, time) - ours(x, time)).abs().max() > 1e-3


def test_head_by_head_is_as_the_authors_attention_has_it():
    """(heads, 3, channels of a head) there, (3, heads, channels of a head) here."""
    value = torch.arange(2 * 3 * 4)
    assert by_kind(value, 4).tolist() == [
        0,
        1,
        2,
        3,
        12,
        13,
        14,
        15,
        *range(4, 8),
        *range(16, 20),
        *range(8, 12),
        *range(20, 24),
    ]


def test_a_file_without_a_variance_is_taken_as_it_is():
    ours = network()
    weights, notes = read_new_attention(dict(ours.state_dict()), CONFIG, shapes(), file="adm.pt")
    assert torch.equal(weights["out.2.bias"], ours.state_dict()["out.2.bias"]) and notes == []


def write_i2sb(path, *, averages=None):
    """As I2SB saves: the network under a prefix, its average as a list, the optimiser's tensors."""
    plain, averaged = (theirs(network(seed=seed).state_dict(), by_head=True) for seed in (0, 1))
    for weights in (plain, averaged):
        weights.update({name: weights[name][:3] for name in ("out.2.weight", "out.2.bias")})
    body = {
        "net": {f"diffusion_model.{name}": value for name, value in plain.items()},
        "ema": {"decay": 0.99, "num_updates": 3, "shadow_params": list(averaged.values())[:averages]},
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
        "sched": None,
    }
    torch.save(body, path)
    return path


def test_the_averages_of_i2sb_are_taken(tmp_path):
    tensors = open_checkpoint(write_i2sb(tmp_path / "latest.pt"))
    weights, notes = i2sb.read(tensors, CONFIG, shapes(), file="latest.pt")
    wanted = network(seed=1).state_dict()
    assert weights.keys() == wanted.keys() and all(torch.equal(weights[name], wanted[name]) for name in wanted)
    assert any("averages" in note for note in notes)


def test_incomplete_averages_are_refused(tmp_path):
    tensors = open_checkpoint(write_i2sb(tmp_path / "latest.pt", averages=5))
    with pytest.raises(ModelError, match="5 for"):
        i2sb.read(tensors, CONFIG, shapes(), file="latest.pt")
