"""Metrics that need a network, on random weights: equal to the libraries' own, and named when they cannot be had."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.metrics import METRICS, Batch, MissingWeightsError, weights
from ddbm_cli.metrics.inception import AFD, FID, Network
from tests.metrics.test_pixels import CPU, pair, pictures


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache of torch's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("DDBM_HOME", str(tmp_path / "ddbm"))
    return tmp_path


@pytest.fixture
def inception(home, monkeypatch):
    """Random weights in the place of Inception's, taken for the published ones."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    pytest.importorskip("torchvision")
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(module, "load_state_dict_from_url", lambda *given, **named: {})
        patch.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        state = module.FeatureExtractorInceptionV3("random", ["2048"]).state_dict()
    weights.INCEPTION.path.parent.mkdir(parents=True)
    torch.save(state, weights.INCEPTION.path)
    monkeypatch.setattr(weights.Weights, "good", lambda self: self.path.exists())
    return weights.INCEPTION.path


def write(folder, images):
    folder.mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{index:02d}.png")
    return str(folder)


@pytest.mark.slow
def test_inceptions_figures_are_torch_fidelitys(inception, tmp_path):
    import torch_fidelity

    noisy, smooth = pictures(count=12, size=48)
    reference = torch_fidelity.calculate_metrics(
        input1=write(tmp_path / "out", noisy), input2=write(tmp_path / "truth", smooth),
        fid=True, kid=True, isc=True, prc=True, feature_extractor="inception-v3-compat",
        feature_layer_prc="2048", kid_subset_size=12, cuda=False, cache=False, verbose=False,
        feature_extractor_weights_path=str(inception),
    )  # fmt: skip
    metric = FID(CPU)
    for first in range(0, 12, 5):
        part = slice(first, first + 5)
        metric.update(Batch(index=torch.arange(12)[part], outputs=noisy[part], targets=smooth[part]))
    got = {figure.name: figure.value for figure in metric.figures()}
    names = {"fid": "frechet_inception_distance", "kid": "kernel_inception_distance_mean",
             "is": "inception_score_mean", "precision": "precision", "recall": "recall"}  # fmt: skip
    for name, theirs in names.items():
        assert got[name] == pytest.approx(reference[theirs], rel=1e-4, abs=1e-4), name


def test_cleans_resize_is_pillows_bicubic(inception):
    _, smooth = pictures(count=1, size=48)
    seen = []
    network = Network(CPU, clean=True)
    network._network = lambda given: seen.append(given) or (given, given)
    network(smooth)
    channels = [
        np.asarray(Image.fromarray(channel.numpy().astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC))
        for channel in smooth[0]
    ]
    assert np.abs(seen[0][0].numpy() - np.stack(channels).clip(0, 255)).max() <= 0.51


def test_draws_that_are_equal_have_no_feature_distance(inception):
    noisy, smooth = pictures(count=2, size=40)
    metric = AFD(CPU)
    same = metric(Batch(index=torch.arange(2), outputs=noisy, draws=torch.stack([noisy, noisy], 1)))
    other = metric(Batch(index=torch.arange(2), outputs=noisy, draws=torch.stack([noisy, smooth], 1)))
    assert same.abs().max() < 1e-4 and (other > same).all()


@pytest.mark.parametrize(("name", "file"), [("lpips", weights.ALEXNET), ("dists", weights.VGG16)])
def test_perceptual_metrics_are_the_librarys(home, monkeypatch, name, file):
    pytest.importorskip("torchmetrics")
    models = pytest.importorskip("torchvision.models")
    build = {"lpips": models.alexnet, "dists": models.vgg16}[name]
    file.path.parent.mkdir(parents=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(build(weights=None).state_dict(), file.path)
    monkeypatch.setattr(weights.Weights, "good", lambda self: self.path.exists())
    # The published file's own check of its digest is switched off for random weights alone.
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *a, **k: torch.load(file.path))
    noisy, smooth = pictures(count=3, size=64)
    values = METRICS[name](CPU)(pair(noisy, smooth))
    if name == "lpips":
        from torchmetrics.functional.image import learned_perceptual_image_patch_similarity

        theirs = learned_perceptual_image_patch_similarity(
            noisy.float() / 127.5 - 1, smooth.float() / 127.5 - 1, "alex"
        )
    else:
        from torchmetrics.functional.image import deep_image_structure_and_texture_similarity

        theirs = deep_image_structure_and_texture_similarity(noisy / 255, smooth / 255).mean()
    assert values.shape == (3,) and values.mean().item() == pytest.approx(theirs.item(), abs=1e-4)


@pytest.mark.parametrize("name", ["lpips", "dists", "fid", "fid-clean", "afd"])
def test_without_its_file_a_figure_is_not_given_and_the_file_is_named(home, name):
    pytest.importorskip("torchmetrics")
    pytest.importorskip("torchvision")
    pytest.importorskip("torch_fidelity")
    with pytest.raises(MissingWeightsError, match=r"\.pth is not here") as caught:
        METRICS[name](CPU)
    assert "weights pull metrics" in caught.value.hint


def test_another_file_under_the_name_is_refused(home):
    weights.ALEXNET.path.parent.mkdir(parents=True)
    weights.ALEXNET.path.write_bytes(b"something else")
    with pytest.raises(MissingWeightsError, match="not the published file"), weights.published(weights.ALEXNET):
        pass


def test_a_file_is_fetched_once_and_only_if_it_is_the_right_one(home):
    source = home / "net-1234.pth"
    source.write_bytes(b"weights")
    head = hashlib.sha256(b"weights").hexdigest()[:8]
    file = weights.Weights(source.as_uri(), head, "TEST")
    assert weights.fetch(file) and file.good() and not weights.fetch(file)
    wrong = dataclasses.replace(file, url=file.url.replace("net", "other"), head="00000000")
    (home / "other-1234.pth").write_bytes(b"weights")
    with pytest.raises(ModelError):
        weights.fetch(wrong)
    assert not wrong.path.exists()
    with pytest.raises(ModelError, match="cannot be downloaded"):
        weights.fetch(dataclasses.replace(file, url=(home / "none.pth").as_uri()))
