"""The two networks of ``../shared/weights`` reach the figures their READMEs state, through their adapters.

The READMEs' pictures are skimage's, stretched to 256×256 by ``skimage.transform.resize`` with ``anti_aliasing`` and not
rounded to bytes; decoded pictures are clamped and not rounded either.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.conftest import SHARED
from tokbench.encodings import Latents, Tokens
from tokbench.errors import WeightsError
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import Wrapped
from tokbench_adapters._networks.vqvae_explore import ResidualLayer

WEIGHTS = SHARED / "weights"
NATURAL = SHARED / "data" / "real_mini" / "natural"
pytestmark = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="../shared/weights is not beside the repository")

FILES = ("taef2/taef2_encoder.pth", "taef2/taef2_decoder.pth", "vqvae_explore/vqvae.pt")
# By picture, in dB at 256 px: TAEF2 and the VQ-VAE.
FIGURES = {"astronaut": (29.7, 26.4), "chelsea": (32.68, 30.3), "coffee": (29.55, 26.5), "rocket": (31.22, 28.0)}


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of weights with the three files, on a machine without network."""
    for name in FILES:
        link = tmp_path / "weights" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(WEIGHTS / name)
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    return tmp_path / "weights"


@cache
def picture(name: str, side_px: int = 256) -> Tensor:
    """Float32 ``(1, 3, side, side)``."""
    import skimage.data

    return stretched(getattr(skimage.data, name)(), side_px)


def stretched(pixels: np.ndarray, side_px: int = 256) -> Tensor:
    import skimage.transform

    small = skimage.transform.resize(pixels, (side_px, side_px), anti_aliasing=True)
    return torch.from_numpy(small).permute(2, 0, 1)[None].float()


def decibels(images: Tensor, decoded: Tensor) -> float:
    return -10 * math.log10(float((decoded.clamp(0, 1) - images).square().mean()))


def similarity(images: Tensor, decoded: Tensor) -> float:
    """SSIM with skimage's own window, as the README has it."""
    import skimage.metrics

    first, second = (batch[0].permute(1, 2, 0).numpy() for batch in (images, decoded.clamp(0, 1)))
    return float(skimage.metrics.structural_similarity(first, second, channel_axis=2, data_range=1))


def there_and_back(tokenizer: Wrapped, images: Tensor) -> Tensor:
    with torch.inference_mode():
        return tokenizer.decode(tokenizer.encode(images), seeds=[0])


def loaded(name: str) -> Wrapped:
    return load_tokenizer(name, device="cpu")


def test_taef2_reaches_its_figures() -> None:
    tokenizer = loaded("taef2")
    for name, (expected, _) in FIGURES.items():
        assert decibels(picture(name), there_and_back(tokenizer, picture(name))) == pytest.approx(expected, abs=0.05)


@pytest.mark.slow
def test_taef2_at_the_pictures_own_size() -> None:
    import skimage.data

    images = stretched(skimage.data.astronaut(), 512)
    assert decibels(images, there_and_back(loaded("taef2"), images)) == pytest.approx(31.2, abs=0.05)


def test_taef2_and_levels_of_its_latents() -> None:
    """SSIM 0.950; 8 bits a latent cost 0.1 dB, 16 levels 1.3 dB, 8 levels 4 dB."""
    tokenizer, images = loaded("taef2"), picture("astronaut")
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        assert isinstance(encoding, Latents)
        assert encoding.values.shape == (1, 32, 32, 32)
        assert 5 < float(encoding.values.abs().max()) < 7
        decoded = tokenizer.decode(encoding, seeds=[0])
        assert similarity(images, decoded) == pytest.approx(0.950, abs=5e-4)
        for levels, lost, slack in ((256, 0.1, 0.05), (16, 1.3, 0.05), (8, 4.2, 0.05)):
            top = levels - 1
            scaled = (encoding.values / 6 + 0.5).clamp(0, 1).mul(top).round()
            rounded = Latents(values=(scaled / top - 0.5) * 6)
            less = decibels(images, decoded) - decibels(images, tokenizer.decode(rounded, seeds=[0]))
            assert less == pytest.approx(lost, abs=slack), levels


def test_the_vqvae_reaches_its_figures() -> None:
    tokenizer = loaded("vqvae_explore")
    for name, (_, expected) in FIGURES.items():
        assert decibels(picture(name), there_and_back(tokenizer, picture(name))) == pytest.approx(expected, abs=0.06)
    encoding = tokenizer.encode(picture("astronaut"))
    assert encoding.bits() is not None
    assert encoding.bits().tolist() == [4096 * 9]  # type: ignore[union-attr]


def test_the_textbook_layer_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads the same file without a complaint; the README's 21.6 dB are those of a textbook decoder."""

    def textbook(layer: ResidualLayer, hidden: Tensor) -> Tensor:
        return hidden + layer.inner(torch.relu(hidden))

    tokenizer, images = loaded("vqvae_explore"), picture("astronaut")
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        monkeypatch.setattr(ResidualLayer, "forward", textbook)
        decoded = tokenizer.decode(encoding, seeds=[0])
    assert decibels(images, decoded) == pytest.approx(21.6, abs=0.05)
    assert decibels(images, there_and_back(tokenizer, images)) == pytest.approx(16.6, abs=0.1)


@pytest.mark.skipif(not NATURAL.is_dir(), reason="../shared/data/real_mini is not beside the repository")
def test_the_vqvaes_codebook_on_photographs() -> None:
    """The README has 283 codes and a perplexity of 162 over 100 ImageNet samples; 83 of those are here: 285 and 155."""
    tokenizer, counts = loaded("vqvae_explore"), torch.zeros(512)
    paths = sorted(NATURAL.glob("*.jpg"))
    for path in paths:
        with Image.open(path) as image, torch.inference_mode():
            encoding = tokenizer.encode(stretched(np.array(image.convert("RGB"))))
        assert isinstance(encoding, Tokens)
        counts += encoding.streams[0].indices.flatten().bincount(minlength=512)
    shares = counts[counts > 0] / counts.sum()
    perplexity = float((-(shares * shares.log()).sum()).exp())
    assert (len(paths), int(counts.sum())) == (83, 83 * 4096)
    assert len(shares) == pytest.approx(285, abs=3)
    assert perplexity == pytest.approx(155.4, abs=2)
    assert abs(len(shares) - 283) / 283 < 0.02
    assert abs(perplexity - 162) / 162 < 0.06


@pytest.mark.parametrize("name", FILES)
def test_another_file_under_the_name_is_refused(name: str, own: Path) -> None:
    content = bytearray((own / name).read_bytes())
    content[len(content) // 2] ^= 1
    (own / name).unlink()
    (own / name).write_bytes(content)
    tokenizer, file = name.split("/")
    with pytest.raises(WeightsError, match=rf"{tokenizer} needs .*{file} has sha256 [0-9a-f]{{64}}, expected .*delete"):
        loaded(tokenizer)
