"""FlexTok: what the wrapper asks of the package and makes of its answers, and what a configuration may not call."""

from __future__ import annotations

import copy
import importlib.util
import math
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.adapters.flextok_cases import (
    LEVELS,
    TOKENS,
    reduced_config,
    stand_in,
    stand_in_config,
    stand_in_weights,
    tokenizer_of,
)
from tests.adapters.seeding import pattern, seeded_state
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, WeightsError
from tokbench.requirements import missing_requirement
from tokbench_adapters import flextok

IMAGES = pattern(3, 256, 256)


@pytest.fixture
def package() -> Iterator[None]:
    with stand_in():
        yield


def model_of(tokenizer: Any) -> Any:
    return tokenizer._model


def codes(tokenizer: Any) -> Tokens:
    encoding = tokenizer.encode(IMAGES)
    assert isinstance(encoding, Tokens)
    return encoding


def test_images_go_in_between_minus_one_and_one_and_ids_come_out_as_one_stream() -> None:
    tokenizer = tokenizer_of()
    encoding = codes(tokenizer)
    seen = torch.cat([call["images"] for call in model_of(tokenizer).seen])
    assert torch.equal(seen, IMAGES * 2 - 1)
    own = torch.cat([ids for image in IMAGES for ids in model_of(tokenizer).tokenize(image[None] * 2 - 1)])
    assert torch.equal(encoding.streams[0].indices, own)
    assert encoding.streams[0].codebook_size == math.prod(LEVELS) == 64000
    assert encoding.bits().tolist() == pytest.approx([TOKENS * math.log2(64000)] * 3)
    assert (tokenizer.card.tokens, tokenizer.card.max_length) == (TOKENS, TOKENS), "as the configuration has it"


def test_the_posterior_is_encoded_at_its_mean() -> None:
    tokenizer = tokenizer_of()
    assert torch.equal(codes(tokenizer).streams[0].indices, codes(tokenizer).streams[0].indices)
    model_of(tokenizer).vae.sample_posterior = True  # as the package has it by default
    assert not torch.equal(codes(tokenizer).streams[0].indices, codes(tokenizer).streams[0].indices)


def test_it_decodes_with_the_settings_of_the_readme_one_generator_a_sample() -> None:
    tokenizer = tokenizer_of()
    encoding = codes(tokenizer)
    model_of(tokenizer).seen.clear()
    painted = tokenizer.decode(encoding, seeds=[5, 2**62 + 1, 5])
    calls = model_of(tokenizer).seen
    assert [len(call["ids"]) for call in calls] == [1, 1, 1]
    settings = {"timesteps": 20, "guidance_scale": 7.5, "perform_norm_guidance": True, "verbose": False}
    for call, seed in zip(calls, [5, 2**62 + 1, 5], strict=True):
        assert {key: call[key] for key in settings} == settings
        assert call["generator"].initial_seed() == seed
    for row, seed in enumerate([5, 2**62 + 1, 5]):
        ids = [encoding.streams[0].indices[row : row + 1]]
        with torch.no_grad():
            own = model_of(tokenizer).detokenize(ids, generator=torch.Generator().manual_seed(seed), **settings)
        assert torch.equal(painted[row : row + 1], own / 2 + 0.5)


def test_a_seed_is_a_samples_own() -> None:
    tokenizer = tokenizer_of()
    encoding = codes(tokenizer)
    together = tokenizer.decode(encoding, seeds=[1, 2, 3])
    assert torch.equal(tokenizer.decode(encoding.select([2, 0]), seeds=[3, 1]), together[[2, 0]])
    assert not torch.equal(tokenizer.decode(encoding, seeds=[1, 2, 4])[2], together[2])


def test_a_prefix_is_handed_over_short() -> None:
    tokenizer = tokenizer_of()
    encoding = codes(tokenizer)
    model_of(tokenizer).seen.clear()
    tokenizer.decode(encoding.keep_positions(3), seeds=[0, 0, 0])
    assert [call["ids"][0].shape for call in model_of(tokenizer).seen] == [(1, 3)] * 3
    long = torch.zeros(1, TOKENS + 1, dtype=torch.int64)
    with pytest.raises(BadOutputError, match=f"one stream of 1 to {TOKENS} tokens an image, got Tokens"):
        tokenizer.decode(Tokens.grid(long, codebook_size=64000), seeds=[0])
    with pytest.raises(BadOutputError, match="got Latents"):
        tokenizer.decode(Latents(values=torch.zeros(1, 4)), seeds=[0])


def test_levels_of_another_configuration_are_on_the_card(package: None) -> None:
    config = stand_in_config()
    config["regularizer"]["levels"] = [4, 3, 2, 2, 2, 2]
    tokenizer = flextok.build(flextok.CARDS[0], config, stand_in_weights(), device="cpu", dtype="float32")
    assert tokenizer.card.codebook_sizes == (4 * 3 * 16,)
    quantiser = tokenizer.quantiser()
    assert quantiser.levels == (4, 3, 2, 2, 2, 2)
    assert quantiser.basis == (1, 4, 12, 24, 48, 96)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "flextok.utils.checkpoint.os.system",
        "flextok.vae_wrapper.os.system",
        "flextok.vae_wrapper.os",
        "flextok.flextok_wrapper.StableDiffusionVAE",
        "flextok.utils.checkpoint.save_safetensors",
        "flextok_evil.thing",
        "flextok",
        "${oc.env:HOME}",
        "",
    ],
)
def test_a_configuration_may_call_nothing_but_the_packages_networks(package: None, target: str) -> None:
    for where in ("pipeline", "deep", "list"):
        config: dict[str, Any] = copy.deepcopy(stand_in_config())
        call = {"_target_": target, "command": "true"}
        if where == "pipeline":
            config["pipeline"] = call
        elif where == "deep":
            config["encoder"]["module_dict"]["more"] = {"per_sample_op": {"inner": call}}
        else:
            config["encoder"]["_args_"] = [[call]]
        said = f"would call {re.escape(target)}, and only modules of flextok are built from it"
        with pytest.raises(WeightsError, match=said):
            flextok.build(flextok.CARDS[0], config, stand_in_weights(), device="cpu", dtype="float32")


def test_a_configuration_may_not_leave_places_for_the_library_to_fill(package: None) -> None:
    config = stand_in_config(more="${oc.create:{_target_: os.system, command: 'true'}}")
    with pytest.raises(WeightsError, match=r"would call \$\{oc\.create:.*, and only modules of flextok"):
        flextok.build(flextok.CARDS[0], config, stand_in_weights(), device="cpu", dtype="float32")


def test_another_checkpoint_is_refused_by_name(package: None) -> None:
    weights = stand_in_weights()
    del weights["mask"]
    with pytest.raises(WeightsError, match=r"flextok_d12_d12_in1k is not the checkpoint .* lacks mask"):
        flextok.build(flextok.CARDS[0], stand_in_config(), weights, device="cpu", dtype="float32")


def test_without_the_package_the_command_gets_it() -> None:
    card = replace(flextok.CARDS[0], requires=("flextok_that_is_not_here",))
    assert missing_requirement(card) == (
        "needs flextok_that_is_not_here: pip install 'flextok @ git+https://github.com/apple/ml-flextok' torchvision"
    )


def test_cards_are_of_the_four_released_repositories() -> None:
    assert [card.hub for card in flextok.CARDS] == [
        "EPFL-VILAB/flextok_d12_d12_in1k",
        "EPFL-VILAB/flextok_d18_d18_in1k",
        "EPFL-VILAB/flextok_d18_d28_in1k",
        "EPFL-VILAB/flextok_d18_d28_dfn",
    ]
    assert all(not card.deterministic and card.posterior == "mode" for card in flextok.CARDS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_package_itself_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("flextok") is None:
        pytest.skip("flextok is not installed: it is got from its repository")
    from flextok import vae_wrapper
    from flextok.flextok_wrapper import FlexTokFromHub

    monkeypatch.setitem(vae_wrapper.VAE_BASE_CFG, "block_out_channels", [32, 32, 32, 32])
    model = FlexTokFromHub(reduced_config()).eval()
    weights = seeded_state(model.state_dict())
    model.load_state_dict(weights, strict=True)
    model.vae.sample_posterior = False
    tokenizer = flextok.build(flextok.CARDS[0], reduced_config(), weights, device="cpu", dtype="float32")
    images = IMAGES[:2]
    encoding = tokenizer.encode(images)
    assert isinstance(encoding, Tokens)
    settings: dict[str, Any] = {
        "timesteps": 20, "guidance_scale": 7.5, "perform_norm_guidance": True, "verbose": False,
    }  # fmt: skip
    for length in (3, TOKENS):
        painted = tokenizer.decode(encoding.keep_positions(length), seeds=[1, 2])
        for row, seed in enumerate([1, 2]):
            with torch.no_grad():
                (ids,) = model.tokenize(images[row : row + 1] * 2 - 1)
                generator = torch.Generator().manual_seed(seed)
                own = model.detokenize([ids[:, :length]], generator=generator, **settings)
            assert torch.equal(encoding.streams[0].indices[row : row + 1], ids)
            torch.testing.assert_close(painted[row : row + 1], own / 2 + 0.5, atol=1e-4, rtol=0)
