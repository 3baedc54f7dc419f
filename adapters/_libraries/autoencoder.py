"""Continuous image autoencoders of diffusers: what each class takes and gives, and the contract around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tokbench.cards import Posterior, TokenizerCard
from tokbench.encodings import Encoding, Latents
from tokbench.errors import UsageError, WeightsError
from tokbench_adapters._encodings import require_latent_grid
from tokbench_adapters._inputs import check_images, from_network_range, parts_of, to_network_range
from tokbench_adapters._libraries.card_check import require_facts
from tokbench_adapters._libraries.diffusers_folder import Opened, ignored_options
from tokbench_adapters._libraries.latent_statistics import Statistics, published_statistics
from tokbench_adapters._posterior import posterior_latents

if TYPE_CHECKING:
    import torch

SYMMETRIC = (-1.0, 1.0)
POSTERIORS = ("mode", "sample")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A class of autoencoders.

    Attributes:
        cell_px: from its configuration (of a built network, so with defaults), pixels per latent cell on a side.
        gives: the attribute of what its ``encode`` returns: ``latent_dist`` for a posterior, else latents.
        pixel_range: what it takes and gives.
        has_time: its arrays are (n, c, t, h, w), and an image is t = 1.
        multiple: what image sides must be a multiple of; the cell if None.
        side_px: the only side it takes and gives; any if None.
    """

    cell_px: Callable[[Mapping[str, Any]], int]
    gives: str = "latent_dist"
    pixel_range: tuple[float, float] = SYMMETRIC
    has_time: bool = False
    multiple: Callable[[Mapping[str, Any]], int] | None = None
    side_px: Callable[[Mapping[str, Any]], int] | None = None


def _halvings(option: str, *, less: int) -> Callable[[Mapping[str, Any]], int]:
    """2 to the number of entries of an option, less so many."""
    return lambda config: int(2 ** (len(config[option]) - less))


def _flux2_multiple(config: Mapping[str, Any]) -> int:
    return _halvings("block_out_channels", less=1)(config) * max(config["patch_size"])


def _rae_side(config: Mapping[str, Any]) -> int:
    return int(config["encoder_input_size"] // config["encoder_patch_size"] * config["patch_size"])


KINDS: dict[str, Kind] = {
    "AutoencoderKL": Kind(cell_px=_halvings("block_out_channels", less=1)),
    "AsymmetricAutoencoderKL": Kind(cell_px=_halvings("down_block_out_channels", less=1)),
    "AutoencoderKLFlux2": Kind(cell_px=_halvings("block_out_channels", less=1), multiple=_flux2_multiple),
    "AutoencoderKLHunyuanImage": Kind(cell_px=lambda config: int(config["spatial_compression_ratio"])),
    "AutoencoderKLKVAE": Kind(cell_px=_halvings("ch_mult", less=1)),
    "AutoencoderKLQwenImage": Kind(cell_px=_halvings("temperal_downsample", less=0), has_time=True),
    "AutoencoderDC": Kind(cell_px=_halvings("encoder_block_out_channels", less=1), gives="latent"),
    "AutoencoderTiny": Kind(cell_px=_halvings("num_encoder_blocks", less=1), gives="latents"),
    "AutoencoderRAE": Kind(
        cell_px=lambda config: int(config["patch_size"]), gives="latent", pixel_range=(0.0, 1.0), side_px=_rae_side
    ),
}
CHANNELS = ("latent_channels", "z_channels", "z_dim", "encoder_hidden_size")
CLASSES = dict.fromkeys(KINDS, "diffusers")


def autoencoder_of(
    opened: Opened, card: TokenizerCard, *, device: str, dtype: str, statistics: Statistics | None = None
) -> ImageAutoencoder:
    """The tokenizer around a network that was read.

    Args:
        opened: of a class in :data:`KINDS`.
        card: what it is; see :func:`with_facts`.
        device, dtype: where and in what it computes.
        statistics: of the latents, as published elsewhere: where the configuration says nothing of them.
    """
    kind = KINDS[opened.class_name]
    statistics = published_statistics(opened.config, opened.network) or statistics
    if statistics is None:
        return ImageAutoencoder(card, opened.network, kind, device=device, dtype=dtype)
    return ScaledAutoencoder(card, opened.network, kind, device=device, dtype=dtype, statistics=statistics)


def latent_channels(config: Mapping[str, Any]) -> int:
    """Channels of the latents by a built network's configuration."""
    return next(int(config[key]) for key in CHANNELS if key in config)


def with_facts(opened: Opened) -> TokenizerCard:
    """The card with what follows from the configuration.

    Raises:
        UsageError: a sample is asked for where there is no posterior.
        WeightsError: its images have not three channels.
    """
    kind, config, card = KINDS[opened.class_name], opened.network.config, opened.card
    n_channels = config.get("in_channels", config.get("num_channels", config.get("input_channels", 3)))
    if n_channels != 3:
        raise WeightsError(f"{card.name} takes images of {n_channels} channels, expected 3")
    has_posterior = kind.gives == "latent_dist"
    if card.posterior == "sample" and not has_posterior:
        raise UsageError(f"{card.name} is a {opened.class_name}, which has no posterior to sample; leave posterior out")
    cell, side = kind.cell_px(config), kind.side_px(config) if kind.side_px else None
    posterior: Posterior = (card.posterior or "mode") if has_posterior else ""
    ignored = ignored_options(opened)
    note = f"The installed diffusers ignores options of its configuration that it does not know: {', '.join(ignored)}."
    return replace(
        card,
        title=card.title or f"{opened.class_name} (f{cell}, {latent_channels(config)} channels)",
        latent="continuous",
        size_multiple=kind.multiple(config) if kind.multiple else cell,
        fixed_size_px=side,
        downsampling=cell,
        tokens=((side or 256) // cell) ** 2 or None,
        pixel_range=kind.pixel_range,
        posterior=posterior,
        notes=(*card.notes, note) if ignored else card.notes,
    )


def require_same(card: TokenizerCard, found: TokenizerCard, channels: int, found_channels: int) -> None:
    """Raise WeightsError if a card says other things than the network that was found under its name."""
    facts = ("downsampling", "size_multiple", "fixed_size_px", "pixel_range", "posterior")
    require_facts(card, found, facts, latent_channels=(channels, found_channels))


class ImageAutoencoder:
    """An autoencoder of the library, without its scaling of latents, tiles, slices or rounding.

    On a CPU images go through it one at a time: a product of another shape may round another way.

    Args:
        card: what it is.
        network: of a class in :data:`KINDS`, in evaluation mode.
        kind: what that class takes and gives.
        device, dtype: where and in what it computes.
    """

    def __init__(self, card: TokenizerCard, network: Any, kind: Kind, *, device: str, dtype: str) -> None:
        import torch

        self.card = card
        self._kind = kind
        self._device = torch.device(device)
        self._dtype: torch.dtype = getattr(torch, dtype)
        # The library's own `to` warns of casting, for classes that keep parts in float32; none of these does.
        self._network = torch.nn.Module.to(network, device=self._device, dtype=self._dtype)
        self._channels = latent_channels(network.config)

    def encode(self, images: torch.Tensor, *, seeds: Sequence[int] | None = None) -> Latents:
        """Float ``(n, 3, h, w)`` in [0, 1] → float32 ``(n, c, h/cell, w/cell)``.

        ``seeds`` holds one integer a sample; a posterior that is sampled draws from these alone.
        """
        import torch

        check_images(self.card, images)
        batch = to_network_range(images, self._kind.pixel_range, device=self._device, dtype=self._dtype)
        encoded = [self._encoded(part) for part in parts_of(batch)]
        latents = torch.cat([part[0] for part in encoded])
        if self.card.posterior == "sample":
            latents = posterior_latents(self.card, latents, torch.cat([part[1] for part in encoded]), seeds)
        return Latents(values=latents.float())

    def decode(self, encoding: Encoding, *, seeds: Sequence[int]) -> torch.Tensor:  # noqa: ARG002
        """Float ``(n, c, h, w)`` → float ``(n, 3, cell·h, cell·w)``, nominally in [0, 1], not clamped."""
        import torch

        latents = require_latent_grid(self.card, encoding, channels=self._channels).to(self._device, self._dtype)
        images = torch.cat([self._decoded(part) for part in parts_of(latents)])
        return from_network_range(images, self._kind.pixel_range)

    def _encoded(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images in the network's range → latents, or mean and standard deviation of the posterior."""
        given = getattr(self._network.encode(images.unsqueeze(2) if self._kind.has_time else images), self._kind.gives)
        parts = (given.mode(), given.std) if self._kind.gives == "latent_dist" else (given,)
        return tuple(part.squeeze(2) for part in parts) if self._kind.has_time else parts

    def _decoded(self, latents: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self._network.decode(latents.unsqueeze(2) if self._kind.has_time else latents).sample
        return images.squeeze(2) if self._kind.has_time else images


class ScaledAutoencoder(ImageAutoencoder):
    """One whose publisher states how its latents are spread."""

    def __init__(
        self, card: TokenizerCard, network: Any, kind: Kind, *, device: str, dtype: str, statistics: Statistics
    ) -> None:
        super().__init__(card, network, kind, device=device, dtype=dtype)
        self._statistics = statistics

    def latent_statistics(self) -> Statistics:
        """Mean and standard deviation of the latents: numbers, or float32 ``(c,)``, one a channel."""
        return self._statistics
