"""CLIP ViT-L/14 at 336 px: the image embeddings of CMMD (Jayasumana et al., arXiv:2401.09603).

The network is the vision half of openai/clip-vit-large-patch14-336, read from its own file under its own names;
crop, resize and normalisation are those of sayakpaul/cmmd-pytorch (f7673a9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench.networks.base import ImageNetwork, NetworkCard, one_at_a_time_on_cpu, require_batch
from tokbench.networks.checkpoint import Checkpoint
from tokbench.networks.resize import bicubic_pillow, central_square, normalised
from tokbench.networks.vision_transformer import Affine, Block, Encoder, affine, patches, quick_gelu
from tokbench.weights.catalogue import known

if TYPE_CHECKING:
    import torch

SIDE_PX = 336
PATCH_PX = 14
N_TOKENS = 1 + (SIDE_PX // PATCH_PX) ** 2
WIDTH = 1024
DEPTH = 24
N_HEADS = 16
N_FEATURES = 768
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)

CARD = NetworkCard(
    key="clip_vitl14_336",
    title="CLIP ViT-L/14 at 336 px",
    weights=known("clip_vitl14_336"),
    dimensions=N_FEATURES,
    licence="MIT",
    weights_licence="MIT",
    paper="arXiv:2103.00020",
    repository="https://github.com/openai/CLIP",
    notes=(
        "The central square is resized to 336 x 336 px by Pillow's bicubic filter.",
        "Normalised by CLIP's own mean and deviation.",
        "The feature is the projected image embedding, scaled to length 1.",
    ),
)


class ClipVision:
    """Image embeddings of unit length.

    Args:
        checkpoint: the released state dict; its text half is left out.
        depth: number of blocks in the vision half.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str = "cpu", depth: int = DEPTH) -> None:
        import torch

        checkpoint.drop(lambda key: key.startswith("text_") or key == "logit_scale" or key.endswith(".position_ids"))
        take, vision = checkpoint.take, "vision_model."
        self._device = device
        positions = take(f"{vision}embeddings.position_embedding.weight", N_TOKENS, WIDTH)
        self._class_token = (take(f"{vision}embeddings.class_embedding", WIDTH) + positions[0]).to(device)
        self._positions = positions[1:].to(device)
        patch = take(f"{vision}embeddings.patch_embedding.weight", WIDTH, 3, PATCH_PX, PATCH_PX)
        self._patch = Affine(patch.flatten(1), torch.zeros(WIDTH)).to(device)
        self._norm_before = affine(checkpoint, f"{vision}pre_layrnorm", WIDTH).to(device)  # spelled so in the file
        blocks = [_block(checkpoint, f"{vision}encoder.layers.{index}.").to(device) for index in range(depth)]
        self._encoder = Encoder(blocks=blocks, n_heads=N_HEADS, epsilon=1e-5, activation=quick_gelu)
        self._norm_after = affine(checkpoint, f"{vision}post_layernorm", WIDTH).to(device)
        self._projection = take("visual_projection.weight", N_FEATURES, WIDTH).T.contiguous().to(device)
        checkpoint.require_empty()

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` → float32 ``(n, 768)`` of length 1, on the CPU."""
        import torch

        require_batch(images)
        with torch.inference_mode():
            parts = one_at_a_time_on_cpu(images, self._device)
            return torch.cat([self._features(self.preprocessed(part)) for part in parts]).cpu()

    def preprocessed(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 ``(n, 3, h, w)`` → normalised float32 ``(n, 3, 336, 336)`` on the network's device."""
        pixels = bicubic_pillow(central_square(images), SIDE_PX)
        return normalised(pixels.to(self._device), MEAN, DEVIATION)

    def _features(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        embedded = patches(values, self._patch, PATCH_PX) + self._positions
        tokens = torch.cat([self._class_token.expand(len(embedded), 1, -1), embedded], dim=1)
        tokens = self._encoder(self._encoder.normalised(tokens, self._norm_before))
        features = self._encoder.normalised(tokens[:, 0], self._norm_after) @ self._projection
        unit: torch.Tensor = features / torch.linalg.vector_norm(features, dim=1, keepdim=True)
        return unit


def _block(checkpoint: Checkpoint, prefix: str) -> Block:
    """One layer; the file keeps queries, keys and values apart."""
    import torch

    parts = [affine(checkpoint, f"{prefix}self_attn.{part}_proj", WIDTH, WIDTH) for part in "qkv"]
    return Block(
        norm_1=affine(checkpoint, f"{prefix}layer_norm1", WIDTH),
        qkv=Affine(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])),
        projection=affine(checkpoint, f"{prefix}self_attn.out_proj", WIDTH, WIDTH),
        norm_2=affine(checkpoint, f"{prefix}layer_norm2", WIDTH),
        widen=affine(checkpoint, f"{prefix}mlp.fc1", 4 * WIDTH, WIDTH),
        narrow=affine(checkpoint, f"{prefix}mlp.fc2", WIDTH, 4 * WIDTH),
    )


def _build(device: str) -> ClipVision:
    return ClipVision(Checkpoint.read(CARD.weights), device=device)


NETWORK = ImageNetwork(card=CARD, build=_build)
