"""The discrete classes of diffusers as tokenizers: VQModel and PaellaVQModel.

Read in diffusers 0.42.1, ``models/autoencoders/vq_model.py`` and, below ``pipelines/deprecated``,
``wuerstchen/modeling_paella_vq_model.py``. Both give features from ``encode``, before quantisation, and ``decode``
quantises them again (VQModel) or leaves them as they are (PaellaVQModel) unless told otherwise. Here the codes are
looked up in between, so that what is decoded is what was counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokbench.errors import MissingExtraError, WeightsError
from tokbench_adapters._libraries.codes import CodeNetwork, LibraryCodes, require_same
from tokbench_adapters._libraries.diffusers_folder import Opened, read_autoencoder

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

SYMMETRIC = (-1.0, 1.0)
UNIT = (0.0, 1.0)
PAELLA = "PaellaVQModel"
# The pipeline around it is deprecated, and not all releases keep it in one place.
_PAELLA_MODULES = tuple(
    f"diffusers.pipelines.{path}wuerstchen.modeling_paella_vq_model" for path in ("deprecated.", "")
)


@dataclass(frozen=True, kw_only=True)
class VqModelCodes:
    """VQModel. With spatial norms (MoVQ) its decoder reads the looked-up entries a second time, and nothing else."""

    network: Any

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network.encode(images).latents.permute(0, 2, 3, 1)
        return found

    def entries(self) -> torch.Tensor:
        found: torch.Tensor = self.network.quantize.embedding.weight
        return found

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        shape = (*indices.shape, self.entries().shape[1])
        given = indices.flatten()
        if not self.network.config.lookup_from_codebook:  # then decode takes entries, not indices
            given = self.network.quantize.get_codebook_entry(given, shape)
        found: torch.Tensor = self.network.decode(given, force_not_quantize=True, shape=shape).sample
        return found


@dataclass(frozen=True, kw_only=True)
class PaellaCodes:
    """PaellaVQModel."""

    network: Any

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network.encode(images).latents.permute(0, 2, 3, 1)
        return found

    def entries(self) -> torch.Tensor:
        found: torch.Tensor = self.network.vquantizer.embedding.weight
        return found

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        shape = (*indices.shape, self.entries().shape[1])
        entries = self.network.vquantizer.get_codebook_entry(indices.flatten(), shape)
        found: torch.Tensor = self.network.decode(entries, force_not_quantize=True).sample
        return found


@dataclass(frozen=True, kw_only=True)
class CodeKind:
    """A class of the library.

    Attributes:
        wrap: what makes it a network of codes.
        cell_px: from the configuration of a built network, pixels a code on a side.
    """

    wrap: Callable[[Any], CodeNetwork]
    cell_px: Callable[[Mapping[str, Any]], int]


KINDS: dict[str, CodeKind] = {
    "VQModel": CodeKind(
        wrap=lambda network: VqModelCodes(network=network),
        cell_px=lambda config: int(2 ** (len(config["block_out_channels"]) - 1)),
    ),
    PAELLA: CodeKind(
        wrap=lambda network: PaellaCodes(network=network),
        cell_px=lambda config: int(config["up_down_scale_factor"] * 2 ** (config["levels"] - 1)),
    ),
}


def classes() -> dict[str, str]:
    """The discrete classes, and the module that each is imported from in the installed release."""
    found = dict.fromkeys(KINDS, "diffusers")
    found[PAELLA] = next((name for name in _PAELLA_MODULES if _is_there(name)), "diffusers")
    return found


def open_codes(
    card: TokenizerCard, *, subfolder: str, folder: Path | None = None, device: str, dtype: str
) -> LibraryCodes:
    """The tokenizer of a published folder that the card describes.

    Raises:
        UsageError, WeightsError, MissingExtraError: see
            :func:`~tokbench_adapters._libraries.diffusers_folder.read_autoencoder`; or the network is not the one of
            the card.
    """
    opened = read_autoencoder(card, classes(), subfolder=subfolder, folder=folder)
    found = with_facts(opened, card.pixel_range)
    require_same(card, found)
    return codes_of(opened, found, device=device, dtype=dtype)


def with_facts(opened: Opened, pixel_range: tuple[float, float] | None = None) -> TokenizerCard:
    """The card with what follows from the configuration.

    Args:
        opened: what was read.
        pixel_range: of its images; no configuration says it. If None it is [0, 1] for PaellaVQModel and for a VQModel
            with ``lookup_from_codebook``, which only aMUSEd's pipelines go by, else [-1, 1]; a note says so.

    Raises:
        WeightsError: its images have not three channels.
    """
    kind, config, card = KINDS[opened.class_name], opened.network.config, opened.card
    if (config["in_channels"], config["out_channels"]) != (3, 3):
        raise WeightsError(f"{card.name} takes images of {config['in_channels']} channels, expected 3")
    cell, entries = kind.cell_px(config), kind.wrap(opened.network).entries()
    notes = card.notes
    if pixel_range is None:
        is_unit = opened.class_name == PAELLA or config["lookup_from_codebook"]
        pixel_range = UNIT if is_unit else SYMMETRIC
        low, high = pixel_range
        note = f"Images are taken to be in [{low:g}, {high:g}], as in the pipelines that use such a configuration."
        notes = (*notes, note)
    return replace(
        card,
        title=card.title or f"{opened.class_name} (f{cell}, {len(entries)} codes × {entries.shape[1]})",
        latent="discrete",
        codebook_sizes=(len(entries),),
        size_multiple=cell,
        downsampling=cell,
        tokens=(256 // cell) ** 2 or None,
        pixel_range=pixel_range,
        posterior="",
        notes=notes,
    )


def codes_of(opened: Opened, card: TokenizerCard, *, device: str, dtype: str) -> LibraryCodes:
    """The tokenizer around a network that was read.

    A network whose configuration says ``force_upcast`` computes in float32 where float16 is asked for, as in aMUSEd's
    pipelines.
    """
    import torch

    place, asked = torch.device(device), getattr(torch, dtype)
    upcast = asked == torch.float16 and opened.network.config.get("force_upcast", False)
    used = torch.float32 if upcast else asked
    network = KINDS[opened.class_name].wrap(opened.network)
    entries = network.entries().float().clone()
    torch.nn.Module.to(opened.network, place, used)  # the library's own warns of modules to keep, of which it has none
    return LibraryCodes(card, network, entries, device=place, dtype=used)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False


def require_paella() -> None:
    """Raise MissingExtraError if the installed diffusers keeps PaellaVQModel in no place that is known."""
    import diffusers

    if classes()[PAELLA] == "diffusers" and not hasattr(diffusers, PAELLA):
        raise MissingExtraError(
            f"diffusers {diffusers.__version__} has no {PAELLA}, whose pipeline is deprecated; "
            "`pip install diffusers==0.42.1` gets a release that has it"
        )
