"""Every path with every prediction and every sampler: what a training accepts can be sampled, and learns the time."""

import itertools

import pytest
import torch
from torch import nn

from ddbm_cli.denoisers import PREDICTIONS, Denoiser
from ddbm_cli.foundation.errors import UsageError
from ddbm_cli.foundation.settings import build, spell
from ddbm_cli.imaging.pairs import find_pairs
from ddbm_cli.imaging.preprocess import Preprocess
from ddbm_cli.models import TranslationModel
from ddbm_cli.objectives import TIME_DISTRIBUTIONS
from ddbm_cli.paths import PATHS, I2SBBridge
from ddbm_cli.samplers import GRIDS, SAMPLERS, Bridge, NoiseSource, finish, sample
from ddbm_cli.tasks.train import request
from ddbm_cli.tasks.train.card import card_of
from ddbm_cli.tasks.train.labels import Labels
from ddbm_cli.training import Batches
from tests.tiny import SMALLEST, write_pairs

ALL_PATHS = [*PATHS, spell(I2SBBridge(ot_ode=True))]


class Linear(nn.Module):
    """A network that depends on all of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.3))

    def forward(self, x, time, label=None):
        return self.scale * x[:, -3:] + 1e-3 * time.view(-1, 1, 1, 1).to(x)


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    root = write_pairs(tmp_path_factory.mktemp("matrix") / "pairs", 6)
    pairs = find_pairs([root], val_share=0.0)
    return root, Batches(pairs.train, Preprocess(size=16), size=2, seed=0)


def card(batches, path, prediction=None, **more):
    root, made = batches
    asked = {"data": [root], "path": path, "network": SMALLEST, "size": 16, **more}
    asked |= {"prediction": prediction} if prediction else {}
    return card_of(request(asked), made, Labels(), folder=root / "run")


@pytest.mark.parametrize("prediction", [None, *PREDICTIONS])
@pytest.mark.parametrize("path", ALL_PATHS)
def test_what_is_accepted_samples_with_every_sampler(batches, path, prediction):
    if prediction == "i2sb" and not path.startswith("i2sb"):
        with pytest.raises(UsageError, match="does not fit path"):
            card(batches, path, prediction)
        return
    if prediction in ("noise", "v", "diffusion") and build(PATHS, path, what="path").noise_free:
        with pytest.raises(
            UsageError, match=r"NaN or infinity|does not depend|needs a path with noise"
        ):  # there is no noise to predict
            card(batches, path, prediction)
        return
    made = card(batches, path, prediction)
    denoiser = Denoiser(Linear(), build(PATHS, made.path, what="path"), build(PREDICTIONS, made.prediction, what="p"))
    model = TranslationModel(made, denoiser)
    for sampler in (None, *SAMPLERS):
        if sampler and denoiser.path.noise_free and SAMPLERS[sampler]().needs_noise:
            with pytest.raises(UsageError, match="needs noise"):
                model.plan(sampler, nfe=9)
            continue
        plan = model.plan(sampler, nfe=9)
        bridge = Bridge(plan.path, torch.full((1, 3, 2, 2), 0.4), NoiseSource(0, ["x"]))
        result = finish(sample(denoiser, bridge, plan.sampler, plan.start, plan.times))
        assert result.isfinite().all(), (path, prediction, sampler)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.95])
def test_most_times_can_be_that_of_the_source(batches, share):
    card(batches, "vp-bridge", times=f"arcsine:at_source={share}")


@pytest.mark.parametrize(("path", "times"), itertools.product(ALL_PATHS, TIME_DISTRIBUTIONS))
def test_the_default_prediction_is_given_the_time(batches, path, times):
    if times == "log-normal" and build(PATHS, path, what="path").noise_free:
        with pytest.raises(UsageError, match="nearly all the same"):  # there are no noise levels to choose from
            card(batches, path, times=times)
        return
    made = card(batches, path, times=times)
    prediction, line = build(PREDICTIONS, made.prediction, what="p"), build(PATHS, made.path, what="path")
    u = (torch.arange(64) + 0.5) / 64
    inputs = prediction.scalings(line, build(TIME_DISTRIBUTIONS, times, what="t").times(line, u)).time
    assert len(set(inputs.float().tolist())) >= (4 if times == "discrete" else 32)


@pytest.mark.parametrize("path", ["rectified", "i2sb:ot_ode=true"])
def test_a_constant_time_embedding_is_refused(batches, path):
    with pytest.raises(UsageError, match="constant time embedding input"):
        card(batches, path, "preconditioned:c_noise=log-snr")


@pytest.mark.parametrize("grid", GRIDS)
def test_a_chosen_sampling_is_checked(batches, grid):
    assert card(batches, "brownian", "noise", sampling={"grid": grid}).defaults["grid"]["name"] == grid


@pytest.mark.parametrize("path", ["ve-bridge", "vp-bridge:beta_d=19.9", "rectified", "brownian:variance=1000"])
def test_an_unconditional_bridge_is_accepted_where_its_source_is_noise(batches, path):
    made = card(batches, path, task="prior", times="uniform")
    assert made.kind == "prior" and not made.concat_source and made.defaults["start"]["name"] == "prior"


@pytest.mark.parametrize("path", ["brownian", "vp-bridge", "i2sb"])
def test_an_unconditional_bridge_is_refused_where_the_image_shows_through(batches, path):
    with pytest.raises(UsageError, match="needs a source"):
        card(batches, path, task="prior", times="uniform")


@pytest.mark.parametrize("prediction", ["noise", "v", "residual"])
def test_predictions_that_the_source_does_not_have_are_not_trained_there(batches, prediction):
    """They divide by b, which is 0 at the source; others are trained there."""
    times = "arcsine:at_source=0.2"
    if prediction == "residual":
        assert card(batches, "vp-bridge", prediction, times=times)
        return
    card(batches, "vp-bridge", prediction)
    with pytest.raises(UsageError, match=f"prediction '{prediction}' is not defined at the source"):
        card(batches, "vp-bridge", prediction, times=times)
