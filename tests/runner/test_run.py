"""The run as a whole, on real pixels, with tokenizers whose answers are known."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.toys import Noisy, Quantiser, Residual, broken
from tokbench.branches import Branch
from tokbench.cards import MetricCard
from tokbench.contracts import Comparison
from tokbench.data.folder import folder_manifest
from tokbench.encodings import Latents, Tokens
from tokbench.errors import TokenizerError, UsageError
from tokbench.evaluation import evaluate, score
from tokbench.metrics.base import PairFunction
from tokbench.results import Record, RunResult
from tokbench.runfolder import read_pictures, read_records, read_result
from tokbench.runner.loading import Failure
from tokbench.tasks.catalogue import folder_task

TASK = folder_task(size_px=64)
# Exact whatever the order, and quick; metrics of networks have tests of their own.
EXACT = "pixel,codebook,rate,efficiency"


def run(tokenizer: Any, data: Path, out: Path | None = None, **options: Any) -> RunResult:
    options = {"metrics": EXACT, "task": TASK, "workers": 2, **options}
    return evaluate(tokenizer, options.pop("task"), options.pop("metrics"), data=data, out=out, **options)


def records(result: RunResult) -> list[Record]:
    assert result.path is not None
    return list(read_records(Path(result.path)))


# ---- what comes out ----------------------------------------------------------------------------------------------


def test_a_lossless_tokenizer_is_perfect_at_every_metric(photos: Path) -> None:
    result = run(Quantiser(8), photos, metrics="all", limit=4)
    assert result.counts == {"ok": 4, "failed": 0}
    checked = 0
    for value in result.values.values():
        if value.perfect is not None and value.status == "ok":
            assert value.value == pytest.approx(value.perfect, abs=1e-9), value.key
            checked += 1
    assert checked >= 3


def test_psnr_of_a_known_quantiser(photos: Path) -> None:
    result = run(Quantiser(4), photos)
    pixels = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.iterdir())]).astype(np.float64)
    decoded = np.rint(np.rint(pixels / 255 * 15) / 15 * 255)
    mse = ((decoded - pixels) ** 2).mean(axis=(1, 2, 3))
    assert result["psnr"] == pytest.approx(float(np.mean(10 * np.log10(255**2 / mse))), abs=1e-5)
    assert result["psnr_pooled"] == pytest.approx(10 * math.log10(255**2 / mse.mean()), abs=1e-5)
    assert result["bpp"] == 12.0


def test_files_hold_what_the_result_says(photos: Path, tmp_path: Path) -> None:
    result = run(Quantiser(4), photos, tmp_path / "runs")
    assert result.path == str(tmp_path / "runs" / "folder" / "toy__quantise_4bit")
    assert read_result(Path(result.path)) == result
    rows = records(result)
    assert len(rows) == result.records["n"] == 10
    values = [row.branches[""].values["psnr"] for row in rows]
    assert math.fsum(values) / 10 == pytest.approx(result["psnr"], abs=1e-12)
    assert "NaN" not in (Path(result.path) / "result.json").read_text()
    assert len(read_pictures(Path(result.path))) == 10
    frame = result.to_frame()
    assert frame.loc["psnr", "value"] == result["psnr"]


# ---- what must not matter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [Quantiser(4), Noisy(), "lbg", "pca", "jpeg"])
def test_the_same_run_twice_gives_the_same_bytes(photos: Path, tmp_path: Path, tokenizer: Any) -> None:
    first, second = (run(tokenizer, photos, tmp_path / name) for name in "ab")
    texts = [(Path(result.path or "") / "records.jsonl").read_bytes() for result in (first, second)]
    assert texts[0] == texts[1]
    assert first.records == second.records
    assert first.run_id == second.run_id


def comparable(result: RunResult) -> dict[str, Any]:
    return {
        key: (value.value, value.ci95, value.n, dict(value.groups))
        for key, value in result.values.items()
        if value.kind != "cost"
    }


@pytest.mark.parametrize("tokenizer", [Quantiser(4), Noisy(), "lbg", "pca", "jpeg"])
@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_batch_size_and_workers_change_no_value(photos: Path, tmp_path: Path, tokenizer: Any, batch_size: int) -> None:
    usual = run(tokenizer, photos, tmp_path / "usual")
    other = run(tokenizer, photos, tmp_path / "other", batch_size=batch_size, workers=1)
    assert comparable(usual) == comparable(other)
    assert records(usual) == records(other)


@pytest.mark.parametrize("tokenizer", [Noisy(), "lbg"])
def test_sample_order_changes_no_value(
    photos: Path, tmp_path: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = run(tokenizer, photos, tmp_path / "usual")
    manifest = folder_manifest(photos)
    shuffled = type(manifest)(
        **{**vars(manifest), "samples": tuple(manifest.samples[index] for index in (7, 2, 9, 0, 4, 1, 8, 3, 6, 5))}
    )
    assert shuffled.digest == manifest.digest
    monkeypatch.setattr("tokbench.evaluation.folder_manifest", lambda _: shuffled)
    other = run(tokenizer, photos, tmp_path / "other")
    assert comparable(usual) == comparable(other)
    assert sorted(records(usual), key=lambda row: row.id) == sorted(records(other), key=lambda row: row.id)


def test_another_seed_changes_a_stochastic_tokenizer_only(photos: Path) -> None:
    assert run(Noisy(), photos)["psnr"] != run(Noisy(), photos, seed=1)["psnr"]
    assert run(Quantiser(), photos)["psnr"] == run(Quantiser(), photos, seed=1)["psnr"]


def test_each_image_is_encoded_once_whatever_the_branches(photos: Path) -> None:
    tokenizer = Quantiser(4)
    extra = Branch(name="again", derive=lambda encoding, _: encoding)
    run(tokenizer, photos, metrics="pixel,codebook", batch_size=4, branches=[extra])
    assert tokenizer.seen == [4, 4, 2]


def test_costs_are_timed_before_the_run(photos: Path) -> None:
    tokenizer = Quantiser(4)
    result = run(tokenizer, photos, metrics="efficiency,psnr", batch_size=4)
    timed, streamed, footprint = tokenizer.seen[:-4], tokenizer.seen[-4:-1], tokenizer.seen[-1]
    assert (streamed, footprint) == ([4, 4, 2], 1)
    assert set(timed) == {4}
    assert len(timed) >= 2
    for key in ("encode_s", "decode_s", "images_per_s"):
        assert (result[key] or 0) > 0


# ---- branches ----------------------------------------------------------------------------------------------------


def test_lengths_are_decoded_in_the_same_pass(photos: Path) -> None:
    result = run(Residual(), photos, lengths=(1, 2))
    assert result["psnr"] == result["psnr@length=2"]
    assert (result["psnr"] or 0) > (result["psnr@length=1"] or 0) + 10
    assert result["bpp"] == 18 == result["bpp@length=2"]
    assert result["bpp@length=1"] == 9
    assert result.spec.branches == ("length=1", "length=2")


def test_a_branch_may_have_its_own_tokenizer_and_metrics(photos: Path) -> None:
    coarse = Branch(name="3bit", tokenizer=Quantiser(3), metrics=("psnr",))
    result = run(Quantiser(4), photos, branches=[coarse])
    assert [key for key in result.values if key.endswith("@3bit")] == ["psnr@3bit"]
    assert result["psnr@3bit"] == run(Quantiser(3), photos)["psnr"]


def test_derived_encodings_get_a_seed_a_sample(photos: Path) -> None:
    seen: list[tuple[int, ...]] = []

    def derive(encoding: Any, seeds: Any) -> Any:
        seen.append(tuple(seeds))
        return encoding

    for batch_size in (1, 10):
        run(Quantiser(4), photos, batch_size=batch_size, branches=[Branch(name="perturbed", derive=derive)])
    flat = [seed for call in seen for seed in call]
    assert flat[:10] == flat[10:]
    assert len(set(flat)) == 10


@pytest.mark.parametrize("lengths", [(0,), (3,)])
def test_a_length_the_tokenizer_has_not_got_is_a_usage_error(photos: Path, lengths: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="lengths 1 to 2"):
        run(Residual(), photos, lengths=lengths)
    with pytest.raises(UsageError, match="no variable length"):
        run(Quantiser(), photos, lengths=(1,))


# ---- tokenizers that break the contract --------------------------------------------------------------------------


def wrong_count(images: torch.Tensor) -> Latents:
    return Latents(values=torch.cat([images, images[:1]]))


def write_to_input(images: torch.Tensor) -> Latents:
    images.mul_(0.5)
    return Latents(values=images)


CONTRACT_BREAKERS = {
    "shape": (broken(decode=lambda images: images[:, :, ::2]), "decode returned shape"),
    "layout": (broken(decode=lambda images: images.permute(0, 2, 3, 1)), "decode returned shape"),
    "type": (broken(decode=lambda images: images.numpy()), "decode returned ndarray"),
    "dtype": (broken(decode=lambda images: (images * 255).byte()), "divide by 255"),
    "range-255": (broken(decode=lambda images: images * 255), r"looks like \[0, 255\]"),
    "range-signed": (broken(decode=lambda images: images * 2 - 1), r"looks like \[-1, 1\]"),
    "nan": (broken(decode=lambda images: images * float("nan")), "NaN or infinite pixels"),
    "nan-latents": (broken(encode=lambda images: Latents(values=images / 0 * 0)), "latents with NaN"),
    "count": (broken(encode=wrong_count), "returned an encoding of"),
    "no-encoding": (broken(encode=lambda images: {"z": images}), "encode returned dict"),
    "index-high": (
        broken(encode=lambda images: Tokens.grid((images * 300).long(), codebook_size=16)),
        "outside its codebook",
    ),
    "index-low": (
        broken(encode=lambda images: Tokens.grid((images * -9).long() - 1, codebook_size=16)),
        "outside its codebook",
    ),
    "input": (broken(encode=write_to_input), "wrote to its input"),
    "raises": (broken(encode=lambda images: images.reshape(7, -1)), "encode raised RuntimeError"),
}


@pytest.mark.parametrize("name", CONTRACT_BREAKERS)
def test_a_broken_tokenizer_is_told_what_is_wrong(photos: Path, tmp_path: Path, name: str) -> None:
    tokenizer, message = CONTRACT_BREAKERS[name]
    result = run(tokenizer, photos, tmp_path)
    assert result.status == "failed"
    assert result.counts == {"ok": 0, "failed": 10}
    rows = records(result)
    assert len(rows) == 10
    for row in rows:
        with pytest.raises(TokenizerError, match=message):
            raise TokenizerError(row.error)
        assert row.stage in ("encode", "decode")


def test_one_bad_sample_costs_only_itself(photos: Path, tmp_path: Path) -> None:
    bright = sorted(photos.iterdir())[3]
    target = float(np.asarray(Image.open(bright)).mean()) / 255

    def decode(images: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        out[(images.mean((1, 2, 3)) - target).abs() < 1e-4] = float("nan")
        return out

    result = run(broken(decode=decode), photos, tmp_path)
    assert result.status == "complete"
    assert result.counts == {"ok": 9, "failed": 1}
    failed = [row for row in records(result) if row.status == "failed"]
    assert [(row.id, row.stage) for row in failed] == [(bright.stem, "decode")]
    assert result.values["psnr"].n == 9


def test_a_tokenizer_that_always_fails_is_given_up_early(photos: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(60):
        (many / f"{number:03d}.png").write_bytes(sorted(photos.iterdir())[0].read_bytes())
    with pytest.raises(TokenizerError, match="failed on the first 16 samples"):
        run(broken(decode=lambda images: images[:, :1]), many, tmp_path / "runs")
    result = read_result(tmp_path / "runs" / "folder" / "toy__broken")
    assert result.status == "failed"
    assert result.counts["failed"] == 16


def test_an_unsupported_size_names_the_sizes(photos: Path) -> None:
    tokenizer = Quantiser(4)
    tokenizer.card = type(tokenizer.card)(name="toy/fixed", fixed_size_px=256, codebook_sizes=(16,))
    result = run(tokenizer, photos)
    assert result.status == "failed"
    assert "takes 256×256 images, got 64×64" in result.reason


# ---- bad data ----------------------------------------------------------------------------------------------------


def test_unreadable_files_are_records_with_a_reason(photos: Path, tmp_path: Path) -> None:
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    good = sorted(photos.iterdir())[:3]
    for path in good:
        (mixed / path.name).write_bytes(path.read_bytes())
    (mixed / "empty.png").write_bytes(b"")
    (mixed / "text.png").write_bytes(b"this is not an image")
    (mixed / "cut.png").write_bytes(good[0].read_bytes()[:900])
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(mixed / "moving.webp", save_all=True, append_images=frames[1:])
    Image.new("CMYK", (64, 64)).save(mixed / "print.jpg")
    Image.fromarray(np.full((64, 64), 40000, dtype=np.uint16)).save(mixed / "deep.png")
    result = run(Quantiser(8), mixed, tmp_path / "runs")
    assert result.counts == {"ok": 3, "failed": 6}
    assert result.status == "complete"
    errors = {row.id: row.error for row in records(result) if row.status == "failed"}
    assert set(errors) == {"empty", "text", "cut", "moving", "print", "deep"}
    assert all(len(error) > 20 for error in errors.values())
    assert result["psnr"] == 100


def test_a_file_that_changed_since_the_manifest_was_made(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in photos.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    manifest = folder_manifest(copy)
    Image.new("RGB", (64, 64)).save(copy / "00_astronaut.png")
    monkeypatch.setattr("tokbench.evaluation.folder_manifest", lambda _: manifest)
    result = run(Quantiser(8), copy, tmp_path / "runs")
    (failed,) = [row for row in records(result) if row.status == "failed"]
    assert failed.id == "00_astronaut"
    assert "sha256" in failed.error.lower()


def test_a_limit_is_partial_and_has_another_digest(photos: Path) -> None:
    whole, part = run(Quantiser(4), photos), run(Quantiser(4), photos, limit=4)
    assert part.status == "partial"
    assert "--limit 4" in part.reason
    assert part.counts["ok"] == 4
    assert part.manifest["digest"] != whole.manifest["digest"]


# ---- interrupts and metrics that break ---------------------------------------------------------------------------


def test_an_interrupt_keeps_what_is_done(photos: Path, tmp_path: Path) -> None:
    calls = 0

    def encode(images: torch.Tensor) -> Latents:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return Latents(values=images)

    result = run(broken(encode=encode), photos, tmp_path, batch_size=2, metrics="pixel")
    assert result.status == "partial"
    assert result.reason == "interrupted after 6 of 10 samples"
    assert len(records(result)) == 6
    assert result["psnr"] == 100
    assert read_result(Path(result.path or "")) == result


def test_a_metric_that_breaks_is_reported_and_the_others_go_on(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokbench.registry import select_metrics

    def explode(comparison: Comparison) -> list[float | None]:
        raise ZeroDivisionError("division by zero")

    card = MetricCard(key="explodes", version=1, kind="pair", group="pixel", title="Explodes", better="higher")
    bad = PairFunction(card=card, function=explode)
    monkeypatch.setattr("tokbench.evaluation.select_metrics", lambda request: [bad, *select_metrics(request)])
    result = run(Quantiser(4), photos)
    assert result.values["explodes"].status == "failed"
    assert "ZeroDivisionError: division by zero" in result.values["explodes"].reason
    assert result.values["psnr"].status == "ok"


def test_progress_hears_of_every_sample(photos: Path, tmp_path: Path) -> None:
    class Listener:
        total = done = 0
        failures: list[Failure] = []  # noqa: RUF012
        ended = False

        def started(self, *, task: str, tokenizer: str, total: int) -> None:
            self.total = total

        def advanced(self, n: int) -> None:
            self.done += n

        def failed(self, failure: Failure) -> None:
            self.failures.append(failure)

        def finished(self) -> None:
            self.ended = True

    mixed = tmp_path / "mixed"
    mixed.mkdir()
    (mixed / "good.png").write_bytes(sorted(photos.iterdir())[0].read_bytes())
    (mixed / "bad.png").write_bytes(b"")
    listener = Listener()
    run(Quantiser(4), mixed, progress=listener)
    assert (listener.total, listener.done, len(listener.failures), listener.ended) == (2, 2, 1, True)


# ---- the reference cache -----------------------------------------------------------------------------------------


def test_reference_features_are_computed_once_for_all_tokenizers(photos: Path, tmp_path: Path) -> None:
    from tokbench.cache import ReferenceCache

    cache = ReferenceCache(tmp_path / "reference.sqlite")
    first = run(Quantiser(4), photos, metrics="lossless_ratio", cache=cache)
    assert (cache.hits, cache.misses) == (0, 10)
    second = run(Quantiser(5), photos, metrics="lossless_ratio", cache=cache)
    assert (cache.hits, cache.misses) == (10, 10)
    cold = run(Quantiser(5), photos, metrics="lossless_ratio", cache=ReferenceCache(None))
    assert second["lossless_ratio"] == cold["lossless_ratio"]
    assert first["lossless_ratio"] == pytest.approx((cold["lossless_ratio"] or 0) * 15 / 12)


# ---- scoring files -----------------------------------------------------------------------------------------------


def test_scoring_files_gives_the_tokenizers_own_numbers(photos: Path, tmp_path: Path) -> None:
    ran = run(Quantiser(4), photos, tmp_path / "runs")
    made = tmp_path / "made"
    made.mkdir()
    for pictures in read_pictures(Path(ran.path or "")):
        (made / f"{pictures.id}.png").write_bytes(pictures.branches[""].read_bytes())
    scored = score(made, TASK, "all", data=photos, out=tmp_path / "scored")
    assert scored["psnr"] == ran["psnr"]
    assert scored["ssim"] == ran["ssim"]
    for key in ("bpp", "codebook_usage", "images_per_s"):
        assert scored.values[key].status == "skipped"
        assert "only reconstructions" in scored.values[key].reason


def test_missing_and_wrong_reconstructions_are_counted(photos: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for path in sorted(photos.iterdir())[:8]:
        (made / path.name).write_bytes(path.read_bytes())
    names = [path.stem for path in sorted(photos.iterdir())]
    Image.new("RGB", (32, 64)).save(made / f"{names[0]}.png")
    Image.new("RGB", (64, 64)).save(made / f"{names[1]}.webp")
    result = score(made, TASK, "psnr", data=photos, out=tmp_path / "scored")
    errors = {row.id: row.error for row in records(result) if row.status == "failed"}
    assert result.counts == {"ok": 6, "failed": 4}
    assert "32×64, expected 64×64" in errors[names[0]]
    assert "several reconstructions" in errors[names[1]]
    assert "no reconstruction" in errors[names[9]]


def test_records_are_plain_json_lines(photos: Path, tmp_path: Path) -> None:
    result = run(Quantiser(4), photos, tmp_path)
    for line in (Path(result.path or "") / "records.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert set(row) == {"id", "cluster", "status", "reference_sha256", "size_px", "branches"}
