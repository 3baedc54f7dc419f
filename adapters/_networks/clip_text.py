"""The text half of CLIP ViT-L/14: the embedding of every token of a caption.

Radford et al., arXiv:2103.00020; parameter names are those of openai/clip-vit-large-patch14-336 on the hub.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tokbench.errors import WeightsError
from tokbench_adapters._networks.transformer import QuickGELU, ResidualAttentionBlock

WIDTH = 768
DEPTH = 12
N_HEADS = 12
LENGTH = 77
N_WORDS = 49408


def text_states(tensors: Mapping[str, Tensor], words: tuple[int, ...], *, depth: int = DEPTH) -> Tensor:
    """Embeddings of all positions after the last layer norm, without pooling or projection.

    Args:
        tensors: the whole checkpoint, or its text half.
        words: the caption's tokens from start to end; positions after them hold token 0, as open_clip pads.
        depth: number of blocks.

    Returns:
        Float32 ``(1, 77, 768)``.

    Raises:
        WeightsError: an entry is missing or of another shape.
    """
    if not 1 <= len(words) <= LENGTH:
        raise ValueError(f"a caption has 1 to {LENGTH} tokens, got {len(words)}")
    padded = torch.tensor([*words, *[0] * (LENGTH - len(words))])
    prefix = "text_model.embeddings."
    hidden = _take(tensors, f"{prefix}token_embedding.weight", N_WORDS, WIDTH)[padded]
    hidden = (hidden + _take(tensors, f"{prefix}position_embedding.weight", LENGTH, WIDTH))[None]
    with torch.inference_mode():
        for number in range(depth):
            hidden = _block(tensors, f"text_model.encoder.layers.{number}.")(hidden, is_causal=True)
        last = nn.LayerNorm(WIDTH)
        last.load_state_dict(_pair(tensors, "text_model.final_layer_norm", WIDTH))
        return last(hidden).clone()


def _block(tensors: Mapping[str, Tensor], prefix: str) -> ResidualAttentionBlock:
    """One block, whose queries, keys and values the checkpoint keeps apart."""
    parts = [_pair(tensors, f"{prefix}self_attn.{part}_proj", WIDTH, WIDTH) for part in "qkv"]
    state = {f"attn.in_proj_{kind}": torch.cat([part[kind] for part in parts]) for kind in ("weight", "bias")}
    for ours, theirs, shape in (
        ("attn.out_proj", "self_attn.out_proj", (WIDTH, WIDTH)),
        ("ln_1", "layer_norm1", (WIDTH,)),
        ("ln_2", "layer_norm2", (WIDTH,)),
        ("mlp.c_fc", "mlp.fc1", (4 * WIDTH, WIDTH)),
        ("mlp.c_proj", "mlp.fc2", (WIDTH, 4 * WIDTH)),
    ):
        state |= {f"{ours}.{kind}": value for kind, value in _pair(tensors, f"{prefix}{theirs}", *shape).items()}
    with torch.device("meta"):
        block = ResidualAttentionBlock(WIDTH, N_HEADS, activation=QuickGELU)
    block.load_state_dict(state, strict=True, assign=True)
    return block.eval()


def _pair(tensors: Mapping[str, Tensor], name: str, *shape: int) -> dict[str, Tensor]:
    return {
        "weight": _take(tensors, f"{name}.weight", *shape),
        "bias": _take(tensors, f"{name}.bias", shape[0]),
    }


def _take(tensors: Mapping[str, Tensor], key: str, *shape: int) -> Tensor:
    if key not in tensors or tuple(tensors[key].shape) != shape:
        got = tuple(tensors[key].shape) if key in tensors else "nothing"
        raise WeightsError(f"CLIP's checkpoint should have {key} of shape {shape}, got {got}")
    return tensors[key].float()
