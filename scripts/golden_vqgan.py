"""The official convolutional VQGANs, as ``make_tokenizer_golden.py`` runs them; some of them need einops."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from golden_jobs import Job, module_at, smallest_gap
from torch import Tensor, nn

from tests.adapters.seeding import pattern, values_facts

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
Size = tuple[int, int, int]
FULL = (1, 256, 256)
FAINT_CONTRAST = 0.01
CODEBOOK_USED = "codebook_used"
NAMES = ("encoder_ch_mult", "z_channels", "codebook_size", "codebook_embed_dim", "codebook_l2_norm")

TOKENIZER_IMAGE = "tokenizer/tokenizer_image/vq_model.py"
SMALL = {"encoder_ch_mult": [1, 1, 2], "z_channels": 32, "codebook_size": 512}
LLAMAGEN_LIKE: dict[str, tuple[str, dict[str, tuple[dict[str, Any], Size]]]] = {
    # the file, and by variant: arguments of ModelArgs, size of the images
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
                str(codes): ({"codebook_size": codes, "codebook_embed_dim": 256, "codebook_l2_norm": False}, FULL)
                for codes in (16384, 262144, 65536)
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
SMALL_CHAMELEON_DD = {**CHAMELEON_DD, "z_channels": 48, "ch": 32, "ch_mult": [1, 2, 2]}
TAMING_LIKE: dict[str, tuple[str, str, str, dict[str, tuple[dict[str, Any], int, int, Size]]]] = {
    # model.py, quantize.py, the quantiser, and by variant: ddconfig, codes, width, size of the images
    "taming": (
        "taming/modules/diffusionmodules/model.py",
        "taming/modules/vqvae/quantize.py",
        "VectorQuantizer2",
        {
            "f16_1024": ({}, 1024, 256, FULL),
            "f16_16384": ({}, 16384, 256, FULL),
            "gumbel_f8_8192": ({"ch_mult": [1, 1, 2, 4], "attn_resolutions": [32]}, 8192, 256, FULL),
            "reduced": (SMALL_DD, 512, 24, (2, 32, 48)),
            "reduced_gumbel": ({**SMALL_DD, "z_channels": 24}, 512, 24, (2, 32, 48)),
            "faint": (SMALL_DD, 512, 24, (1, 32, 32)),
        },
    ),
    "chameleon": (
        "chameleon/inference/vqgan.py",
        "chameleon/inference/vqgan.py",
        "VectorQuantizer2",
        {
            "vqgan": (CHAMELEON_DD, 8192, 256, FULL),
            "reduced": (SMALL_CHAMELEON_DD, 512, 24, (2, 32, 48)),
        },
    ),
    "ibq": (
        "src/IBQ/modules/diffusionmodules/model.py",
        "src/IBQ/modules/vqvae/quantize.py",
        "IndexPropagationQuantize",
        {
            "reduced": (SMALL_IBQ_DD, 512, 24, (2, 32, 48)),
            **{str(codes): (IBQ_DD, codes, 256, FULL) for codes in (1024, 8192, 16384, 262144)},
        },
    ),
    "emu35": (
        "src/vision_tokenizer/modules/diffusionmodules/model.py",
        "src/vision_tokenizer/modules/vqvae/quantize.py",
        "IndexPropagationQuantize",
        {
            "reduced": (SMALL_IBQ_DD, 512, 24, (2, 32, 48)),
            "f16_131072": ({**IBQ_DD, "ch": 256}, 131072, 256, FULL),
        },
    ),
}

FQGAN = {
    # by variant: file, names of the factors, channel multipliers, size of the images
    f"{kind}_{size}": (f"tokenizer/vq_model_{kind}.py", factors, multipliers, images)
    for kind, factors in (("dual", ["vis", "sem"]), ("triple", ["vis", "sem_mid", "sem_high"]))
    for size, multipliers, images in (
        ("ds16", [1, 1, 2, 2, 4], FULL),
        ("ds8", [1, 2, 2, 4], FULL),
        ("reduced", [1, 1, 1, 4], (2, 32, 32)),
    )
}


def jobs(family: str, checkout: Path) -> dict[str, Job]:
    """By variant, what is run."""
    if family in LLAMAGEN_LIKE:
        file, cases = LLAMAGEN_LIKE[family]
        return {
            name: Job(
                partial(_build_llamagen_like, checkout / file, arguments),
                partial(_run_llamagen_like, name, size, cosine=arguments.get("codebook_l2_norm", True)),
            )
            for name, (arguments, size) in cases.items()
        }
    if family in TAMING_LIKE:
        model, quantiser, kind, taming_cases = TAMING_LIKE[family]
        files = checkout / model, checkout / quantiser
        return {
            name: Job(
                partial(_build_taming_like, *files, change, codes, width, _kind(name, kind)),
                partial(_run_taming_like, name, size, width, _kind(name, kind)),
            )
            for name, (change, codes, width, size) in taming_cases.items()
        }
    return {
        name: Job(
            partial(_build_fqgan, checkout / file, name, factors, shape), partial(_run_fqgan, name, factors, size)
        )
        for name, (file, factors, shape, size) in FQGAN.items()
    }


def _kind(variant: str, kind: str) -> str:
    return "GumbelQuantize" if "gumbel" in variant else kind


def _build_llamagen_like(file: Path, arguments: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    module = module_at(file)
    multipliers = {"decoder_ch_mult": arguments["encoder_ch_mult"]} if "encoder_ch_mult" in arguments else {}
    settings = module.ModelArgs(**arguments, **multipliers)
    network = module.VQModel(settings)
    return network, _said(network, {name: getattr(settings, name) for name in NAMES})


def _run_llamagen_like(variant: str, size: Size, network: Any, *, cosine: bool) -> dict[str, Any]:
    images = _images(variant, size)
    vectors = network.quant_conv(network.encoder(images))
    quantised, _, (_, _, indices) = network.encode(images)
    n, _, height, width = quantised.shape
    decoded = network.decode_code(indices, quantised.shape)
    gap = _gap(vectors, network.quantize.embedding.weight, cosine=cosine)
    return _results(variant, [indices.view(n, height, width)], [vectors], decoded, [gap])


def _build_taming_like(
    model: Path, quantiser: Path, change: dict[str, Any], codes: int, width: int, kind: str
) -> tuple[nn.Module, dict[str, Any]]:
    """As the official VQModel assembles its parts; that class itself needs a trainer."""
    ddconfig = {**DDCONFIG, **change}
    networks, quantisers = module_at(model), module_at(quantiser)
    network: Any = nn.Module()
    network.encoder, network.decoder = networks.Encoder(**ddconfig), networks.Decoder(**ddconfig)
    if kind == "GumbelQuantize":
        network.quantize = quantisers.GumbelQuantize(ddconfig["z_channels"], width, n_embed=codes)
    else:
        network.quantize = getattr(quantisers, kind)(codes, width, beta=0.25)
    network.quant_conv = nn.Conv2d(ddconfig["z_channels"], width, 1)
    network.post_quant_conv = nn.Conv2d(width, ddconfig["z_channels"], 1)
    return network, _said(network, {"ddconfig": ddconfig, "n_embed": codes, "embed_dim": width, "quantize": kind})


def _run_taming_like(variant: str, size: Size, code_width: int, kind: str, network: Any) -> dict[str, Any]:
    vectors = network.quant_conv(network.encoder(_images(variant, size)))
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
    return _results(variant, [indices.view(n, height, width)], [vectors], decoded, [gap])


def _build_fqgan(
    file: Path, variant: str, factors: list[str], multipliers: list[int]
) -> tuple[nn.Module, dict[str, Any]]:
    module = module_at(file)
    small = {"z_channels": 32, "codebook_size": 512} if "reduced" in variant else {}
    settings = module.ModelArgs(encoder_ch_mult=multipliers, decoder_ch_mult=multipliers, **small)
    depth, positions = (2, 16) if small else (6, (256 // 2 ** (len(multipliers) - 1)) ** 2)
    network = module.VQModel(settings)
    for head in network.modules():
        if small and isinstance(head, module.FactorizedAdapter):
            head.num_layers, head.transformer = depth, head.transformer[:depth]
            head.positional_embedding = nn.Parameter(head.positional_embedding.new_empty(positions, head.width))
    config = {name: getattr(settings, name) for name in NAMES}
    return network, _said(network, {"heads": factors, **config, "depth": depth, "positions": positions})


def _run_fqgan(variant: str, factors: list[str], size: Size, network: Any) -> dict[str, Any]:
    latents = network.encoder(_images(variant, size))
    order = ["sem", "vis"] if len(factors) == 2 else factors  # the order in which upstream gives them
    vectors = {name: getattr(network, f"quant_conv_{name}")(part) for name, part in zip(order, latents, strict=True)}
    indices = {name: getattr(network, f"quantize_{name}")(vectors[name])[2][2] for name in order}
    shape = vectors[order[0]].shape
    decoded = network.decode_code(*(indices[name] for name in order), *(shape for _ in order))
    grids = [indices[name].view(shape[0], *shape[2:]) for name in factors]
    gaps = [_gap(vectors[name], getattr(network, f"quantize_{name}").embedding.weight, cosine=True) for name in factors]
    return _results(variant, grids, [vectors[name] for name in factors], decoded, gaps)


def _said(network: nn.Module, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration, and which entries have no part in coding."""
    state = network.state_dict()
    unused = sorted([key, list(entry.shape)] for key, entry in state.items() if key.endswith(CODEBOOK_USED))
    return {"config": config, "unused": unused}


def _images(variant: str, size: Size) -> Tensor:
    """The pattern in [-1, 1]."""
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
    return smallest_gap(vectors.permute(0, 2, 3, 1).flatten(0, 2), entries, cosine=cosine, dot=dot)
