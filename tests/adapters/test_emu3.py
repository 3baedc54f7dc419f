"""Emu3's tokenizer by the class of transformers: what the official code gave, and what the class itself gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from tests.adapters.key_lists import key_problems, official_keys, state_of
from tests.adapters.library_cases import EMU3, emu3_codes, small_card, transformers_network
from tests.adapters.seeding import facts_differ, golden, pattern, seeded_state, values_facts
from tokbench.contracts import Tokenizer
from tokbench.encodings import Tokens
from tokbench.errors import WeightsError
from tokbench_adapters import emu3

transformers = pytest.importorskip("transformers", reason="these are its classes")

TOLERANCE = 2e-5
VARIANTS = ("reduced", pytest.param("vision_tokenizer", marks=pytest.mark.slow))


def facts_of(variant: str) -> dict[str, Any]:
    found: dict[str, Any] = golden("emu3")["variants"][variant]
    return found


def official_tokenizer(variant: str) -> Tokenizer:
    """Ours, filled under the official names."""
    options = emu3.library_options(facts_of(variant)["config"])
    tensors = emu3.library_names(seeded_state(zeroed(variant)))
    return emu3.build(small_card(emu3.CARDS[0]), options, tensors, device="cpu", dtype="float32")


def zeroed(variant: str) -> dict[str, torch.Tensor]:
    """The official entries; counters of batch norms are integers, which a list of shapes does not say."""
    return {
        key: torch.zeros((), dtype=torch.int64) if key.endswith("num_batches_tracked") else entry
        for key, entry in state_of(official_keys("emu3", variant)).items()
    }


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_library_gives_what_the_official_code_gave(variant: str) -> None:
    """Under the official names and options: equal codes and vectors, and images of codes spread over the book."""
    facts = facts_of(variant)
    tokenizer = official_tokenizer(variant)
    expected = torch.tensor(facts["indices"])
    size = tokenizer.card.codebook_sizes[0]
    spread = torch.arange(expected.numel()).mul(facts["stride"]).remainder(size).view(expected.shape)
    with torch.inference_mode():
        encoding = tokenizer.encode(pattern(*facts["images"]))
        images = tokenizer.decode(Tokens.grid(spread, codebook_size=size), seeds=range(len(expected)))
    assert isinstance(encoding, Tokens)
    assert encoding.streams[0].vectors is not None
    assert torch.equal(encoding.streams[0].indices, expected)
    assert facts_differ(values_facts(encoding.streams[0].vectors), facts["vectors"]) < TOLERANCE
    assert facts_differ(values_facts(images), facts["image"]) < TOLERANCE
    assert facts["image"]["deviation"] > 100 * TOLERANCE


def test_every_official_name_is_one_of_the_librarys() -> None:
    """At the published size; the library's configuration without options is the official one without options."""
    with torch.device("meta"):
        network = transformers.Emu3VQVAE(transformers.Emu3VQVAEConfig())
    renamed = emu3.library_names(zeroed("vision_tokenizer"))
    assert key_problems(network.state_dict(), {key: tuple(entry.shape) for key, entry in renamed.items()}) == []
    assert transformers.Emu3VQVAEConfig(**emu3.library_options({})).to_dict() == network.config.to_dict()


def plain(config: Any) -> dict[str, Any]:
    """The options of a network; tuples as lists, as JSON has them."""
    options = {key: value for key, value in config.to_dict().items() if key not in ("dtype", "transformers_version")}
    found: dict[str, Any] = json.loads(json.dumps(options))
    return found


def test_the_published_configuration_is_the_librarys_own() -> None:
    """``config.json`` of BAAI/Emu3-VisionTokenizer at the pinned commit."""
    published = {
        "architectures": ["Emu3VisionVQModel"],
        "attn_resolutions": [3],
        "auto_map": {"AutoModel": "modeling_emu3visionvq.Emu3VisionVQModel"},
        "ch": 256,
        "ch_mult": [1, 2, 2, 4],
        "codebook_size": 32768,
        "double_z": False,
        "dropout": 0.0,
        "embed_dim": 4,
        "in_channels": 3,
        "model_type": "Emu3VisionVQ",
        "num_res_blocks": 2,
        "out_channels": 3,
        "temporal_downsample_factor": 4,
        "torch_dtype": "float32",
        "transformers_version": "4.44.0",
        "z_channels": 4,
    }
    read = transformers.Emu3VQVAEConfig.from_dict(emu3.library_options(published))
    assert plain(read) == plain(transformers.Emu3VQVAEConfig())


def test_the_card_says_what_the_published_configuration_does() -> None:
    config = transformers.Emu3VQVAEConfig()
    for card in emu3.CARDS:
        assert card.codebook_sizes == (config.codebook_size,)
        assert card.downsampling == card.size_multiple == 2 ** (len(config.channel_multiplier) - 1)
        assert card.tokens == (256 // card.size_multiple) ** 2


def test_codes_and_images_are_the_classs_own() -> None:
    network, tokenizer = transformers_network("Emu3VQVAE", EMU3), emu3_codes()
    images = pattern(2, 32, 48)
    codes = torch.randint(0, 64, (1, 16, 24), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        theirs = network.encode(images * 2 - 1, image_sizes=torch.tensor([[32, 48]] * 2)).image_tokens
        ours = tokenizer.decode(Tokens.grid(codes, codebook_size=64), seeds=[0])
        decoded = network.decode(codes)
        frames = network.decode(codes[:, None])
    assert isinstance(encoding, Tokens)
    assert torch.equal(encoding.streams[0].indices, torch.stack(theirs))
    assert float((ours * 2 - 1 - decoded).abs().max()) < 1e-6
    assert frames.shape == (1, 4, 3, 32, 48)
    assert torch.equal(decoded, frames[:, 0]), "the first frame is kept"
    assert float((frames[:, 0] - frames[:, -1]).abs().max()) > 1e-3, "and the others are other images"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"base_channels": 33}, "does not accept its configuration: .*divisible"),
        ({"codebook_size": "many"}, "does not accept its configuration"),
        ({"codebook_size": 65}, r"quantize\.embedding\.weight is \(64, 4\), expected \(65, 4\)"),
        ({"num_res_blocks": 2}, r"lacks decoder\.time_res_stack\.1"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], words: str) -> None:
    state = transformers_network("Emu3VQVAE", EMU3).state_dict()
    with pytest.raises(WeightsError, match=words):
        emu3.build(small_card(emu3.CARDS[0]), {**EMU3, **change}, state, device="cpu", dtype="float32")


def test_another_network_than_the_cards_is_refused() -> None:
    state = transformers_network("Emu3VQVAE", EMU3).state_dict()
    with pytest.raises(WeightsError, match=r"the card emu3/chat_hf says: codebook_sizes \(64,\) instead of \(32768,\)"):
        emu3.build(emu3.CARDS[1], EMU3, state, device="cpu", dtype="float32")
