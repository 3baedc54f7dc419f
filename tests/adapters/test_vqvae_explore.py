"""The VQ-VAE without official code: its published names and its residual layers, on key-seeded weights."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.adapters.seeding import pattern, seeded_weights
from tests.adapters.vqvae_explore_cases import PUBLISHED, SMALL, seeded, tokenizer_of
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, WeightsError
from tokbench_adapters import vqvae_explore
from tokbench_adapters._networks.vqvae_explore import ResidualLayer, VqvaeExploreNetwork

Weights = Mapping[str, Tensor]


def test_names_and_shapes_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = VqvaeExploreNetwork()
    assert {key: tuple(entry.shape) for key, entry in network.state_dict().items()} == PUBLISHED
    (card,) = vqvae_explore.CARDS
    assert card.codebook_sizes == PUBLISHED["vq_vae.codebook.weight"][:1]
    assert card.tokens == (256 // card.size_multiple) ** 2
    assert [name for name, sha256 in card.weights if len(sha256) == 64] == ["vqvae.pt"]


# The network once more, as plain functions of the published entries.


def _conv(weights: Weights, name: str, hidden: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    return F.conv2d(hidden, weights[f"{name}.weight"], weights.get(f"{name}.bias"), stride=stride, padding=padding)


def _residual(weights: Weights, half: str, hidden: Tensor) -> Tensor:
    for layer in range(2):
        block = f"{half}._blocks.residual.residual_blocks.residual_{layer}._block"
        hidden.relu_()  # the training code's ReLU, in place
        hidden = hidden + _conv(
            weights, f"{block}.conv_2", F.relu(_conv(weights, f"{block}.conv_1", hidden, padding=1))
        )
    return F.relu(hidden)


def plain_encode(weights: Weights, images: Tensor) -> tuple[Tensor, Tensor]:
    """Images → indices, and the vectors that were quantised."""
    hidden = F.relu(_conv(weights, "encoder._blocks.conv_1", images - 0.5, stride=2, padding=1))
    hidden = F.relu(_conv(weights, "encoder._blocks.conv_2", hidden, stride=2, padding=1))
    hidden = _residual(weights, "encoder", _conv(weights, "encoder._blocks.conv_3", hidden, padding=1))
    vectors = _conv(weights, "pre_vq_conv", hidden).permute(0, 2, 3, 1)
    indices = torch.cdist(vectors.flatten(0, 2), weights["vq_vae.codebook.weight"]).argmin(1)
    return indices.view(vectors.shape[:3]), vectors


def plain_decode(weights: Weights, indices: Tensor) -> Tensor:
    hidden = weights["vq_vae.codebook.weight"][indices].permute(0, 3, 1, 2)
    hidden = _residual(weights, "decoder", _conv(weights, "decoder._blocks.conv_1", hidden, padding=1))
    for name, activation in (("conv_t_1", F.relu), ("conv_t_2", lambda hidden: hidden)):
        weight, bias = (weights[f"decoder._blocks.{name}.{part}"] for part in ("weight", "bias"))
        hidden = activation(F.conv_transpose2d(hidden, weight, bias, stride=2, padding=1))
    return hidden + 0.5


def test_it_is_the_plain_functions() -> None:
    tokenizer, images = tokenizer_of(), pattern(2, 32, 24)
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        assert isinstance(encoding, Tokens)
        (stream,) = encoding.streams
        indices, vectors = plain_encode(seeded(), images)
        assert torch.equal(stream.indices, indices)
        assert len(indices.unique()) > 3
        assert stream.vectors is not None
        assert float((stream.vectors - vectors).abs().max()) < 1e-5
        decoded = plain_decode(seeded(), indices)
        assert float((tokenizer.decode(encoding, seeds=[0, 0]) - decoded).abs().max()) < 1e-5
        assert float(decoded.std()) > 0.01


def test_each_layer_adds_to_what_it_has_rectified() -> None:
    layer = ResidualLayer(8)
    layer.load_state_dict(seeded_weights(layer))
    hidden = pattern(1, 8, 9)[:, :1].repeat(1, 8, 1, 1) - 0.5
    rectified = F.relu(hidden)
    with torch.inference_mode():
        got, before = layer(hidden), hidden.clone()
        assert torch.equal(got, rectified + layer.inner(rectified))
        assert float((got - (hidden + layer.inner(rectified))).abs().max()) == pytest.approx(float(-hidden.min()))
        assert torch.equal(hidden, before)


def test_another_network_is_refused_by_name() -> None:
    (card,) = vqvae_explore.CARDS
    weights = {**seeded(), "vq_vae.codebook.weight": torch.zeros(3, 2)}
    del weights["pre_vq_conv.bias"]
    with pytest.raises(WeightsError, match=r"lacks pre_vq_conv\.bias.*vq_vae\.codebook\.weight is \(3, 2\)"):
        vqvae_explore.build(card, weights, device="cpu", dtype="float32", shape=SMALL)


def test_other_encodings_are_refused() -> None:
    with pytest.raises(BadOutputError, match=r"decodes Tokens of 1 stream\(s\) \(n, h, w\), got Latents"):
        tokenizer_of().decode(Latents(values=torch.zeros(1, 4, 2, 2)), seeds=[0])
