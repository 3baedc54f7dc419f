"""What changed its name between releases: entries of old checkpoints, and a part of transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# SigLIP's vision tower in RAE: inside a wrapper until transformers 5 made the wrapper the tower.
_WRAPPED, _FLAT = "encoder.vision_model.", "encoder."


def present_names(tensors: dict[str, torch.Tensor], network: Any) -> dict[str, torch.Tensor]:
    """A checkpoint under the names that a network of the installed library has.

    Args:
        tensors: by the name in the file; attention of before 2023 has ``query``, ``key``, ``value``, ``proj_attn``.
        network: of a class of diffusers.
    """
    found = dict(tensors)
    network._fix_state_dict_keys_on_load(found)
    if any(key.startswith(_WRAPPED) for key in found) and not hasattr(network.encoder, "vision_model"):
        found = {_FLAT + key.removeprefix(_WRAPPED) if key.startswith(_WRAPPED) else key: found[key] for key in found}
    return found


@contextmanager
def siglip_of_before(config: Mapping[str, Any]) -> Iterator[None]:
    """Let diffusers find SigLIP's vision tower at ``vision_model``, where transformers had it until release 5.

    AutoencoderRAE of diffusers 0.42 takes two parameters of that tower away while it is built, and never looks there
    again. Where transformers has the attribute, or the configuration is of something else, nothing changes.
    """
    if config.get("encoder_type") != "siglip2":
        yield
        return
    from transformers import SiglipVisionModel

    if _has_tower(SiglipVisionModel):
        yield
        return
    SiglipVisionModel.vision_model = property(lambda tower: tower)
    try:
        yield
    finally:
        del SiglipVisionModel.vision_model


def _has_tower(kind: Any) -> bool:
    import torch

    with torch.device("meta"):
        model = kind(kind.config_class(hidden_size=8, num_hidden_layers=0, num_attention_heads=1, intermediate_size=8))
    return hasattr(model, "vision_model")
