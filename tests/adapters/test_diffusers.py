"""Image autoencoders of diffusers: to the last bit what the library's own calls give, or why they cannot be read."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.adapters.autoencoder_cases import TINY, WEIGHTS, config_of, images, network_of, write
from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, MissingExtraError, UsageError, WeightsError
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import Wrapped
from tokbench_adapters._libraries.autoencoder import KINDS
from tokbench_adapters._libraries.diffusers_folder import read_autoencoder
from tokbench_adapters._libraries.former_names import siglip_of_before

# How the library's documentation calls each class, on images in [0, 1].
_KL: tuple[Callable[..., Tensor], Callable[..., Tensor]] = (
    lambda network, x: network.encode(x * 2 - 1).latent_dist.mode(),
    lambda network, z: (network.decode(z).sample + 1) / 2,
)
CALLS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    **dict.fromkeys(
        (
            "AutoencoderKL",
            "AsymmetricAutoencoderKL",
            "AutoencoderKLFlux2",
            "AutoencoderKLHunyuanImage",
            "AutoencoderKLKVAE",
        ),
        _KL,
    ),
    "AutoencoderKLQwenImage": (
        lambda network, x: network.encode(x[:, :, None] * 2 - 1).latent_dist.mode()[:, :, 0],
        lambda network, z: (network.decode(z[:, :, None]).sample[:, :, 0] + 1) / 2,
    ),
    "AutoencoderDC": (lambda network, x: network.encode(x * 2 - 1).latent, _KL[1]),
    "AutoencoderTiny": (lambda network, x: network.encode(x * 2 - 1).latents, _KL[1]),
    "AutoencoderRAE": (lambda network, x: network.encode(x).latent, lambda network, z: network.decode(z).sample),
}


@pytest.fixture(autouse=True)
def _quiet() -> None:
    """The library says how it loads without `accelerate`; that is no part of a test."""
    logging.getLogger("diffusers").setLevel(logging.ERROR)


def opened(folder: Path, options: str = "", **more: Any) -> Wrapped:
    return load_tokenizer(f"diffusers:{folder}{options}", device="cpu", **more)


def by_the_library(folder: Path) -> Any:
    import diffusers

    config = json.loads((folder / "config.json").read_text())
    with siglip_of_before(config):
        return getattr(diffusers, config["_class_name"]).from_pretrained(folder).eval().requires_grad_(False)


def latents_of(tokenizer: Wrapped, batch: Tensor) -> Tensor:
    encoding = tokenizer.encode(batch, seeds=range(len(batch)))
    assert isinstance(encoding, Latents)
    return encoding.values


def pixels_of(tokenizer: Wrapped, latents: Tensor) -> Tensor:
    return tokenizer.decode(Latents(values=latents), seeds=range(len(latents)))


def test_every_class_that_is_read_has_a_tiny_one_and_a_documented_call() -> None:
    assert {class_name for class_name, _ in TINY.values()} == KINDS.keys() == CALLS.keys()


@pytest.mark.parametrize("kind", TINY)
def test_latents_and_images_are_the_librarys_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "it"
    network_of(kind).save_pretrained(folder)
    tokenizer, network = opened(folder), by_the_library(folder)
    assert not tokenizer.card.notes, "nothing in what the library wrote is unknown to it"
    encode, decode = CALLS[TINY[kind][0]]
    batch = images(2, tokenizer.card.fixed_size_px or 32)
    latents = latents_of(tokenizer, batch)
    expected = torch.cat([encode(network, image) for image in batch.split(1)])
    assert torch.equal(latents, expected)
    painted = pixels_of(tokenizer, latents)
    assert painted.shape == batch.shape
    theirs = torch.cat([decode(network, row) for row in latents.split(1)])
    assert torch.equal(painted, theirs)


@pytest.mark.parametrize("kind", TINY)
def test_cards_say_what_the_network_does(kind: str, tmp_path: Path) -> None:
    tokenizer = opened(write(tmp_path / "My Model", kind))
    card = tokenizer.card
    side = card.fixed_size_px or 4 * card.size_multiple
    latents = latents_of(tokenizer, images(1, side))
    assert card.downsampling is not None
    assert latents.shape[2:] == (side // card.downsampling,) * 2
    assert f"(f{card.downsampling}, {latents.shape[1]} channels)" in card.title
    assert card.tokens == ((card.fixed_size_px or 256) // card.downsampling) ** 2
    assert (card.name, card.opened_as) == ("diffusers/my.model", f"diffusers:{tmp_path / 'My Model'}")
    assert [name for name, _ in card.weights] == ["config.json", WEIGHTS]
    assert (card.posterior == "mode") == (KINDS[TINY[kind][0]].gives == "latent_dist")
    assert card.pixel_range == ((0.0, 1.0) if "rae" in kind else (-1.0, 1.0))


def test_a_sampled_posterior_is_the_librarys_sample_from_each_images_own_seed(tmp_path: Path) -> None:
    folder = write(tmp_path / "kl", "kl")
    tokenizer, network = opened(folder, "?posterior=sample"), by_the_library(folder)
    assert tokenizer.card.posterior == "sample"
    batch = images(3, 16)
    encoding = tokenizer.encode(batch, seeds=[7, 8, 7])
    assert isinstance(encoding, Latents)
    for row, seed in enumerate([7, 8, 7]):
        posterior = network.encode(batch[row : row + 1] * 2 - 1).latent_dist
        assert torch.equal(encoding.values[row : row + 1], posterior.sample(torch.Generator().manual_seed(seed)))
    alone = tokenizer.encode(batch[1:2], seeds=[8])
    assert isinstance(alone, Latents)
    assert torch.equal(alone.values, encoding.values[1:2])
    with pytest.raises(UsageError, match="samples its posterior: encode needs one seed an image"):
        tokenizer.encode(batch)
    means = latents_of(opened(folder, "?posterior=mode"), batch)
    assert float((encoding.values - means).abs().max()) > 0.1


def test_tiny_latents_are_not_rounded_as_its_forward_does(tmp_path: Path) -> None:
    folder = write(tmp_path / "tiny", "tiny")
    tokenizer, network = opened(folder), by_the_library(folder)
    batch = images(1, 32)
    whole = (network(batch * 2 - 1).sample + 1) / 2
    ours = pixels_of(tokenizer, latents_of(tokenizer, batch))
    assert not torch.equal(ours, whole)
    assert float((ours - whole).abs().max()) < 0.1


@pytest.mark.parametrize("kind", [kind for kind in TINY if "rae" not in kind and kind != "asymmetric"])
def test_images_go_through_whole(kind: str, tmp_path: Path) -> None:
    network = opened(write(tmp_path / "it", kind)).model._network
    assert not network.use_tiling
    assert not network.use_slicing


def test_a_rae_paints_the_size_it_is_given_and_resizes_by_itself(tmp_path: Path) -> None:
    tokenizer = opened(write(tmp_path / "rae", "rae dinov2"))
    assert tokenizer.card.fixed_size_px == 64
    network = network_of("rae dinov2")
    assert network.encoder_input_size == 56
    batch = images(1, 64)
    smaller = torch.nn.functional.interpolate(batch, size=(56, 56), mode="bicubic", align_corners=False)
    assert torch.equal(latents_of(tokenizer, batch), network.encode(smaller).latent)


def test_siglip_is_left_as_it_was_found(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="RAE's encoders are transformers'")
    before = set(vars(transformers.SiglipVisionModel))
    folder = write(tmp_path / "new", "rae siglip2")
    new = opened(folder)
    assert set(vars(transformers.SiglipVisionModel)) == before
    state = dict(network_of("rae siglip2").state_dict())
    if hasattr(network_of("rae siglip2").encoder, "vision_model"):
        pytest.skip("this transformers has the names of before")
    names = {key: key.replace("encoder.", "encoder.vision_model.", 1) for key in state if key.startswith("encoder.")}
    published = {names.get(key, key): entry for key, entry in state.items()}
    assert "encoder.vision_model.embeddings.patch_embedding.weight" in published
    old = opened(write(tmp_path / "old", "rae siglip2", **published))
    batch = images(1, 64)
    assert torch.equal(latents_of(old, batch), latents_of(new, batch))


def test_attention_of_before_2023_is_read_under_its_old_names(tmp_path: Path) -> None:
    present = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for key, entry in network_of("kl").state_dict().items():
        for new, before in present.items():
            key = key.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        old[key] = entry
    assert {f"decoder.mid_block.attentions.0.{name}.bias" for name in present.values()} <= old.keys()
    batch = images(1, 16)
    was = latents_of(opened(write(tmp_path / "old", "kl", **old)), batch)
    assert torch.equal(was, latents_of(opened(write(tmp_path / "new", "kl")), batch))


def test_half_precision_files_are_computed_in_float32(tmp_path: Path) -> None:
    half = {key: entry.half() for key, entry in network_of("kl").state_dict().items()}
    tokenizer = opened(write(tmp_path / "half", "kl", **half))
    assert latents_of(tokenizer, images(1, 16)).dtype == torch.float32
    assert next(tokenizer.model._network.parameters()).dtype == torch.float32


def test_shards_are_read_by_their_index(tmp_path: Path) -> None:
    folder = write(tmp_path / "whole", "kl")
    state = dict(network_of("kl").state_dict())
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "config.json").write_text(json.dumps(config_of("kl")))
    half = len(state) // 2
    names = [f"diffusion_pytorch_model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    keys = list(state)
    for name, some in zip(names, (keys[:half], keys[half:]), strict=True):
        save_file({key: state[key] for key in some}, parts / name)
    index = parts / f"{WEIGHTS}.index.json"
    index.write_text(json.dumps({"weight_map": {key: names[number >= half] for number, key in enumerate(keys)}}))
    tokenizer = opened(parts)
    assert [name for name, _ in tokenizer.card.weights] == ["config.json", *names]
    batch = images(1, 16)
    assert torch.equal(latents_of(tokenizer, batch), latents_of(opened(folder), batch))
    save_file({keys[0]: state[keys[0]], **{key: state[key] for key in keys[half:]}}, parts / names[1])
    with pytest.raises(WeightsError, match=rf"has {keys[0]} in two of its files, the second being {names[1]}"):
        opened(parts)
    index.write_text(json.dumps({"weight_map": {keys[0]: "../elsewhere.safetensors"}}))
    with pytest.raises(WeightsError, match=r"names '\.\./elsewhere\.safetensors', expected files beside it"):
        opened(parts)
    index.write_text("{}")
    with pytest.raises(WeightsError, match="has no weight_map"):
        opened(parts)


def test_a_pickle_of_tensors_is_read_and_one_with_code_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "kl", "kl")
    batch = images(1, 16)
    expected = latents_of(opened(folder), batch)
    (folder / WEIGHTS).unlink()
    pickled = folder / "diffusion_pytorch_model.bin"
    torch.save(network_of("kl").state_dict(), pickled)
    assert torch.equal(latents_of(opened(folder), batch), expected)
    torch.save({"code": Path}, pickled)
    with pytest.raises(WeightsError, match="is refused: reading it would run code"):
        opened(folder)


def test_missing_extra_and_misshapen_entries_are_named(tmp_path: Path) -> None:
    state = dict(network_of("kl").state_dict())
    some = "decoder.conv_out.bias"
    without = {key: entry for key, entry in state.items() if key != some}
    for change, words in (
        (without, f"it lacks {some}"),
        ({**state, "loss.logvar": torch.zeros(1)}, r"it has more than the network: loss\.logvar"),
        ({**without, some: torch.zeros(5)}, rf"other shapes: {some} is \(5,\), expected \(3,\)"),
    ):
        with pytest.raises(WeightsError, match=words):
            opened(write(tmp_path / "kl", "kl", **change))


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"_class_name": "UNet2DModel"}, UsageError, "holds UNet2DModel, which is none .*: AsymmetricAutoencoderKL, "),
        ({"_class_name": "AutoencoderKLWan"}, UsageError, "holds AutoencoderKLWan, which is none"),
        ({"model_type": "clip"}, UsageError, "holds nothing, which is none"),
        (config_of("kl", in_channels=4), WeightsError, "other shapes: encoder.conv_in.weight"),
        (config_of("kl", norm_num_groups=5), WeightsError, "AutoencoderKL does not accept its config.json"),
        ([1], WeightsError, "holds a list, expected an object"),
    ],
)
def test_other_configurations_are_refused(config: Any, error: type[Exception], words: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=words):
        opened(write(tmp_path / "it", "kl", config=config))


def test_images_of_four_channels_are_refused(tmp_path: Path) -> None:
    import diffusers

    config = config_of("kl", in_channels=4, out_channels=4)
    network = diffusers.AutoencoderKL.from_config(config)
    with pytest.raises(WeightsError, match="takes images of 4 channels, expected 3"):
        opened(write(tmp_path / "it", "kl", config=config, **network.state_dict()))


def test_options_that_this_release_does_not_know_are_on_the_card(tmp_path: Path) -> None:
    config = config_of("kl", invented_option=3)
    card = opened(write(tmp_path / "it", "kl", config=config)).card
    assert card.notes == (
        "The installed diffusers ignores options of its configuration that it does not know: invented_option.",
    )


def test_a_class_that_this_release_does_not_have_says_what_to_do(tmp_path: Path) -> None:
    folder = write(tmp_path / "it", "kl", config=config_of("kl", _class_name="AutoencoderOfTomorrow"))
    with pytest.raises(MissingExtraError, match=r"AutoencoderOfTomorrow, which diffusers [\d.]+ does not have; `pip "):
        read_autoencoder(TokenizerCard(name="x"), {"AutoencoderOfTomorrow": "diffusers"}, folder=folder)


def test_folders_without_files_say_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        opened(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=r"has no file config\.json; where a pipeline keeps its .* \(`.*/vae`\)"):
        opened(tmp_path)
    folder = write(tmp_path / "pipeline" / "vae", "kl")
    card = opened(tmp_path / "pipeline", "?subfolder=vae").card
    assert card.name == "diffusers/pipeline.vae"
    assert [name for name, _ in card.weights] == ["vae/config.json", f"vae/{WEIGHTS}"]
    (folder / WEIGHTS).unlink()
    with pytest.raises(WeightsError, match=f"has no file {WEIGHTS}"):
        opened(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("diffusers:sd-vae", "is neither a repository"),
        ("diffusers:org/repo?posterior=mean", "posterior=mean cannot be used: expected mode or sample"),
        ("diffusers:org/repo?subfolder=../x", "expected a folder inside the repository"),
        ("diffusers:org/repo/vae?subfolder=vqvae", "is in vae, and subfolder=vqvae says otherwise"),
        ("diffusers:org/repo?scale=1", "has no option scale; it has posterior, subfolder"),
    ],
)
def test_malformed_names_say_how_it_is_typed(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_tokenizer(name, device="cpu")


def test_a_sample_is_refused_where_there_is_no_posterior(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="AutoencoderDC, which has no posterior to sample"):
        opened(write(tmp_path / "dc", "dc"), "?posterior=sample")


def test_other_encodings_are_refused(tmp_path: Path) -> None:
    tokenizer = opened(write(tmp_path / "kl", "kl"))
    with pytest.raises(BadOutputError, match=r"decodes Latents \(n, 4, h, w\), got \(1, 5, 2, 2\)"):
        tokenizer.decode(Latents(values=torch.zeros(1, 5, 2, 2)), seeds=[0])
    with pytest.raises(BadOutputError, match="got Tokens"):
        tokenizer.decode(Tokens.grid(torch.zeros(1, 2, 2, dtype=torch.int64), codebook_size=4), seeds=[0])
