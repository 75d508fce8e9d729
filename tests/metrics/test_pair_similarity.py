"""CLIP's similarities are those of its embeddings, on an encoder of random weights."""

import pytest
import torch

pytest.importorskip("transformers")

import torch.nn.functional as F
from transformers import CLIPModel

from ddbm_cli.foundation.errors import ModelError
from ddbm_cli.metrics.pair_similarity import PairSimilarity
from ddbm_cli.metrics.weights import MissingWeightsError
from tests.pipelines import WORDS, write_clip

CPU = torch.device("cpu")
TEXTS = ["a b", "c"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clip"))


def images(seed):
    return torch.randint(0, 256, (2, 3, 20, 30), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_they_are_cosines_of_embeddings(folder):
    network = CLIPModel.from_pretrained(folder).eval()
    rows = [[0, WORDS.index("a</w>"), WORDS.index("b</w>"), 1], [0, WORDS.index("c</w>"), 1, 1]]
    wide = F.interpolate(images(0).float() / 255, (28, 28), mode="bicubic")
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    with torch.no_grad():
        found = network(pixel_values=(wide - mean[:, None, None]) / std[:, None, None], input_ids=torch.tensor(rows))
    seen, said = (each / each.norm(dim=1, keepdim=True) for each in (found.image_embeds, found.text_embeds))
    change, words = seen[1] - seen[0], said[1] - said[0]
    wanted = [seen[0] @ seen[1], seen[0] @ said[0], seen[1] @ said[1], change @ words / change.norm() / words.norm()]
    measured = PairSimilarity(str(folder), CPU)(images(0), TEXTS)
    assert measured == pytest.approx([float(each) for each in wanted], abs=2e-5)
    assert measured._fields == ("image", "before", "after", "direction")


def test_equal_images_have_no_direction(folder):
    measured = PairSimilarity(str(folder), CPU)(images(0)[[0, 0]], TEXTS)
    assert measured.image == 1 and measured.direction == 0


def test_a_network_that_is_not_there_or_damaged_is_explained(folder, tmp_path):
    with pytest.raises(MissingWeightsError, match="nobody/nothing is not in the cache") as caught:
        PairSimilarity("nobody/nothing", CPU)
    assert caught.value.hint == "hf download nobody/nothing"
    other = write_clip(tmp_path / "damaged")
    (other / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="cannot be loaded"):
        PairSimilarity(str(other), CPU)
