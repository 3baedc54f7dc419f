"""Run an official convolutional VQGAN with key-seeded weights and keep what it gives.

    python scripts/make_vqgan_golden.py llamagen CHECKOUT
    python scripts/make_vqgan_golden.py ibq CHECKOUT reduced 16384

CHECKOUT is a copy of the family's repository (``REPOSITORIES``) at the commit named there; einops must be installed for
some. The results go to ``tests/golden/tokenizers/FAMILY.json``. The variants named ``reduced…`` and ``faint`` are small
networks, ``faint`` on nearly grey images; those without images are kept by their names and shapes alone. No checkpoint
is read.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.adapters.seeding import GOLDEN, keys_facts, pattern, seeded_state, values_facts

REPOSITORIES = {
    "llamagen": ("FoundationVision/LlamaGen", "ce98ec41803a74a90ce68c40ababa9eaeffeb4ec"),
    "janus": ("deepseek-ai/Janus", "1daa72fa409002d40931bd7b36a9280362469ead"),
    "fvq": ("yfChang-cv/FVQ", "577b848c44e089a51a6b7ef7b1b0821dfd357855"),
    "fqgan": ("showlab/FQGAN", "dc34256b36af7227f0916de8015c882fe8101b56"),
    "taming": ("CompVis/taming-transformers", "3ba01b241669f5ade541ce990f7650a3b8f65318"),
    "chameleon": ("facebookresearch/chameleon", "dbbe47fdbc7a3cc4982ae931fea75e227262e70a"),
    "ibq": ("TencentARC/SEED-Voken", "b9a17eac8e2c0779c12a5429b0bfd6c502788484"),
    "emu35": ("baaivision/Emu3.5", "8fcf1da48f9c5252fe0a0b8dc842e07b6efcd745"),
}
Size = tuple[int, int, int] | None
FULL, STRIP, NONE = (1, 256, 256), (1, 64, 96), None
FAINT_CONTRAST = 0.01
CODEBOOK_USED = "codebook_used"

TOKENIZER_IMAGE = "tokenizer/tokenizer_image/vq_model.py"
SMALL = {"encoder_ch_mult": [1, 1, 2], "z_channels": 32, "codebook_size": 512}
LLAMAGEN_LIKE: dict[str, tuple[str, dict[str, tuple[dict[str, Any], Size]]]] = {
    "llamagen": (
        TOKENIZER_IMAGE,
        {
            "ds16": ({}, FULL),
            "ds8": ({"encoder_ch_mult": [1, 2, 2, 4]}, FULL),
            "reduced": (SMALL, (2, 16, 24)),
        },
    ),
    "janus": ("janus/models/vq_model.py", {"vq16": ({}, FULL), "reduced": (SMALL, (2, 16, 24))}),
    "fvq": (
        TOKENIZER_IMAGE,
        {
            **{
                str(codes): ({"codebook_size": codes, "codebook_embed_dim": 256, "codebook_l2_norm": False}, size)
                for codes, size in ((16384, FULL), (262144, STRIP), (65536, NONE))
            },
            "reduced": ({**SMALL, "codebook_embed_dim": 24, "codebook_l2_norm": False}, (2, 16, 24)),
        },
    ),
}

DDCONFIG = {
    "double_z": False, "z_channels": 256, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
    "ch_mult": [1, 1, 2, 2, 4], "num_res_blocks": 2, "attn_resolutions": [16], "dropout": 0.0,
}  # fmt: skip
SMALL_DD = {"z_channels": 48, "resolution": 32, "ch": 32, "ch_mult": [1, 2, 2], "attn_resolutions": [8, 16]}
IBQ_DD = {"num_res_blocks": 4}
SMALL_IBQ_DD = {**SMALL_DD, "attn_resolutions": [8], "num_res_blocks": 3}
CHAMELEON_DD = {"resolution": 512, "attn_resolutions": []}
TAMING_LIKE: dict[str, tuple[str, str, dict[str, tuple[dict[str, Any], int, int, str, Size]]]] = {
    # model.py, quantize.py, and by variant: ddconfig, codes, width, quantiser, size of the images
    "taming": (
        "taming/modules/diffusionmodules/model.py",
        "taming/modules/vqvae/quantize.py",
        {
            "f16_1024": ({}, 1024, 256, "VectorQuantizer2", NONE),
            "f16_16384": ({}, 16384, 256, "VectorQuantizer2", FULL),
            "gumbel_f8_8192": (
                {"ch_mult": [1, 1, 2, 4], "attn_resolutions": [32]}, 8192, 256, "GumbelQuantize", FULL
            ),
            "reduced": (SMALL_DD, 512, 24, "VectorQuantizer2", (2, 32, 48)),
            "reduced_gumbel": ({**SMALL_DD, "z_channels": 24}, 512, 24, "GumbelQuantize", (2, 32, 48)),
            "faint": (SMALL_DD, 512, 24, "VectorQuantizer2", (1, 32, 32)),
        },
    ),
    "chameleon": (
        "chameleon/inference/vqgan.py",
        "chameleon/inference/vqgan.py",
        {
            "vqgan": (CHAMELEON_DD, 8192, 256, "VectorQuantizer2", FULL),
            "reduced": (
                {**CHAMELEON_DD, "z_channels": 48, "ch": 32, "ch_mult": [1, 2, 2]}, 512, 24, "VectorQuantizer2",
                (2, 32, 48),
            ),
        },
    ),
    "ibq": (
        "src/IBQ/modules/diffusionmodules/model.py",
        "src/IBQ/modules/vqvae/quantize.py",
        {
            "reduced": (SMALL_IBQ_DD, 512, 24, "IndexPropagationQuantize", (2, 32, 48)),
            "16384": (IBQ_DD, 16384, 256, "IndexPropagationQuantize", FULL),
            "262144": (IBQ_DD, 262144, 256, "IndexPropagationQuantize", STRIP),
            "1024": (IBQ_DD, 1024, 256, "IndexPropagationQuantize", NONE),
            "8192": (IBQ_DD, 8192, 256, "IndexPropagationQuantize", NONE),
        },
    ),
    "emu35": (
        "src/vision_tokenizer/modules/diffusionmodules/model.py",
        "src/vision_tokenizer/modules/vqvae/quantize.py",
        {
            "reduced": (SMALL_IBQ_DD, 512, 24, "IndexPropagationQuantize", (2, 32, 48)),
            "f16_131072": ({**IBQ_DD, "ch": 256}, 131072, 256, "IndexPropagationQuantize", STRIP),
        },
    ),
}  # fmt: skip

FQGAN = {
    # by variant: file, names of the factors, channel multipliers, size of the images
    f"{kind}_{size}": (f"tokenizer/vq_model_{kind}.py", factors, multipliers, images)
    for kind, factors in (("dual", ["vis", "sem"]), ("triple", ["vis", "sem_mid", "sem_high"]))
    for size, multipliers, images in (
        ("ds16", [1, 1, 2, 2, 4], FULL if kind == "dual" else NONE),
        ("ds8", [1, 2, 2, 4], NONE),
        ("reduced", [1, 1, 1, 4], (2, 32, 32)),
    )
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("family", choices=REPOSITORIES)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("variants", nargs="*")
    args = parser.parse_args()
    jobs = jobs_of(args.family, args.checkout)
    for variant in args.variants or jobs:
        keep(args.family, variant, jobs[variant]())
        sys.stdout.write(f"{args.family}/{variant}\n")


def jobs_of(family: str, checkout: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """By variant, what runs it."""
    if family in LLAMAGEN_LIKE:
        file, cases = LLAMAGEN_LIKE[family]
        return {name: _later(_llamagen_like, checkout / file, name, *case) for name, case in cases.items()}
    if family in TAMING_LIKE:
        model, quantiser, taming_cases = TAMING_LIKE[family]
        files = (checkout / model, checkout / quantiser)
        return {name: _later(_taming_like, *files, name, *case) for name, case in taming_cases.items()}
    return {name: _later(_fqgan, checkout / case[0], name, *case[1:]) for name, case in FQGAN.items()}


def _later(run: Callable[..., dict[str, Any]], *arguments: Any) -> Callable[[], dict[str, Any]]:
    return lambda: run(*arguments)


def _llamagen_like(file: Path, variant: str, arguments: Mapping[str, Any], size: Size) -> dict[str, Any]:
    module = _module(file)
    multipliers = {"decoder_ch_mult": arguments["encoder_ch_mult"]} if "encoder_ch_mult" in arguments else {}
    settings = module.ModelArgs(**arguments, **multipliers)
    names = ("encoder_ch_mult", "z_channels", "codebook_size", "codebook_embed_dim", "codebook_l2_norm")
    with torch.device("meta"):
        network = module.VQModel(settings)
    facts = _facts(network, {name: getattr(settings, name) for name in names})
    if size is None:
        return facts
    images = _images(network, variant, size)
    vectors = network.quant_conv(network.encoder(images))
    quantised, _, (_, _, indices) = network.encode(images)
    n, _, height, width = quantised.shape
    decoded = network.decode_code(indices, quantised.shape)
    book = network.quantize.embedding.weight
    return facts | _results(variant, [indices.view(n, height, width)], [vectors], decoded, [
        _gap(vectors, book, cosine=settings.codebook_l2_norm)
    ])  # fmt: skip


def _taming_like(
    model: Path, quantiser: Path, variant: str, change: Mapping[str, Any], codes: int, code_width: int, kind: str,
    size: Size,
) -> dict[str, Any]:  # fmt: skip
    ddconfig = {**DDCONFIG, **change}
    with torch.device("meta"):
        network = _assembled(_module(model), _module(quantiser), ddconfig, codes, code_width, kind)
    facts = _facts(network, {"ddconfig": ddconfig, "n_embed": codes, "embed_dim": code_width, "quantize": kind})
    if size is None:
        return facts
    images = _images(network, variant, size)
    vectors = network.quant_conv(network.encoder(images))
    n, _, height, width = vectors.shape
    if kind == "GumbelQuantize":  # draws at inference too; its mode is the largest logit
        indices = network.quantize.proj(vectors).argmax(1).flatten()
        top = network.quantize.proj(vectors).double().topk(2, dim=1).values
        gap = float((top[:, 0] - top[:, 1]).min())
    else:
        indices = network.quantize(vectors)[2][2].flatten()
        gap = _gap(vectors, network.quantize.embedding.weight, dot=kind == "IndexPropagationQuantize")
    entries = network.quantize.get_codebook_entry(indices, (n, height, width, code_width))
    decoded = network.decoder(network.post_quant_conv(entries))
    return facts | _results(variant, [indices.view(n, height, width)], [vectors], decoded, [gap])


def _assembled(model: Any, quantiser: Any, ddconfig: dict[str, Any], codes: int, code_width: int, kind: str) -> Any:
    """As the official VQModel assembles its parts; that class itself needs a trainer."""
    network: Any = nn.Module()
    network.encoder, network.decoder = model.Encoder(**ddconfig), model.Decoder(**ddconfig)
    if kind == "GumbelQuantize":
        network.quantize = quantiser.GumbelQuantize(ddconfig["z_channels"], code_width, n_embed=codes)
    else:
        network.quantize = getattr(quantiser, kind)(codes, code_width, beta=0.25)
    network.quant_conv = nn.Conv2d(ddconfig["z_channels"], code_width, 1)
    network.post_quant_conv = nn.Conv2d(code_width, ddconfig["z_channels"], 1)
    return network


def _fqgan(file: Path, variant: str, factors: list[str], multipliers: list[int], size: Size) -> dict[str, Any]:
    module = _module(file)
    small = {"z_channels": 32, "codebook_size": 512} if "reduced" in variant else {}
    settings = module.ModelArgs(encoder_ch_mult=multipliers, decoder_ch_mult=multipliers, **small)
    depth, positions = 6, (256 // 2 ** (len(multipliers) - 1)) ** 2
    with torch.device("meta"):
        network = module.VQModel(settings)
        if small:
            depth, positions = 2, 16
            for head in network.modules():
                if isinstance(head, module.FactorizedAdapter):
                    head.num_layers, head.transformer = depth, head.transformer[:depth]
                    head.positional_embedding = nn.Parameter(torch.empty(positions, head.width))
    names = ("encoder_ch_mult", "z_channels", "codebook_size", "codebook_embed_dim", "codebook_l2_norm")
    config = {name: getattr(settings, name) for name in names}
    facts = _facts(network, {"heads": factors, **config, "depth": depth, "positions": positions})
    if size is None:
        return facts
    images = _images(network, variant, size)
    latents = network.encoder(images)
    order = ["sem", "vis"] if len(factors) == 2 else factors  # the order in which upstream gives them
    vectors = {name: getattr(network, f"quant_conv_{name}")(part) for name, part in zip(order, latents, strict=True)}
    indices = {name: getattr(network, f"quantize_{name}")(vectors[name])[2][2] for name in order}
    shape = vectors[order[0]].shape
    decoded = network.decode_code(*(indices[name] for name in order), *(shape for _ in order))
    grids = [indices[name].view(shape[0], *shape[2:]) for name in factors]
    gaps = [_gap(vectors[name], getattr(network, f"quantize_{name}").embedding.weight, cosine=True) for name in factors]
    return facts | _results(variant, grids, [vectors[name] for name in factors], decoded, gaps)


def _facts(network: nn.Module, config: dict[str, Any]) -> dict[str, Any]:
    state = network.state_dict()
    unused = sorted([key, list(entry.shape)] for key, entry in state.items() if key.endswith(CODEBOOK_USED))
    return {"config": config, "keys": keys_facts(state), "unused": unused}


def _images(network: nn.Module, variant: str, size: tuple[int, int, int]) -> Tensor:
    """The pattern in [-1, 1]; the network is filled by key on the way."""
    network.load_state_dict(seeded_state(network.state_dict()), strict=True, assign=True)
    network.eval().requires_grad_(False)
    return 2 * (0.5 + _contrast(variant) * (pattern(*size) - 0.5)) - 1


def _contrast(variant: str) -> float:
    return FAINT_CONTRAST if variant == "faint" else 1.0


def _results(
    variant: str, indices: list[Tensor], vectors: list[Tensor], decoded: Tensor, gaps: list[float]
) -> dict[str, Any]:
    return {
        "images": [len(decoded), *decoded.shape[2:]],
        "contrast": _contrast(variant),
        "indices": [grid.tolist() for grid in indices],
        "smallest_gaps": gaps,
        "vectors": [values_facts(grid.permute(0, 2, 3, 1).contiguous()) for grid in vectors],
        "image": values_facts(decoded / 2 + 0.5),
    }


def _gap(vectors: Tensor, entries: Tensor, *, cosine: bool = False, dot: bool = False) -> float:
    """How much better the best code is than the second best, over all cells: what an index hangs on."""
    flat, book = vectors.permute(0, 2, 3, 1).flatten(0, 2).double(), entries.double()
    if cosine:
        flat, book = F.normalize(flat, dim=-1), F.normalize(book, dim=-1)
    scores = flat @ book.T if dot else -torch.cdist(flat, book).square()
    best = scores.topk(2).values
    return float((best[:, 0] - best[:, 1]).min())


def _module(file: Path) -> Any:
    """A file of the checkout, imported by itself."""
    spec = importlib.util.spec_from_file_location(f"upstream_{file.stem}_{abs(hash(file))}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def keep(family: str, variant: str, facts: dict[str, Any]) -> None:
    """Write one variant into the family's file, a line a variant's field."""
    path = GOLDEN / f"{family}.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"variants": {}}
    rows = []
    for name, variant_facts in sorted({**found["variants"], variant: facts}.items()):
        fields = ",\n".join(f"      {json.dumps(key)}: {json.dumps(value)}" for key, value in variant_facts.items())
        rows.append(f"    {json.dumps(name)}: {{\n{fields}\n    }}")
    repository, commit = REPOSITORIES[family]
    head = f'  "upstream": {json.dumps({"repository": repository, "commit": commit})},\n  "variants": {{\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + head + ",\n".join(rows) + "\n  }\n}\n", encoding="utf-8")


if __name__ == "__main__":
    with torch.inference_mode():
        main()
