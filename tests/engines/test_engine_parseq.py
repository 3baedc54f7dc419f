from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_inputs import odd_crops, words

from tokbench.engines import easyocr, parseq
from tokbench.engines.parseq import MEAN, STD, Parseq, network_input
from tokbench.weights.files import get_command


def _tent(n_in: int, n_out: int) -> np.ndarray:
    """float64 ``(out, in)``: antialiased bilinear weights, from the definition."""
    scale = max(n_in / n_out, 1.0)
    centres = (np.arange(n_out) + 0.5) * n_in / n_out
    weights = np.maximum(0, 1 - np.abs(np.arange(n_in) + 0.5 - centres[:, None]) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


def restated(crop: np.ndarray) -> np.ndarray:
    """docTR's preprocessing in numpy: fit into 32 × 128, tent filter, 8 bits, pad, normalise."""
    height, width = crop.shape[:2]
    factor = min(32 / height, 128 / width)
    size = (32, max(math.floor(width * 32 / height + 1e-9), 1)) if factor == 32 / height else None
    rows, columns = size or (max(math.floor(height * 128 / width + 1e-9), 1), 128)
    scaled = np.einsum("ij,jkc,lk->ilc", _tent(height, rows), crop.astype(np.float64), _tent(width, columns))
    canvas = np.zeros((32, 128, 3))
    canvas[:rows, :columns] = np.rint(scaled) / 255
    return ((canvas - MEAN) / STD).transpose(2, 0, 1)


def test_preprocessing_equals_a_restatement() -> None:
    for crop in [crop for _, crop in words(12)] + odd_crops():
        if crop.shape[:2] == (300, 1):
            continue  # torch 2.13 antialiases an image of width 1 wrongly; docTR inherits that, and so do we
        ours = network_input(crop).numpy()
        assert ours.shape == (3, 32, 128)
        levels = np.abs(ours - restated(crop)) * 255 * np.array(STD)[:, None, None]
        assert levels.max() < 1.01, crop.shape  # a level, where rounding was on the edge
        assert (levels > 0.01).mean() < 0.005


class Recorder(torch.nn.Module):
    """Stands for docTR's network: notes what it is given and spells the crop's brightness."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[int, ...]] = []
        self.steps: list[int] = []

    def feat_extractor(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        self.batches.append(tuple(batch.shape))
        return {"features": batch.mean((1, 3))[:, :2, None]}

    def decode_autoregressive(self, features: torch.Tensor, steps: int) -> torch.Tensor:
        self.steps.append(steps)
        return features[:, 0].expand(-1, steps + 1)

    def postprocessor(self, logits: torch.Tensor) -> list[tuple[str, float]]:
        return [("x " * row.numel() + f"{row[0]:.4f}", 1.0) for row in logits]


def test_batches_have_one_size_and_steps_come_from_the_caps_alone() -> None:
    network = Recorder()
    engine = Parseq(network, device="cpu")
    crops = [crop for _, crop in words(7)]
    caps = [5, None, 5, 40, 5, 5, 5]
    texts = engine.read(crops, caps=caps)
    assert network.batches == [(4, 3, 32, 128)] * 3
    assert sorted(network.steps) == [5, 5, 32]
    assert [text.count("x") for text in texts] == [6, 33, 6, 33, 6, 6, 6]
    assert texts == [engine.read([crop], caps=[cap])[0] for crop, cap in zip(crops, caps, strict=True)]
    assert not any(" " in text for text in texts)
    assert engine.read([]) == []


def doctr_network() -> Any:
    try:
        from doctr.models import parseq as build
    except (ImportError, RuntimeError) as err:  # a torchvision that does not fit its torch raises RuntimeError
        pytest.skip(f"needs python-doctr and a torchvision that fits torch ({err}): pip install 'tokbench[parseq]'")
    torch.manual_seed(0)
    network = build(pretrained=False).eval()
    with torch.no_grad():
        for weights in network.parameters():
            if weights.dim() > 1:
                weights.mul_(4)  # else every answer is the same letter
        network.head.bias[126] += 3  # and some end before the last step
    return network


def test_predictions_equal_doctr_s_with_the_same_random_weights() -> None:
    network = doctr_network()
    from doctr.models.preprocessor import PreProcessor

    crops, labels = [crop for _, crop in words()], [label for label, _ in words()]
    official = PreProcessor((32, 128), batch_size=64, mean=MEAN, std=STD, preserve_aspect_ratio=True)
    inputs = [official.normalize(official.sample_transforms(crop)) for crop in crops]
    for crop, expected in zip(crops, inputs, strict=True):
        assert torch.equal(network_input(crop), expected)
    with torch.inference_mode():
        published = [text for text, _ in network(torch.stack(inputs), target=labels, return_preds=True)["preds"]]
        alone = [network(values[None])["preds"][0][0] for values in inputs]
    engine = Parseq(network, device="cpu")
    assert len(set(published)) > 5
    assert len({len(text) for text in alone}) > 1
    assert engine.read(crops, caps=[max(map(len, labels))] * len(crops)) == [t.replace(" ", "") for t in published]
    assert engine.read(crops) == [text.replace(" ", "") for text in alone]


@pytest.mark.parametrize("engine", [parseq.ENGINE, easyocr.ENGINE], ids=lambda engine: engine.card.key)
def test_missing_weights_are_named_with_the_command(
    engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "weights"))
    reason = engine.unavailable()
    for part in (engine.card.weights.name, f"$TOKBENCH_WEIGHTS/{engine.card.key}", get_command(engine.card.weights)):
        assert part in reason
    folder = tmp_path / "weights" / engine.card.key
    folder.mkdir(parents=True)
    (folder / engine.card.weights.name).write_bytes(b"x")
    assert ("expected 56125471" in engine.unavailable()) == (engine is parseq.ENGINE)
