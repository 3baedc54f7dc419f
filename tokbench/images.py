"""Bytes to pixels and back, and the only place where floats become bytes.

Pixels are 8-bit RGB, taken to be sRGB: ICC profiles, gamma chunks and HDR gain maps are not applied, so every
library that reads the same file sees the same numbers. What would lose information on the way to 8-bit RGB
(16-bit samples, transparency, CMYK, several frames) is refused with a reason and never converted silently.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import ExifTags, Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tokbench.errors import BadOutputError, SampleError

if TYPE_CHECKING:
    import torch

FORMATS = "PNG, JPEG, WebP, AVIF, BMP, GIF, TIFF or PPM"
MAX_PIXELS = 89_000_000  # Pillow warns from 89,478,485 on
MAX_OVERSHOOT = 0.25  # of a decoder that works in [0, 1]; beyond it there may be a few pixels
_FAR_SHARE = 0.02

_TIFF_MAGICS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_AVIF_BRANDS = (b"avif", b"avis", b"mif1", b"msf1")
_TIFF_BITS_PER_SAMPLE = 258
_MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA"}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NOT_IMAGES = (
    (b"version https://git-lfs", "a Git LFS pointer; run `git lfs pull` to get the file itself"),
    (b"<!doctype html", "an HTML page, probably a download that failed; download it again"),
    (b"<html", "an HTML page, probably a download that failed; download it again"),
    (b"<?xml", "XML; convert vector graphics to PNG first"),
    (b"<svg", "SVG; convert vector graphics to PNG first"),
)


class ImageSize(NamedTuple):
    """Width and height in pixels, after the EXIF orientation."""

    width_px: int
    height_px: int


def decode_image(data: bytes, *, name: str) -> np.ndarray:
    """Decode one still 8-bit image; safe to call from several threads at once.

    The EXIF orientation is applied, grey is replicated, palettes and 1-bit images are converted, alpha that is
    opaque everywhere is dropped. A JPEG with further pictures behind the first (MPO, gain maps) is its first picture.

    Args:
        data: the whole file.
        name: what to call the image in messages.

    Returns:
        uint8 ``(h, w, 3)`` RGB in [0, 255], C-contiguous and writable.

    Raises:
        SampleError: empty, not an image, truncated, several frames, deeper than 8 bits, transparent, neither grey
            nor RGB, or more than ``MAX_PIXELS`` pixels (then nothing is decoded).
    """
    image = _open(data, name)
    _check_header(image, data, name)
    try:
        image.load()
    except Exception as err:  # Pillow's decoders raise many types on damaged bytes
        raise SampleError(
            f"{name}: the {image.format} data is truncated or damaged ({err}); got {len(data)} bytes, "
            f"expected the whole file: obtain it again"
        ) from err
    return np.array(_to_rgb(_upright(image, data), name))


def read_size(data: bytes, *, name: str) -> ImageSize:
    """Size of the image that :func:`decode_image` would return, from the headers alone.

    Raises:
        SampleError: empty or not an image.
    """
    image = _open(data, name)
    width, height = image.size
    # TIFF sizes already come turned.
    if not isinstance(image, TiffImageFile) and _orientation(image, data) >= 5:
        width, height = height, width
    return ImageSize(width, height)


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Float images to 8 bits: clamp to [0, 1], times 255, round half to even.

    Args:
        images: float ``(..., 3, h, w)`` RGB, nominally in [0, 1]; half precision is widened to float32 first.

    Returns:
        uint8 of the same shape, on the same device.

    Raises:
        BadOutputError: not floating point, not ``(..., 3, h, w)``, or NaN somewhere.
    """
    import torch

    if not images.is_floating_point() or images.ndim < 3 or images.shape[-3] != 3:
        raise BadOutputError(
            f"images are {images.dtype} {tuple(images.shape)}; expected float (..., 3, h, w) in [0, 1]"
        )
    wide = images if images.dtype == torch.float64 else images.float()
    if bool(torch.isnan(wide).any()):
        raise BadOutputError("images hold NaN, which has no 8-bit value; expected finite numbers in [0, 1]")
    return (wide.clamp(0, 1) * 255).round().to(torch.uint8)


def to_float(images: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """uint8 images to floats in [0, 1]: divide by 255.

    Args:
        images: uint8 of any shape.
        dtype: floating point type of the result; None is float32.

    Returns:
        Same shape in [0, 1]; :func:`to_uint8` gives the input back exactly (not from bfloat16).
    """
    import torch

    if images.dtype != torch.uint8:
        raise BadOutputError(f"images are {images.dtype}; expected uint8 in [0, 255]")
    return images.to(dtype or torch.float32) / 255


def far_outside(images: torch.Tensor) -> str:
    """What is wrong with the range of decoded images, nominally in [0, 1], or "".

    Decoders overshoot a little; one that works in another range leaves [0, 1] on a large part of the pixels.

    Args:
        images: finite float ``(n, 3, h, w)``.

    Returns:
        The range found in the worst image, what was expected, and what it looks like.
    """
    far = ((images < -MAX_OVERSHOOT) | (images > 1 + MAX_OVERSHOOT)).flatten(1).float().mean(1)
    worst = images[int(far.argmax())]
    if float(far.max()) <= _FAR_SHARE:
        return ""
    low, high = float(worst.min()), float(worst.max())
    hint = " (this looks like [-1, 1])" if low < -MAX_OVERSHOOT and high <= 1.5 else ""
    return f"pixels from {low:.3g} to {high:.3g}, expected [0, 1]{' (this looks like [0, 255])' if high > 16 else hint}"


def encode_png(pixels: np.ndarray) -> bytes:
    """uint8 ``(h, w, 3)`` RGB as a PNG file: lossless, compressed little so that it is fast."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise SampleError(f"cannot write {pixels.dtype} {pixels.shape} as PNG; expected uint8 (h, w, 3)")
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _plugin(data: bytes) -> type[ImageFile] | None:
    """The Pillow class for these bytes, by their first few."""
    if data[:4] in _TIFF_MAGICS:
        return TiffImageFile
    if data[4:8] == b"ftyp" and data[8:12] in _AVIF_BRANDS:
        return AvifImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return PpmImageFile
    magics: tuple[tuple[bytes, type[ImageFile]], ...] = (
        (b"\x89PNG\r\n\x1a\n", PngImageFile),
        (b"\xff\xd8\xff", JpegImageFile),
        (b"GIF8", GifImageFile),
        (b"BM", BmpImageFile),
    )
    return next((plugin for magic, plugin in magics if data.startswith(magic)), None)


def _open(data: bytes, name: str) -> ImageFile:
    """Read the headers.

    Not through ``Image.open``: that warns about large images before their size can be asked, and silencing a
    warning is not thread-safe.
    """
    if not data:
        raise SampleError(f"{name}: the file is empty (0 bytes); expected an image: obtain it again")
    plugin = _plugin(data)
    if plugin is None:
        start = data[:64].lstrip().lower()
        what = next((what for magic, what in _NOT_IMAGES if start.startswith(magic)), f"bytes {data[:8]!r}…")
        raise SampleError(f"{name}: not an image tokbench reads; got {what}; expected {FORMATS}")
    try:
        return plugin(io.BytesIO(data))
    except Image.DecompressionBombError as err:  # the WebP plug-in checks while it opens
        raise SampleError(
            f"{name}: {err}; expected at most {MAX_PIXELS // 10**6} megapixels: scale it down first"
        ) from err
    except Exception as err:  # Pillow's parsers raise many types on damaged bytes
        kind = plugin.__name__.removesuffix("ImageFile")
        raise SampleError(
            f"{name}: starts like {kind} but its header cannot be read, or says 0 px ({err}); got {len(data)} bytes, "
            f"expected a whole image of at least 1×1: obtain it again"
        ) from err


def _check_header(image: ImageFile, data: bytes, name: str) -> None:
    """Refuse what must not, or cannot faithfully, be decoded to 8-bit RGB."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise SampleError(
            f"{name}: the image is {width}×{height} px = {width * height / 1e6:.1f} megapixels; "
            f"expected at most {MAX_PIXELS // 10**6}: scale it down first"
        )
    if _is_deep(image, data):
        raise SampleError(f"{name}: {image.format} with more than 8 bits a channel; expected 8: convert it first")
    if image.mode not in _MODES:
        raise SampleError(f"{name}: colour mode {image.mode}; expected grey, palette or RGB: convert it to sRGB first")
    n_frames = _count_frames(image, name)
    if n_frames > 1:
        raise SampleError(f"{name}: {image.format} with {n_frames} frames; expected 1: extract the frame you mean")


def _is_deep(image: ImageFile, data: bytes) -> bool:
    """More than 8 bits a channel in the file, whatever mode Pillow reduces it to."""
    if image.mode.startswith(("I", "F")):
        return True
    if isinstance(image, PngImageFile):
        return data[24] > 8  # the bit depth in IHDR, which always comes first
    if isinstance(image, TiffImageFile):
        return bool(max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))) > 8)
    if isinstance(image, PpmImageFile):
        return any(
            isinstance(tile.args, tuple) and tile.args[-1] > 255 for tile in image.tile or () if tile[0] == "ppm"
        )
    if isinstance(image, AvifImageFile):
        config = data.find(b"av1C")
        return config >= 0 and bool(data[config + 6] & 0x40)  # high_bitdepth in the AV1 codec configuration
    return False


def _count_frames(image: ImageFile, name: str) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as err:  # counting walks the file, which may be damaged
        raise SampleError(f"{name}: the {image.format} data is truncated or damaged ({err}): obtain it again") from err


def _orientation(image: ImageFile, data: bytes) -> int:
    # Asking a PNG without EXIF for it would decode the whole image.
    if isinstance(image, PngImageFile) and b"eXIf" not in data and "Raw profile type exif" not in image.info:
        return 1
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    return orientation if isinstance(orientation, int) else 1


def _upright(image: ImageFile, data: bytes) -> Image.Image:
    """Apply the EXIF orientation; Pillow has done so already when it loaded a TIFF."""
    if isinstance(image, TiffImageFile):
        return image
    transpose = _TRANSPOSES.get(_orientation(image, data))
    return image if transpose is None else image.transpose(transpose)


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Any mode in ``_MODES`` to RGB; alpha must be opaque."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    with_alpha = image.convert("RGBA")
    lowest = int(np.asarray(with_alpha.getchannel("A")).min())
    if lowest < 255:
        raise SampleError(
            f"{name}: has transparent pixels (lowest alpha {lowest} of 255); expected an opaque image: "
            f"put it on a background first"
        )
    return with_alpha.convert("RGB")
