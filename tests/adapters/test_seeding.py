"""The parity rule itself, against its published check values."""

from __future__ import annotations

import pytest
import torch

from tests.adapters.seeding import facts_differ, keys_facts, pattern, seeded_state, seeded_tensor, values_facts

CHECK_VALUES = {
    ("encoder.conv_in.weight", (128, 3, 3, 3)): [-0.174894, -0.272115, 0.193559],
    ("quantize.embedding.weight", (4096, 12)): [-0.167117, -0.155426, 0.144190],
    ("encoder.norm.bias", (512,)): [0.029290, 0.016288, -0.011395],
    ("encoder.norm.weight", (512,)): [0.981721, 0.996042, 1.010471],
    ("bn.running_var", (64,)): [1.000274, 1.149801, 1.106218],
}


@pytest.mark.parametrize(("entry", "expected"), CHECK_VALUES.items(), ids=lambda item: str(item[0]))
def test_entries_are_drawn_by_name(entry: tuple[str, tuple[int, ...]], expected: list[float]) -> None:
    assert seeded_tensor(*entry).flatten()[:3].tolist() == pytest.approx(expected, abs=1e-6)


def test_integers_keep_their_values() -> None:
    state = {"steps": torch.tensor([7]), "scale": torch.zeros(3)}
    filled = seeded_state(state)
    assert filled["steps"].tolist() == [7]
    assert filled["scale"].tolist() != [0, 0, 0]


def test_the_pattern() -> None:
    images = pattern(2, 256, 256)
    assert images.shape == (2, 3, 256, 256)
    assert images.dtype == torch.float32
    assert float(images.mean()) == pytest.approx(0.50027, abs=5e-6)
    assert float(images[1, 2, 100, 200]) == pytest.approx(0.561787, abs=1e-6)


def test_facts_tell_networks_apart() -> None:
    state = {"b": torch.zeros(2), "a": torch.zeros(3, 4)}
    facts = keys_facts(state)
    assert (facts["n"], facts["values"]) == (2, 14)
    assert facts == keys_facts(dict(reversed(state.items())))
    assert facts["sha256"] != keys_facts({"b": torch.zeros(2), "a": torch.zeros(4, 3)})["sha256"]
    ramp = torch.arange(64.0).reshape(1, 64)
    assert values_facts(ramp)["values"] == [0, 9, 18, 27, 36, 45, 54, 63]
    assert facts_differ(values_facts(ramp + 0.25), values_facts(ramp)) == pytest.approx(0.25)
    assert facts_differ(values_facts(ramp.T), values_facts(ramp)) == float("inf")
