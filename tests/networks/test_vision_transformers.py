"""DINOv2 and CLIP against their upstream implementations, with weights seeded by name (see seeded.py)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from seeded import assert_like, entries, golden, keys_sha256, pattern, seeded

from tokbench.errors import WeightsError
from tokbench.networks import clip_vision, dinov2
from tokbench.networks.checkpoint import Checkpoint

NETWORKS = {
    "dinov2_vitl14": (dinov2.DinoV2, dinov2.SIDE_PX, "blocks."),
    "clip_vitl14_336": (clip_vision.ClipVision, clip_vision.SIDE_PX, "vision_model.encoder.layers."),
}
CARDS = {module.CARD.key: module.CARD for module in (dinov2, clip_vision)}


def names(key: str, depth: int) -> dict[str, tuple[int, ...]]:
    return entries(golden(key)["entries_at_depth_2"], layers=NETWORKS[key][2], depth=depth)


def build(key: str, depth: int) -> Any:
    return NETWORKS[key][0](Checkpoint(seeded(names(key, depth)), name="seeded"), depth=depth)


@pytest.fixture(scope="module", params=NETWORKS)
def shallow(request: pytest.FixtureRequest) -> tuple[str, Any]:
    """A network of two layers at full width."""
    return request.param, build(request.param, 2)


def test_weights_are_drawn_by_the_common_rule() -> None:
    """Its check values, so that numbers made elsewhere by the same rule compare."""
    wanted = {"encoder.conv_in.weight": (128, 3, 3, 3), "encoder.norm.bias": (512,), "encoder.norm.weight": (512,)}
    first = {key: value.flatten()[:3].tolist() for key, value in seeded({**wanted, "bn.running_var": (64,)}).items()}
    assert first["encoder.conv_in.weight"] == pytest.approx([-0.174894, -0.272115, 0.193559], abs=1e-6)
    assert first["encoder.norm.bias"] == pytest.approx([0.029290, 0.016288, -0.011395], abs=1e-6)
    assert first["encoder.norm.weight"] == pytest.approx([0.981721, 0.996042, 1.010471], abs=1e-6)
    assert first["bn.running_var"] == pytest.approx([1.000274, 1.149801, 1.106218], abs=1e-6)


def test_equals_upstream(shallow: tuple[str, Any]) -> None:
    key, network = shallow
    features = network(pattern(2, NETWORKS[key][1]))
    assert features.dtype == torch.float32
    assert features.shape[1] == CARDS[key].dimensions
    assert_like(features, golden(key)["depth_2"]["features"], tolerance=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("key", NETWORKS)
def test_equals_upstream_at_full_depth(key: str) -> None:
    assert_like(build(key, 24)(pattern(2, NETWORKS[key][1])), golden(key)["depth_24"]["features"], tolerance=2e-5)


@pytest.mark.parametrize("key", NETWORKS)
def test_reads_the_published_names(key: str) -> None:
    """Those of upstream's own module at full depth, which loads the released file strictly."""
    assert keys_sha256(names(key, 24)) == golden(key)["depth_24"]["keys_sha256"]
    assert len(names(key, 24)) == golden(key)["depth_24"]["n_keys"]


def test_an_image_does_not_depend_on_its_batch(shallow: tuple[str, Any]) -> None:
    network = shallow[1]
    images = pattern(2, 64)
    together = network(images)
    assert torch.equal(network(images[1:])[0], together[1])


def test_position_embeddings_are_resampled_as_upstream() -> None:
    stored = golden("dinov2_vitl14")
    positions = seeded({"pos_embed": names("dinov2_vitl14", 1)["pos_embed"]})["pos_embed"]
    resampled = dinov2.resampled_positions(positions, 16)
    assert_like(resampled, stored["positions"], tolerance=1e-4)  # stored to eight digits after the point
    assert torch.equal(resampled[:, 0], positions[:, 0])
    assert dinov2.resampled_positions(positions, 37) is positions


def test_the_offset_of_the_scale_is_not_optional() -> None:
    """The plain 16/37 gives other embeddings than the 16.1/37 of upstream."""
    positions = seeded({"pos_embed": (1, 1 + 37**2, 8)})["pos_embed"]
    maps = positions[:, 1:].reshape(1, 37, 37, 8).permute(0, 3, 1, 2)
    plain = torch.nn.functional.interpolate(maps, (16, 16), mode="bicubic").flatten(2).transpose(1, 2)
    difference = (dinov2.resampled_positions(positions, 16)[:, 1:] - plain).abs().max()
    assert float(difference) > 0.1 * float(plain.std())


def test_clip_leaves_the_text_half_out() -> None:
    whole = seeded(names("clip_vitl14_336", 1))
    extra = {
        "logit_scale": torch.ones(()),
        "text_model.final_layer_norm.bias": torch.ones(3),
        "text_projection.weight": torch.ones(2, 2),
        "vision_model.embeddings.position_ids": torch.arange(577)[None],
    }
    images = pattern(1, 40)
    plain = clip_vision.ClipVision(Checkpoint(whole, name="a.bin"), depth=1)(images)
    assert torch.equal(clip_vision.ClipVision(Checkpoint({**whole, **extra}, name="a.bin"), depth=1)(images), plain)
    assert torch.linalg.vector_norm(plain, dim=1).tolist() == pytest.approx([1.0], abs=1e-6)
    with pytest.raises(WeightsError, match=r"lacks: vision_model\.other"):
        clip_vision.ClipVision(Checkpoint({**whole, "vision_model.other": torch.ones(1)}, name="a.bin"), depth=1)


def test_a_shallower_file_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"no entry blocks\.1\."):
        dinov2.DinoV2(Checkpoint(seeded(names("dinov2_vitl14", 1)), name="a.pth"), depth=2)


def test_pixels_are_prepared_as_published(shallow: tuple[str, Any]) -> None:
    """Pillow's bicubic filter on 8 bits; the whole image for DINOv2 (dgm-eval), the central square for CMMD."""
    key, network = shallow
    image = np.random.default_rng(0).integers(0, 256, (90, 141, 3), dtype=np.uint8)
    picture, side = Image.fromarray(image), NETWORKS[key][1]
    if key == "clip_vitl14_336":
        picture = picture.crop((25, 0, 115, 90))
        mean, deviation = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    else:
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)) / 255
    expected = ((pixels - np.array(mean)) / np.array(deviation)).transpose(2, 0, 1)
    got = network.preprocessed(torch.from_numpy(image).permute(2, 0, 1)[None])
    assert got.dtype == torch.float32
    assert got[0].numpy() == pytest.approx(expected, abs=1e-6)
