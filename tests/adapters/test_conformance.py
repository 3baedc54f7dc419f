"""The contract, over one variant of every behaviour of every built-in tokenizer.

Those whose weights are not here are tested as tiny seeded variants in ``test_conformance_seeded.py``.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.adapters.tiny import BUILT_IN
from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents, Payloads, Tokens
from tokbench.errors import UnsupportedInputError, WeightsError
from tokbench.images import decode_image, to_float, to_uint8
from tokbench.registry import find_tokenizer
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import Wrapped

EXTREMES = ("jpeg/q1", "jpeg/q100", "webp/q1", "webp/lossless", "avif/q1", "pca/k64", "lbg/d1", "rvq/d3", "resize/f8")
NAMES = (*BUILT_IN, *EXTREMES)


def photographs(n: int = 3, side: int = 64) -> torch.Tensor:
    """Crops of one real photograph, float ``(n, 3, side, side)`` on the 8-bit grid."""
    import skimage.data

    photo = skimage.data.astronaut()
    crops = [photo[60 + 40 * k : 60 + 40 * k + side, 180 + 30 * k : 180 + 30 * k + side] for k in range(n)]
    return to_float(torch.from_numpy(np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))))


def roundtrip(tokenizer: Wrapped, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return tokenizer.decode(tokenizer.encode(images), seeds=range(len(images)))


def decibels(images: torch.Tensor, decoded: torch.Tensor) -> float:
    return -10 * math.log10(float((to_float(to_uint8(decoded)) - images).square().mean()))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_samples_to_the_last_bit(name: str) -> None:
    tokenizer, images = load_tokenizer(name, device="cpu"), photographs()
    untouched = images.clone()
    together = roundtrip(tokenizer, images)
    assert torch.equal(images, untouched)
    assert together.shape == images.shape
    assert together.dtype == torch.float32
    assert bool(together.isfinite().all())
    for order in ([0], [1], [2], [2, 0]):
        assert torch.equal(roundtrip(tokenizer, images[order]), together[order]), name
    assert torch.equal(roundtrip(load_tokenizer(name, device="cpu"), images), together)


@pytest.mark.parametrize("name", NAMES)
def test_levels_and_colours_come_back_where_they_were(name: str) -> None:
    """A wrong range or a swapped channel order shows on flat fields and a ramp."""
    fields = torch.tensor([[0.5, 0.5, 0.5], [0.8, 0.4, 0.2], [0.2, 0.4, 0.8]])[:, :, None, None].expand(-1, -1, 64, 64)
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    images = to_float(to_uint8(torch.cat([fields, ramp])))
    decoded = roundtrip(load_tokenizer(name, device="cpu"), images)
    tolerance = 0.2 if name.endswith("/q1") else 0.1 if name == "lbg/d1" else 0.06
    assert float((decoded - images).mean((2, 3)).abs().max()) < tolerance
    middle = decoded[3].mean((0, 1))
    assert float(middle[-8:].mean() - middle[:8].mean()) > 0.6


@pytest.mark.parametrize("name", ["lbg", "rvq", "pca", "resize/f4"])
def test_illegal_sizes_are_refused_with_the_legal_ones(name: str) -> None:
    tokenizer = load_tokenizer(name, device="cpu")
    with pytest.raises(UnsupportedInputError, match=f"multiples of {tokenizer.card.size_multiple} px, got 62×64"):
        tokenizer.encode(torch.rand(1, 3, 64, 62))
    with pytest.raises(UnsupportedInputError, match="float images"):
        tokenizer.encode(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("family", ["lbg", "rvq"])
def test_residual_levels(family: str) -> None:
    images = photographs()
    tokenizer = load_tokenizer(family, device="cpu")
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Tokens)
    assert tokenizer.card.max_length == len(encoding.streams) == 8
    assert encoding.bits().tolist() == [8 * 64 * 10] * 3
    for stream in encoding.streams:
        assert stream.indices.shape == (3, 8, 8)
        assert 0 <= int(stream.indices.min()) <= int(stream.indices.max()) < stream.codebook_size == 1024
    quality = [decibels(images, tokenizer.decode(encoding.keep_streams(k), seeds=[0] * 3)) for k in range(1, 9)]
    assert quality == sorted(quality)
    shallow = load_tokenizer(f"{family}/d3", device="cpu")
    assert torch.equal(roundtrip(shallow, images), tokenizer.decode(encoding.keep_streams(3), seeds=[0] * 3))


def test_quality_has_not_moved() -> None:
    """Golden values on a real photograph; a change here belongs under Scores in the changelog."""
    images = photographs(1, 256)
    expected = {"lbg": 31.69, "lbg/d1": 22.91, "rvq": 32.35, "pca": 30.13, "jpeg/q75": 34.58, "resize/f2": 32.33}
    got = {name: decibels(images, roundtrip(load_tokenizer(name, device="cpu"), images)) for name in expected}
    assert got == pytest.approx(expected, abs=0.1)


def test_more_components_or_quality_is_better() -> None:
    images = photographs()
    for names in (
        ["pca/k4", "pca/k8", "pca/k16", "pca/k64"],
        ["avif/q10", "avif/q50", "avif/q90"],
        ["resize/f8", "resize/f2"],
    ):
        values = [decibels(images, roundtrip(load_tokenizer(name, device="cpu"), images)) for name in names]
        assert values == sorted(values)


@pytest.mark.parametrize("family", ["jpeg", "webp", "avif"])
def test_codecs_count_the_bytes_of_real_files(family: str) -> None:
    tokenizer, images = load_tokenizer(family, device="cpu"), photographs()
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Payloads)
    assert encoding.bits().tolist() == [8 * len(file) for file in encoding.files]
    for file, decoded in zip(encoding.files, tokenizer.decode(encoding, seeds=[0] * 3), strict=True):
        pixels = torch.from_numpy(decode_image(file, name=family).copy()).permute(2, 0, 1)
        assert torch.equal(to_uint8(decoded), pixels)
    large = load_tokenizer(f"{family}/q95", device="cpu").encode(images)
    assert bool((large.bits() > encoding.bits()).all())  # type: ignore[operator]


@pytest.mark.parametrize("name", ["identity", "resize/fit", "webp/lossless"])
def test_what_is_lossless_is_exact(name: str) -> None:
    images = photographs()
    assert torch.equal(to_uint8(roundtrip(load_tokenizer(name, device="cpu"), images)), to_uint8(images))


def test_pca_keeps_what_its_components_span() -> None:
    tokenizer, images = load_tokenizer("pca/k64", device="cpu"), photographs()
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Latents)
    assert encoding.values.shape == (3, 64, 8, 8)
    once = tokenizer.decode(encoding, seeds=[0] * 3)
    again = tokenizer.decode(tokenizer.encode(once), seeds=[0] * 3)
    assert torch.allclose(once, again, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_dtypes_are_respected(dtype: str) -> None:
    wanted = getattr(torch, dtype)
    for name in ("lbg", "pca", "jpeg"):
        tokenizer = load_tokenizer(name, device="cpu", dtype=dtype)
        assert roundtrip(tokenizer, photographs(1).to(wanted)).dtype == wanted


def test_other_weights_than_the_pinned_ones_are_refused() -> None:
    entry = find_tokenizer("lbg")
    forged = TokenizerCard(**{**vars(entry.card), "weights": (("lbg.safetensors", "0" * 64),)})
    with pytest.raises(WeightsError, match=r"not the pinned ones; got SHA-256 [0-9a-f]{64}, expected 0{64}"):
        entry.module.load(forged, device="cpu", dtype="float32")
    absent = TokenizerCard(**{**vars(entry.card), "weights": (("nowhere.safetensors", "0" * 64),)})
    with pytest.raises(WeightsError, match="are missing"):
        entry.module.load(absent, device="cpu", dtype="float32")
