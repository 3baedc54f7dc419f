"""A small tokenizer as a program that tokbench drives: mean colours of blocks, coarse to fine.

Change `encode` and `decode`; what they may return is in tokbench_external.write_encoding. Needs numpy.
"""

import numpy as np
import tokbench_external

BLOCKS_PX = (8, 4, 2)
LEVELS = 16  # a channel, so 16 ** 3 codes


def encode(images):
    """Float32 (n, 3, h, w) in [0, 1] → one integer array (n, h / block, w / block) a level."""
    streams, coarser = [], np.zeros_like(images)
    for level, block in enumerate(BLOCKS_PX):
        n, channels, height, width = images.shape
        cells = (images - coarser).reshape(n, channels, height // block, block, width // block, block)
        steps = np.clip(np.rint((cells.mean((3, 5)) - low(level)) * (LEVELS - 1)), 0, LEVELS - 1).astype(np.int64)
        streams.append((steps[:, 0] * LEVELS + steps[:, 1]) * LEVELS + steps[:, 2])
        coarser = coarser + colours(streams[-1], level)
    return streams


def decode(streams):
    """Any number of leading levels → float32 (n, 3, h, w)."""
    return sum(colours(codes, level) for level, codes in enumerate(streams))


def colours(codes, level):
    """Each code's colour, painted over its block."""
    steps = np.stack([codes // LEVELS**2, codes // LEVELS % LEVELS, codes % LEVELS], axis=1)
    values = (steps / (LEVELS - 1) + low(level)).astype(np.float32)
    return values.repeat(BLOCKS_PX[level], axis=2).repeat(BLOCKS_PX[level], axis=3)


def low(level):
    """Colours lie in [0, 1], and what is left over of them in [-0.5, 0.5]."""
    return 0.0 if level == 0 else -0.5


if __name__ == "__main__":
    tokbench_external.serve(encode=encode, decode=decode)
