"""Predictions say what they claim, and equal the official scalings."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from ddbm_cli.denoisers import PREDICTIONS, Denoiser, I2SBPrediction, Preconditioned, clipped
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.networks import ADMConfig
from ddbm_cli.objectives import ArcsineTimes, denoising_loss
from ddbm_cli.paths import PATHS, VE, BrownianBridge, I2SBBridge, RectifiedFlow, VEBridge, VPBridge
from ddbm_cli.samplers import network_time
from tests.golden_networks import golden_network

OFFICIAL = {"vp": VPBridge(), "ve80": VEBridge(sigma_max=80.0), "ve10": VEBridge(sigma_max=10.0)}


def fields(kind):
    return [field.name for field in dataclasses.fields(kind)]


def relative(value, wanted):
    return float((value - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("cov", [0.0, 0.125])
@pytest.mark.parametrize("name", OFFICIAL)
def test_preconditioning_equals_the_official_one(name, cov, golden):
    values = load_file(golden / "schedules.safetensors")
    got = Preconditioned(cov=cov).scalings(OFFICIAL[name], values[f"{name}.t"])
    wanted = {"c_skip": got.skip, "c_in": got.in_, "c_out": got.out, "c_noise": got.time, "weight": got.out**-2}
    for key, value in wanted.items():
        assert relative(value, values[f"{name}.cov{cov}.{key}"]) < 1e-10, key


def test_i2sb_prediction_equals_the_official_one(golden):
    values = load_file(golden / "schedules.safetensors")
    got = I2SBPrediction().scalings(I2SBBridge(beta_max=1.0), values["i2sb.t"])
    wanted = {"c_skip": got.skip, "c_in": got.in_, "c_out": got.out, "c_noise": got.time, "weight": got.out**-2}
    for key, value in wanted.items():
        assert relative(value, values[f"i2sb.{key}"]) < 1e-10, key


def test_edm_is_the_case_without_source():
    t = torch.tensor([0.01, 0.5, 3.0, 70.0], dtype=torch.float64)
    got = Preconditioned(sigma_data=0.5).scalings(VE(), t)
    total = t**2 + 0.25
    assert torch.allclose(got.skip, 0.25 / total)
    assert torch.allclose(got.out, 0.5 * t / total.sqrt())
    assert torch.allclose(got.in_, total.rsqrt())


@pytest.mark.parametrize("path", [VPBridge(), VEBridge(sigma_max=5.0), BrownianBridge(), RectifiedFlow(), VE()])
@pytest.mark.parametrize("name", ["x0", "noise", "v", "velocity", "residual"])
def test_a_perfect_network_gives_the_target(path, name):
    """The estimate from what the network is meant to give is the target itself."""
    if name == "noise" and path.noise_free:
        pytest.skip("no noise to predict")
    random = torch.Generator().manual_seed(1)
    x0, source, eps = torch.randn(3, 2, 3, 4, 4, dtype=torch.float64, generator=random)
    for t in torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64) * path.t_max:
        x = path.training_state(x0, source, eps, t.expand(2))
        (_, b, c), (da, db, dc) = path.coefficients(t), path.derivatives(t)
        velocity = da * source + db * x0 + dc * eps
        meant = {"x0": x0, "noise": eps, "v": b * eps - c * x0, "velocity": velocity, "residual": x - x0}[name]
        numbers = PREDICTIONS[name]().scalings(path, t)
        estimate = numbers.skip * x + numbers.source * source + numbers.out * meant
        assert torch.allclose(estimate, x0, atol=1e-9)


def test_preconditioned_targets_have_unit_variance():
    """The point of it: on data with the stated moments, the network's target is of size 1 at every time."""
    random = torch.Generator().manual_seed(2)
    noise = torch.randn(3, 200_000, 1, 1, 1, dtype=torch.float64, generator=random)
    x0 = 0.7 * noise[0]
    source = 0.5 * noise[0] + 0.4 * noise[1]
    prediction = Preconditioned(sigma_data=0.7, sigma_source=(0.25 + 0.16) ** 0.5, cov=0.35)
    for t in (0.01, 0.3, 0.7, 0.99):
        t = torch.tensor(t, dtype=torch.float64)
        numbers = prediction.scalings(VPBridge(), t)
        x = VPBridge().training_state(x0, source, noise[2], t.expand(len(x0)))
        assert abs(float((numbers.in_ * x).var()) - 1) < 0.02
        assert abs(float(((x0 - numbers.skip * x) / numbers.out).var()) - 1) < 0.02


@pytest.mark.parametrize("name", PREDICTIONS)
def test_every_field_changes_the_scalings(name):
    kind = PREDICTIONS[name]
    path = I2SBBridge() if name == "i2sb" else VPBridge()
    t = torch.tensor(0.4, dtype=torch.float64)
    output = "target" if name == "preconditioned" else "v"
    other = {"c_noise": "log-snr", "cov": 0.1, "schedule": "cosine", "intervals": 10, "output": output}
    for field in fields(kind):
        changed = kind(**{field: other.get(field, 0.37)})
        assert any(
            not torch.equal(x, y) for x, y in zip(kind().scalings(path, t), changed.scalings(path, t), strict=True)
        ), field


def test_i2sb_prediction_wants_its_own_path():
    with pytest.raises(UsageError, match="does not fit"):
        I2SBPrediction().scalings(VPBridge(), torch.tensor(0.5, dtype=torch.float64))


@pytest.mark.parametrize("c_noise", ["log-time", "log-snr"])
@pytest.mark.parametrize("name", ["vp-bridge", "ve-bridge", "brownian", "i2sb"])
def test_estimates_are_finite_at_the_source(name, c_noise):
    path = PATHS[name]()
    numbers = Preconditioned(c_noise=c_noise).scalings(path, torch.tensor(path.t_max, dtype=torch.float64))
    assert all(torch.isfinite(number) for number in numbers)


@pytest.mark.parametrize("name", ["vp-bridge", "ve-bridge", "brownian"])
def test_training_at_the_source_is_at_the_time_of_the_first_evaluation(name):
    path = PATHS[name]()
    trained = ArcsineTimes(at_source=0.5).times(path, torch.tensor([0.9]))
    called = network_time(path, torch.tensor(path.t_max, dtype=torch.float64))
    prediction = Preconditioned(c_noise="log-snr")
    assert path.coefficients(trained).c < 1e-3 * path.coefficients(called).c, "the state is the source"
    assert float(prediction.scalings(path, trained).time) == float(prediction.scalings(path, called).time)


def test_clipping_keeps_estimates_in_range():
    x = torch.full((1, 3, 2, 2), 4.0)
    assert clipped(lambda x, t, source: x)(x, torch.tensor(0.5), x).max() == 1


class _Recorder(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))

    def forward(self, x, time):
        self.seen, self.time = x, time
        return self.weight * x[:, :3]


def test_the_network_gets_state_then_source_in_its_own_dtype():
    network = _Recorder()
    denoiser = Denoiser(network, VPBridge(), Preconditioned())
    x, source = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    out = denoiser(x, torch.tensor([0.3, 0.4], dtype=torch.float64), source)
    assert network.seen.shape == (2, 6, 4, 4) and network.seen.dtype == torch.bfloat16
    assert torch.equal(network.seen[:, 3:], source.bfloat16())
    assert out.dtype == torch.float32 and network.time.shape == (2,)


def test_a_prior_gets_no_source():
    network = _Recorder()
    Denoiser(network, VE(), Preconditioned(), sees_source=False)(torch.rand(1, 3, 4, 4), torch.tensor(1.0), None)
    assert network.seen.shape == (1, 3, 4, 4)


@pytest.mark.parametrize(("name", "path"), [("e2h-like", VPBridge()), ("diode-like", VEBridge(sigma_max=20.0))])
def test_networks_estimates_and_losses_equal_the_official_ones(name, path, golden):
    values = load_file(golden / f"unet-{name}.io.safetensors")
    network = golden_network(name)
    config = json.loads((golden / f"unet-{name}.config.json").read_text())
    assert network.config == ADMConfig(
        channels=config["num_channels"],
        multipliers=tuple(int(number) for number in config["channel_mult"].split(",")),
        blocks=config["num_res_blocks"],
        head_channels=config["num_head_channels"],
        attention=tuple(config["image_size"] // int(r) for r in config["attention_resolutions"].split(",")),
    )
    denoiser = Denoiser(network, path, Preconditioned(sigma_data=0.5, sigma_source=0.5, cov=0.0))
    t = values["t"].double()
    with torch.no_grad():
        numbers = denoiser.prediction.scalings(path, t)
        seen = torch.cat([values["x_t"], values["x_T"]], dim=1)
        assert relative(network(seen, values["time_input"]), values["network_output"]) < 1e-4
        assert relative(numbers.time.float(), values["time_input"]) < 1e-6
        assert relative(denoiser(values["x_t"], t, values["x_T"]), values["denoised"]) < 1e-4
        loss = denoising_loss(denoiser, values["x_0"], values["x_T"], t, values["noise"])
        assert relative(loss, values["loss"]) < 1e-3
        assert relative(loss * numbers.out**2, values["mse"]) < 1e-3


@pytest.mark.parametrize("path", [kind() for kind in PATHS.values()], ids=lambda path: path.name)
def test_moments_of_nearly_identical_images_give_finite_scalings(path):
    """Also where rounding has made the covariance larger than the sigmas allow."""
    prediction = Preconditioned(sigma_data=0.4321, sigma_source=0.4321, cov=0.4321**2 + 3e-5)
    scalings = prediction.scalings(path, torch.linspace(path.t_min, path.t_last, 33, dtype=torch.float64))
    assert all(each.isfinite().all() for each in scalings)


def test_a_network_that_outputs_the_target_has_the_weights_of_a_mixture():
    """Its estimate is the output alone; errors count as those of a mixture, but where this would grow without bound."""
    path, t = VPBridge(), torch.tensor([1e-4, 0.5, 0.7, 1.0], dtype=torch.float64)
    mixture, target = (Preconditioned(output=output) for output in ("mixture", "target"))
    scalings = target.scalings(path, t)
    assert (scalings.skip == 0).all() and (scalings.out == 0.5).all()
    assert torch.equal(target.weight(path, t)[1:], mixture.weight(path, t)[1:])
    assert mixture.weight(path, t)[0] > 1000 and target.weight(path, t)[0] == pytest.approx((0.3 * 0.5) ** -2)
