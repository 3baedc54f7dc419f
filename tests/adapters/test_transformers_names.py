"""``transformers:FOLDER``: the tokenizers inside checkpoints of transformers, and those that cannot be measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.adapters.library_cases import EMU3, JANUS, as_shards, emu3_codes, janus_codes, transformers_network
from tests.adapters.seeding import pattern
from tokbench.encodings import Tokens
from tokbench.errors import ReservedError, UnsupportedInputError, UsageError, WeightsError
from tokbench.tokenizers import load_tokenizer

pytest.importorskip("transformers", reason="these are its classes")

KINDS: dict[str, tuple[str, dict[str, Any]]] = {"emu3": ("Emu3VQVAE", EMU3), "janus": ("JanusVQVAE", JANUS)}
IMAGES = pattern(2, 16, 16)


def inside_a_model(kind: str, folder: Path, prefix: str) -> Path:
    """A multimodal checkpoint in shards, of which the language model is a stand-in."""
    name, config = KINDS[kind]
    state = transformers_network(name, config).state_dict()
    language = {f"model.language_model.{number}.weight": torch.zeros(2) for number in range(len(state))}
    as_shards({**language, **{f"{prefix}{key}": entry for key, entry in state.items()}}, 4, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": kind, "vq_config": config, "text_config": {}}))
    return folder


def codes_of(tokenizer: Any) -> torch.Tensor:
    with torch.inference_mode():
        encoding = tokenizer.encode(IMAGES)
    assert isinstance(encoding, Tokens)
    return encoding.streams[0].indices


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prefix", ["model.vqmodel.", "vqmodel."])
def test_the_part_inside_a_larger_model_is_found(kind: str, prefix: str, tmp_path: Path) -> None:
    """Under the names of both releases; the other files are not opened."""
    folder = inside_a_model(kind, tmp_path, prefix)
    weight_map = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    used = {file for name, file in weight_map.items() if name.startswith(prefix)}
    for file in set(weight_map.values()) - used:
        (folder / file).write_bytes(b"never opened")
    assert 0 < len(used) < 4
    tokenizer = load_tokenizer(f"transformers:{folder}", device="cpu")
    expected = {"emu3": emu3_codes, "janus": janus_codes}[kind]()
    assert torch.equal(codes_of(tokenizer), codes_of(expected))
    card = tokenizer.card
    assert {name for name, _ in card.weights} == {"config.json", *used}
    assert (card.codebook_sizes, card.size_multiple, card.pixel_range) == ((64,), 2, (-1, 1))
    assert card.opened_as == f"transformers:{folder}"
    assert any("searches codes by plain distance" in note for note in card.notes) == (kind == "janus")


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_that_the_library_saved_alone_is_read(kind: str, tmp_path: Path) -> None:
    name, config = KINDS[kind]
    transformers_network(name, config).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(f"transformers:{tmp_path}", device="cpu")
    assert torch.equal(codes_of(tokenizer), codes_of({"emu3": emu3_codes, "janus": janus_codes}[kind]()))


def test_janus_decodes_what_the_class_does_and_takes_its_one_size(tmp_path: Path) -> None:
    folder = inside_a_model("janus", tmp_path, "model.vqmodel.")
    tokenizer = load_tokenizer(f"transformers:{folder}", device="cpu")
    network = transformers_network("JanusVQVAE", JANUS)
    codes = torch.randint(0, 64, (1, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = tokenizer.decode(Tokens.grid(codes, codebook_size=64), seeds=[0])
        theirs = network.decode(codes.flatten(1))
        assert torch.equal(codes_of(tokenizer).flatten(), network.encode(IMAGES * 2 - 1).image_tokens)
    assert float((ours * 2 - 1 - theirs).abs().max()) < 1e-6
    assert tokenizer.card.fixed_size_px == 16
    assert tokenizer.card.tokens == 64
    with pytest.raises(UnsupportedInputError, match="takes images of 16×16 px, got 32×32"):
        tokenizer.encode(pattern(1, 32, 32))


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        (
            {"model_type": "chameleon"},
            ReservedError,
            "has an encoder and a codebook and no decoder; the tokenizers",
        ),
        (
            {"model_type": "flava"},
            ReservedError,
            "FlavaImageCodebook of transformers has an encoder and",
        ),
        ({"model_type": "glm_image"}, ReservedError, "gives no images"),
        ({"model_type": "multi_modality"}, ReservedError, "the tokenizer janus reads that"),
        ({"model_type": "Emu3VisionVQ"}, ReservedError, "the tokenizer emu3 reads that"),
        (
            {"model_type": "llama"},
            UsageError,
            "a model of type 'llama', which is none of those .*: emu3, emu3_vqgan",
        ),
        ({}, UsageError, "holds a model of type 'nothing'"),
        ({"model_type": "janus"}, WeightsError, "has no vq_config, expected that of JanusVQVAE"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_reason(
    config: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(error, match=words):
        load_tokenizer(f"transformers:{tmp_path}", device="cpu")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("transformers:janus", "'janus' is neither a repository .* nor a folder"),
        ("transformers:org/repo/vae", "names a folder in a repository"),
        ("transformers:org/repo?posterior=mode", "transformers: has no option posterior; it has none"),
        ("transformers:./nowhere", "there is no folder nowhere"),
        ("transformers", "needs to know what to open: transformers:ORG/REPO"),
    ],
)
def test_malformed_names_say_how_it_is_typed(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_tokenizer(name, device="cpu")
