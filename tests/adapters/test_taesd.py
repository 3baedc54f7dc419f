"""The TAESD family against its official code, and against the library's class, with key-seeded weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tests.adapters.key_lists import key_problems, official_keys
from tests.adapters.seeding import golden, keys_facts, pattern, seeded_state
from tests.adapters.taesd_cases import RELEASED, card_of, compared, config_of, facts_of, seeded, tokenizer_of
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, WeightsError
from tokbench_adapters import taesd
from tokbench_adapters._networks import taesd as networks
from tokbench_adapters._networks.taesd_config import TaesdConfig

VARIANTS = tuple(golden("taesd")["variants"])
TOLERANCE = 2e-5


@pytest.mark.parametrize("variant", VARIANTS)
def test_latents_and_images_are_upstreams(variant: str) -> None:
    found = compared(variant)
    assert max(found.latents, found.images) < TOLERANCE, found


@pytest.mark.parametrize("card", taesd.CARDS, ids=lambda card: card.name)
def test_every_card_is_of_an_upstream_network(card: taesd.TokenizerCard) -> None:
    facts, config = facts_of(RELEASED[card.name]), taesd.NETWORKS[card.name]
    assert config == config_of(facts["config"])
    assert keys_facts(seeded(config)) == facts["keys"]
    assert not key_problems(seeded(config), official_keys("taesd", RELEASED[card.name]))
    assert card.size_multiple == card.downsampling == config.cell_px == (32 if card.name == "taesana" else 8)
    assert card.tokens == (256 // config.cell_px) ** 2
    assert card.pixel_range == (0, 1)
    assert bool(card.hub) != bool(card.weights_keys)
    assert all(len(sha256) == 64 for _, sha256 in card.weights)


def test_the_configuration_is_whole() -> None:
    assert {card.name for card in taesd.CARDS} == set(RELEASED) == set(taesd.NETWORKS)
    assert set(RELEASED.values()) == set(VARIANTS)
    with pytest.raises(ValueError, match="needs 6 decoder stages"):
        TaesdConfig(latent_channels=32, stem=(32, 64))


# What a port gets wrong without an error. Each must show.


def _bypass_without_pool(block: networks.Block, hidden: Tensor) -> Tensor:
    pooled = hidden if block.pool is None else hidden + block.pool(hidden)
    return torch.relu(block.conv(pooled) + hidden)


def _no_last_relu(block: networks.Block, hidden: Tensor) -> Tensor:
    pooled = hidden if block.pool is None else hidden + block.pool(hidden)
    found: Tensor = block.conv(pooled) + pooled
    return found


def _smooth(scale_factor: int) -> nn.Upsample:
    return upsample(scale_factor=scale_factor, mode="bilinear")


upsample = nn.Upsample
MUTATIONS: dict[str, tuple[object, str, object]] = {
    "groups": (networks, "GROUPS", 8),
    "latents not bent": (networks, "LIMIT", 1e9),
    "bypass without the pool": (networks.Block, "forward", _bypass_without_pool),
    "no ReLU after the sum": (networks.Block, "forward", _no_last_relu),
    "bilinear": (nn, "Upsample", _smooth),
}


@pytest.mark.parametrize("mistake", MUTATIONS)
def test_a_mistake_shows(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, wrong = MUTATIONS[mistake]
    monkeypatch.setattr(where, name, wrong)
    found = compared("taef2")
    assert max(found.latents, found.images) > 100 * TOLERANCE


# The form on the hub is the library's.


def library_model(channels: int) -> nn.Module:
    diffusers = pytest.importorskip("diffusers", reason="compares with diffusers' AutoencoderTiny")
    with torch.device("meta"):
        model = diffusers.AutoencoderTiny(latent_channels=channels)
    model.load_state_dict(seeded_state(model.state_dict()), strict=True, assign=True)
    found: nn.Module = model.eval().requires_grad_(False)
    return found


@pytest.mark.parametrize("name", ["taesd", "taesdxl", "taesd3", "taef1"])
def test_the_librarys_form_gives_what_the_library_gives(name: str) -> None:
    """Its images are in [-1, 1], and its decoder counts one less."""
    model = library_model(taesd.NETWORKS[name].latent_channels)
    card = card_of(name)
    tensors = taesd.official_names(model.state_dict())
    tokenizer = taesd.build(card, tensors, device="cpu", dtype="float32")
    images = pattern(2, 24, 40)
    with torch.inference_mode():
        encoding = tokenizer.encode(images)
        assert isinstance(encoding, Latents)
        theirs = model.encode(images * 2 - 1).latents  # type: ignore[operator]
        assert float((encoding.values - theirs).abs().max()) < TOLERANCE
        decoded = model.decode(theirs).sample / 2 + 0.5  # type: ignore[operator]
        assert float((tokenizer.decode(encoding, seeds=[0, 0]) - decoded).abs().max()) < TOLERANCE
        assert float(decoded.std()) > 0.01


def test_the_library_cannot_read_the_pooled_network() -> None:
    """Why there is a network of our own: twelve entries of each half are left over."""
    official = set(official_keys("taesd", "taef2"))
    library = set(taesd.official_names(library_model(32).state_dict()))
    assert {key.split(".")[2] for key in official - library} == {"pool"}
    assert len([key for key in official - library if key.startswith("encoder.")]) == 12
    assert library < official


def test_both_published_forms_are_one_network() -> None:
    official = seeded(taesd.NETWORKS["taef2"])
    halves = {
        half: {key.removeprefix(f"{half}."): entry for key, entry in official.items() if key.startswith(half)}
        for half in taesd.HALVES
    }
    assert "1.weight" in halves["decoder"]
    assert taesd.joined(**halves) == official
    library = {}
    for key, entry in official.items():
        half, place, *rest = key.split(".")
        library[".".join([half, "layers", str(int(place) - (half == "decoder")), *rest])] = entry
    assert "decoder.layers.0.weight" in library
    assert taesd.official_names(library) == official
    assert taesd.official_names(official) == official


def test_another_network_is_refused_by_name() -> None:
    card = card_of("taef1")
    with pytest.raises(
        WeightsError, match=r"decoder\.3\.pool\.0\.weight.*decoder\.1\.weight is \(64, 32, 3, 3\), expected"
    ):
        taesd.build(card, seeded(taesd.NETWORKS["taef2"]), device="cpu", dtype="float32")
    swapped = taesd.joined(
        {key[8:]: entry for key, entry in seeded(taesd.NETWORKS["taef1"]).items() if key.startswith("decoder.")}, {}
    )
    with pytest.raises(WeightsError, match=r"lacks decoder\.1\.bias"):
        taesd.build(card, swapped, device="cpu", dtype="float32")


def test_half_precision_files_are_computed_in_single() -> None:
    config = taesd.NETWORKS["taef2"]
    half = {key: entry.half() for key, entry in seeded(config).items()}
    encoding = taesd.build(card_of("taef2"), half, device="cpu", dtype="float32").encode(pattern(1, 16, 16))
    assert isinstance(encoding, Latents)
    assert encoding.values.dtype == torch.float32
    exact = tokenizer_of("taef2").encode(pattern(1, 16, 16))
    assert isinstance(exact, Latents)
    assert 0 < float((encoding.values - exact.values).abs().max()) < 0.02


def test_latents_are_bent_towards_three() -> None:
    limit = networks.SoftLimit()
    values = torch.tensor([0.0, 1e-3, 3.0, -300.0])
    assert limit(values).tolist() == pytest.approx([0, 1e-3, 3 * math.tanh(1), -3])


def test_other_encodings_are_refused() -> None:
    tokenizer = tokenizer_of("taesd")
    with pytest.raises(BadOutputError, match=r"decodes Latents \(n, 4, h, w\), got \(1, 16, 2, 2\)"):
        tokenizer.decode(Latents(values=torch.zeros(1, 16, 2, 2)), seeds=[0])
    with pytest.raises(BadOutputError, match="got Tokens"):
        tokenizer.decode(Tokens.grid(torch.zeros(1, 2, 2, dtype=torch.int64), codebook_size=2), seeds=[0])
