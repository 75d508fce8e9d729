"""Distances of two sets of images by the features of Inception: network and sums are torch-fidelity's."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from ddbm_cli.metrics.base import Batch, Figure, PictureMetric, SetMetric, Side, need_libraries
from ddbm_cli.metrics.cache import FeatureCache
from ddbm_cli.metrics.diversity import pairwise
from ddbm_cli.metrics.sample import Sample
from ddbm_cli.metrics.weights import INCEPTION, published
from ddbm_cli.registry.folders import cache_folder

FEATURES = 2048
INPUT = 299

MOST_FEATURES = 10_000
"""Images whose features are kept, for KID, precision and recall."""

MOST_LOGITS = 50_000
"""Images whose logits are kept, for IS."""

FEW = "biased: fewer images than features"
NEIGHBOURS = 3
SUBSET = 1000
SPLITS = 10


class Network:
    """Inception, on a device: uint8 (N, 3, H, W) -> features (N, 2048) and logits (N, 1008)."""

    def __init__(self, device: torch.device, *, clean: bool = False, what: str = "FID") -> None:
        need_libraries(["torchvision", "torch_fidelity"], what)
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        with published(INCEPTION):
            network = FeatureExtractorInceptionV3(
                "inception-v3-compat",
                ["2048", "logits_unbiased"],
                feature_extractor_weights_path=str(INCEPTION.path),
            )
        self._network = network.to(device)
        self._clean = clean

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self._clean:  # the network's own resizing has nothing left to do then
            images = F.interpolate(images.float(), (INPUT, INPUT), mode="bicubic", antialias=True)
            images = images.clamp(0, 255).round().to(torch.uint8)
        with torch.inference_mode():
            features, logits = self._network(images)
        return features, logits


class Moments:
    """Mean and covariance of a stream of features, in float64."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = torch.zeros(FEATURES, dtype=torch.float64)
        self._products = torch.zeros(FEATURES, FEATURES, dtype=torch.float64)

    def add(self, features: Tensor) -> None:
        """Take in features (N, 2048)."""
        wide = features.double().cpu()
        self.count += len(wide)
        self._sum += wide.sum(dim=0)
        self._products.addmm_(wide.T, wide)

    def statistics(self) -> dict[str, object]:
        """Return {"mu", "sigma"} as torch-fidelity has them; two images at least."""
        mean = self._sum / self.count
        covariance = (self._products - self.count * torch.outer(mean, mean)) / (self.count - 1)
        return {"mu": mean.numpy(), "sigma": covariance.numpy()}


class FID(SetMetric):
    """Fréchet distance of Inception's features; from the same features KID, IS, precision and recall."""

    name = "fid"
    label = "FID"
    recipe = "torch-fidelity's Inception and resize"
    clean: ClassVar[bool] = False

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        self._network = Network(device, clean=self.clean, what=self.label)
        name = f"inception-{INCEPTION.head}{'-clean' if self.clean else ''}-{device.type}.sqlite"
        self._of_targets = FeatureCache(
            lambda images: self._network(images)[0], cache_folder() / "features" / name, width=FEATURES
        )
        self._statistics: Mapping[str, object] | None = None
        self._moments = Moments(), Moments()
        self._features = Sample(MOST_FEATURES), Sample(MOST_FEATURES)
        self._logits = Sample(MOST_LOGITS)

    def add(self, side: Side, index: Tensor, images: Tensor) -> None:
        if side == "outputs":
            features, logits = (each.cpu() for each in self._network(images))
            self._logits.add(index, logits)
        else:
            features = self._of_targets(images)
        place = 0 if side == "outputs" else 1
        self._moments[place].add(features)
        self._features[place].add(index, features)

    def compare_with(self, statistics: Mapping[str, object]) -> None:
        """Take {"mu", "sigma"} of a file as the targets; see `metrics.statistics`."""
        self._statistics = statistics

    def figures(self) -> list[Figure]:
        count = self._moments[0].count
        if min(count, count if self._statistics else self._moments[1].count) <= NEIGHBOURS:
            return [self._figure(self.name, self.label, None, 0, note=f"needs more than {NEIGHBOURS} images")]
        if self._statistics:
            return [self._of_statistics(self._statistics, count)]
        from torch_fidelity.metric_fid import fid_statistics_to_metric
        from torch_fidelity.metric_isc import isc_features_to_metric
        from torch_fidelity.metric_kid import kid_features_to_metric
        from torch_fidelity.metric_prc import prc_features_to_metric

        first, second = (moments.statistics() for moments in self._moments)
        fid = fid_statistics_to_metric(first, second, False)["frechet_inception_distance"]
        outputs, targets = (sample.parts[0] for sample in self._features)
        least = min(count, self._moments[1].count)
        subset, few = min(SUBSET, len(outputs), len(targets)), least < FEATURES
        kid = kid_features_to_metric(outputs, targets, kid_subset_size=subset, verbose=False)
        parts = min(SPLITS, len(self._logits))
        score = isc_features_to_metric(self._logits.parts[0], splits=parts)
        near = prc_features_to_metric(outputs, targets, prc_neighborhood=NEIGHBOURS, save_cpu_ram=True, verbose=False)
        suffix = self.name.removeprefix("fid")
        kept = len(outputs)
        kid_note = f"100 subsets of {subset}, standard deviation {kid['kernel_inception_distance_std']:.2g}"
        score_note = f"{parts} splits, standard deviation {score['inception_score_std']:.2g}"
        return [
            self._figure(self.name, self.label, fid, count, note=FEW * few),
            self._figure(f"kid{suffix}", "KID", kid["kernel_inception_distance_mean"], kept, note=kid_note),
            self._figure(f"is{suffix}", "IS", score["inception_score_mean"], len(self._logits), True, score_note),
            self._figure(
                f"precision{suffix}", "Precision", near["precision"], kept, True, "3 neighbours, Inception's features"
            ),
            self._figure(f"recall{suffix}", "Recall", near["recall"], kept, True, "3 neighbours, Inception's features"),
        ]

    def _of_statistics(self, statistics: Mapping[str, object], count: int) -> Figure:
        from torch_fidelity.metric_fid import fid_statistics_to_metric

        fid = fid_statistics_to_metric(self._moments[0].statistics(), statistics, False)["frechet_inception_distance"]
        return self._figure(self.name, self.label, fid, count, note=FEW * (count < FEATURES))

    def _figure(
        self, name: str, label: str, value: float | None, count: int, higher: bool = False, note: str = ""
    ) -> Figure:
        return Figure(
            name=name, label=label, value=value, count=count, higher_is_better=higher, recipe=self.recipe, note=note
        )


class CleanFID(FID):
    """The same with clean-fid's resize."""

    name = "fid-clean"
    label = "FID (clean)"
    recipe = "torch-fidelity's Inception after clean-fid's antialiased bicubic resize, rounded to 8 bits"
    clean = True


class AFD(PictureMetric):
    """Average feature distance: how much the draws of one source differ to Inception."""

    name = "afd"
    label = "AFD"
    higher_is_better = True
    needs = ("draws",)
    recipe = "mean distance of Inception's features (torch-fidelity) over all pairs of a source's draws"

    def __init__(self, device: torch.device, *, seed: int = 0) -> None:
        super().__init__(device, seed=seed)
        self._network = Network(device, what=self.label)

    def __call__(self, batch: Batch) -> Tensor:
        assert batch.draws is not None
        features, _ = self._network(batch.draws.flatten(0, 1))
        return pairwise(features.view(*batch.draws.shape[:2], -1))
