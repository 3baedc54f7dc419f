"""Our ports of Janus and Chameleon beside the classes of transformers, with the same weights."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.adapters.seeding import pattern
from tests.adapters.vqgan_cases import MODULES, SMALLEST, seeded_checkpoint, small_card
from tokbench.contracts import Tokenizer
from tokbench.encodings import Tokens
from tokbench_adapters._networks.vqgan_config import TAMING, VqganConfig

transformers = pytest.importorskip("transformers", reason="these are its classes")

SMALL = replace(SMALLEST, multipliers=(1, 1, 2), n_blocks=2, attention=(2,))
IMAGES = pattern(2, 32, 32)
LEVELS = r"(encoder|decoder)\.conv_blocks\.(\d+)\."
MIDDLE = ("block_1", "attn_1", "block_2")


def janus_name(official: str) -> str:
    """The library's name of an entry."""
    name = re.sub(LEVELS, lambda found: f"{found[1]}.{'down' if found[1] == 'encoder' else 'up'}.{found[2]}.", official)
    name = name.replace(".res.", ".block.")
    return re.sub(r"\.mid\.(\d)\.", lambda found: f".mid.{MIDDLE[int(found[1])]}.", name)


def options(config: VqganConfig) -> dict[str, object]:
    return {
        "embed_dim": config.code_width,
        "num_embeddings": config.codebook_size,
        "latent_channels": config.latent_channels,
        "base_channels": config.channels,
        "channel_multiplier": list(config.multipliers),
        "num_res_blocks": config.n_blocks,
    }


def tokenizer(family: str, config: VqganConfig, weights: dict[str, Tensor]) -> Tokenizer:
    card = small_card(MODULES[family].CARDS[0], config)
    built: Tokenizer = MODULES[family].build(card, weights, device="cpu", dtype="float32", config=config)
    return built


def library_janus(weights: dict[str, Tensor]) -> torch.nn.Module:
    network = transformers.JanusVQVAE(transformers.JanusVQVAEConfig(**options(SMALL), num_patches=8))
    network.load_state_dict({janus_name(key): entry for key, entry in weights.items()})
    found: torch.nn.Module = network.eval()
    return found


def both(weights: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Our codes, theirs, both int64 ``(n, h, w)``, and the vectors that both are chosen for."""
    network = library_janus(weights)
    with torch.inference_mode():
        encoding = tokenizer("janus", SMALL, weights).encode(IMAGES)
        codes = network.encode(IMAGES * 2 - 1).image_tokens.view(2, 8, 8)  # type: ignore[operator]
        vectors = network.quant_conv(network.encoder(IMAGES * 2 - 1)).permute(0, 2, 3, 1)  # type: ignore[operator]
    assert isinstance(encoding, Tokens)
    assert encoding.streams[0].vectors is not None
    assert float((encoding.streams[0].vectors - vectors).abs().max()) < 1e-5
    return encoding.streams[0].indices, codes, vectors


def test_januses_agree_in_all_but_the_search() -> None:
    """Equal vectors before the search and equal images of equal codes. Codes differ, each being best by its own rule:
    ours at length 1, as in the authors' code, the library's by plain distance. Its decoder scales to length 1, too."""
    weights = seeded_checkpoint(SMALL)
    ours, theirs, vectors = both(weights)
    book = weights["quantize.embedding.weight"]
    angles = F.normalize(vectors, dim=-1) @ F.normalize(book, dim=-1).T
    distances = torch.cdist(vectors.double().flatten(0, 2), book.double()).view(2, 8, 8, -1)
    assert torch.equal(ours, angles.argmax(-1))
    assert torch.equal(theirs, distances.argmin(-1))
    assert float((ours != theirs).float().mean()) > 0.05, "the gap is no matter of rounding"
    with torch.inference_mode():
        decoded = tokenizer("janus", SMALL, weights).decode(Tokens.grid(theirs, codebook_size=64), seeds=range(2))
        expected = library_janus(weights).decode(theirs.flatten(1))  # type: ignore[operator]
    assert float((decoded * 2 - 1 - expected).abs().max()) < 1e-5


def test_januses_agree_wholly_where_all_entries_have_one_length() -> None:
    weights = dict(seeded_checkpoint(SMALL))
    book = F.normalize(weights["quantize.embedding.weight"], dim=-1)
    for length in (1.0, 0.3):
        ours, theirs, _ = both({**weights, "quantize.embedding.weight": book * length})
        assert len(ours.unique()) > 8
        assert torch.equal(ours, theirs)


def test_the_encoder_half_of_chameleon_is_the_librarys() -> None:
    """The library's class has no decoder; vectors before the search and codes are equal."""
    config = replace(SMALL, layout=TAMING, search="euclid", attention=())
    weights = seeded_checkpoint(config)
    network = transformers.ChameleonVQVAE(transformers.ChameleonVQVAEConfig(**options(config), resolution=32))
    shared = {key: entry for key, entry in weights.items() if not key.startswith("decoder.")}
    network.load_state_dict(shared)
    network.eval()
    with torch.inference_mode():
        encoding = tokenizer("chameleon", config, weights).encode(IMAGES)
        codes = network.encode(IMAGES * 2 - 1).image_tokens
        vectors = network.quant_conv(network.encoder(IMAGES * 2 - 1)).permute(0, 2, 3, 1)
    assert isinstance(encoding, Tokens)
    assert encoding.streams[0].vectors is not None
    assert len(codes.unique()) > 8
    assert torch.equal(encoding.streams[0].indices.flatten(), codes)
    assert float((encoding.streams[0].vectors - vectors).abs().max()) < 1e-5
    assert not hasattr(network, "decoder")
