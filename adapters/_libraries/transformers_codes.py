"""The VQ classes of transformers as tokenizers: built from a configuration, filled, asked for vectors and images.

Read in transformers 5.23.0, ``models/emu3`` and ``models/janus``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tokbench.errors import WeightsError
from tokbench_adapters._libraries.codes import LibraryCodes, require_same
from tokbench_adapters._reading.hub_weights import fill

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

CONFIG = "config.json"
# transformers names the part in the first way, and also reads older checkpoints that name it in the second.
PREFIXES = ("model.vqmodel.", "vqmodel.")


@dataclass(frozen=True, kw_only=True)
class Emu3Codes:
    """An image is a clip of as many equal frames as make one step of latents; the first frame decoded is kept.

    So do the class and the official code, baaivision/Emu3 at f6ea9aa, ``emu3/tokenizer/modeling_emu3visionvq.py``.
    """

    network: Any

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        frames = images[:, None].repeat(1, self.network.config.temporal_downsample_factor, 1, 1, 1)
        hidden = self.network.encoder(frames).permute(0, 2, 1, 3, 4)
        found: torch.Tensor = self.network.quant_conv(hidden)[:, :, 0].permute(0, 2, 3, 1)
        return found

    def entries(self) -> torch.Tensor:
        found: torch.Tensor = self.network.quantize.embedding.weight
        return found

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network.decode(indices)
        return found


@dataclass(frozen=True, kw_only=True)
class JanusCodes:
    """The class as it is: codes are searched by plain distance, and decoded at length 1.

    The authors' code compares at length 1, too (``tokbench_adapters.janus``). Both choose alike only where all entries
    have one length.
    """

    network: Any

    def vectors(self, images: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network.quant_conv(self.network.encoder(images)).permute(0, 2, 3, 1)
        return found

    def entries(self) -> torch.Tensor:
        found: torch.Tensor = self.network.quantize.embedding.weight
        return found

    def images(self, indices: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.network.decode(indices.flatten(1))
        return found


@dataclass(frozen=True, kw_only=True)
class VqClass:
    """A class of the library that both encodes and decodes.

    Attributes:
        name, config: the class and the class of its configuration.
        wrap: what makes it a network of codes.
        facts: configuration → the facts of a card that follow from it.
        notes: conventions that change scores.
    """

    name: str
    config: str
    wrap: Callable[[Any], Emu3Codes | JanusCodes]
    facts: Callable[[Any], dict[str, Any]]
    notes: tuple[str, ...]


def _emu3_facts(config: Any) -> dict[str, Any]:
    cell = 2 ** (len(config.channel_multiplier) - 1)
    return {"codebook_sizes": (config.codebook_size,), "size_multiple": cell, "downsampling": cell}


def _janus_facts(config: Any) -> dict[str, Any]:
    cell = 2 ** (len(config.channel_multiplier) - 1)
    return {
        "codebook_sizes": (config.num_embeddings,),
        "size_multiple": cell,
        "downsampling": cell,
        "fixed_size_px": config.num_patches * cell,
        "tokens": config.num_patches**2,
    }


EMU3 = VqClass(
    name="Emu3VQVAE",
    config="Emu3VQVAEConfig",
    wrap=lambda network: Emu3Codes(network=network),
    facts=_emu3_facts,
    notes=(
        "An image is repeated to the frames of one temporal step, and the first decoded frame is kept, as in the "
        "authors' code.",
    ),
)
JANUS = VqClass(
    name="JanusVQVAE",
    config="JanusVQVAEConfig",
    wrap=lambda network: JanusCodes(network=network),
    facts=_janus_facts,
    notes=(
        "JanusVQVAE searches codes by plain distance, the authors' code after scaling vectors and entries to length 1; "
        "the tokenizer janus does the latter, and the two agree only where all entries have one length.",
        "The class decodes one size of grid only.",
    ),
)


def build(
    card: TokenizerCard,
    vq: VqClass,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    *,
    device: str,
    dtype: str,
) -> Tokenizer:
    """The tokenizer of a configuration and a checkpoint under the library's names.

    Args:
        card: what follows from the configuration is written into it; a known card must say the same.
        vq: the class.
        config: its configuration, as in ``config.json``.
        tensors: all of its parameters.
        device, dtype: where and in what it computes.

    Raises:
        WeightsError: the library does not accept the configuration, or the checkpoint is not one of this network, or
            the network not the one on the card.
    """
    import torch
    import transformers
    from huggingface_hub.errors import StrictDataclassError

    source = card.hub or card.name
    known: Any = getattr(transformers, vq.config)
    try:
        settings = known.from_dict(dict(config))
        with torch.device("meta"):
            network: Any = getattr(transformers, vq.name)(settings)
    except (StrictDataclassError, TypeError, ValueError, KeyError, IndexError) as err:
        raise WeightsError(f"{source}: {vq.name} does not accept its configuration: {err}") from err
    found = replace(card, **vq.facts(settings))
    require_same(card, found)
    fill(network, tensors, source=source)
    place, kind = torch.device(device), getattr(torch, dtype)
    codes = vq.wrap(network)
    entries = codes.entries().float().clone()
    network.to(place, kind)
    return LibraryCodes(found, codes, entries, device=place, dtype=kind)
