"""A VQ-VAE of 2021 whose weights were published without code, under the parameter names of its checkpoint.

After van den Oord et al. (arXiv:1711.00937): two convolutions of stride 2, two residual layers, a codebook, and the
same way back. Its training code used a ReLU that works in place, so each residual layer adds to relu(x) and not to x.
With the textbook's ``x + f(relu(x))`` the weights load all the same, and images come back 10 dB worse.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tokbench_adapters._networks.codebook import nearest_entries

N_LAYERS = 2


class ResidualLayer(nn.Module):
    """``r + f(r)`` with ``r = relu(x)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = width // 2
        self._block = nn.ModuleDict(
            {
                "conv_1": nn.Conv2d(width, inner, 3, padding=1, bias=False),
                "conv_2": nn.Conv2d(inner, width, 1, bias=False),
            }
        )

    def forward(self, hidden: Tensor) -> Tensor:
        rectified = F.relu(hidden)
        return rectified + self.inner(rectified)

    def inner(self, rectified: Tensor) -> Tensor:
        """f, of what has been rectified."""
        found: Tensor = self._block["conv_2"](F.relu(self._block["conv_1"](rectified)))
        return found


class ResidualStack(nn.Module):
    """The residual layers, then a ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual_blocks = nn.ModuleDict({f"residual_{n}": ResidualLayer(width) for n in range(N_LAYERS)})

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.residual_blocks.values():
            hidden = layer(hidden)
        return F.relu(hidden)


class Encoder(nn.Module):
    """Float ``(n, 3, h, w)`` → ``(n, width, h/4, w/4)``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._blocks = nn.ModuleDict(
            {
                "conv_1": nn.Conv2d(3, width // 2, 4, stride=2, padding=1),
                "conv_2": nn.Conv2d(width // 2, width, 4, stride=2, padding=1),
                "conv_3": nn.Conv2d(width, width, 3, padding=1),
                "residual": ResidualStack(width),
            }
        )

    def forward(self, images: Tensor) -> Tensor:
        hidden = F.relu(self._blocks["conv_1"](images))
        hidden = F.relu(self._blocks["conv_2"](hidden))
        found: Tensor = self._blocks["residual"](self._blocks["conv_3"](hidden))
        return found


class Decoder(nn.Module):
    """Float ``(n, code_width, h, w)`` → ``(n, 3, 4·h, 4·w)``."""

    def __init__(self, width: int, code_width: int) -> None:
        super().__init__()
        self._blocks = nn.ModuleDict(
            {
                "conv_1": nn.Conv2d(code_width, width, 3, padding=1),
                "residual": ResidualStack(width),
                "conv_t_1": nn.ConvTranspose2d(width, width // 2, 4, stride=2, padding=1),
                "conv_t_2": nn.ConvTranspose2d(width // 2, 3, 4, stride=2, padding=1),
            }
        )

    def forward(self, vectors: Tensor) -> Tensor:
        hidden = self._blocks["residual"](self._blocks["conv_1"](vectors))
        images: Tensor = self._blocks["conv_t_2"](F.relu(self._blocks["conv_t_1"](hidden)))
        return images


class Quantiser(nn.Module):
    """The codebook, searched by squared distance in float32."""

    def __init__(self, size: int, width: int) -> None:
        super().__init__()
        self.codebook = nn.Embedding(size, width)

    def entries(self) -> Tensor:
        """Float32 ``(K, d)``."""
        entries: Tensor = self.codebook.weight
        return entries.float()

    def nearest(self, vectors: Tensor) -> Tensor:
        """Float ``(n, h, w, d)`` → int64 ``(n, h, w)``; equally near ones: the lower index."""
        return nearest_entries(vectors.float().flatten(0, -2), self.entries()).view(vectors.shape[:-1])

    def look_up(self, indices: Tensor) -> Tensor:
        """int64 ``(n, h, w)`` → float ``(n, h, w, d)``, in the type of the weights."""
        found: Tensor = self.codebook(indices)
        return found


class VqvaeExploreNetwork(nn.Module):
    """Encoder, codebook and decoder; images minus 0.5.

    Args:
        n_codes, code_width: of the codebook.
        width: channels at the grid's resolution.
    """

    def __init__(self, *, n_codes: int = 512, code_width: int = 128, width: int = 128) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.pre_vq_conv = nn.Conv2d(width, code_width, 1)
        self.vq_vae = Quantiser(n_codes, code_width)
        self.decoder = Decoder(width, code_width)

    def encode(self, images: Tensor) -> Tensor:
        """Float ``(n, 3, h, w)`` in [-0.5, 0.5] → ``(n, h/4, w/4, d)``, not quantised."""
        hidden: Tensor = self.pre_vq_conv(self.encoder(images))
        return hidden.permute(0, 2, 3, 1).contiguous()

    def decode(self, vectors: Tensor) -> Tensor:
        """Float ``(n, h, w, d)`` → ``(n, 3, 4·h, 4·w)``, nominally in [-0.5, 0.5], not clamped."""
        images: Tensor = self.decoder(vectors.permute(0, 3, 1, 2).contiguous())
        return images
