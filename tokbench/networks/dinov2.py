"""DINOv2 ViT-L/14: the features of FD-DINOv2 (Stein et al., arXiv:2306.04675).

The network is that of facebookresearch/dinov2 (b8931f7), read from its own file under its own names; resize and
normalisation are those of layer6ai-labs/dgm-eval (74c79f7).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.networks.base import ImageNetwork, NetworkCard, one_at_a_time_on_cpu, require_batch
from tokbench.networks.checkpoint import Checkpoint
from tokbench.networks.resize import bicubic_pillow, normalised
from tokbench.networks.vision_transformer import Affine, Block, Encoder, affine, gelu, patches
from tokbench.weights.catalogue import known

if TYPE_CHECKING:
    import torch

SIDE_PX = 224
PATCH_PX = 14
GRID = SIDE_PX // PATCH_PX
TRAINED_GRID = 37
WIDTH = 1024
DEPTH = 24
N_HEADS = 16
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
# Upstream adds this to the number of patches before dividing, and then samples at that inexact scale.
GRID_OFFSET = 0.1

CARD = NetworkCard(
    key="dinov2_vitl14",
    title="DINOv2 ViT-L/14",
    weights=known("dinov2_vitl14"),
    dimensions=WIDTH,
    licence="Apache-2.0",
    weights_licence="Apache-2.0",
    paper="arXiv:2304.07193",
    repository="https://github.com/facebookresearch/dinov2",
    notes=(
        "The whole image is resized to 224 x 224 px by Pillow's bicubic filter, aspect ratio not kept, no crop.",
        "Normalised by ImageNet's mean and deviation.",
        "The feature is the class token after the last norm.",
    ),
)


class DinoV2:
    """Class tokens of images; without registers, as published for ViT-L/14.

    Args:
        checkpoint: the released state dict.
        depth: number of blocks in it.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu", depth: int = DEPTH) -> None:
        take = checkpoint.take
        self._device = device
        positions = resampled_positions(take("pos_embed", 1, 1 + TRAINED_GRID**2, WIDTH), GRID)
        self._class_token = (take("cls_token", 1, 1, WIDTH) + positions[:, :1]).to(device)
        self._positions = positions[:, 1:].to(device)
        patch = affine(checkpoint, "patch_embed.proj", WIDTH, 3, PATCH_PX, PATCH_PX)
        self._patch = Affine(patch.weight.flatten(1), patch.bias).to(device)
        blocks = [_block(checkpoint, f"blocks.{index}.").to(device) for index in range(depth)]
        self._encoder = Encoder(blocks=blocks, n_heads=N_HEADS, epsilon=1e-6, activation=gelu)
        self._norm = affine(checkpoint, "norm", WIDTH).to(device)
        checkpoint.drop(lambda key: key == "mask_token")  # for training only
        checkpoint.require_empty()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` → float32 ``(n, 1024)`` on the CPU."""
        import torch

        require_batch(images)
        with torch.inference_mode():
            parts = one_at_a_time_on_cpu(images, self._device)
            return torch.cat([self._features(self.preprocessed(part)) for part in parts]).cpu()

    def preprocessed(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` → normalised float32 ``(n, 3, 224, 224)`` on the network's device."""
        return normalised(bicubic_pillow(images, SIDE_PX).to(self._device), MEAN, DEVIATION)

    def _features(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        embedded = patches(values, self._patch, PATCH_PX) + self._positions
        tokens = torch.cat([self._class_token.expand(len(embedded), -1, -1), embedded], dim=1)
        return self._encoder.normalised(self._encoder(tokens)[:, 0], self._norm)


def resampled_positions(positions: torch.Tensor, grid: int) -> torch.Tensor:
    """Position embeddings ``(1, 1 + m², d)`` of a grid of m → ``(1, 1 + grid², d)``; the class token's is kept.

    Cubic convolution (a = -0.75) without antialiasing, at the scale (grid + 0.1) / m as upstream, where the 0.1 once
    kept a rounding error from losing a row and has been kept for the sake of equal results.
    """
    import torch
    import torch.nn.functional as f

    trained = round((positions.shape[1] - 1) ** 0.5)
    if trained == grid:
        return positions
    scale = float(grid + GRID_OFFSET) / trained
    maps = positions[:, 1:].reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    maps = f.interpolate(maps, scale_factor=(scale, scale), mode="bicubic")
    return torch.cat([positions[:, :1], maps.flatten(2).transpose(1, 2)], dim=1)


def _block(checkpoint: Checkpoint, prefix: str) -> Block:
    """One layer, with the two layer scales multiplied into the layers before them."""
    attention_scale = checkpoint.take(f"{prefix}ls1.gamma", WIDTH)
    perceptron_scale = checkpoint.take(f"{prefix}ls2.gamma", WIDTH)
    return Block(
        norm_1=affine(checkpoint, f"{prefix}norm1", WIDTH),
        qkv=affine(checkpoint, f"{prefix}attn.qkv", 3 * WIDTH, WIDTH),
        projection=affine(checkpoint, f"{prefix}attn.proj", WIDTH, WIDTH).scaled(attention_scale),
        norm_2=affine(checkpoint, f"{prefix}norm2", WIDTH),
        widen=affine(checkpoint, f"{prefix}mlp.fc1", 4 * WIDTH, WIDTH),
        narrow=affine(checkpoint, f"{prefix}mlp.fc2", WIDTH, 4 * WIDTH).scaled(perceptron_scale),
    )


def _build(device: str) -> DinoV2:
    return DinoV2(Checkpoint.read(CARD.weights), device=device)


NETWORK = ImageNetwork(card=CARD, build=_build)
