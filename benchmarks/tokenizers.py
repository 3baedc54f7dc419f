"""Ported tokenizers against the straightforward formulation of the same network: the same output, and never slower?

    python benchmarks/tokenizers.py                              # titok/s128, titok/l32, llamagen/ds16_c2i on the CPU
    python benchmarks/tokenizers.py --device cuda --images 16 titok/l32 titok/sl256_vq8k

Weights are key-seeded, so nothing is downloaded. The two take turns in one process, on the same batch, one first in
every other round. The table has the fastest and the median round of each; after it stand the median of the rounds'
ratios, and how far codes and images are apart. A ratio below 0.98 counts as slower, less is noise; then, or if outputs
differ, the exit code is 1. The straightforward formulation takes the batch whole and has fused attention where the
official code has it; ours takes images one at a time on a CPU, so that their codes do not depend on the batch, and
searches codes in pieces.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.plain_titok import PlainTiTok
from benchmarks.plain_vqgan import PlainLlamaGen
from tests.adapters.seeding import pattern, seeded_weights
from tokbench.contracts import Tokenizer
from tokbench.encodings import Tokens
from tokbench_adapters import llamagen, titok
from tokbench_adapters._networks.codebook import LARGEST_TABLE, nearest_entries
from tokbench_adapters._networks.titok import TiTokNetwork
from tokbench_adapters._networks.vqgan import VqganNetwork
from tokbench_adapters._titok import build

OURS, PLAIN = "tokbench", "straightforward"
PARTS = ("encode", "decode")
NOISE = 0.98
MOST_APART = 1e-3
"""Seeded decoders widen the last bits of a float32; trained ones less."""
Coder = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""Images → codes, and codes → images."""


def titok_coders(variant: str, device: str) -> dict[str, Coder]:
    """Ours and the straightforward one, on the same weights."""
    config = titok.VARIANTS[variant]
    if config.codebook_size is None:
        raise SystemExit(f"titok/{variant} has no codes to compare")
    with torch.device("meta"):
        network = TiTokNetwork(config)
    weights = seeded_weights(network)
    ours = build(titok.card_of(variant, config), config, weights, device=device, dtype="float32")
    plain = PlainTiTok(config, {key: value.to(device) for key, value in weights.items()})
    return {OURS: coder_of(ours, config.codebook_size), PLAIN: (plain.encode, plain.decode)}


def llamagen_coders(variant: str, device: str) -> dict[str, Coder]:
    """Ours and the straightforward one, on the same weights."""
    config = llamagen.VARIANTS[variant]
    with torch.device("meta"):
        network = VqganNetwork(config)
    weights = seeded_weights(network)
    (card,) = (card for card in llamagen.CARDS if card.variant == variant)
    ours = llamagen.build(card, weights, device=device, dtype="float32")
    plain = PlainLlamaGen(config, {key: value.to(device) for key, value in weights.items()})
    return {OURS: coder_of(ours, config.codebook_size), PLAIN: (plain.encode, plain.decode)}


def coder_of(tokenizer: Tokenizer, codebook_size: int) -> Coder:
    """A tokenizer of one stream as two functions."""

    def encode(images: Tensor) -> Tensor:
        encoding = tokenizer.encode(images)
        assert isinstance(encoding, Tokens)
        return encoding.streams[0].indices

    def decode(codes: Tensor) -> Tensor:
        return tokenizer.decode(Tokens.grid(codes, codebook_size=codebook_size), seeds=range(len(codes)))

    return encode, decode


CODERS: dict[str, Callable[[str, str], dict[str, Coder]]] = {"titok": titok_coders, "llamagen": llamagen_coders}


def seconds(work: Callable[[], Tensor], device: str) -> tuple[float, Tensor]:
    """Wall-clock seconds of one call, the device's queue emptied before and after, and what it gave."""
    _wait(device)
    started = time.perf_counter()
    made = work()
    _wait(device)
    return time.perf_counter() - started, made


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def compare(name: str, *, device: str, n_images: int, rounds: int) -> bool:
    """Time one tokenizer's coders in turn, print their rows, and tell whether ours is never slower and the same."""
    family, _, variant = name.partition("/")
    coders = CODERS[family](variant, device)
    images = pattern(n_images, 256, 256).to(device)
    times: dict[tuple[str, str], list[float]] = {(who, part): [] for who in coders for part in PARTS}
    made: dict[str, tuple[Tensor, Tensor]] = {}
    codes = coders[OURS][0](images)  # all decode the same codes
    for number in range(rounds + 1):
        order = list(coders.items())
        for who, (encode, decode) in order if number % 2 else reversed(order):  # nobody always goes second
            encode_s, own_codes = seconds(lambda encode=encode: encode(images), device)  # type: ignore[misc]
            decode_s, decoded = seconds(lambda decode=decode: decode(codes), device)  # type: ignore[misc]
            made[who] = own_codes, decoded
            if number:  # the first round warms up
                times[who, "encode"].append(encode_s)
                times[who, "decode"].append(decode_s)
    for who in coders:
        cells = [
            f"{1000 * figure(times[who, part]) / n_images:9.1f}"
            for part in PARTS
            for figure in (min, statistics.median)
        ]
        print(f"{name:20} {who:16} {' '.join(cells)}", flush=True)
    ratios = {
        part: statistics.median(
            theirs / ours for ours, theirs in zip(times[OURS, part], times[PLAIN, part], strict=True)
        )
        for part in PARTS
    }
    differing = int((made[OURS][0] != made[PLAIN][0]).sum())
    apart = float((made[OURS][1] - made[PLAIN][1]).abs().max())
    print(
        f"{name:20} {OURS} is {', '.join(f'{ratio:.2f}× as fast at {part}' for part, ratio in ratios.items())}; "
        f"{differing} of {codes.numel()} codes differ, images by {apart:.1e}",
        flush=True,
    )
    return min(ratios.values()) >= NOISE and not differing and apart < MOST_APART


def search(*, device: str, rounds: int, codes: int = 2**18, width: int = 256) -> None:
    """Time the code search by distance over the largest released codebook, for one image of 256 and of 512 px."""
    draw = torch.Generator().manual_seed(0)
    entries = torch.randn(codes, width, generator=draw).to(device)
    for side in (256, 512):
        vectors = torch.randn((side // 16) ** 2, width, generator=draw).to(device)
        plain = f"{4 * len(vectors) * codes / 2**20:.0f} MiB"
        times = [
            seconds(lambda vectors=vectors: nearest_entries(vectors, entries), device)[0] for _ in range(rounds + 1)
        ]  # type: ignore[misc]
        print(
            f"search of {codes} × {width} for {len(vectors)} vectors: {1000 * statistics.median(times[1:]):.0f} ms in "
            f"tables of at most {4 * LARGEST_TABLE / 2**20:.0f} MiB; the whole table is {plain}",
            flush=True,
        )


def main() -> int:
    """Run what the command line asks for; 1 if ours was slower somewhere, or not the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["titok/s128", "titok/l32", "llamagen/ds16_c2i"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, nargs="+", default=[1, 4], help="batch sizes")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    good = True
    with torch.inference_mode():
        for n_images in args.images:
            print(f"\nbatches of {n_images:<9} {'':16} {'encode, ms an image':>19} {'decode, ms an image':>19}")
            print(f"{'tokenizer':20} {'':16} {'best':>9} {'median':>9} {'best':>9} {'median':>9}")
            for name in args.names:
                good &= compare(name, device=args.device, n_images=n_images, rounds=args.rounds)
        print()
        search(device=args.device, rounds=args.rounds)
    print(f"never slower, same output: {'yes' if good else 'NO'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
