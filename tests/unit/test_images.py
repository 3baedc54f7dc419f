"""Bytes to pixels and back."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tokbench.errors import BadOutputError, SampleError
from tokbench.images import MAX_PIXELS, decode_image, encode_png, read_size, to_float, to_uint8

LOSSLESS = ("PNG", "BMP", "TIFF", "PPM")


def photo(width: int = 40, height: int = 24) -> np.ndarray:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *, bits: int = 8, colour: int = 2, raw: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def tiff_rgb16() -> bytes:
    pixels = struct.pack("<3H", 1, 2, 3)
    entries = [
        (256, 3, 1, 1), (257, 3, 1, 1), (258, 3, 3, 8 + 2 + 9 * 12 + 4), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 9 * 12 + 4 + 6), (277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 6),
    ]  # fmt: skip
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00" + struct.pack("<I", 8) + ifd + bytes(4) + struct.pack("<3H", 16, 16, 16) + pixels


def frames(kind: str, n: int) -> bytes:
    images = [Image.new("RGB", (8, 8), (40 * index, 0, 0)) for index in range(n)]
    return saved(images[0], kind, save_all=True, append_images=images[1:], duration=50)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    got = decode_image(saved(photo(), kind), name="x")
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    assert got.flags.writeable
    np.testing.assert_array_equal(got, photo())


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_come_close(kind: str) -> None:
    got = decode_image(saved(photo(), kind, quality=95), name="x").astype(int)
    assert np.abs(got - photo()).mean() < 8
    assert read_size(saved(photo(), kind), name="x") == (40, 24)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "PPM"])
def test_grey_is_replicated(kind: str) -> None:
    got = decode_image(saved(Image.fromarray(photo()).convert("L"), kind), name="x")
    assert got.shape == (24, 40, 3)
    assert (got[:, :, :1] == got).all()


def test_one_bit_becomes_black_and_white() -> None:
    got = decode_image(saved(Image.fromarray(photo()).convert("1")), name="x")
    assert set(np.unique(got)) == {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_palette_is_converted(kind: str) -> None:
    paletted = Image.fromarray(photo()).quantize(64)
    np.testing.assert_array_equal(decode_image(saved(paletted, kind), name="x"), np.array(paletted.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_is_dropped(mode: str) -> None:
    image = Image.fromarray(photo()).convert(mode)
    np.testing.assert_array_equal(decode_image(saved(image), name="x"), np.array(image.convert("RGB")))


def test_icc_profile_is_not_applied() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    np.testing.assert_array_equal(decode_image(saved(photo(), icc_profile=profile), name="x"), photo())


def test_first_picture_of_a_multi_picture_jpeg() -> None:
    both = [Image.fromarray(photo()), Image.fromarray(255 - photo())]
    data = saved(both[0], "MPO", save_all=True, append_images=both[1:])
    assert decode_image(data, name="x").shape == (24, 40, 3)


UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.transpose(1, 0, 2),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda stored: np.rot90(stored),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain = {} if kind in LOSSLESS else {"quality": 90}
    stored = decode_image(saved(photo(), kind, **plain), name="x")
    data = saved(photo(), kind, exif=exif, **plain)
    expected = UPRIGHT[orientation](stored)
    np.testing.assert_array_equal(decode_image(data, name="x"), expected)
    assert read_size(data, name="x") == (expected.shape[1], expected.shape[0])


def test_exif_behind_the_pixels_of_a_png_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    start, end = saved(photo())[:-12], saved(photo())[-12:]
    data = start + chunk(b"eXIf", exif.tobytes()[6:]) + end
    assert decode_image(data, name="x").shape == (40, 24, 3)
    assert read_size(data, name="x") == (24, 40)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"hello, this is no image", "not an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "HTML"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"\x89PNG\r\n\x1a\n", "header cannot be read"),
        (b"\xff\xd8\xff\xe0", "header cannot be read"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "header cannot be read"),
        (frames("GIF", 3), "3 frames"),
        (frames("PNG", 4), "4 frames"),
        (frames("WEBP", 2), "2 frames"),
        (frames("TIFF", 5), "5 frames"),
        (frames("AVIF", 2), "2 frames"),
        (saved(Image.new("CMYK", (4, 4)), "JPEG"), "CMYK"),
        (saved(Image.new("CMYK", (4, 4)), "TIFF"), "CMYK"),
        (saved(Image.new("LAB", (4, 4)), "TIFF"), "LAB"),
        (saved(Image.fromarray(np.zeros((4, 4), np.uint16))), "more than 8 bits"),
        (saved(Image.fromarray(np.zeros((4, 4), np.uint16)), "TIFF"), "more than 8 bits"),
        (saved(Image.fromarray(np.zeros((4, 4), np.int32)), "TIFF"), "more than 8 bits"),
        (saved(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF"), "more than 8 bits"),
        (png(1, 1, bits=16, raw=bytes(7)), "more than 8 bits"),
        (png(1, 1, bits=16, colour=6, raw=bytes(9)), "more than 8 bits"),
        (tiff_rgb16(), "more than 8 bits"),
        (b"P6 1 1 65535\n" + bytes(6), "more than 8 bits"),
        (b"P5 1 1 1023\n" + bytes(2), "more than 8 bits"),
        (saved(Image.new("RGBA", (4, 4), (9, 9, 9, 254))), "lowest alpha 254"),
        (saved(Image.new("LA", (4, 4), (9, 0))), "lowest alpha 0"),
        (saved(Image.new("P", (4, 4)), transparency=0), "lowest alpha 0"),
        (saved(Image.new("RGB", (4, 4)), transparency=(0, 0, 0)), "lowest alpha 0"),
        (saved(Image.new("P", (4, 4)), "GIF", transparency=0), "lowest alpha 0"),
        (saved(Image.new("RGBA", (4, 4)), "WEBP"), "lowest alpha 0"),
        (png(0, 5), "0 px"),
        (png(5, 0), "0 px"),
    ],
)
def test_refused_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(SampleError, match=message) as caught:
        decode_image(data, name="folder/image")
    assert str(caught.value).startswith("folder/image: ")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "AVIF", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.4, 0.8])
def test_truncated(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = saved(noise, kind)
    with pytest.raises(SampleError, match="x: "):
        decode_image(data[: int(len(data) * share)], name="x")


@pytest.mark.parametrize("side", [9_435, 12_000, 60_000])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM"])
def test_bombs_are_refused_unread_and_without_a_warning(side: int, kind: str) -> None:
    start = {
        "PNG": png(side, side),
        "BMP": b"BM"
        + struct.pack("<IHHI", 54, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, *[0] * 6),
        "PPM": f"P6 {side} {side} 255\n".encode(),
    }[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(SampleError, match=rf"{side}×{side} px = .* at most 89"):
            decode_image(start, name="x")
    assert side**2 > MAX_PIXELS


def test_large_webp_is_refused_without_a_warning() -> None:
    frame = b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", 16_000, 16_000) + bytes(32)
    riff = b"WEBPVP8 " + struct.pack("<I", len(frame)) + frame
    with pytest.raises(SampleError, match="x: "):
        decode_image(b"RIFF" + struct.pack("<I", len(riff)) + riff, name="x")


def test_decoding_in_threads_gives_the_same_pixels_and_leaves_warning_filters_alone() -> None:
    good = [saved(photo(40 + index, 24), kind) for index in range(8) for kind in ("PNG", "JPEG", "WEBP")]
    bad = [png(20_000, 20_000), frames("GIF", 2), saved(Image.new("RGBA", (4, 4)))]
    expected = [decode_image(data, name="x") for data in good]
    before = list(warnings.filters)

    def decode(data: bytes) -> np.ndarray | None:
        try:
            return decode_image(data, name="x")
        except SampleError:
            return None

    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            got = list(pool.map(decode, good + bad))
            assert got[len(good) :] == [None] * len(bad)
            for image, other in zip(got, expected, strict=False):
                np.testing.assert_array_equal(image, other)
    assert warnings.filters == before


@given(
    data=st.binary(max_size=200), magic=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM"])
)
@settings(derandomize=True, deadline=None, max_examples=200)
def test_any_bytes_decode_or_are_refused(data: bytes, magic: bytes) -> None:
    with pytest.raises(SampleError):
        decode_image(magic + data, name="x")


@given(width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 99))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_png_round_trip(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encode_png(pixels), name="x"), pixels)
    assert read_size(encode_png(pixels), name="x") == (width, height)


def test_encode_png_takes_views_and_refuses_floats() -> None:
    view = photo()[::-1, ::2]
    np.testing.assert_array_equal(decode_image(encode_png(view), name="x"), view)
    with pytest.raises(SampleError, match="float64"):
        encode_png(photo() / 255)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_every_level_survives_the_round_trip(dtype: torch.dtype) -> None:
    levels = torch.arange(256, dtype=torch.uint8).repeat(3, 1).reshape(3, 16, 16)
    floats = to_float(levels, dtype)
    assert floats.dtype == dtype
    assert floats.min() == 0
    assert floats.max() == 1
    assert torch.equal(to_uint8(floats), levels)


def test_rounds_half_to_even_and_clamps() -> None:
    values = torch.tensor([-1.0, -0.0, 0.5, 1.5, 2.5, 3.5, 254.5, 255.4, 300.0, float("inf"), float("-inf"), 7.0])
    images = (values.double() / 255).reshape(1, 1, 12).expand(3, 1, 12)
    assert to_uint8(images)[0, 0].tolist() == [0, 0, 0, 2, 2, 4, 254, 255, 255, 255, 0, 7]


@given(
    shape=st.tuples(st.integers(0, 3), st.just(3), st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 2**32),
    spread=st.floats(0.1, 3),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_to_uint8_matches_numpy(shape: tuple[int, ...], seed: int, spread: float) -> None:
    images = torch.from_numpy(np.random.default_rng(seed).normal(0.5, spread, shape).astype(np.float32))
    before = images.clone()
    expected = np.rint(np.clip(images.numpy(), 0, 1) * np.float32(255)).astype(np.uint8)
    np.testing.assert_array_equal(to_uint8(images).numpy(), expected)
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(1, 3, 2, 2, dtype=torch.uint8), "uint8"),
        (torch.zeros(1, 4, 2, 2), r"\(1, 4, 2, 2\)"),
        (torch.zeros(3, 2), r"\(3, 2\)"),
        (torch.full((3, 2, 2), float("nan")), "NaN"),
    ],
)
def test_to_uint8_refuses(images: torch.Tensor, message: str) -> None:
    with pytest.raises(BadOutputError, match=message):
        to_uint8(images)


def test_to_float_refuses_floats() -> None:
    with pytest.raises(BadOutputError, match="float32"):
        to_float(torch.zeros(3, 2, 2))


def test_import_leaves_torch_alone() -> None:
    code = (
        "import sys, tokbench.images, tokbench.data.manifests, tokbench.data.folder; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
