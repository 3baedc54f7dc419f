"""How many pairs of 256 px images a second do the perceptual distances take, beside the package lpips?

    python benchmarks/perception.py            # 32 pairs, each row the best of three
    python benchmarks/perception.py --quick    # 8 pairs, once

Backbones are random, the same on both sides; heads are the published ones, from the package. Ours measure pair by pair
on one core each, the package takes batches of eight on all cores, on the CPU. The last column is how far the values are
apart, relative, at most. Needs `pip install 'tokbench[dev]'`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

BATCH = 8
SIDE = 256


def pairs(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Crops of photographs, and the same with noise: uint8 ``(n, 3, 256, 256)`` each."""
    import skimage.data

    rng = np.random.default_rng(0)
    photographs = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.rocket()]
    crops = []
    for index in range(n):
        image = photographs[index % len(photographs)]
        y, x = (int(rng.integers(0, side - SIDE + 1)) for side in image.shape[:2])
        crops.append(image[y : y + SIDE, x : x + SIDE])
    reference = np.stack(crops).transpose(0, 3, 1, 2)
    noisy = np.clip(np.rint(reference + rng.normal(0, 12, reference.shape)), 0, 255).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(reference)), torch.from_numpy(noisy)


def package(kind: str) -> torch.nn.Module:
    """The lpips package's network with a random backbone whose activations keep their size."""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's, about how the package calls it
        network = lpips.LPIPS(net=kind, pnet_rand=True, verbose=False)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for values in network.net.parameters():
            fan_in = max(1, values[0].numel())
            values.copy_(torch.randn(values.shape, generator=generator) * (2 / fan_in) ** 0.5 * (values.ndim > 1))
    return network.eval()


def ours(kind: str, theirs: torch.nn.Module) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Our distance with the package's very weights."""
    from tokbench.metrics.lpips import Lpips
    from tokbench.networks import alexnet, vgg16

    state = theirs.state_dict()
    backbone = {f"features.{key.split('.', 2)[2]}": values for key, values in state.items() if key.startswith("net.")}
    if kind == "alex":
        return Lpips(alexnet.AlexNet(backbone), state, channels=alexnet.CHANNELS)
    return Lpips(vgg16.Vgg16(backbone), state, channels=vgg16.CHANNELS)


def best(work: Callable[[], list[float]], repeats: int) -> tuple[float, list[float]]:
    """Seconds of the fastest repeat, after one that is not counted, and the values."""
    values = work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        values = work()
        times.append(time.perf_counter() - start)
    return min(times), values


def rows(n: int, repeats: int) -> list[tuple[str, float, float, float]]:
    """Metric, pairs a second of ours and the package's, and the largest relative difference."""
    from tokbench.engines.base import spread

    reference, reconstruction = pairs(n)
    found = []
    for kind in ("alex", "vgg"):
        theirs = package(kind)
        distance = ours(kind, theirs)

        def one(row: int, distance: Callable[..., torch.Tensor] = distance) -> float:
            with torch.inference_mode():
                return float(distance(reference[row : row + 1], reconstruction[row : row + 1]))

        def batched(theirs: torch.nn.Module = theirs) -> list[float]:
            values: list[float] = []
            with torch.inference_mode():
                for start in range(0, n, BATCH):
                    images = (side[start : start + BATCH].float() / 127.5 - 1 for side in (reference, reconstruction))
                    values += theirs(*images).flatten().tolist()
            return values

        our_s, our_values = best(lambda one=one: spread(one, range(n)), repeats)
        their_s, their_values = best(batched, repeats)
        apart = max(abs(a - b) / b for a, b in zip(our_values, their_values, strict=True))
        found.append((f"lpips_{kind}", n / our_s, n / their_s, apart))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="8 pairs, once")
    quick = parser.parse_args().quick
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, pairs of {SIDE} px")
    print(f"{'metric':<12}{'tokbench':>12}{'lpips':>12}{'apart':>12}")
    for name, our_speed, their_speed, apart in rows(8 if quick else 32, 1 if quick else 3):
        print(f"{name:<12}{our_speed:>10.2f}/s{their_speed:>10.2f}/s{apart:>12.1e}")


if __name__ == "__main__":
    main()
