"""Export NVIDIA's Cosmos image networks with key-seeded weights, and keep what NVIDIA's library makes of the export.

    python scripts/make_cosmos_golden.py CHECKOUT

CHECKOUT is a copy of NVIDIA/Cosmos-Tokenizer at the commit below; einops, loguru and mediapy must be installed. The
adapter reads the same files and must agree: equal codes, images within 1e-4. The results go to
``tests/golden/tokenizers/cosmos.json``. No checkpoint is read.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.adapters.cosmos_cases import opened, said_of, small_card, traced
from tests.adapters.seeding import GOLDEN, keys_facts, pattern, seeded_state, values_facts
from tokbench.encodings import Latents, Tokens
from tokbench_adapters import cosmos

UPSTREAM = {"repository": "NVIDIA/Cosmos-Tokenizer", "commit": "3584ae752ce8ebdbe06a420bf60d7513c0e878cc"}
IMAGES = (2, 32, 48)
MOST = 1e-4


def main() -> None:
    """Every variant, from the checkout that the command line names."""
    sys.path.insert(0, sys.argv[1])
    variants = {f"{kind}/{cell}x{cell}": facts_of(kind, cell) for kind in ("ci", "di") for cell in (8, 16)}
    rows = []
    for name, facts in variants.items():
        fields = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items())
        rows.append(f"    {json.dumps(name)}: {{\n{fields}\n    }}")
    text = f'{{\n  "upstream": {json.dumps(UPSTREAM)},\n  "variants": {{\n' + ",\n".join(rows) + "\n  }\n}\n"
    (GOLDEN / "cosmos.json").write_text(text, encoding="utf-8")


def facts_of(kind: str, cell_px: int) -> dict[str, Any]:
    """What NVIDIA's library gives, checked against what the adapter gives."""
    from cosmos_tokenizer.image_lib import ImageTokenizer
    from cosmos_tokenizer.networks import TokenizerConfigs, TokenizerModels

    said = said_of(cell_px)
    network = (
        TokenizerModels[kind.upper()].value(**{**TokenizerConfigs[kind.upper()].value, **said}).to(dtype=torch.float32)
    )
    network.load_state_dict(seeded_state(network.state_dict()), strict=True)
    network.eval().requires_grad_(False)
    images = pattern(*IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        encoder, decoder = (str(Path(folder) / name) for name in cosmos.FILES)
        example = torch.zeros(1, 3, 64, 64)
        Path(encoder).write_bytes(traced(network.encoder_jit(), example))
        Path(decoder).write_bytes(traced(network.decoder_jit(), network.encode(example)[0]))
        theirs = ImageTokenizer(checkpoint_enc=encoder, checkpoint_dec=decoder, device="cpu", dtype="float32")
        first = theirs.encode(images * 2 - 1)[0]
        painted = theirs.decode(first) / 2 + 0.5
        ours = cosmos.build(
            small_card(f"cosmos_{kind}", cell_px),
            *(opened(Path(path).read_bytes()) for path in (encoder, decoder)),
            device="cpu",
            dtype="float32",
        )
    check(ours, images, first, painted)
    facts = {"config": said, "keys": keys_facts(network.state_dict()), "images": list(IMAGES)}
    codes = {"indices": first.tolist()} if kind == "di" else {"latents": values_facts(first)}
    return {**facts, **codes, "image": values_facts(painted)}


def check(ours: Any, images: Tensor, first: Tensor, painted: Tensor) -> None:
    """Raise SystemExit where the adapter differs from NVIDIA's library on the same files."""
    encoding = ours.encode(images)
    difference = float((ours.decode(encoding, seeds=range(len(images))) - painted).abs().max())
    if isinstance(encoding, Tokens):
        codes = float((encoding.streams[0].indices != first).sum())
    else:
        assert isinstance(encoding, Latents)
        codes = float((encoding.values - first).abs().max())
    sys.stdout.write(f"{ours.card.name}: codes differ by {codes:g}, images by {difference:g}\n")
    if difference > MOST or codes > (0 if isinstance(encoding, Tokens) else MOST):
        raise SystemExit("the adapter does not agree with NVIDIA's library")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
