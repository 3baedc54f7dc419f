"""Checkpoints under latent-diffusion's names: the library's network gives what a network under those names gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.autoencoder_cases import PARITY, LdmNetwork, images
from tests.adapters.key_lists import official_keys
from tests.adapters.seeding import seeded_state
from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents
from tokbench.errors import WeightsError
from tokbench_adapters import aligned_vae, mar_vae
from tokbench_adapters._libraries.autoencoder import autoencoder_of, with_facts
from tokbench_adapters._libraries.ldm_names import kl_config, open_ldm

CARD = TokenizerCard(name="ldm", posterior="mode")


def network(**shape: Any) -> LdmNetwork:
    built = LdmNetwork(**shape)
    built.load_state_dict(seeded_state(built.state_dict()))
    return built.eval().requires_grad_(False)


def shape(encoder_attends: bool, decoder_attends: bool) -> dict[str, Any]:
    return {
        "channels": 4,
        "multipliers": (1, 1, 2),
        "encoder_attends": encoder_attends,
        "decoder_attends": decoder_attends,
        "width": 32,
    }


@pytest.mark.parametrize("decoder_attends", [False, True])
@pytest.mark.parametrize("encoder_attends", [False, True])
def test_both_networks_give_the_same(encoder_attends: bool, decoder_attends: bool) -> None:
    facts = shape(encoder_attends, decoder_attends)
    theirs = network(**facts)
    opened = open_ldm(CARD, kl_config(**facts), theirs.state_dict())
    tokenizer = autoencoder_of(opened, with_facts(opened), device="cpu", dtype="float32")
    assert tokenizer.card.downsampling == 4
    batch = images(2, 32)
    encoding = tokenizer.encode(batch)
    assert isinstance(encoding, Latents)
    means = theirs.mean(batch * 2 - 1)
    assert float(means.std()) > 0.1
    torch.testing.assert_close(encoding.values, means, rtol=0, atol=2e-5)
    painted = tokenizer.decode(Latents(values=means), seeds=[0, 0])
    torch.testing.assert_close(painted, (theirs.paint(means) + 1) / 2, rtol=0, atol=2e-5)


def test_leftovers_are_refused_unless_they_are_known() -> None:
    facts = shape(encoder_attends=True, decoder_attends=False)
    state: Mapping[str, Tensor] = {**network(**facts).state_dict(), "loss.logvar": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"has more than the network: loss\.logvar"):
        open_ldm(CARD, kl_config(**facts), state)
    open_ldm(CARD, kl_config(**facts), state, unused=lambda key: key.startswith("loss."))
    without = {key: entry for key, entry in state.items() if key != "encoder.mid.attn_1.q.weight"}
    with pytest.raises(WeightsError, match=r"lacks encoder\.mid_block\.attentions\.0\.to_q\.weight"):
        open_ldm(CARD, kl_config(**facts), without, unused=lambda key: key.startswith("loss."))


@pytest.mark.parametrize("family", PARITY)
def test_a_small_network_gives_what_the_official_code_gave(family: str) -> None:
    assert PARITY[family]("reduced").is_same


@pytest.mark.slow
@pytest.mark.parametrize(("family", "variant"), [("mar_vae", "kl16"), ("va_vae", "official")])
def test_the_published_size_gives_what_the_official_code_gave(family: str, variant: str) -> None:
    assert PARITY[family](variant).is_same


def zeros(family: str, variant: str) -> dict[str, Tensor]:
    """A checkpoint of the official names and shapes."""
    return {key: torch.zeros(shape) for key, shape in official_keys(family, variant).items()}


def test_mars_names_fill_its_network() -> None:
    tokenizer = mar_vae.build(mar_vae.CARDS[0], zeros("mar_vae", "kl16"), device="cpu", dtype="float32")
    assert (tokenizer.card.name, tokenizer.card.downsampling, tokenizer.card.posterior) == ("mar_vae", 16, "sample")


def test_va_vaes_names_fill_its_network_and_what_training_had_is_left() -> None:
    state = zeros("va_vae", "official")
    more = dict.fromkeys(("loss.logvar", "foundation_model.model.norm.weight", "linear_proj.weight"), torch.zeros(1))
    (card,) = (card for card in aligned_vae.CARDS if card.name == "va_vae/official")
    tokenizer = aligned_vae.build_official(card, {**state, **more}, device="cpu", dtype="float32")
    assert (tokenizer.card.downsampling, tokenizer.card.posterior) == (16, "sample")
    with pytest.raises(WeightsError, match="has more than the network: surprise"):
        aligned_vae.build_official(card, {**state, "surprise": torch.zeros(1)}, device="cpu", dtype="float32")
