"""From image files to Inception features: how many images a second, beside the implementations people use?

    python benchmarks/fid.py                 # 512 images of 256 px on the CPU; needs tokbench[dev]
    python benchmarks/fid.py --n 64 --repeat 1
    python benchmarks/fid.py --device cuda

Every implementation gets the same PNG files and the same seeded weights, each in a file of its own format, and runs in
a fresh process; importing and loading are not counted. The best of the repeats counts, which take turns. The column
``difference`` is the largest deviation from torch-fidelity's features over their largest value: clean-fid and our
``clean`` resize otherwise, so they are compared with each other. The floor is what the arithmetic alone would take;
the last lines time the distance itself.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

SIDE_PX = 256
PEER_BATCH = 32
RUN_BATCH = 8  # as in a run
GPU_BATCH = 64
REFERENCE = "torch-fidelity"
SYSTEMS = {
    REFERENCE: "torch-fidelity", "torchmetrics": "torch-fidelity", "ours": "torch-fidelity",
    "ours, one call": "torch-fidelity", "clean-fid": "clean-fid", "ours, clean": "clean-fid",
}  # fmt: skip


def write_images(folder: Path, n: int) -> None:
    """PNG files of crops of photographs."""
    import skimage.data
    from PIL import Image

    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(n):
        photograph = photographs[index % len(photographs)]
        y, x = (int(rng.integers(0, size - SIDE_PX)) for size in photograph.shape[:2])
        Image.fromarray(photograph[y : y + SIDE_PX, x : x + SIDE_PX]).save(folder / f"{index:05}.png")


def write_weights(folder: Path) -> None:
    """Seeded weights with which features depend on the image, as a state dict and as clean-fid's TorchScript."""
    import torch
    from pytorch_fid import inception as module

    from tokbench.networks.inception_layers import N_CLASSES, N_FEATURES, shapes

    draw = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes().items():
        weight = torch.randn((shape.n_out, shape.n_in, *shape.kernel), generator=draw)
        state[f"{name}.conv.weight"] = weight * (2.6 / weight[0].numel()) ** 0.5
        state[f"{name}.bn.weight"] = 1 + 0.02 * torch.randn(shape.n_out, generator=draw)
        state[f"{name}.bn.bias"] = 0.02 * torch.randn(shape.n_out, generator=draw)
        state[f"{name}.bn.running_mean"] = 0.02 * torch.randn(shape.n_out, generator=draw)
        state[f"{name}.bn.running_var"] = 1 + 0.1 * torch.randn(shape.n_out, generator=draw).abs()
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(0)
    state |= {"fc.weight": torch.zeros((N_CLASSES, N_FEATURES)), "fc.bias": torch.zeros(N_CLASSES)}
    torch.save(state, folder / "inception.pth")

    class Layers(torch.nn.Module):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, values: Any) -> Any:
            return self.network(values)[0]

    class Whole(torch.nn.Module):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.layers = Layers(network)

        def forward(self, values: Any) -> Any:
            return self.layers(values)

    module.load_state_dict_from_url = lambda *_, **__: state
    network = module.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    with torch.no_grad():
        torch.jit.trace(Whole(network).eval(), torch.zeros((1, 3, 299, 299))).save(
            str(folder / "inception-2015-12-05.pt")
        )


def read(path: Path) -> np.ndarray:
    """uint8 ``(3, h, w)``."""
    from PIL import Image

    with Image.open(path) as image:
        return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))


def with_ours(folder: Path, device: str, *, name: str) -> Callable[[Path], np.ndarray]:
    """A folder of images → features, by us."""
    import torch

    from tokbench.networks import inception, inception_inputs
    from tokbench.weights.files import WeightsFile

    file = WeightsFile(owner="benchmark", name="inception.pth", format="state_dict", folders=(str(folder),))
    card, prepare = (
        (inception.CLEAN, inception_inputs.clean) if "clean" in name else (inception.COMPAT, inception_inputs.compat)
    )
    network = inception.port(replace(card, weights=file), prepare).on(device)
    is_run = device == "cpu" and "one call" not in name
    workers = len(os.sched_getaffinity(0)) if is_run else 1
    size = RUN_BATCH if device == "cpu" else GPU_BATCH

    def batch(paths: list[Path]) -> np.ndarray:
        return network(torch.from_numpy(np.stack([read(path) for path in paths]))).numpy()

    def several(images: Path) -> np.ndarray:
        """As in a run: measuring threads with one thread of torch each."""
        paths = sorted(images.iterdir())
        batches = [paths[start : start + size] for start in range(0, len(paths), size)]
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return np.concatenate(list(pool.map(batch, batches)))

    def one(images: Path) -> np.ndarray:
        """Torch's threads within one call; files are read ahead."""
        with ThreadPoolExecutor(4) as pool:
            pixels = list(pool.map(read, sorted(images.iterdir())))
        batches = [np.stack(pixels[start : start + size]) for start in range(0, len(pixels), size)]
        return np.concatenate([network(torch.from_numpy(batch)).numpy() for batch in batches])

    return several if is_run else one


def with_torch_fidelity(folder: Path, device: str) -> Callable[[Path], np.ndarray]:
    """A folder of images → features, by torch-fidelity with its own batches of 64 and its own workers."""
    from torch_fidelity import utils

    options = {
        "cuda": device == "cuda", "verbose": False, "cache": False,
        "feature_extractor_weights_path": str(folder / "inception.pth"),
    }  # fmt: skip
    extractor = utils.create_feature_extractor("inception-v3-compat", ["2048"], **options)

    def features(images: Path) -> np.ndarray:
        found = utils.extract_featuresdict_from_input_id(1, extractor, input1=str(images), **options)
        return found["2048"].numpy()

    return features


def with_torchmetrics(folder: Path, device: str) -> Callable[[Path], np.ndarray]:
    """A folder of images → features, by the network inside torchmetrics' FID, fed by two workers."""
    import torch
    from torch.utils.data import DataLoader
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(folder / "inception.pth"), antialias=False
    ).to(device)

    def features(images: Path) -> np.ndarray:
        loader = DataLoader(
            sorted(images.iterdir()), batch_size=PEER_BATCH, num_workers=2,  # type: ignore[arg-type]
            collate_fn=lambda paths: torch.from_numpy(np.stack([read(path) for path in paths])),
        )  # fmt: skip
        with torch.no_grad():
            return torch.cat([network(batch.to(device)).cpu() for batch in loader]).numpy()

    return features


def with_clean_fid(folder: Path, device: str) -> Callable[[Path], np.ndarray]:
    """A folder of images → features, by clean-fid with two workers."""
    import torch
    from cleanfid import fid
    from cleanfid.inception_torchscript import InceptionV3W

    network = InceptionV3W(str(folder), download=False).to(device).eval()

    def features(images: Path) -> np.ndarray:
        return fid.get_folder_features(
            str(images), network, num_workers=2, batch_size=PEER_BATCH, device=torch.device(device), verbose=False
        )

    return features


def child(system: str, folder: Path, device: str) -> None:
    """Time one implementation in this process; prints seconds, saves features."""
    warnings.simplefilter("ignore")
    with contextlib.redirect_stdout(io.StringIO()):
        if system.startswith("ours"):
            run = with_ours(folder, device, name=system)
        elif system == "torchmetrics":
            run = with_torchmetrics(folder, device)
        elif system == "clean-fid":
            run = with_clean_fid(folder, device)
        else:
            run = with_torch_fidelity(folder, device)
        run(folder / "few")
        clock = time.perf_counter()
        features = run(folder / "images")
        seconds = time.perf_counter() - clock
    np.save(folder / f"{system}.npy", features)
    print(json.dumps(seconds))


def print_floor(folder: Path) -> None:
    """What the network's arithmetic alone would take if all of it ran like large float32 matrix products."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from torchmetrics.image.fid import NoTrainInceptionV3

    network = NoTrainInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(folder / "inception.pth")
    )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros((1, 3, SIDE_PX, SIDE_PX), dtype=torch.uint8))
    work, side = counter.get_total_flops(), 4096
    factor, seconds = torch.rand(side, side), []
    for _ in range(5):
        clock = time.perf_counter()
        factor @ factor
        seconds.append(time.perf_counter() - clock)
    speed = 2 * side**3 / min(seconds)
    print(
        f"floor: {work / 1e9:.1f} GFLOP an image, and matrix products do {speed / 1e9:.0f} GFLOP/s here: "
        f"{speed / work:.1f} images/s"
    )


def time_distance() -> None:
    """Seconds for the distance of 2,048 dimensions, from moments and with influences."""
    from tokbench.metrics.frechet import frechet_distance, frechet_summary
    from tokbench.metrics.moments import Moments

    rng = np.random.default_rng(0)
    reference = (rng.normal(size=(4096, 2048)) * np.logspace(0, -2, 2048)).astype(np.float32)
    reconstruction = reference + 0.1 * rng.normal(size=reference.shape).astype(np.float32)
    a, b = Moments.of(reference), Moments.of(reconstruction)
    moments = a.mean, a.covariance, b.mean, b.covariance
    for what, run in (
        ("distance from moments, d = 2048", lambda: frechet_distance(*moments)),
        ("moments, distance and influences of 4,096 pairs", lambda: frechet_summary(reference, reconstruction).value),
    ):
        seconds = []
        for _ in range(2):
            clock = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - clock)
        print(f"{what}: {min(seconds):.2f} s")


def main() -> None:
    """Parse options, run every implementation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=512, help="images")
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder, options.device)
        return
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="tokbench-fid-") as name:
        folder = Path(name)
        write_images(folder / "images", options.n)
        write_images(folder / "few", 16)
        write_weights(folder)
        seconds: dict[str, list[float]] = {system: [] for system in SYSTEMS}
        for _ in range(options.repeat):
            for system in SYSTEMS:
                command = [sys.executable, __file__, "--child", system, "--folder", name, "--device", options.device]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                seconds[system].append(float(json.loads(done.stdout.splitlines()[-1])))
        best = max(options.n / min(seconds[system]) for system in SYSTEMS if not system.startswith("ours"))
        print(f"{options.n} images of {SIDE_PX} px, {options.device}, {len(os.sched_getaffinity(0))} cores")
        print(f"{'':18}{'images/s':>9}{'of best peer':>14}{'difference':>12}")
        for system, like in SYSTEMS.items():
            features, others = np.load(folder / f"{system}.npy"), np.load(folder / f"{like}.npy")
            rate = options.n / min(seconds[system])
            difference = np.abs(features - others).max() / np.abs(others).max()
            print(f"{system:18}{rate:9.2f}{rate / best:13.2f}x{difference:12.1e}")
        if options.device == "cpu":
            print_floor(folder)
    time_distance()


if __name__ == "__main__":
    main()
