"""The TAESD family: tiny autoencoders in the latent spaces of Stable Diffusion, FLUX and Sana, official weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tokbench.cards import TokenizerCard
from tokbench.encodings import Encoding, Latents
from tokbench_adapters._encodings import require_latent_grid
from tokbench_adapters._inputs import check_images, parts_of
from tokbench_adapters._networks.taesd_config import TaesdConfig
from tokbench_adapters._reading.hub_weights import UNPINNED, fill, read_hub_weights
from tokbench_adapters._reading.known_weights import known_weights, read_known_weights

if TYPE_CHECKING:
    import torch

    from tokbench.contracts import Tokenizer

FILE = "diffusion_pytorch_model.safetensors"
HALVES = ("encoder", "decoder")

NETWORKS: dict[str, TaesdConfig] = {
    "taesd": TaesdConfig(latent_channels=4),
    "taesdxl": TaesdConfig(latent_channels=4),
    "taesd3": TaesdConfig(latent_channels=16),
    "taef1": TaesdConfig(latent_channels=16),
    "taef2": TaesdConfig(latent_channels=32, is_pooled=True),
    "taesana": TaesdConfig(latent_channels=32, widths=(256, 128, 64, 64, 64, 64), stem=(32, 64)),
}
_TEACHERS = {
    "taesd": "Stable Diffusion 1 and 2",
    "taesdxl": "Stable Diffusion XL",
    "taesd3": "Stable Diffusion 3",
    "taef1": "FLUX.1",
    "taef2": "FLUX.2",
    "taesana": "Sana",
}
_HUB = {
    "taesd": "madebyollin/taesd",
    "taesdxl": "madebyollin/taesdxl",
    "taesd3": "madebyollin/taesd3@d58dcaccd2b36fcb7a6b9e93c1cc507acab5a778",
    "taef1": "madebyollin/taef1",
}
UNROUNDED = (
    "Latents are decoded as they are; diffusers' AutoencoderTiny rounds them to 8 bits when it is called as a whole."
)


def _card(name: str, config: TaesdConfig) -> TokenizerCard:
    hub = _HUB.get(name, "")
    where = {"hub": hub} if hub else known_weights(*(f"{name}_{half}" for half in HALVES))
    return TokenizerCard(
        name=name,
        title=f"{name.upper()}, tiny autoencoder for the latents of {_TEACHERS[name]} "
        f"(f{config.cell_px}, {config.latent_channels} channels)",
        latent="continuous",
        size_multiple=config.cell_px,
        downsampling=config.cell_px,
        tokens=(256 // config.cell_px) ** 2,
        licence="MIT",
        weights_licence="MIT",
        repository="https://github.com/madebyollin/taesd",
        notes=(
            f"Distilled from the autoencoder of {_TEACHERS[name]}; latents are in the scale its generator sees "
            "(upstream states a scale factor of 1).",
            "An autoencoder without a posterior: what the encoder gives is decoded.",
            UNROUNDED,
            "The decoder bends latents towards ±3 (3·tanh(z/3)).",
            *((UNPINNED,) if hub and "@" not in hub else ()),
        ),
        **where,
    )


CARDS = tuple(_card(name, config) for name, config in NETWORKS.items())


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official weights.

    Raises:
        WeightsError: they cannot be had, or are not those this network is read from.
    """
    if card.hub:
        card, tensors = read_hub_weights(card, FILE)
        return build(card, official_names(tensors), device=device, dtype=dtype)
    parts = {half: read_known_weights(card, key) for half, key in zip(HALVES, card.weights_keys, strict=True)}
    return build(card, joined(**parts), device=device, dtype=dtype)


def joined(encoder: Mapping[str, torch.Tensor], decoder: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The two files that upstream publishes, each a sequence, as one network's entries."""
    halves = zip(HALVES, (encoder, decoder), strict=True)
    return {f"{half}.{key}": tensor for half, part in halves for key, tensor in part.items()}


def official_names(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The library's form, ``encoder.layers.N`` and ``decoder.layers.N``, under upstream's names.

    The library limits latents outside of its sequence, so its decoder counts one less. Other names are left alone.
    """
    found = {}
    for key, tensor in tensors.items():
        half, layers, *rest = key.split(".")
        if half in HALVES and layers == "layers" and rest[0].isdigit():
            place = int(rest[0]) + (half == "decoder")
            found[".".join([half, str(place), *rest[1:]])] = tensor
        else:
            found[key] = tensor
    return found


def build(
    card: TokenizerCard,
    tensors: Mapping[str, torch.Tensor],
    *,
    device: str,
    dtype: str,
    config: TaesdConfig | None = None,
) -> Tokenizer:
    """The tokenizer from a state dict under upstream's names; ``config`` is the card's unless given."""
    return TinyAutoencoder(card, config or NETWORKS[card.name], tensors, device=device, dtype=dtype)


class TinyAutoencoder:
    """Images to latents and back; nothing is rounded or sampled.

    On a CPU images go through the network one at a time: a convolution over more of them may round another way.

    Args:
        card: what it is.
        config: the network's shape.
        tensors: the weights, under upstream's names.
        device, dtype: where and in what the network computes.

    Raises:
        WeightsError: they are not those of this network; the message names the entries.
    """

    def __init__(
        self,
        card: TokenizerCard,
        config: TaesdConfig,
        tensors: Mapping[str, torch.Tensor],
        *,
        device: str,
        dtype: str,
    ) -> None:
        import torch

        from tokbench_adapters._networks.taesd import TaesdNetwork

        self.card = card
        self._channels = config.latent_channels
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        with torch.device("meta"):
            network = TaesdNetwork(config)
        fill(network, tensors, source=card.hub or card.name)
        self._network = network.to(self._device, self._dtype)

    def latent_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the latents as upstream states them: a scale factor of 1, and no shift."""
        return 0.0, 1.0

    def encode(self, images: torch.Tensor) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → float32 ``(n, c, h/cell, w/cell)``, about -3 to 3."""
        import torch

        check_images(self.card, images)
        batch = images.to(self._device, self._dtype)
        return Latents(values=torch.cat([self._network.encode(part).float() for part in parts_of(batch)]))

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Float ``(n, c, h, w)`` → float ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        import torch

        latents = require_latent_grid(self.card, encoding, channels=self._channels).to(self._device, self._dtype)
        return torch.cat([self._network.decode(part) for part in parts_of(latents)])
