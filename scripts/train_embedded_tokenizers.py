"""Train the tokenizers whose weights are small enough to live in this repository, and write ``adapters/_weights``.

    python scripts/train_embedded_tokenizers.py FOLDER [--only pca|lbg|rvq]

FOLDER holds one subfolder per Debian package of ``training_pictures.jsonl``, each unpacked with ``dpkg -x``. One
thread and fixed seeds: the same versions of torch and Pillow on the same kind of CPU give the same files. The digests
printed at the end belong on the cards. About 25 minutes in all; docs/decisions/0002 says why these sizes.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import time
from pathlib import Path

import numpy as np
import torch
import training_lbg
import training_rvq
from safetensors.torch import load_file, save_file
from training_pictures import REPOSITORY, cut_patches, read_pictures

log = logging.getLogger("train")

WEIGHTS = REPOSITORY / "adapters" / "_weights"
BLOCK_PX, PATCH_PX, N_PATCHES, PATCH_SEED = 8, 128, 6000, 1
N_BLOCKS, BLOCK_SEED = 400_000, 2
PCA_KEEP = 64
LBG_KEEP, LBG_LEVELS, LBG_SIZE, LBG_ROUNDS = 96, 8, 1024, 12
RVQ_KEEP, RVQ_STEPS, RVQ_SEED = 64, 4000, 3

# Luma and two opponent axes, orthonormal but for the weight: an error in colour counts 0.64 of one in brightness.
CHROMA_WEIGHT = 0.8
OPPONENT = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]], dtype=torch.float64)


def colour_matrix() -> torch.Tensor:
    """RGB → weighted opponent colours on blocks in pixel-unshuffle order: float64 ``(192, 192)``."""
    weights = torch.tensor([1.0, CHROMA_WEIGHT, CHROMA_WEIGHT], dtype=torch.float64)
    rows = OPPONENT / OPPONENT.norm(dim=1, keepdim=True) * weights[:, None]
    return torch.kron(rows, torch.eye(BLOCK_PX**2, dtype=torch.float64))


def sample_blocks(patches: torch.Tensor) -> torch.Tensor:
    """Random blocks of the patches: float32 RGB ``(N_BLOCKS, 192)`` in [0, 1]."""
    images = patches.permute(0, 3, 1, 2)
    blocks = training_lbg.to_blocks(images, side=BLOCK_PX)
    order = torch.randperm(len(blocks), generator=torch.Generator().manual_seed(BLOCK_SEED))[:N_BLOCKS]
    return blocks[order].float() / 255


def train_pca(patches: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean and leading directions of RGB blocks."""
    mean, basis = training_lbg.fit_basis(sample_blocks(patches), keep=PCA_KEEP)
    return {"mean": mean, "basis": basis}


def train_lbg(patches: torch.Tensor) -> dict[str, torch.Tensor]:
    """A basis in opponent colours, then one codebook after the other on what is left over."""
    colour = colour_matrix()
    blocks = (sample_blocks(patches).double() @ colour.T).float()
    mean, basis = training_lbg.fit_basis(blocks, keep=LBG_KEEP)
    analysis, synthesis = basis.double() @ colour, torch.linalg.inv(colour) @ basis.T.double()
    residual = (blocks - mean) @ basis.T
    codebooks = []
    for level in range(LBG_LEVELS):
        codebook = training_lbg.train_codebook(residual, size=LBG_SIZE, rounds=LBG_ROUNDS, seed=level).half()
        residual -= codebook.float()[training_lbg.nearest(residual, codebook.float())[0]]
        codebooks.append(codebook)
    return {
        "analysis": analysis.half(),
        "synthesis": synthesis.half(),
        "mean": (torch.linalg.inv(colour) @ mean.double()).float(),
        "codebooks": torch.stack(codebooks),
    }


def train_rvq(patches: torch.Tensor) -> dict[str, torch.Tensor]:
    """A decoder for the finished codes of ``lbg``, cut to their leading coordinates."""
    lbg = {name: value.float() for name, value in load_file(WEIGHTS / "lbg.safetensors").items()}
    weights = training_rvq.initial_weights(inverse=lbg["synthesis"][:, :RVQ_KEEP], mean=lbg["mean"], seed=RVQ_SEED)
    trained = training_rvq.train(
        weights,
        patches,
        analysis=lbg["analysis"][:RVQ_KEEP],
        codebooks=lbg["codebooks"][:, :, :RVQ_KEEP],
        steps=RVQ_STEPS,
        seed=RVQ_SEED,
    )
    return {name: value.half() for name, value in trained.items()}


def main() -> None:
    """Parse options, train, write the weights and print their digests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the packages of training_pictures.jsonl are unpacked")
    parser.add_argument("--only", choices=("pca", "lbg", "rvq"), help="one family; rvq starts from lbg's file")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    pictures = read_pictures(options.folder)
    patches = torch.from_numpy(
        np.ascontiguousarray(cut_patches(pictures, n=N_PATCHES, side_px=PATCH_PX, seed=PATCH_SEED))
    )
    log.info("%d patches of %d pictures", len(patches), len(pictures))
    for family, train in (("pca", train_pca), ("lbg", train_lbg), ("rvq", train_rvq)):
        if options.only in (None, family):
            start = time.monotonic()
            path = WEIGHTS / f"{family}.safetensors"
            save_file({name: value.contiguous() for name, value in train(patches).items()}, path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            seconds = time.monotonic() - start
            log.info("%s: %d bytes, sha256 %s, %.0f s", path.name, path.stat().st_size, digest, seconds)


if __name__ == "__main__":
    main()
