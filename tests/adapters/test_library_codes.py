"""The discrete classes of diffusers: our codes and images are the library's, and the published cards are true."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.adapters.key_lists import official_keys, state_of
from tests.adapters.library_cases import CONFIGS, diffusers_codes, diffusers_network
from tests.adapters.seeding import facts_differ, golden, pattern, seeded_state, values_facts
from tokbench.cards import TokenizerCard
from tokbench.encodings import Latents, Tokens
from tokbench.errors import BadOutputError, MissingExtraError, UsageError, WeightsError
from tokbench.tokenizers import load_tokenizer
from tokbench_adapters import vq_models
from tokbench_adapters._libraries import diffusers_codes as reader
from tokbench_adapters._libraries.codes import LibraryCodes
from tokbench_adapters._libraries.diffusers_codes import classes, codes_of, open_codes, with_facts
from tokbench_adapters._libraries.diffusers_folder import Opened

pytest.importorskip("diffusers", reason="these are its classes")

IMAGES = pattern(2, 32, 48)
VQ_MODELS = [family for family, config in CONFIGS.items() if config["_class_name"] == "VQModel"]


class Levels:
    """A network that is all codebook: grey values and four entries on a line, two of them equal."""

    book = torch.tensor([[0.0], [1.0], [3.0], [1.0]])

    def vectors(self, images: Tensor) -> Tensor:
        return images[:, :1].permute(0, 2, 3, 1)

    def entries(self) -> Tensor:
        return self.book

    def images(self, indices: Tensor) -> Tensor:
        return self.book[indices][..., 0][:, None].repeat(1, 3, 1, 1)


def levels() -> LibraryCodes:
    card = TokenizerCard(name="levels", codebook_sizes=(4,), pixel_range=(-1.0, 3.0))
    return LibraryCodes(card, Levels(), Levels.book, device=torch.device("cpu"), dtype=torch.float32)


def test_the_nearest_entry_in_the_networks_range_is_counted_and_decoded() -> None:
    # In [-1, 3] these are -1, 0, 0.48, 1, 2.04 and 3.
    grey = torch.tensor([0.0, 0.25, 0.37, 0.5, 0.76, 1.0]).view(1, 1, 2, 3).repeat(1, 3, 1, 1)
    encoding = levels().encode(grey)
    assert encoding.streams[0].indices.tolist() == [[[0, 0, 0], [1, 2, 2]]], "of equal entries the first is taken"
    assert encoding.streams[0].vectors is not None
    assert encoding.streams[0].vectors.flatten().tolist() == pytest.approx((grey[:, 0] * 4 - 1).flatten().tolist())
    decoded = levels().decode(Tokens.grid(torch.tensor([[[0, 1, 2, 3]]]), codebook_size=4), seeds=[0])
    assert decoded[0, 0, 0].tolist() == [0.25, 0.5, 1.0, 0.5]


def test_what_has_no_grid_of_codes_is_refused() -> None:
    with pytest.raises(BadOutputError, match=r"levels decodes Tokens of 1 stream\(s\) \(n, h, w\), got Latents"):
        levels().decode(Latents(values=torch.zeros(1, 1, 2, 2)), seeds=[0])


def own_range(family: str, images: Tensor) -> Tensor:
    low, high = {"amused": (0, 1), "paella": (0, 1)}.get(family, (-1, 1))
    return images * (high - low) + low


def quantised(family: str, latents: Tensor) -> tuple[Tensor, Tensor]:
    """What the library's quantiser gives: entries ``(n, d, h, w)`` and indices ``(n, h, w)``."""
    network = diffusers_network(family)
    quantiser = network.vquantizer if family == "paella" else network.quantize
    entries, _, (_, _, indices) = quantiser(latents)
    return entries, indices.view(len(latents), *latents.shape[2:])


@pytest.mark.parametrize("family", CONFIGS)
def test_codes_and_vectors_are_the_librarys(family: str) -> None:
    with torch.inference_mode():
        stream = diffusers_codes(family).encode(IMAGES).streams[0]  # type: ignore[union-attr]
        latents = diffusers_network(family).encode(own_range(family, IMAGES)).latents
        _, indices = quantised(family, latents)
    assert torch.equal(stream.indices, indices)
    assert len(indices.unique()) > 8
    assert stream.vectors is not None
    assert float((stream.vectors - latents.permute(0, 2, 3, 1)).abs().max()) < 1e-5


@pytest.mark.parametrize("family", CONFIGS)
def test_images_are_what_the_library_makes_of_quantised_features(family: str) -> None:
    """By the library's other way: features in, quantised inside ``decode``, where VQModel adds an entry's distance to
    the features instead of taking the entry, which rounds otherwise."""
    tokenizer, network = diffusers_codes(family), diffusers_network(family)
    with torch.inference_mode():
        ours = tokenizer.decode(tokenizer.encode(IMAGES), seeds=range(2))
        theirs = [
            network.decode(network.encode(image).latents, force_not_quantize=False).sample
            for image in own_range(family, IMAGES).split(1)
        ]
    assert float((own_range(family, ours) - torch.cat(theirs)).abs().max()) < 5e-5


@pytest.mark.parametrize("family", VQ_MODELS)
def test_images_are_what_the_library_makes_of_the_codes(family: str) -> None:
    """Codes that no encoder gave, as the pipelines hand them to ``decode``."""
    tokenizer, network = diffusers_codes(family), diffusers_network(family)
    indices = torch.randint(0, 64, (1, 8, 12), generator=torch.Generator().manual_seed(0))
    shape = (1, 8, 12, network.quantize.vq_embed_dim)
    with torch.inference_mode():
        ours = tokenizer.decode(Tokens.grid(indices, codebook_size=64), seeds=[0])
        if family == "amused":
            theirs = network.decode(indices.flatten(1), force_not_quantize=True, shape=shape).sample
        else:
            entries = network.quantize.get_codebook_entry(indices, shape=shape)
            theirs = network.decode(entries, force_not_quantize=True).sample
    assert float((own_range(family, ours) - theirs).abs().max()) < 1e-6


@pytest.mark.parametrize("family", ["movq", "paella", "ldm_vq"])
def test_features_that_were_not_quantised_would_give_other_images(family: str) -> None:
    """What Kandinsky, Würstchen and Stable Cascade decode, and PaellaVQModel by default."""
    tokenizer, network = diffusers_codes(family), diffusers_network(family)
    with torch.inference_mode():
        ours = tokenizer.decode(tokenizer.encode(IMAGES), seeds=range(2))
        latents = network.encode(own_range(family, IMAGES)).latents
        unquantised = network.decode(latents, force_not_quantize=True).sample
    assert float((own_range(family, ours) - unquantised).abs().max()) > 0.01


def test_in_half_precision_amused_computes_as_its_pipelines_do() -> None:
    with torch.inference_mode():
        full, half = diffusers_codes("amused"), diffusers_codes("amused", dtype="float16")
        encoding = full.encode(IMAGES)
        assert torch.equal(half.encode(IMAGES).streams[0].indices, encoding.streams[0].indices)  # type: ignore[union-attr]
        assert torch.equal(half.decode(encoding, seeds=range(2)), full.decode(encoding, seeds=range(2)))


def movq_name(official: str) -> str:
    """The library's name of an entry of MoVQ with two resolutions."""
    name = re.sub(r"^encoder\.down\.", "encoder.down_blocks.", official)
    name = re.sub(r"^decoder\.up\.(\d)\.", lambda found: f"decoder.up_blocks.{1 - int(found[1])}.", name)
    norm = "group_norm" if name.startswith("encoder") else "spatial_norm"
    for old, new in (
        (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
        (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
        (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
        (r"\.block\.", ".resnets."),
        (r"\.attn\.", ".attentions."),
        (r"(attentions\.\d)\.norm\.", rf"\1.{norm}."),
        (r"(attentions\.\d)\.([qkv])\.", r"\1.to_\2."),
        (r"\.proj_out\.", ".to_out.0."),
        (r"\.nin_shortcut\.", ".conv_shortcut."),
        (r"\.(up|down)sample\.", r".\1samplers.0."),
        (r"\.norm_out\.", ".conv_norm_out."),
    ):
        name = re.sub(old, new, name)
    return name


def paella_name(official: str) -> str:
    return official.replace("vquantizer.codebook.", "vquantizer.embedding.")


OFFICIAL: dict[str, tuple[Callable[[str], str], dict[str, Any]]] = {
    # how the library names an entry, and the configuration of the official run in the library's words
    "paella": (paella_name, {"bottleneck_blocks": 2, "embed_dim": 64, "num_vq_embeddings": 512}),
    "movq": (movq_name, {**CONFIGS["movq"], "layers_per_block": 2, "num_vq_embeddings": 512}),
}


@pytest.mark.parametrize("family", OFFICIAL)
def test_the_library_gives_what_the_official_code_gave(family: str) -> None:
    """The library's class, filled under the official names, gives the codes and images of the authors' code."""
    renamed, config = OFFICIAL[family]
    facts = golden(family)["variants"]["reduced"]
    kind = CONFIGS[family]["_class_name"]
    network = getattr(importlib.import_module(classes()[kind]), kind).from_config(config)
    own = network.state_dict()
    filled = seeded_state(state_of(official_keys(family, "reduced")))
    state = {renamed(name): entry for name, entry in filled.items()}
    counters = {name: entry for name, entry in own.items() if not entry.is_floating_point()}
    # Attention by 1×1 convolutions there is by linear layers here.
    network.load_state_dict({name: entry.view(own[name].shape) for name, entry in state.items()} | counters)
    card = next(card for card in vq_models.CARDS if card.family == family)
    opened = Opened(card=card, class_name=kind, config=config, network=network.eval().requires_grad_(False))
    tokenizer = codes_of(opened, with_facts(opened, card.pixel_range), device="cpu", dtype="float32")
    expected = torch.tensor(facts["indices"])
    with torch.inference_mode():
        stream = tokenizer.encode(pattern(*facts["images"])).streams[0]
        images = tokenizer.decode(Tokens.grid(expected, codebook_size=512), seeds=range(len(expected)))
    assert torch.equal(stream.indices, expected)
    assert len(expected.unique()) > 30
    assert stream.vectors is not None
    assert facts_differ(values_facts(stream.vectors), facts["vectors"]) < 2e-5
    assert facts_differ(values_facts(images), facts["image"]) < 2e-5


# From `config.json` of amused/amused-512, kandinsky-community/kandinsky-2-2-decoder,
# CompVis/ldm-super-resolution-4x-openimages and stabilityai/stable-cascade, and from the authors' config.yaml of
# VQ-Diffusion: what a card's facts follow from.
PUBLISHED: dict[str, dict[str, Any]] = {
    "amused/512": {
        "block_out_channels": [128, 256, 256, 512, 768],
        "down_block_types": ["DownEncoderBlock2D"] * 5,
        "up_block_types": ["UpDecoderBlock2D"] * 5,
        "latent_channels": 64,
        "num_vq_embeddings": 8192,
        "lookup_from_codebook": True,
    },
    "movq/kandinsky_2_2": {
        "block_out_channels": [128, 256, 256, 512],
        "down_block_types": [*["DownEncoderBlock2D"] * 3, "AttnDownEncoderBlock2D"],
        "up_block_types": ["AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3],
        "latent_channels": 4,
        "num_vq_embeddings": 16384,
        "norm_type": "spatial",
    },
    "ldm_vq": {
        "block_out_channels": [128, 256, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 3,
        "up_block_types": ["UpDecoderBlock2D"] * 3,
        "latent_channels": 3,
        "num_vq_embeddings": 8192,
    },
    "vq_diffusion": {
        "block_out_channels": [64, 128, 256, 512],
        "down_block_types": [*["DownEncoderBlock2D"] * 3, "AttnDownEncoderBlock2D"],
        "up_block_types": ["AttnUpDecoderBlock2D", *["UpDecoderBlock2D"] * 3],
        "latent_channels": 256,
        "vq_embed_dim": 128,
        "num_vq_embeddings": 4096,
    },
    "paella/stable_cascade": {"latent_channels": 4, "levels": 2, "up_down_scale_factor": 2, "num_vq_embeddings": 8192},
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_cards_say_what_the_published_configurations_do(name: str) -> None:
    (card,) = (card for card in vq_models.CARDS if card.name == name)
    kind = "PaellaVQModel" if card.family == "paella" else "VQModel"
    with torch.device("meta"):
        network = getattr(importlib.import_module(classes()[kind]), kind).from_config(PUBLISHED[name])
    bare = TokenizerCard(name="bare")
    found = with_facts(Opened(card=bare, class_name=kind, config=PUBLISHED[name], network=network))
    for fact in ("codebook_sizes", "size_multiple", "downsampling", "tokens", "pixel_range", "latent"):
        assert getattr(card, fact) == getattr(found, fact), fact
    assert "in [0, 1]" in found.notes[0] or card.pixel_range == (-1, 1)


def saved(family: str, folder: Path) -> Path:
    diffusers_network(family).save_pretrained(folder / vq_models.SUBFOLDERS[family])
    return folder


@pytest.mark.parametrize("family", ["amused", "movq", "paella"])
def test_a_folder_that_the_library_saved_is_read(family: str, tmp_path: Path) -> None:
    subfolder = vq_models.SUBFOLDERS[family]
    small = replace(
        next(card for card in vq_models.CARDS if card.family == family),
        hub="",
        codebook_sizes=(64,),
        size_multiple=4 if family == "paella" else 2,
        downsampling=4 if family == "paella" else 2,
    )
    read = open_codes(small, subfolder=subfolder, folder=saved(family, tmp_path), device="cpu", dtype="float32")
    assert [name for name, _ in read.card.weights] == [
        f"{subfolder}/config.json",
        f"{subfolder}/diffusion_pytorch_model.safetensors",
    ]
    expected = diffusers_codes(family).encode(IMAGES)
    assert torch.equal(read.encode(IMAGES).streams[0].indices, expected.streams[0].indices)  # type: ignore[union-attr]


def test_another_network_than_the_cards_is_refused(tmp_path: Path) -> None:
    card = next(card for card in vq_models.CARDS if card.family == "movq")
    with pytest.raises(WeightsError, match=r"is not what the card movq/kandinsky_2_2 says: codebook_sizes \(64,\)"):
        open_codes(card, subfolder="movq", folder=saved("movq", tmp_path), device="cpu", dtype="float32")


@pytest.mark.parametrize("family", ["amused", "ldm_vq", "paella"])
def test_an_opened_name_gives_the_discrete_tokenizer(family: str, tmp_path: Path) -> None:
    folder = saved(family, tmp_path) / vq_models.SUBFOLDERS[family]
    tokenizer = load_tokenizer(f"diffusers:{folder}", device="cpu")
    assert tokenizer.card.latent == "discrete"
    assert tokenizer.card.codebook_sizes == (64,)
    assert tokenizer.card.pixel_range == ((-1, 1) if family == "ldm_vq" else (0, 1))
    with torch.inference_mode():
        encoding, expected = tokenizer.encode(IMAGES), diffusers_codes(family).encode(IMAGES)
    assert isinstance(encoding, Tokens)
    assert isinstance(expected, Tokens)
    assert torch.equal(encoding.streams[0].indices, expected.streams[0].indices)


def test_codes_have_no_posterior_and_images_three_channels(tmp_path: Path) -> None:
    import diffusers

    with pytest.raises(UsageError, match="is a VQModel, which has codes and no posterior; leave it out"):
        load_tokenizer(f"diffusers:{saved('movq', tmp_path)}/movq?posterior=mode", device="cpu")
    diffusers.VQModel(in_channels=1, out_channels=1, block_out_channels=(32,)).save_pretrained(tmp_path / "grey")
    with pytest.raises(WeightsError, match="takes images of 1 channels, expected 3"):
        load_tokenizer(f"diffusers:{tmp_path}/grey", device="cpu")


def test_a_release_without_paella_says_which_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PAELLA_MODULES", ("diffusers.no_such_package.modeling",))
    (card,) = (card for card in vq_models.CARDS if card.name == "paella/wuerstchen")
    with pytest.raises(MissingExtraError, match=r"has no PaellaVQModel.*pip install diffusers==0\.42\.1"):
        vq_models.load(card, device="cpu", dtype="float32")
