"""One more generation of the original's file type, as the published evaluation has it."""

from __future__ import annotations

import io
from pathlib import PurePosixPath

import numpy as np
from PIL import Image

from tokbench.errors import SampleError


def recode_as_source(pixels: np.ndarray, source: str) -> np.ndarray:
    """Write the pixels as Pillow's ``save`` would under the source's file name, and read them back.

    The published evaluation saves each reconstruction under its original's name and no options, so the name's ending
    decides: JPEG gets quality 75 with 4:2:0 chroma, WebP quality 80, GIF a palette; PNG, BMP and TIFF change nothing.

    Args:
        pixels: uint8 ``(h, w, 3)`` RGB.
        source: the sample's address (see :mod:`tokbench.data.sources`); of an archive, the member's ending counts.

    Returns:
        uint8 of the same shape.

    Raises:
        SampleError: the address has no ending that Pillow writes, or the file type cannot hold this image.

    Source: wjf5203/TokBench, ``tokenzier_vae_scripts/image_scripts/resize_rec.py`` at 855802d.
    """
    extension = PurePosixPath(source.rpartition("!")[2]).suffix.lower()
    file_type = Image.registered_extensions().get(extension)
    if file_type is None or file_type not in Image.SAVE:
        raise SampleError(
            f"{source}: reconstructions are saved as their original's file type here, and {extension or 'no ending'!r} "
            f"names none that Pillow writes; give the images their usual endings"
        )
    file = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, format=file_type)
        with Image.open(file, formats=[file_type]) as image:
            recoded = np.array(image.convert("RGB"))
    except (OSError, ValueError) as err:
        raise SampleError(f"{source}: the reconstruction cannot be saved as {file_type} ({err})") from err
    if recoded.shape != pixels.shape:
        raise SampleError(f"{source}: as {file_type} the shape {pixels.shape} became {recoded.shape}")
    return recoded
