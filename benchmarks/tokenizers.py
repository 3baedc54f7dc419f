"""Ported tokenizers against the straightforward formulation of the same network: the same output, and never slower?

    python benchmarks/tokenizers.py                              # titok/s128 and llamagen/ds16_c2i on the CPU
    python benchmarks/tokenizers.py --device cuda titok/l32 titok/sl256_vq8k

Weights are key-seeded, so nothing is downloaded. The two take turns in one process, on the same batch, and the table
has the fastest and the median round of each, and how far their codes and images are apart.
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
from tokbench_adapters._networks.titok import TiTokNetwork
from tokbench_adapters._networks.vqgan import VqganNetwork
from tokbench_adapters._titok import build

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
    return {"tokbench": coder_of(ours, config.codebook_size), "straightforward": (plain.encode, plain.decode)}


def llamagen_coders(variant: str, device: str) -> dict[str, Coder]:
    """Ours and the straightforward one, on the same weights."""
    config = llamagen.VARIANTS[variant]
    with torch.device("meta"):
        network = VqganNetwork(config)
    weights = seeded_weights(network)
    (card,) = (card for card in llamagen.CARDS if card.variant == variant)
    ours = llamagen.build(card, weights, device=device, dtype="float32")
    plain = PlainLlamaGen(config, {key: value.to(device) for key, value in weights.items()})
    return {"tokbench": coder_of(ours, config.codebook_size), "straightforward": (plain.encode, plain.decode)}


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


def compare(name: str, *, device: str, n_images: int, rounds: int) -> None:
    """Time one tokenizer's coders in turn and print their rows."""
    family, _, variant = name.partition("/")
    coders = CODERS[family](variant, device)
    images = pattern(n_images, 256, 256).to(device)
    times: dict[tuple[str, str], list[float]] = {(who, part): [] for who in coders for part in ("encode", "decode")}
    made: dict[str, tuple[Tensor, Tensor]] = {}
    codes = next(iter(coders.values()))[0](images)  # all decode the same codes
    for number in range(rounds + 1):
        for who, (encode, decode) in coders.items():
            encode_s, own_codes = seconds(lambda encode=encode: encode(images), device)  # type: ignore[misc]
            decode_s, decoded = seconds(lambda decode=decode: decode(codes), device)  # type: ignore[misc]
            made[who] = own_codes, decoded
            if number:  # the first round warms up
                times[who, "encode"].append(encode_s)
                times[who, "decode"].append(decode_s)
    first_codes, first_images = made[next(iter(made))]
    for who, (own_codes, decoded) in made.items():
        cells = [
            f"{1000 * figure(times[who, part]) / n_images:9.1f}"
            for part in ("encode", "decode")
            for figure in (min, statistics.median)
        ]
        differing = int((own_codes != first_codes).sum())
        apart = float((decoded - first_images).abs().max())
        print(f"{name:20} {who:16} {' '.join(cells)} {differing:8} {apart:10.1e}", flush=True)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["titok/s128", "llamagen/ds16_c2i"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(f"{args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}, batches of {args.images}")
    print(f"{'':20} {'':16} {'encode, ms an image':>19} {'decode, ms an image':>19} {'codes':>8} {'images':>10}")
    print(
        f"{'tokenizer':20} {'':16} {'best':>9} {'median':>9} {'best':>9} {'median':>9} {'differ':>8} {'differ by':>10}"
    )
    with torch.inference_mode():
        for name in args.names:
            compare(name, device=args.device, n_images=args.images, rounds=args.rounds)


if __name__ == "__main__":
    main()
