"""Autoencoders published under the names of latent-diffusion's code, filled into the library's AutoencoderKL.

CompVis/latent-diffusion's ``ldm/modules/diffusionmodules/model.py`` and copies of it (LTH14/mar at fe470ac,
``models/vae.py``; hustvl/LightningDiT at 2725fed, ``tokenizer/autoencoder.py``) are the library's network under other
names: the decoder counts its resolutions from the full one, and attention projects by 1×1 convolutions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tokbench_adapters._libraries.diffusers_folder import Opened, build_network
from tokbench_adapters._reading.hub_weights import fill

if TYPE_CHECKING:
    import torch

    from tokbench.cards import TokenizerCard

CLASS = "AutoencoderKL"
_MIDDLE = {"block_1": "resnets.0", "attn_1": "attentions.0", "block_2": "resnets.1"}
_ATTENTION = {"norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0"}
_LEVEL = re.compile(r"(encoder\.down|decoder\.up)\.(\d+)\.(block|attn|downsample|upsample)\.(?:(\d+)\.)?(.+)")
_MID = re.compile(r"(encoder|decoder)\.mid\.(block_1|attn_1|block_2)\.(.+)")


def kl_config(
    channels: int, multipliers: tuple[int, ...], *, encoder_attends: bool, decoder_attends: bool, width: int = 128
) -> dict[str, Any]:
    """The library's configuration of such a network, as its ``config.json`` would have it.

    Args:
        channels: of the latents.
        multipliers: of ``width`` at each resolution, the full one first.
        encoder_attends, decoder_attends: whether there is attention after every block at the lowest resolution, too;
            between the middle blocks there always is.
        width: channels at full resolution.
    """
    last = len(multipliers) - 1
    down = ["DownEncoderBlock2D"] * last + ["AttnDownEncoderBlock2D" if encoder_attends else "DownEncoderBlock2D"]
    up = ["AttnUpDecoderBlock2D" if decoder_attends else "UpDecoderBlock2D"] + ["UpDecoderBlock2D"] * last
    return {
        "_class_name": CLASS,
        "block_out_channels": [width * multiplier for multiplier in multipliers],
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": 2,
        "latent_channels": channels,
    }


def open_ldm(
    card: TokenizerCard,
    config: Mapping[str, Any],
    tensors: Mapping[str, torch.Tensor],
    *,
    unused: Callable[[str], bool] = lambda _: False,
) -> Opened:
    """The library's network with a checkpoint of latent-diffusion's names.

    Args:
        card: with the digest of the file.
        config: see :func:`kl_config`.
        tensors: by the names of the checkpoint.
        unused: whether a name of the checkpoint has no part in encoding and decoding.

    Raises:
        WeightsError: an entry is missing, left over or of another shape; names are the library's.
    """
    source = card.hub or card.name
    network = build_network(CLASS, "diffusers", config, source=source)
    levels = len(config["block_out_channels"])
    found = dict(_renamed(key, entry, levels) for key, entry in tensors.items() if not unused(key))
    fill(network, found, source=source)
    return Opened(card=card, class_name=CLASS, config=config, network=network)


def _renamed(key: str, entry: torch.Tensor, levels: int) -> tuple[str, torch.Tensor]:
    """An entry under the library's name; the weights of attention lose the two sides of their 1×1 convolution."""
    if found := _MID.fullmatch(key):
        half, part, rest = found.groups()
        place, attends = f"{half}.mid_block.{_MIDDLE[part]}", part == "attn_1"
    elif found := _LEVEL.fullmatch(key):
        half, number, part, index, rest = found.groups()
        level = int(number) if half == "encoder.down" else levels - 1 - int(number)
        parts = {
            "block": f"resnets.{index}",
            "attn": f"attentions.{index}",
            "downsample": "downsamplers.0",
            "upsample": "upsamplers.0",
        }
        place, attends = f"{half}_blocks.{level}.{parts[part]}", part == "attn"
    else:
        return key.replace(".norm_out.", ".conv_norm_out."), entry
    if not attends:
        return f"{place}.{rest.replace('nin_shortcut', 'conv_shortcut')}", entry
    layer, _, kind = rest.rpartition(".")
    return f"{place}.{_ATTENTION.get(layer, layer)}.{kind}", entry[..., 0, 0] if entry.ndim == 4 else entry
