"""Seeded weights for the Inception under its official names, and photographs with their reconstructions as files."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from seeded import Entries, seeded

from tokbench.networks.inception_layers import N_CLASSES, N_FEATURES, shapes
from tokbench.weights.files import WeightsFile

# Half of what a layer gives is cut at zero. Without this gain a random network forgets the image in its ninety layers
# and every feature is constant.
GAIN = 1.15 * 2**0.5


def inception_entries() -> Entries:
    """Official names and shapes, as torch-fidelity and pytorch-fid have them."""
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes().items():
        found[f"{name}.conv.weight"] = (shape.n_out, shape.n_in, *shape.kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.bn.{part}"] = (shape.n_out,)
    return {**found, "fc.weight": (N_CLASSES, N_FEATURES), "fc.bias": (N_CLASSES,)}


@lru_cache(maxsize=1)
def inception_state() -> dict[str, torch.Tensor]:
    """A state dict in which features still depend on the image."""
    state = seeded(inception_entries())
    state = {key: value * GAIN if key.endswith("conv.weight") else value for key, value in state.items()}
    counters = {f"{name}.bn.num_batches_tracked": torch.tensor(0) for name in shapes()}
    return {**state, **counters}


def inception_file(folder: Path) -> WeightsFile:
    """The state dict as a file, and where it is."""
    path = folder / "inception.pth"
    torch.save(inception_state(), path)
    return WeightsFile(owner="seeded_inception", name=path.name, format="state_dict", folders=(str(folder),))


def write_pairs(folder: Path, n: int, side_px: int = 128) -> tuple[Path, Path]:
    """PNG files of photographs' crops and of the same after a coarse JPEG, in two folders."""
    import io

    import numpy as np
    import skimage.data
    from PIL import Image

    rng = np.random.default_rng(0)
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    folders = folder / "reference", folder / "reconstruction"
    for path in folders:
        path.mkdir(parents=True)
    for index in range(n):
        photograph = photographs[index % len(photographs)]
        y, x = (int(rng.integers(0, size - side_px)) for size in photograph.shape[:2])
        image = Image.fromarray(photograph[y : y + side_px, x : x + side_px])
        image.save(folders[0] / f"{index:04}.png")
        coded = io.BytesIO()
        image.save(coded, "JPEG", quality=4)
        Image.open(coded).save(folders[1] / f"{index:04}.png")
    return folders


def read_folder(folder: Path) -> torch.Tensor:
    """uint8 ``(n, 3, h, w)`` of a folder's files, by name."""
    import numpy as np
    from PIL import Image

    images = [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
