"""`tokbench doctor --tokenizer`: what it finds in toys whose faults are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tokbench.__main__ import main
from tokbench.cards import TokenizerCard
from tokbench.trial import drawn_images, try_tokenizer

TOYS = """
import torch

class Good:
    codebook_size = 256
    fixed_size_px = 48
    def encode(self, images):
        return (images * 255).round().long()
    def decode(self, codes):
        return codes.float() / 255

class Signed(Good):
    def decode(self, codes):
        return codes.float() / 127.5 - 1

class Dark(Good):
    def decode(self, codes):
        return codes.float() / 510

class Restless(Good):
    calls = 0
    def decode(self, codes):
        self.calls += 1
        return codes.float() / 255 + 0.001 * (self.calls % 5)

class Sociable(Good):
    def decode(self, codes):
        return codes.float() / 255 + 0.0001 * codes.float().std()

class Raises(Good):
    def encode(self, images):
        raise KeyError("no such layer")

class Halved(Good):
    def decode(self, codes):
        if codes.dtype != torch.int64 or self.seen != torch.bfloat16:
            raise TypeError(f"computes in bfloat16, got {self.seen}")
        return super().decode(codes)
    def encode(self, images):
        self.seen = images.dtype
        return super().encode(images)

class Latent:
    def encode(self, images):
        return images[:, :2]
    def decode(self, latents):
        return latents.mean(1, keepdim=True).expand(-1, 3, -1, -1)

class Scribbles(Good):
    def encode(self, images):
        images += 0.001
        return super().encode(images.clamp(0, 1))
"""


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    (tmp_path / "toys.py").write_text(TOYS)
    return tmp_path / "toys.py"


def statuses(toys: Path, name: str) -> dict[str, str]:
    return {check.name: check.status for check in try_tokenizer(f"{toys}:{name}", device="cpu")}


def found(toys: Path, name: str, check: str) -> str:
    return next(item.found for item in try_tokenizer(f"{toys}:{name}", device="cpu") if item.name == check)


def test_a_good_one_passes_every_check(toys: Path) -> None:
    names = ["loads", "encodes", "decodes", "levels", "repeats", "batches"]
    assert statuses(toys, "Good") == dict.fromkeys(names, "ok")
    assert statuses(toys, "Latent") == dict.fromkeys(names, "ok")
    assert "tokens: 1 × 3×48×48 of 256 codes" in found(toys, "Good", "encodes")
    assert "latents: 2×256×256" in found(toys, "Latent", "encodes")


@pytest.mark.parametrize(
    ("name", "check", "status", "message"),
    [
        ("Signed", "contract", "broken", "this looks like [-1, 1]"),
        ("Dark", "levels", "missing", "0.9 → 0.45"),
        ("Restless", "repeats", "missing", "only within 0.001"),
        ("Sociable", "batches", "missing", "an image alone is as in a batch only within"),
        ("Raises", "contract", "broken", "KeyError: 'no such layer'"),
        ("Scribbles", "input", "broken", "wrote to its images"),
        ("Absent", "contract", "broken", "has no attribute 'Absent'"),
    ],
)
def test_a_fault_is_found(name: str, check: str, status: str, message: str, toys: Path) -> None:
    assert statuses(toys, name)[check] == status
    assert message in found(toys, name, check)


def test_images_fit_the_card() -> None:
    for card, side in (
        (TokenizerCard(name="a", fixed_size_px=224), 224),
        (TokenizerCard(name="a", size_multiple=14), 252),
        (TokenizerCard(name="a", size_multiple=600), 600),
        (TokenizerCard(name="a"), 256),
    ):
        images = drawn_images(card)
        assert images.shape == (4, 3, side, side)
        assert float(images.min()) >= 0
        assert float(images.max()) <= 1
        assert torch.equal(images[1], torch.full((3, side, side), 0.5))


def test_the_command_exits_by_what_it_found(toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--tokenizer", f"{toys}:Good", "--device", "cpu"]) == 0
    assert "ok       repeats  it gives the same images again, to the last bit" in capsys.readouterr().out
    assert main(["doctor", "--tokenizer", f"{toys}:Signed", "--device", "cpu", "--json"]) == 1
    assert [row["status"] for row in json.loads(capsys.readouterr().out)] == ["ok", "broken"]
    assert main(["doctor", "--tokenizer", f"{toys}:Dark", "--device", "cpu"]) == 0
    assert "pixel_range" in capsys.readouterr().out
    assert main(["doctor", "--tokenizer", f"{toys}:Halved", "--device", "cpu"]) == 1
    assert "computes in bfloat16, got torch.float32" in capsys.readouterr().out
    assert main(["doctor", "--tokenizer", f"{toys}:Halved", "--device", "cpu", "--dtype", "bfloat16"]) == 0
