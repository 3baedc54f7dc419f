"""Tokenizers in another process: their answers are those of the same code called here."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.adapters import external_toys
from tests.adapters.external_cases import images, in_process, opened
from tokbench.encodings import BitCodes, Encoding, Latents, Payloads, Tokens
from tokbench.errors import BadOutputError, TokenizerError, UnsupportedInputError
from tokbench.evaluation import evaluate
from tokbench.perturbation.facts import quantiser_of
from tokbench.perturbation.points import derivation, points_for
from tokbench.tasks.catalogue import folder_task


def same(first: Encoding, second: Encoding) -> bool:
    if isinstance(first, Tokens) and isinstance(second, Tokens):
        return all(
            torch.equal(a.indices, b.indices) and (a.codebook_size, a.codebook) == (b.codebook_size, b.codebook)
            for a, b in zip(first.streams, second.streams, strict=True)
        )
    if isinstance(first, Payloads) and isinstance(second, Payloads):
        return first.files == second.files
    assert isinstance(first, Latents | BitCodes)
    assert type(first) is type(second)
    return torch.equal(first.values, second.values)


@pytest.mark.parametrize("kind", ["tokens", "streams", "scales", "positions", "latents", "noisy"])
def test_the_answers_are_those_of_the_same_code_here(kind: str, tmp_path: Path) -> None:
    there, here, batch = opened(tmp_path, kind), in_process(kind), images()
    untouched = batch.clone()
    encoding, expected = there.encode(batch), here.encode(batch)
    assert torch.equal(batch, untouched)
    assert same(encoding, expected)
    decoded = there.decode(encoding, seeds=[5, 6, 7])
    assert torch.equal(decoded, here.decode(expected, seeds=[5, 6, 7]))
    assert decoded.dtype == torch.float32
    for row in range(3):
        assert same(there.encode(batch[row : row + 1]), encoding.select([row]))
        assert torch.equal(there.decode(encoding.select([row]), seeds=[5 + row]), decoded[row : row + 1])


def test_bits_cross_exactly(tmp_path: Path) -> None:
    tokenizer, batch = opened(tmp_path, "bits"), images()
    encoding = tokenizer.encode(batch)
    assert isinstance(encoding, BitCodes)
    assert torch.equal(encoding.values, torch.from_numpy(external_toys.bits_encode(batch.numpy())))
    assert encoding.bits().tolist() == [3 * 16 * 16 * 8] * 3
    assert torch.equal(tokenizer.decode(encoding, seeds=[0] * 3), batch)


def test_coded_files_cross_exactly_and_in_order(tmp_path: Path) -> None:
    tokenizer, batch = opened(tmp_path, "payload"), images(12)
    encoding = tokenizer.encode(batch)
    assert isinstance(encoding, Payloads)
    assert list(encoding.files) == external_toys.payload_encode(batch.numpy())
    assert torch.equal(tokenizer.decode(encoding, seeds=[0] * 12), batch)


def test_lengths_go_both_ways(tmp_path: Path) -> None:
    tokenizer, batch = opened(tmp_path, "lengths"), images()
    encoding = tokenizer.encode(batch)
    assert isinstance(encoding, Tokens)
    expected = external_toys.lengths_encode(batch.numpy())
    assert encoding.token_counts().tolist() == expected["lengths"].tolist()
    decoded = tokenizer.decode(encoding, seeds=[0] * 3)
    assert torch.equal(decoded, torch.from_numpy(external_toys.lengths_decode(expected)))


def test_the_program_sees_images_in_its_own_range(tmp_path: Path) -> None:
    tokenizer, batch = opened(tmp_path, "signed"), images()
    encoding = tokenizer.encode(batch)
    assert isinstance(encoding, Latents)
    assert torch.equal(encoding.values, batch * 2 - 1)
    assert torch.allclose(tokenizer.decode(encoding, seeds=[0] * 3), batch, atol=1e-6)


def test_seeds_reach_the_decoder(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "noisy")
    encoding = tokenizer.encode(images(1))
    large = 2**63 - 1
    first, again, other = (tokenizer.decode(encoding, seeds=[seed]) for seed in (large, large, large - 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("kind", "keep"), [("streams", "keep_streams"), ("positions", "keep_positions")])
def test_prefixes_decode_as_here(kind: str, keep: str, tmp_path: Path) -> None:
    there, here, batch = opened(tmp_path, kind), in_process(kind), images()
    encoding, expected = there.encode(batch), here.encode(batch)
    decoded = there.decode(getattr(encoding, keep)(1), seeds=[0] * 3)
    assert torch.equal(decoded, here.decode(getattr(expected, keep)(1), seeds=[0] * 3))
    assert not torch.equal(decoded, there.decode(encoding, seeds=[0] * 3))


def test_half_precision_images_cross_as_float32(tmp_path: Path) -> None:
    encoding = opened(tmp_path, "latents").encode(images().bfloat16())
    assert isinstance(encoding, Latents)
    assert torch.equal(encoding.values, images().bfloat16().float() * 2)


def test_any_order_of_bytes_and_axes_is_read(tmp_path: Path) -> None:
    assert same(opened(tmp_path, "tokens", "big_endian").encode(images()), in_process("tokens").encode(images()))


def test_talk_on_stdout_is_no_answer(tmp_path: Path) -> None:
    log = tmp_path / "talk.log"
    tokenizer = opened(tmp_path, "tokens", "noisy", run={"log": "talk.log"})
    for _ in range(2):
        assert same(tokenizer.encode(images()), in_process("tokens").encode(images()))
    said = log.read_text()
    assert "a banner" in said
    assert said.count("printed") == said.count("from a child") == said.count("written below Python") == 2


def test_codes_are_perturbed_by_the_programs_own_codebook(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "lookup", tables={"quantiser": {"kind": "lookup"}})
    encoding = tokenizer.encode(images())
    quantiser = quantiser_of(tokenizer)
    assert torch.equal(quantiser.codebooks["0"], torch.linspace(0, 1, 5)[:, None])
    near = derivation(points_for(quantiser, alphas=(1.0,), deltas=(1,))[0], quantiser, widest=1)(encoding, range(3))
    assert same(near, encoding)
    far = derivation(points_for(quantiser, alphas=(1.0,), deltas=(2,))[0], quantiser, widest=2)(encoding, range(3))
    assert not same(far, encoding)
    assert tokenizer.decode(far, seeds=range(3)).shape == (3, 3, 16, 16)


def test_codebooks_that_are_not_shown_are_missed(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="shows no codebooks"):
        opened(tmp_path, "tokens", tables={"quantiser": {"kind": "lookup"}})


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        ("tokens", "count", r"tokens.npy has shape \(6, 16, 16\), expected 3 samples"),
        ("latents", "no_batch", r"latents.npy has shape \(\), expected 3 samples"),
        ("streams", "nothing", "encode returned a dict of nothing, expected"),
        ("tokens", "objects", "encode returned ndarray object, expected an integer, bool or float array"),
        ("tokens", "floats", r"tokens_0.npy holds float64 \(3, 16, 16\), expected integers"),
    ],
)
def test_what_breaks_the_contract_is_named(kind: str, wrong: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=message):
        opened(tmp_path, kind, wrong).encode(images())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("bytes_out", r"images.npy holds uint8 \(3, 3, 16, 16\), expected floating point"),
        ("grey_out", r"images of shape \(3, 16, 16\), expected \(3, 3, h, w\)"),
        ("decode_no_batch", r"images.npy has shape \(\), expected 3 samples"),
    ],
)
def test_decoders_that_break_the_contract_are_named(wrong: str, message: str, tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "tokens", wrong)
    encoding = tokenizer.encode(images())
    with pytest.raises(BadOutputError, match=message):
        tokenizer.decode(encoding, seeds=[0] * 3)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"latent": "continuous", "codebook_sizes": [4]}, "latent = 'continuous', and encode wrote Tokens"),
        ({"codebook_sizes": [256, 256]}, "wrote 1 streams of tokens, and codebook_sizes .* has 2 entries"),
    ],
)
def test_encodings_are_what_the_description_says(facts: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadOutputError, match=message):
        opened(tmp_path, "tokens", **facts).encode(images())


def test_illegal_sizes_are_refused_before_the_program_sees_them(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedInputError, match="got 18×18"):
        opened(tmp_path, "scales").encode(images(side=18))


def test_what_a_program_raises_is_told_and_it_goes_on(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "tokens", "raises")
    pid = tokenizer.model._program._live.process.pid
    for n in (1, 2):
        with pytest.raises(
            TokenizerError,
            match=rf"encode failed in the program: ValueError: cannot take {n} images \(external_toys.py",
        ):
            tokenizer.encode(images(n))
    assert tokenizer.model._program._live.process.pid == pid


def test_threads_take_turns(tmp_path: Path) -> None:
    tokenizer, batches = opened(tmp_path, "tokens"), [torch.full((2, 3, 4, 4), k / 255) for k in range(8)]
    found: dict[int, Encoding] = {}
    threads = [
        threading.Thread(target=lambda k=k: found.__setitem__(k, tokenizer.encode(batches[k]))) for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, encoding in found.items():
        assert isinstance(encoding, Tokens)
        assert encoding.streams[0].indices.unique().tolist() == [number]
    assert len(found) == 8


def test_nothing_is_left_of_a_batch(tmp_path: Path) -> None:
    scratch = tmp_path / "a scratch folder"
    tokenizer = opened(tmp_path, "tokens", run={"scratch": "a scratch folder"})
    tokenizer.decode(tokenizer.encode(images()), seeds=[0] * 3)
    (private,) = scratch.iterdir()
    assert private.stat().st_mode & 0o077 == 0
    assert [path.name for path in private.iterdir()] == ["log.txt"]
    del tokenizer
    gc.collect()
    assert not list(scratch.iterdir())


def test_two_runs_give_the_same_values(tmp_path: Path, photos: Path) -> None:
    task = folder_task(size_px=64)
    results = [
        evaluate(opened(tmp_path, kind), task, "psnr,bpp", data=photos, batch_size=size, limit=3)
        for kind, size in (("noisy", 3), ("noisy", 2))
    ]
    assert results[0].records == results[1].records
    assert results[0].spec.tokenizer == results[1].spec.tokenizer
    assert 35 < results[0].values["psnr"].value < 45  # type: ignore[operator]


BATCH = """
import sys
import numpy as np
task, source, target = sys.argv[1:]
if task == "encode":
    np.save(target + "/tokens.npy", np.rint(np.load(source + "/images.npy").mean(1) * 255).astype(np.uint8))
elif task == "decode":
    codes = np.load(source + "/tokens.npy")
    np.save(target + "/images.npy", np.repeat(codes[:, None].astype(np.float32) / 255, 3, axis=1))
elif task == "silent":
    pass
else:
    sys.exit("cannot " + task)
"""


def batch_run(encode: str = "encode", decode: str = "decode") -> dict[str, object]:
    command = ["{python}", "{here}/batch.py"]
    return {
        "command": None,
        "encode": [*command, encode, "{input}", "{output}"],
        "decode": [*command, decode, "{input}", "{output}"],
    }


def test_commands_that_run_once_a_batch(tmp_path: Path) -> None:
    (tmp_path / "batch.py").write_text(BATCH)
    tokenizer, here = opened(tmp_path, "tokens", run=batch_run()), in_process("tokens")
    encoding = tokenizer.encode(images())
    assert same(encoding, here.encode(images()))
    assert torch.equal(tokenizer.decode(encoding, seeds=[0] * 3), here.decode(here.encode(images()), seeds=[0] * 3))
    names = dict(tokenizer.card.weights)
    assert set(names) == {"tokens.toml", "batch.py"}


def test_commands_that_fail_or_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "batch.py").write_text(BATCH)
    with pytest.raises(TokenizerError, match=r"ended with exit code 1.\nThe last it wrote:\n    cannot fly"):
        opened(tmp_path, "tokens", run=batch_run(encode="fly")).encode(images())
    with pytest.raises(BadOutputError, match=r"encode wrote nothing; expected tokens\.npy"):
        opened(tmp_path, "tokens", run=batch_run(encode="silent")).encode(images())
    tokenizer = opened(tmp_path, "tokens", run=batch_run(decode="silent"))
    with pytest.raises(BadOutputError, match=r"without writing images\.npy"):
        tokenizer.decode(tokenizer.encode(images()), seeds=[0] * 3)


def test_a_file_that_is_no_array_is_named(tmp_path: Path) -> None:
    (tmp_path / "batch.py").write_text("import sys\nopen(sys.argv[3] + '/tokens.npy', 'w').write('not an array')\n")
    with pytest.raises(BadOutputError, match=r"tokens.npy is not a whole .npy file of numbers"):
        opened(tmp_path, "tokens", run=batch_run()).encode(images())
    (tmp_path / "batch.py").write_text(
        "import sys\nimport numpy as np\nnp.save(sys.argv[3] + '/tokens.npy', np.array([None]), allow_pickle=True)\n"
    )
    with pytest.raises(BadOutputError, match=r"tokens.npy is not a whole .npy file of numbers: Object arrays"):
        opened(tmp_path, "tokens", run=batch_run()).encode(images())


def test_unsigned_indices_of_any_width_are_read(tmp_path: Path) -> None:
    for kind in ("uint16", "uint32", "uint64", "int16"):
        source = BATCH.replace("astype(np.uint8)", f"astype(np.{kind})")
        (tmp_path / "batch.py").write_text(source)
        encoding = opened(tmp_path, "tokens", run=batch_run()).encode(images())
        assert same(encoding, in_process("tokens").encode(images()))
    assert np.dtype("uint64").itemsize == 8
