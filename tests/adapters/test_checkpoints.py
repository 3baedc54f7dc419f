"""Checkpoints as their publishers saved them: found, unwrapped, and refused where reading them would run code."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.seeding import pattern
from tests.adapters.vqgan_cases import MODULES, SMALLEST, facts_of, seeded_checkpoint, small_card, tokenizer_of
from tokbench.contracts import Tokenizer
from tokbench.encodings import Tokens
from tokbench.errors import WeightsError
from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig
from tokbench_adapters._reading.torch_checkpoints import averaged, read_tensors

TAMING_LIKE = dataclasses.replace(SMALLEST, layout=TAMING, search="euclid", attention=())
IBQ_LIKE = dataclasses.replace(TAMING_LIKE, search="dot")


class Callback:
    """Stands for what a trainer pickles into its checkpoints."""


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKBENCH_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TOKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("TOKBENCH_TRUST", raising=False)


def saved(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def loaded(family: str, name: str, config: VqganConfig, monkeypatch: pytest.MonkeyPatch) -> Tokenizer:
    """The family's own ``load`` of a card, for a network of another shape."""
    module = MODULES[family]
    (card,) = (card for card in module.CARDS if card.name == name)
    if hasattr(module, "VARIANTS"):
        monkeypatch.setitem(module.VARIANTS, card.variant, config)
    else:
        build = module.build
        monkeypatch.setattr(module, "build", lambda *parts, **rest: build(*parts, **{"config": config, **rest}))
    tokenizer: Tokenizer = module.load(small_card(card, config), device="cpu", dtype="float32")
    return tokenizer


def with_averages(live: dict[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint whose live weights are all zero and whose averages are the given ones."""
    averages = {"model_ema." + key.replace(".", ""): value for key, value in live.items()}
    more = {"model_ema.decay": torch.tensor(0.999), "loss.discriminator.weight": torch.zeros(3)}
    return {**{key: torch.zeros_like(value) for key, value in live.items()}, **averages, **more}


WEIGHTS: dict[str, tuple[str, VqganConfig, str, Any]] = {
    # family: card, shape, file below $TOKBENCH_WEIGHTS, how the state dict lies in it
    "llamagen": (
        "llamagen/ds8_c2i",
        SMALLEST,
        "FoundationVision/LlamaGen/vq_ds8_c2i.pt",
        lambda state: {"model": {**state, "quantize.codebook_used": torch.zeros(65536)}, "steps": 7},
    ),
    "janus": (
        "janus/pro_1b",
        SMALLEST,
        "deepseek-ai/Janus-Pro-1B/pytorch_model.bin",
        lambda state: {
            **{f"gen_vision_model.{key}": value for key, value in state.items()},
            "language_model.lm_head.weight": torch.zeros(2, 2),
        },
    ),
    "fvq": (
        "fvq/16384",
        SMALLEST,
        "yfChang/FVQ/fullvq2vqgan_ds16_res2_16384_256.pt",
        lambda state: {"model": {key: torch.zeros_like(value) for key, value in state.items()}, "ema": state},
    ),
    "taming": (
        "taming/imagenet_f16_1024",
        TAMING_LIKE,
        "taming/vqgan_imagenet_f16_1024.ckpt",
        lambda state: {"state_dict": {**state, "loss.logvar": torch.zeros(())}, "epoch": 3},
    ),
    "chameleon": ("chameleon", TAMING_LIKE, "chameleon/vqgan.ckpt", lambda state: {"state_dict": state}),
    "ibq": (
        "ibq/1024",
        IBQ_LIKE,
        "TencentARC/IBQ-Tokenizer-1024/imagenet256_1024.ckpt",
        lambda state: {"state_dict": with_averages(state)},
    ),
}


@pytest.mark.parametrize("family", WEIGHTS)
def test_what_is_published_is_read(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, config, file, wrap = WEIGHTS[family]
    path = saved(tmp_path / "weights" / file, wrap(seeded_checkpoint(config)))
    tokenizer = loaded(family, name, config, monkeypatch)
    ((stored, digest),) = tokenizer.card.weights
    assert file.endswith(stored)
    assert len(digest) == 64
    images = pattern(1, 16, 24)
    encoding, expected = tokenizer.encode(images), tokenizer_of(family, config).encode(images)
    assert isinstance(encoding, Tokens)
    assert isinstance(expected, Tokens)
    assert torch.equal(encoding.streams[0].indices, expected.streams[0].indices)
    assert len(encoding.streams[0].indices.unique()) > 1
    assert path.is_file()


def test_emu35_is_read_from_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    folder = tmp_path / "weights" / "BAAI" / "Emu3.5-VisionTokenizer"
    folder.mkdir(parents=True)
    save_file(seeded_checkpoint(IBQ_LIKE), folder / "model.safetensors")
    tokenizer = loaded("emu35", "emu35", IBQ_LIKE, monkeypatch)
    assert tokenizer.encode(pattern(1, 16, 16)).n == 1


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llamagen", r"needs vq_ds16_c2i\.pt of FoundationVision/LlamaGen on the hub"),
        ("janus", r"needs pytorch_model\.bin of deepseek-ai/Janus-Pro-1B"),
        ("fvq", r"needs fullvq2vqgan_ds16_res2_262144_256\.pt of yfChang/FVQ"),
        ("taming", r"vqgan_imagenet_f16_16384\.ckpt is not on this machine.*heibox\.uni-heidelberg\.de/d/a7530b09"),
        ("chameleon", r"needs vqgan\.ckpt in \$TOKBENCH_WEIGHTS/chameleon: accept the terms on https://ai\.meta\.com"),
        ("ibq", r"needs imagenet256_262144\.ckpt of TencentARC/IBQ-Tokenizer-262144"),
        ("emu35", r"needs model\.safetensors of BAAI/Emu3\.5-VisionTokenizer"),
    ],
)
def test_what_is_missing_is_named(family: str, expected: str) -> None:
    module = MODULES[family]
    with pytest.raises(WeightsError, match=expected):
        module.load(module.CARDS[0], device="cpu", dtype="float32")


def test_a_trainers_classes_are_refused_unless_the_file_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = seeded_checkpoint(TAMING_LIKE)
    file = tmp_path / "weights" / "taming" / "vqgan_imagenet_f16_1024.ckpt"
    path = saved(file, {"state_dict": state, "callbacks": {Callback: Callback()}})
    with pytest.raises(WeightsError) as caught:
        loaded("taming", "taming/imagenet_f16_1024", TAMING_LIKE, monkeypatch)
    message = str(caught.value)
    assert f"{path} is refused: reading it would run code: it imports" in message
    assert "Callback" in message
    assert f"TOKBENCH_TRUST={path}" in message
    monkeypatch.setenv("TOKBENCH_TRUST", str(tmp_path / "another.ckpt"))
    with pytest.raises(WeightsError, match="is refused"):
        read_tensors(path, inside=("state_dict",))
    monkeypatch.setenv("TOKBENCH_TRUST", str(path))
    assert read_tensors(path, inside=("state_dict",)).keys() == state.keys()


def test_the_first_key_that_is_there_is_read(tmp_path: Path) -> None:
    one, two = {"a": torch.ones(1)}, {"a": torch.zeros(1)}
    path = saved(tmp_path / "both.pt", {"model": one, "ema": two})
    assert read_tensors(path, inside=("ema", "model"))["a"].item() == 0
    assert read_tensors(path, inside=("model", "ema"))["a"].item() == 1
    with pytest.raises(WeightsError, match="has its weights under none of state_dict; it has model, ema"):
        read_tensors(path, inside=("state_dict",))
    with pytest.raises(WeightsError, match="holds something but tensors by name"):
        read_tensors(path)
    flat = saved(tmp_path / "flat.pt", {"part.a": torch.ones(1), "b": torch.ones(2)})
    assert read_tensors(flat, prefix="part.").keys() == {"a"}
    with pytest.raises(WeightsError, match=r"no names that begin with 'other\.'; the first are part\.a, b"):
        read_tensors(flat, prefix="other.")


def test_averages_replace_the_live_weights() -> None:
    live = seeded_checkpoint(IBQ_LIKE)
    stored = with_averages(live)
    found = averaged(stored, live, source="here")
    assert found.keys() == live.keys()
    assert all(torch.equal(found[key], live[key]) for key in live)
    del stored["model_ema.encoderconv_inweight"]
    with pytest.raises(WeightsError, match=rf"here lacks the averages of 1 of {len(live)}.*encoder\.conv_in\.weight"):
        averaged(stored, live, source="here")


def test_no_two_official_names_share_an_average() -> None:
    """Names lose their dots there."""
    from tests.adapters.vqgan_cases import config_of, shapes_of

    names = shapes_of(config_of(facts_of("ibq", "262144")["config"]), {}).keys()
    assert len({name.replace(".", "") for name in names}) == len(names)
