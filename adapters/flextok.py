"""FlexTok: 1 to 256 tokens an image and a rectified-flow decoder, by its authors' own package.

After apple/ml-flextok at 87d00cc, ``flextok_wrapper.py``. The package is called; its weights are fetched, checked and
filled in here, and what its configuration may build is restricted to the package.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.errors import BadOutputError, WeightsError
from tokbench.quantisers import Quantiser
from tokbench.weights.loading import read_state_dict
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._reading.hub_weights import UNPINNED, fill
from tokbench_adapters._reading.places import Place

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

PACKAGE = "flextok"
CONFIG, WEIGHTS, VAE_WEIGHTS = "config.json", "model.safetensors", "diffusion_pytorch_model.safetensors"
STEPS, GUIDANCE = 20, 7.5
"""As its README decodes, with the normalised guidance of arXiv:2410.02416."""

# The first is the smallest.
VARIANTS = {
    "d12_d12_in1k": "12 + 12 layers, ImageNet",
    "d18_d18_in1k": "18 + 18 layers, ImageNet",
    "d18_d28_in1k": "18 + 28 layers, ImageNet",
    "d18_d28_dfn": "18 + 28 layers, DFN",
}
NOTES = (
    f"Decodes from noise in {STEPS} steps of rectified flow, two calls of the network each, with normalised guidance "
    f"of {GUIDANCE}: the settings of its README. The noise is drawn from each sample's own seed, on the device, so "
    "CPUs and GPUs draw different noise.",
    "The posterior's mean of the VAE below it is encoded; the package draws from the posterior unless its "
    "configuration says otherwise.",
    "With --dtype bfloat16 its transformers run under autocast; the VAE stays in float32 unless "
    "the configuration says otherwise.",
    "Images are decoded one by one, on GPUs too: the package takes one random generator a call.",
    "The package compiles its attention on first use; on a CPU that needs a C++ compiler.",
    "All tokens are encoded and the tail is cut off afterwards; the decoder puts its mask token where tokens are "
    "missing.",
    "The number of codes is the product of the levels in the configuration; the card of the run has it.",
    UNPINNED,
)
CARDS = tuple(
    TokenizerCard(
        name=f"flextok/{variant}",
        title=f"FlexTok {variant.rpartition('_')[0].replace('_', '-')} ({sizes})",
        codebook_sizes=(64000,),
        fixed_size_px=256,
        tokens=256,
        prefix_axis="positions",
        max_length=256,
        deterministic=False,
        pixel_range=(-1.0, 1.0),
        posterior="mode",
        hub=f"EPFL-VILAB/flextok_{variant}",
        # Its declared dependencies lack torchvision, which it imports.
        requires=(PACKAGE, "hydra", "torchvision"),
        install="pip install 'flextok @ git+https://github.com/apple/ml-flextok' torchvision",
        licence="Apple Sample Code License (non-commercial)",
        weights_licence="Apple Machine Learning Research Model License (research only)",
        paper="arXiv:2502.13967",
        repository="https://github.com/apple/ml-flextok",
        notes=NOTES,
    )
    for variant, sizes in VARIANTS.items()
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch and check configuration and weights, and let the package build the one and take the other.

    Raises:
        WeightsError: one cannot be had, they do not fit, or the configuration asks for something outside the package.
    """
    place = Place(card=card)
    config = place.read_json(CONFIG)
    tensors = read_state_dict(place.path(WEIGHTS), "safetensors")
    return build(place.with_digests((CONFIG, WEIGHTS)), config, tensors, device=device, dtype=dtype)


def build(
    card: TokenizerCard, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], *, device: str, dtype: str
) -> Tokenizer:
    """The tokenizer from its configuration and a state dict under the official names.

    Raises:
        WeightsError: they do not fit, or the configuration asks for something outside the package.
    """
    from flextok.flextok_wrapper import FlexTokFromHub

    if foreign := sorted({target for target in _targets(config) if not _is_of_the_package(target)}):
        raise WeightsError(
            f"{card.name}: the configuration in {card.hub} would call {', '.join(foreign)}, and only modules of "
            f"{PACKAGE} are built from it"
        )
    card, config = _with_folders(card, config)
    model = FlexTokFromHub(config)
    fill(model, tensors, source=card.hub)
    return FlexTok(card, model, device=device, dtype=dtype)


def _targets(config: Any) -> Iterator[str]:
    """What the package's configuration library would call: every ``_target_``, however deep.

    And every ``${…}``, which that library replaces by what it likes, calls included.
    """
    if isinstance(config, Mapping):
        for key, value in config.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from _targets(value)
    elif isinstance(config, list | tuple):
        for value in config:
            yield from _targets(value)
    elif isinstance(config, str) and "${" in config:
        yield config


def _is_of_the_package(target: str) -> bool:
    """Whether a class or function is defined in a module of the package that makes networks.

    The beginning of the name alone would not do: ``flextok.utils.checkpoint.os.system`` is a name, too.
    """
    module, _, name = target.rpartition(".")
    if module.split(".")[0] != PACKAGE or module.startswith(f"{PACKAGE}.utils"):
        return False
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError:
        return False
    return callable(found) and getattr(found, "__module__", "") == module


def _with_folders(card: TokenizerCard, config: Any) -> tuple[TokenizerCard, Any]:
    """The configuration with a folder wherever it names a repository of a VAE, so that nothing but us downloads.

    The card gets the digest of the VAE's configuration, which shapes the network.
    """
    if isinstance(config, list | tuple):
        listed = []
        for value in config:
            card, inner = _with_folders(card, value)
            listed.append(inner)
        return card, listed
    if not isinstance(config, Mapping):
        return card, config
    found = {}
    for key, value in config.items():
        card, found[key] = _with_folders(card, value)
    if hub := found.get("hf_hub_path"):
        place = Place(card=replace(card, hub=str(hub), weights=()))
        place.path(VAE_WEIGHTS)  # read by the package, and replaced by the checkpoint's
        digests = place.with_digests((CONFIG,)).weights
        card = replace(card, weights=(*card.weights, *((f"{hub}:{name}", digest) for name, digest in digests)))
        found["hf_hub_path"] = str(place.path(CONFIG).parent)
    return card, found


class FlexTok:
    """The package's model: ids of a fixed length, any prefix of which decodes."""

    def __init__(self, card: TokenizerCard, model: Any, *, device: str, dtype: str) -> None:
        import torch

        self._levels = tuple(int(count) for count in model.regularizer._levels)
        most = int(model.encoder.module_dict["enc_register_module"].n_max)
        self.card = replace(card, codebook_sizes=(math.prod(self._levels),), tokens=most, max_length=most)
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._model = model.to(self._device).eval()
        self._model.vae.sample_posterior = False

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, 256, 256)`` in [0, 1] → int64 ``(n, 256)``."""
        import torch

        check_images(self.card, images)
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=torch.float32)
        with torch.no_grad(), self._in_type():
            found = [ids for part in parts_of(batch) for ids in self._model.tokenize(part)]
        (size,) = self.card.codebook_sizes
        return Tokens(streams=(TokenStream(indices=torch.cat(found).long(), codebook_size=size),))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:
        """int64 ``(n, l)``, l up to 256 → float32 ``(n, 3, 256, 256)``, nominally in [0, 1], not clamped."""
        import torch

        indices = self._indices(encoding)
        decoded = []
        with torch.no_grad(), self._in_type():
            for ids, seed in zip(indices, seeds, strict=True):
                decoded.append(
                    self._model.detokenize(
                        [ids[None]],
                        timesteps=STEPS,
                        guidance_scale=GUIDANCE,
                        perform_norm_guidance=True,
                        generator=torch.Generator(self._device).manual_seed(seed),
                        verbose=False,
                    )
                )
        return from_network_range(torch.cat(decoded), self.card.pixel_range)

    def quantiser(self) -> Quantiser:
        """The levels, for perturbations."""
        basis = tuple(math.prod(self._levels[:place]) for place in range(len(self._levels)))
        return Quantiser(kind="levels", composition="single", levels=self._levels, basis=basis)

    def _indices(self, encoding: Encoding) -> torch.Tensor:
        most = self.card.max_length or 0
        if isinstance(encoding, Tokens) and len(encoding.streams) == 1:
            indices = encoding.streams[0].indices
            if indices.ndim == 2 and 1 <= indices.shape[1] <= most:
                return indices.to(self._device)
            got = f"Tokens {tuple(indices.shape)}"
        else:
            got = type(encoding).__name__
        raise BadOutputError(f"{self.card.name} decodes one stream of 1 to {most} tokens an image, got {got}")

    def _in_type(self) -> Any:
        """Autocast to the asked-for type, or nothing for float32."""
        import torch

        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)
