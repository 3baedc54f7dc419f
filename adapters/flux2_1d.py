"""flux2-1d-tokenizer: 1024 tokens of 16 bits over the FLUX.2 VAE, by the package of that name.

After flux2-1d-tokenizer 0.1.1 (import name ``flux2_tokenizer``), a community project. The package's networks and calls
are used; its weights and the VAE's are fetched, checked and filled in here, where the package would download them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Tokens, TokenStream
from tokbench.errors import BadOutputError, UnsupportedInputError, WeightsError
from tokbench.quantisers import Quantiser
from tokbench.weights.hub import NoSuchFileError
from tokbench.weights.loading import read_state_dict
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._libraries.diffusers_folder import read_autoencoder
from tokbench_adapters._reading.hub_weights import UNPINNED, fill
from tokbench_adapters._reading.places import Place

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

CONFIG = "config.json"
VAE, VAE_CLASSES = "black-forest-labs/FLUX.2-VAE", {"AutoencoderKLFlux2": "diffusers"}
ARCHITECTURE = (
    "num_tokens", "num_bits", "hidden", "depth", "heads", "latent_ch", "latent_patch_size", "vq_code_dim", "pos_ref",
    "max_patches",
)  # fmt: skip
"""What of the repository's configuration the package hands to its network."""
STEP_PX, MOST_PX = 256, 768

# The package's own default first.
VARIANTS = {
    "sharp": "its decoder finetuned against a discriminator",
    "base": "its decoder trained on the latents' squared error alone",
}
NOTES = (
    "Sides of 256, 512 and 768 px in any combination, those it was trained on; every image takes 1024 tokens, whatever "
    "its size.",
    "The decoder is told the image's width and height, which are not counted in bits.",
    "The mean of the FLUX.2 VAE's posterior is encoded; the VAE computes in float32 whatever --dtype says.",
    "The package autocasts its transformers to bfloat16 on CUDA by default; here they compute in --dtype everywhere.",
    "All tokens are encoded and the tail is cut off afterwards.",
    "A preview, as its author says: unofficial, and not affiliated with Black Forest Labs.",
    UNPINNED,
)
CARDS = tuple(
    TokenizerCard(
        name=f"flux2_1d/{variant}",
        title=f"flux2-1d-tokenizer, {variant} ({decoder})",
        codebook_sizes=(2**16,),
        size_multiple=STEP_PX,
        tokens=1024,
        prefix_axis="positions",
        max_length=1024,
        pixel_range=(-1.0, 1.0),
        posterior="mode",
        hub="fmorgens/flux2-1d-tokenizer-preview",
        extra="flux2_1d",
        requires=("flux2_tokenizer", "diffusers"),
        licence="Apache-2.0",
        weights_licence="Apache-2.0",
        repository="https://github.com/fmorgens/flux2-1d-tokenizer",
        notes=NOTES,
    )
    for variant, decoder in VARIANTS.items()
)


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch and check the package's weights and the VAE's, and build what they belong to.

    Raises:
        WeightsError: one cannot be had, or does not fit the package's network.
        MissingExtraError: the installed diffusers is too old for the VAE.
    """
    place = Place(card=card)
    files = [f"{card.variant}.safetensors"]
    try:
        config = place.read_json(CONFIG)
        files.insert(0, CONFIG)
    except NoSuchFileError:  # the package has the same values built in
        config = {}
    tensors = read_state_dict(place.path(files[-1]), "safetensors")
    vae_hub = str(config.get("vae_id", VAE))
    opened = read_autoencoder(replace(card, hub=vae_hub, weights=()), VAE_CLASSES)
    read = (*place.with_digests(files).weights, *((f"{vae_hub}:{name}", sha) for name, sha in opened.card.weights))
    return build(replace(card, weights=read), config, tensors, opened.network, device=device, dtype=dtype)


def build(
    card: TokenizerCard,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    vae: Any,
    *,
    device: str,
    dtype: str,
) -> Tokenizer:
    """The tokenizer from its configuration, a state dict under the package's names, and the VAE.

    Raises:
        WeightsError: they do not fit.
    """
    from flux2_tokenizer._core import TokenizerCore

    try:
        core = TokenizerCore(**{key: config[key] for key in ARCHITECTURE if key in config})
    except (TypeError, ValueError, AssertionError) as err:
        raise WeightsError(f"{card.name}: the package does not accept the configuration in {card.hub}: {err}") from err
    fill(core, tensors, source=f"{card.variant}.safetensors of {card.hub}")
    return Flux2Tokens(card, core, vae, config, device=device, dtype=dtype)


class Flux2Tokens:
    """The package's tokenizer, with the vectors its codes were chosen for and the size its decoder needs."""

    def __init__(
        self, card: TokenizerCard, core: Any, vae: Any, config: Mapping[str, Any], *, device: str, dtype: str
    ) -> None:
        import torch
        from flux2_tokenizer import Flux2Tokenizer

        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        constants = {
            ours: config[theirs] for ours, theirs in (("scaling", "scaling"), ("down", "downscale")) if theirs in config
        }
        self._core = core.to(self._device).eval()
        self._package = Flux2Tokenizer(self._core, vae.to(self._device).eval(), self._device, self._dtype, **constants)
        self._package._autocast = self._in_type  # which it has for CUDA alone
        most = int(core.num_tokens)
        self.card = replace(card, codebook_sizes=(int(core.bsq.codebook_size),), tokens=most, max_length=most)

    def encode(self, images: torch.Tensor) -> Tokens:
        """Float ``(n, 3, h, w)`` in [0, 1] → int64 ``(n, 1024)``, with the vectors that were quantised."""
        import torch

        check_images(self.card, images)
        height, width = images.shape[2:]
        if max(height, width) > MOST_PX:
            raise UnsupportedInputError(
                f"{self.card.name} takes images of at most {MOST_PX} px a side, got {width}×{height} (w×h); choose a "
                "task of a smaller size, or crop or resize them first"
            )
        batch = to_network_range(images, self.card.pixel_range, device=self._device, dtype=torch.float32)
        with self._projected() as vectors:
            indices = torch.cat([self._package.encode(part) for part in parts_of(batch)])
        (size,) = self.card.codebook_sizes
        stream = TokenStream(
            indices=indices,
            codebook_size=size,
            vectors=torch.cat(vectors).float().view(*indices.shape, -1),
        )
        return Tokens(streams=(stream,), image_px=(height, width))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """int64 ``(n, l)``, l up to 1024 → float32 ``(n, 3, h, w)`` in [0, 1]: the package clamps."""
        import torch

        indices, (height, width) = self._given(encoding)
        decoded = [self._package.decode(part, width, height) for part in parts_of(indices.to(self._device))]
        return from_network_range(torch.cat(decoded), self.card.pixel_range)

    def quantiser(self) -> Quantiser:
        """The codebook, for perturbations."""
        book = self._core.bsq
        return Quantiser(
            kind="lookup",
            composition="single",
            codebooks={"0": book.codebook.weight},
            is_normalised=bool(book.use_l2_norm),
        )

    def _given(self, encoding: Encoding) -> tuple[torch.Tensor, tuple[int, int]]:
        """Indices, and height and width of the images.

        Raises:
            BadOutputError: the encoding is none of ours.
        """
        most = self.card.max_length or 0
        if isinstance(encoding, Tokens) and len(encoding.streams) == 1 and encoding.image_px is not None:
            indices = encoding.streams[0].indices
            if indices.ndim == 2 and 1 <= indices.shape[1] <= most:
                return indices, encoding.image_px
        shapes = (
            [tuple(stream.indices.shape) for stream in encoding.streams] if isinstance(encoding, Tokens) else "none"
        )
        raise BadOutputError(
            f"{self.card.name} decodes one stream of 1 to {most} tokens an image with the image's size, got "
            f"{type(encoding).__name__} with streams {shapes} and size {getattr(encoding, 'image_px', None)}"
        )

    def _in_type(self) -> Any:
        """Autocast to the asked-for type, or nothing for float32."""
        import torch

        return torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32)

    @contextmanager
    def _projected(self) -> Iterator[list[torch.Tensor]]:
        """What the package compares with its codebook within it, before scaling to length 1: parts of ``(n·l, d)``."""
        found: list[torch.Tensor] = []
        hook = self._core.bsq.proj_in.register_forward_hook(lambda _, __, output: found.append(output))
        try:
            yield found
        finally:
            hook.remove()
