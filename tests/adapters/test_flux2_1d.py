"""flux2-1d-tokenizer: the wrapper against the package's own calls, sizes, prefixes and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.adapters.flux2_1d_cases import CONFIG, core_weights, package_of, require_package, tiny_vae, tokenizer_of
from tests.adapters.seeding import pattern
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, UnsupportedInputError, WeightsError
from tokbench.perturbation.facts import quantiser_of
from tokbench.perturbation.points import derivation, points_for
from tokbench.requirements import missing_requirement
from tokbench.wrapping import wrap
from tokbench_adapters import flux2_1d

TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def _package(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        require_package()


@pytest.mark.parametrize(("width", "height"), [(256, 256), (768, 256)])
def test_codes_and_images_are_those_of_the_package(width: int, height: int) -> None:
    tokenizer, package = tokenizer_of(), package_of(tiny_vae())
    images = pattern(2, height, width)
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Tokens)
    own = package.encode(images * 2 - 1)
    assert torch.equal(encoding.streams[0].indices, own)
    assert encoding.image_px == (height, width)
    for length in (1, CONFIG["num_tokens"]):
        painted = tokenizer.decode(encoding.keep_positions(length), seeds=[0, 0])
        theirs = package.decode(own[:, :length], width=width, height=height) / 2 + 0.5
        assert painted.shape == images.shape
        torch.testing.assert_close(painted, theirs, atol=TOLERANCE, rtol=0)
        assert 0 <= float(painted.min()) < float(painted.max()) <= 1


def test_vectors_are_what_the_package_compares() -> None:
    tokenizer, package = tokenizer_of(), package_of(tiny_vae())
    images = pattern(2, 256, 256)
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Tokens)
    vectors = encoding.streams[0].vectors
    assert vectors is not None
    with torch.no_grad():
        latents = package.vae.encode(images * 2 - 1).latent_dist.mean
        own = package.core.bsq.proj_in(package.core.encoder(latents))
    torch.testing.assert_close(vectors, own, atol=TOLERANCE, rtol=0)
    quantiser = tokenizer.quantiser()  # type: ignore[attr-defined]
    assert quantiser.is_normalised
    assert not tokenizer._core.bsq.proj_in._forward_hooks, "nothing stays behind"  # type: ignore[attr-defined]


def test_the_size_outlives_what_is_done_to_an_encoding() -> None:
    wrapped = wrap(tokenizer_of())
    encoding = wrapped.encode(pattern(2, 512, 256))
    assert isinstance(encoding, Tokens)
    quantiser = quantiser_of(wrapped)
    point = points_for(quantiser, alphas=(1.0,), deltas=(4,))[0]
    perturbed = derivation(point, quantiser, widest=4)(encoding, [1, 2])
    for other in (encoding.select([1]), encoding.keep_positions(3), encoding.keep_streams(1), perturbed):
        assert isinstance(other, Tokens)
        assert other.image_px == (512, 256)
        assert wrapped.decode(other, seeds=range(other.n)).shape[2:] == (512, 256)
    assert encoding.bits().tolist() == [CONFIG["num_tokens"] * CONFIG["num_bits"]] * 2


@pytest.mark.parametrize(("width", "height"), [(272, 256), (1024, 256), (256, 1024), (128, 128)])
def test_sizes_it_was_not_trained_on_are_refused(width: int, height: int) -> None:
    with pytest.raises(UnsupportedInputError, match=f"got {width}×{height}"):
        tokenizer_of().encode(torch.rand(1, 3, height, width))


def test_what_cannot_be_decoded_is_refused() -> None:
    tokenizer = tokenizer_of()
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(
        BadOutputError, match=r"with the image's size, got Tokens with streams \[\(1, 4\)\] and size None"
    ):
        tokenizer.decode(Tokens.grid(ids, codebook_size=256), seeds=[0])
    long = replace(Tokens.grid(torch.zeros(1, 13, dtype=torch.int64), codebook_size=256), image_px=(256, 256))
    with pytest.raises(BadOutputError, match="1 to 12 tokens"):
        tokenizer.decode(long, seeds=[0])
    with pytest.raises(BadOutputError, match="got Latents"):
        tokenizer.decode(Latents(values=torch.zeros(1, 4)), seeds=[0])


def test_another_checkpoint_or_configuration_is_refused() -> None:
    weights: dict[str, Any] = core_weights()
    weights.pop("decoder.mask_token")
    with pytest.raises(WeightsError, match=r"sharp\.safetensors of fmorgens/.* lacks decoder\.mask_token"):
        flux2_1d.build(flux2_1d.CARDS[0], CONFIG, weights, tiny_vae(), device="cpu", dtype="float32")
    with pytest.raises(WeightsError, match="does not accept the configuration"):
        flux2_1d.build(flux2_1d.CARDS[0], {**CONFIG, "heads": 16}, {}, tiny_vae(), device="cpu", dtype="float32")


def test_the_built_in_constants_can_be_overridden_by_the_configuration() -> None:
    config = {**CONFIG, "scaling": 2.0, "vae_id": "somebody/else"}
    scaled = flux2_1d.build(flux2_1d.CARDS[0], config, core_weights(), tiny_vae(), device="cpu", dtype="float32")
    images = pattern(1, 256, 256)
    assert scaled._package.scaling == 2.0
    package = package_of(tiny_vae())
    package.scaling = 2.0
    encoding = scaled.encode(images)
    assert isinstance(encoding, Tokens)
    assert torch.equal(encoding.streams[0].indices, package.encode(images * 2 - 1))


def test_without_the_package_the_command_gets_it() -> None:
    card = replace(flux2_1d.CARDS[0], requires=("flux2_tokenizer_that_is_not_here",))
    assert missing_requirement(card).endswith("pip install 'tokbench[flux2_1d]'")
    assert [card.name for card in flux2_1d.CARDS] == ["flux2_1d/sharp", "flux2_1d/base"]
