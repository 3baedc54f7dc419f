"""Run the official TiTok, TA-TiTok or One-D-Piece with key-seeded weights and keep what it gives.

    python scripts/make_titok_golden.py titok CHECKOUT [VARIANT…]

CHECKOUT is a git checkout of bytedance/1d-tokenizer (``titok``, ``ta_titok``) or turingmotors/One-D-Piece
(``one_d_piece``) with its requirements installed. The results go to ``tests/golden/tokenizers/FAMILY.json``, variant by
variant; the variants named ``reduced_…`` have two blocks a transformer and images of 64 px. No checkpoint is read.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.adapters.seeding import GOLDEN, keys_facts, pattern, seeded_state, values_facts
from tests.adapters.titok_cases import PREFIXES, REDUCED_DEPTH, REDUCED_SIDE_PX, seeded_text

CLASSES = {
    "titok": ("modeling.titok", "TiTok", "configs/infer/TiTok/titok_*.yaml", "titok_"),
    "ta_titok": ("modeling.tatitok", "TATiTok", "configs/infer/TA-TiTok/tatitok_*.yaml", "tatitok_"),
    "one_d_piece": ("modeling.one_d_piece", "OneDPiece", "configs/one-d-piece_*.yaml", "one-d-piece_"),
}
# Of every kind of network one, with few tokens where the published file has many.
REDUCED = {
    "titok": {"two_steps": ("s128", 8), "vq": ("sl256_vq8k", 8), "kl": ("bl64_vae_c16", 8)},
    "ta_titok": {"vq": ("bl32_vq", 8), "kl": ("sl128_vae", 8)},
    "one_d_piece": {"two_steps": ("s256", 16)},
}
N_IMAGES = 2


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", choices=CLASSES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("variants", nargs="*")
    args = parser.parse_args()
    module, name, configs, prefix = CLASSES[args.family]
    sys.path.insert(0, str(args.checkout))
    network_class = getattr(importlib.import_module(module), name)
    published = {path.stem.removeprefix(prefix): path for path in sorted(args.checkout.glob(configs))}
    jobs: dict[str, tuple[Path, int | None]] = {
        f"reduced_{kind}": (published[variant], n_tokens) for kind, (variant, n_tokens) in REDUCED[args.family].items()
    }
    jobs |= {variant: (path, None) for variant, path in published.items()}
    for variant in args.variants or jobs:
        path, n_tokens = jobs[variant]
        keep(args.family, variant, run(network_class, args.family, path, n_tokens), commit_of(args.checkout))
        sys.stdout.write(f"{args.family}/{variant}\n")


def run(network_class: Any, family: str, path: Path, n_tokens: int | None) -> dict[str, Any]:
    """One configuration, built without initial weights, filled by key and run on the pattern images."""
    from omegaconf import OmegaConf

    config = OmegaConf.load(path)
    if n_tokens is not None:
        config.model.vq_model.num_latent_tokens = n_tokens
        config.dataset.preprocessing.crop_size = REDUCED_SIDE_PX
    with torch.device("meta"):
        network = network_class(config)
    if n_tokens is not None:
        for half in (network.encoder, network.decoder):
            half.transformer = half.transformer[:REDUCED_DEPTH]
            half.num_layers = REDUCED_DEPTH
    network.load_state_dict(seeded_state(network.state_dict()), strict=True, assign=True)
    network.eval().requires_grad_(False)
    side = int(config.dataset.preprocessing.crop_size)
    images = pattern(N_IMAGES, side, side)
    facts: dict[str, Any] = {
        "config": OmegaConf.to_container(config.model.vq_model),
        "side_px": side,
        "depth": REDUCED_DEPTH if n_tokens is not None else None,
        "keys": keys_facts(network.state_dict()),
    }
    text = [seeded_text().expand(N_IMAGES, -1, -1)] if family == "ta_titok" else []
    if config.model.vq_model.get("quantize_mode", "vq") == "vae":
        latents = network.encode(images)[1].mode()
        facts["latents"] = values_facts(latents[:, :, 0])
        facts["image"] = values_facts(network.decode_tokens(latents, *text))
        return facts
    vectors = network.encoder(pixel_values=images, latent_tokens=network.latent_tokens)
    indices = network.encode(images)[1]["min_encoding_indices"]
    facts["indices"] = indices[:, 0].tolist()
    facts["smallest_gap"] = smallest_gap(network, vectors)
    facts["image"] = values_facts(network.decode_tokens(indices, *text))
    if family == "one_d_piece":
        facts["prefixes"] = {
            str(length): values_facts(network.decode_tokens(indices, length=length))
            for length in PREFIXES
            if length < indices.shape[-1]
        }
    return facts


def smallest_gap(network: Any, vectors: torch.Tensor) -> float:
    """How much farther the second nearest code is than the nearest, over all tokens: what an index hangs on."""
    flat, entries = vectors[:, :, 0].transpose(1, 2).flatten(0, 1).double(), network.quantize.embedding.weight.double()
    if network.quantize.use_l2_norm:
        flat, entries = (torch.nn.functional.normalize(rows, dim=-1) for rows in (flat, entries))
    nearest = torch.cdist(flat, entries).square().topk(2, largest=False).values
    return float((nearest[:, 1] - nearest[:, 0]).min())


def commit_of(checkout: Path) -> str:
    """The commit a checkout is at."""
    done = subprocess.run(["git", "-C", str(checkout), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def keep(family: str, variant: str, facts: dict[str, Any], commit: str) -> None:
    """Write one variant into the family's file, a line a variant's field."""
    path = GOLDEN / f"{family}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"variants": {}}
    repository = "turingmotors/One-D-Piece" if family == "one_d_piece" else "bytedance/1d-tokenizer"
    variants = {**found["variants"], variant: facts}
    rows = []
    for name in sorted(variants):
        fields = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in variants[name].items())
        rows.append(f"    {json.dumps(name)}: {{\n{fields}\n    }}")
    head = f'  "upstream": {json.dumps({"repository": repository, "commit": commit})},\n  "variants": {{\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + head + ",\n".join(rows) + "\n  }\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
