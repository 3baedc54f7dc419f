"""Toys of every kind of encoding, in numpy alone: called here in the process, and run as the program by itself.

python external_toys.py KIND [misbehaviour]
"""

import io
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np


def tokens_encode(images):
    return np.rint(images.mean(1) * 255).astype(np.uint8)


def tokens_decode(codes):
    return np.repeat(codes[:, None].astype(np.float32) / 255, 3, axis=1)


def streams_encode(images):
    """Three bits, then three more, of each value."""
    fine = np.rint(images * 63).astype(np.int32)
    return [fine // 8, fine % 8]


def streams_decode(streams):
    total = streams[0] * 8 + (streams[1] if len(streams) > 1 else 4)
    return (total / 63).astype(np.float32)


def scales_encode(images):
    """Two grids that share a codebook."""
    small = images.reshape(*images.shape[:2], images.shape[2] // 4, 4, images.shape[3] // 4, 4).mean((1, 3, 5))
    return [np.rint(small * 15).astype(np.int64), np.rint(images.mean(1) * 15).astype(np.int64)]


def scales_decode(streams):
    return np.repeat(streams[1][:, None].astype(np.float32) / 15, 3, axis=1)


def positions_encode(images):
    """A sequence of 16 row means, from the top; later ones are guessed from the last that came."""
    return np.rint(images.mean((1, 3)) * 255).astype(np.int64)[:, :16]


def positions_decode(codes):
    rows = np.concatenate([codes, np.repeat(codes[:, -1:], 16 - codes.shape[1], axis=1)], axis=1)
    rows = np.broadcast_to(rows[:, None, :, None], (len(codes), 3, 16, 16))
    return rows.astype(np.float32) / 255


def lengths_encode(images):
    codes = positions_encode(images)
    lengths = 1 + (codes[:, 0] % 16)
    return {"tokens": np.where(np.arange(16) < lengths[:, None], codes, 0), "lengths": lengths}


def lengths_decode(codes):
    assert set(codes) == {"tokens", "lengths"}
    return positions_decode(codes["tokens"])


def bits_encode(images):
    """Eight bits a value, most significant first."""
    values = np.rint(images * 255).astype(np.uint8)
    return np.unpackbits(values[..., None], axis=-1).astype(bool)


def bits_decode(bits):
    return np.packbits(bits, axis=-1)[..., 0].astype(np.float32) / 255


def latents_encode(images):
    return images * 2


def latents_decode(latents):
    return latents / 2


def noisy_decode(latents, seeds):
    noise = [np.random.default_rng(seed).normal(size=latents.shape[1:]) for seed in seeds]
    return latents / 2 + 0.01 * np.stack(noise).astype(np.float32)


def payload_encode(images):
    files = []
    for image in images:
        buffer = io.BytesIO()
        np.save(buffer, np.rint(image * 255).astype(np.uint8))
        files.append(zlib.compress(buffer.getvalue()))
    return files


def payload_decode(files):
    return np.stack([np.load(io.BytesIO(zlib.decompress(file))) for file in files]).astype(np.float32) / 255


def signed_encode(images):
    assert images.min() < 0, "these images are in [-1, 1]"
    return images


def signed_decode(latents):
    return latents


GREYS = np.linspace(0, 1, 5, dtype=np.float32)[:, None]


def lookup_encode(images):
    greys = images.mean(1)
    return {"tokens": np.abs(greys[..., None] - GREYS[:, 0]).argmin(-1), "vectors": greys[..., None]}


def lookup_decode(codes):
    return np.repeat(GREYS[codes, 0][:, None], 3, axis=1)


TOYS = {
    "tokens": (tokens_encode, tokens_decode),
    "streams": (streams_encode, streams_decode),
    "scales": (scales_encode, scales_decode),
    "positions": (positions_encode, positions_decode),
    "lengths": (lengths_encode, lengths_decode),
    "bits": (bits_encode, bits_decode),
    "latents": (latents_encode, latents_decode),
    "noisy": (latents_encode, noisy_decode),
    "payload": (payload_encode, payload_decode),
    "signed": (signed_encode, signed_decode),
    "lookup": (lookup_encode, lookup_decode),
}


def wrong(what, encode, decode):
    """A toy with one thing wrong, or odd, about it."""

    def count(images):
        return np.concatenate([encode(images), encode(images)])

    def no_batch(_):
        return np.float32(1)

    def nothing(_):
        return {}

    def objects(_):
        return np.array([None])

    def floats(images):
        return [encode(images).astype(np.float64)]

    def raises(images):
        raise ValueError(f"cannot take {len(images)} images")

    def dies(_):
        print("about to die", file=sys.stderr, flush=True)
        os._exit(7)

    def dies_of_many(images):
        return encode(images) if len(images) == 1 else os._exit(7)

    def hangs(_):
        time.sleep(600)

    def spawns(images):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        with Path(os.environ["TOY_PIDS"]).open("a") as file:
            file.write(f"{os.getpid()} {child.pid}\n")
        return encode(images)

    def spawns_and_hangs(images):
        spawns(images)
        time.sleep(600)

    def bytes_out(codes):
        return np.zeros((len(codes), 3, 16, 16), np.uint8)

    def grey_out(codes):
        return np.zeros((len(codes), 16, 16), np.float32)

    def big_endian(images):
        return np.asfortranarray(encode(images)).astype(">i4")

    def noisy(images):
        print("printed")
        os.write(1, b"written below Python, without an end of line")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        assert sys.stdin.read() == ""
        return encode(images)

    encoders = {name: function for name, function in locals().items() if callable(function)}
    decoders = {"bytes_out": bytes_out, "grey_out": grey_out}
    if what in decoders:
        return encode, decoders[what]
    if what.startswith("decode_"):
        return encode, encoders[what.removeprefix("decode_")]
    return encoders[what], decode


if __name__ == "__main__":
    chosen = TOYS[sys.argv[1]]
    if len(sys.argv) > 2:
        chosen = wrong(sys.argv[2], *chosen)
        if sys.argv[2] == "noisy":
            print("a banner, and something @tokbench is not:", end="")

    import tokbench_external

    books = {"codebooks": GREYS} if sys.argv[1] == "lookup" else {}
    tokbench_external.serve(encode=chosen[0], decode=chosen[1], **books)
