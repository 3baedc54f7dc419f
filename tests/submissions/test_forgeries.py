"""Forged and damaged submissions: each is rejected, for the reason that it is forged."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.submissions.forge import Forgery, copy_of
from tokbench.submissions.known import Known
from tokbench.submissions.validate import validate

Row = dict[str, Any]
FORGERIES: dict[str, tuple[Callable[[Forgery], None], str, str]] = {}  # name → forger, code, words of the message


def forgery(code: str, words: str) -> Callable[[Callable[[Forgery], None]], Callable[[Forgery], None]]:
    def add(forge: Callable[[Forgery], None]) -> Callable[[Forgery], None]:
        FORGERIES[forge.__name__] = (forge, code, words)
        return forge

    return add


def plain(row: Row) -> Row:
    branch: Row = row["branches"][""]
    return branch


def first_region(rows: list[Row], kind: str) -> Row:
    return next(region for row in rows for region in plain(row).get("regions", ()) if region["kind"] == kind)


# ---- numbers -----------------------------------------------------------------------------------------------------


@forgery("recomputed", "psnr/value: value is not what the records give")
def edited_mean(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr"].update(value=row["values"]["psnr"]["value"] + 0.5))


@forgery("not-of-pixels", "psnr cannot come from 8-bit pixels")
def edited_record_with_consistent_mean(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        plain(rows[0])["values"]["psnr"] += 0.25

    forged.edit_records(change)
    forged.recompute("psnr")


@forgery("psnr-mae", "psnr and mae contradict each other")
def halved_errors(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        for row in rows:
            plain(row)["values"]["mae"] = 1 / (256 * 256 * 3)

    forged.edit_records(change)
    forged.recompute("mae")


@forgery("recomputed", "interval (ci95) is not what the records give")
def narrowed_interval(forged: Forgery) -> None:
    def change(row: Row) -> None:
        value = row["values"]["psnr"]
        value["ci95"] = [value["value"] - 0.01, value["value"] + 0.01]

    forged.edit_result(change)


@forgery("recomputed", "psnr/n: n is not what the records give")
def edited_n(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr"].update(n=5000))


@forgery("recomputed-group", "group 'small' is not what the records give")
def edited_group(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr_word"]["groups"]["small"].update(value=99.0))


@forgery("recomputed", "psnr_pooled does not follow from the images' psnr")
def edited_pooled_error(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr_pooled"].update(value=row["values"]["psnr_pooled"]["value"] + 1))


@forgery("range", "is outside the metric's range")
def value_outside_its_range(forged: Forgery) -> None:
    forged.edit_records(lambda rows: plain(rows[0])["values"].update(ssim=1.7))
    forged.recompute("ssim")


@forgery("schema", "psnr: does not fit the schema")
def text_for_a_number(forged: Forgery) -> None:
    forged.edit_records(lambda rows: plain(rows[0])["values"].update(psnr="31.5"))


@forgery("schema", "psnr/value")
def text_for_a_mean(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr"].update(value="31.5"))


@forgery("json", "holds NaN")
def not_a_number(forged: Forgery) -> None:
    forged.edit_record_text(lambda text: text.replace('"psnr":', '"psnr":NaN,"ssim":', 1).replace('"ssim":', '"x":', 1))


@forgery("json", "holds Infinity")
def infinity_in_the_result(forged: Forgery) -> None:
    path = forged.folder / "result.json"
    text = json.dumps({**forged.result, "counts": {"ok": 11, "failed": float("inf")}})
    path.write_text(text)


@forgery("json", "1e999, infinity or beyond any measurement")
def infinity_in_disguise(forged: Forgery) -> None:
    forged.edit_record_text(lambda text: text.replace('"clamped":0.', '"clamped":1e999,"x":0.', 1))


@forgery("dropped-value", "has no value of psnr")
def dropped_worst_values(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        for row in sorted(rows, key=lambda row: plain(row)["values"]["psnr"])[:3]:
            del plain(row)["values"]["psnr"]

    forged.edit_records(change)
    forged.recompute("psnr")


@forgery("hidden-value", "is skipped in the result, but the records hold it")
def hidden_metric(forged: Forgery) -> None:
    gone = {"value": None, "n": 0, "ci95": None, "status": "skipped", "reason": "not installed", "details": {}}
    forged.edit_result(lambda row: row["values"]["ssim"].update(gone))


# ---- samples -----------------------------------------------------------------------------------------------------


@forgery("missing-sample", "a sample of the manifest has no record")
def dropped_worst_samples(forged: Forgery) -> None:
    forged.edit_records(lambda rows: rows.remove(min(rows, key=lambda row: plain(row)["values"]["psnr"])))
    forged.recompute("psnr", "mae", "ssim", "bpp", "tokens")


@forgery("duplicate-sample", "the sample is there more than once")
def duplicated_sample(forged: Forgery) -> None:
    forged.edit_records(lambda rows: rows.append(max(rows, key=lambda row: plain(row)["values"]["psnr"])))
    forged.recompute("psnr", "mae", "ssim", "bpp", "tokens")


@forgery("duplicate-reconstruction", "duplicated records")
def best_sample_under_other_ids(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        best = max(rows, key=lambda row: plain(row)["values"]["psnr"])
        for row in rows[:3]:
            row["branches"] = best["branches"]

    forged.edit_records(change)
    forged.recompute("psnr", "mae", "ssim", "bpp", "tokens")


@forgery("extra-sample", "is no sample of the manifest")
def sample_from_elsewhere(forged: Forgery) -> None:
    forged.edit_records(lambda rows: rows[0].update(id="photo/of_my_own"))


@forgery("reference", "reference_sha256 (digest of the compared original's pixels)")
def swapped_records(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        rows[0]["id"], rows[1]["id"] = rows[1]["id"], rows[0]["id"]

    forged.edit_records(change)


@forgery("reference", "reference_sha256 (digest of the compared original's pixels)")
def swapped_reference_digests(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        a, b = rows[0], rows[1]
        a["reference_sha256"], b["reference_sha256"] = b["reference_sha256"], a["reference_sha256"]

    forged.edit_records(change)


@forgery("cluster", "cluster is not what it must be")
def clusters_split_for_a_narrow_interval(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        for number, row in enumerate(rows):
            row["cluster"] = f"own{number}"

    forged.edit_records(change)
    forged.recompute("psnr", "mae", "ssim", "bpp", "tokens")


@forgery("identical-pixels", "has the original's digest, but psnr is not perfect")
def originals_for_reconstructions(forged: Forgery) -> None:
    forged.edit_records(lambda rows: [plain(row).update(reconstruction_sha256=row["reference_sha256"]) for row in rows])


@forgery("identical-pixels", "psnr says perfect")
def perfect_scores_of_other_pixels(forged: Forgery) -> None:
    forged.edit_records(lambda rows: [plain(row)["values"].update(psnr=100.0) for row in rows])
    forged.recompute("psnr")


@forgery("size", "size_px is not what it must be")
def another_resolution(forged: Forgery) -> None:
    forged.edit_records(lambda rows: rows[0].update(size_px=[512, 512]))


@forgery("failed-samples", "samples failed")
def failed_samples(forged: Forgery) -> None:
    failed = {"status": "failed", "stage": "decode", "error": "out of memory"}

    def change(rows: list[Row]) -> None:
        rows[0].update(failed)
        del rows[0]["branches"]

    forged.edit_records(change)
    forged.recompute("psnr")
    forged.edit_result(lambda row: row["counts"].update(ok=10, failed=1))


# ---- regions -----------------------------------------------------------------------------------------------------


@forgery("region-missing", "a region of the manifest is missing")
def dropped_worst_word(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        row = next(row for row in rows if plain(row).get("regions"))
        plain(row)["regions"].remove(min(plain(row)["regions"], key=lambda region: list(region["values"].values())))

    forged.edit_records(change)


@forgery("region-label", "label of the region")
def edited_label(forged: Forgery) -> None:
    forged.edit_records(lambda rows: first_region(rows, "word").update(label="easy"))


@forgery("region-box", "box of the region")
def moved_box(forged: Forgery) -> None:
    forged.edit_records(lambda rows: first_region(rows, "face").update(box=[0.0, 0.0, 9.0, 9.0]))


@forgery("region-group", "group of the region")
def word_in_another_size_group(forged: Forgery) -> None:
    forged.edit_records(lambda rows: first_region(rows, "word").update(group="huge"))


@forgery("region-answer", "a value of psnr_word or a reason")
def word_without_an_answer(forged: Forgery) -> None:
    forged.edit_records(lambda rows: first_region(rows, "word").update(values={}))


# ---- identity ----------------------------------------------------------------------------------------------------


@forgery("limit", "the run used --limit")
def limited_run(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"].update(limit=11))


@forgery("not-complete", "the run is not complete: interrupted")
def interrupted_run(forged: Forgery) -> None:
    forged.edit_result(lambda row: row.update(status="partial", reason="interrupted after 3 of 11 samples"))


@forgery("task-definition", "spec/task/fit: the task's definition differs")
def edited_task(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["task"]["fit"].update(size_px=64))


@forgery("unknown-task", "its images are private")
def private_task(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["task"].update(name="folder"))
    forged.edit_submission(lambda row: row.update(task="folder"))


@forgery("unknown-task", "there is no such task")
def invented_task(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["task"].update(name="easy-256"))
    forged.edit_submission(lambda row: row.update(task="easy-256"))


@forgery("data", "was measured on other data")
def other_data(forged: Forgery) -> None:
    forged.keeps_run_id = False

    def change(row: Row) -> None:
        row["manifest"]["digest"] = row["spec"]["manifest_digest"] = "sha256:" + 64 * "0"

    forged.edit_result(change)


@forgery("data", "manifest digest is not what it must be")
def edited_manifest_digest(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["manifest"].update(digest="sha256:" + 64 * "0"))


@forgery("run-id", "the run's id")
def edited_spec(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["spec"].update(seed=7))


@forgery("unknown-metric", "is a metric key tokbench does not know")
def unknown_metric(forged: Forgery) -> None:
    forged.keeps_run_id = False

    def change(row: Row) -> None:
        row["values"]["beauty"] = {**row["values"]["ssim"], "key": "beauty", "metric": "beauty"}
        row["spec"]["metrics"]["beauty"] = 1

    forged.edit_result(change)


@forgery("metric-version", "metric version is newer")
def future_metric_version(forged: Forgery) -> None:
    forged.keeps_run_id = False

    def change(row: Row) -> None:
        row["values"]["psnr"]["version"] = row["spec"]["metrics"]["psnr"] = 99

    forged.edit_result(change)


@forgery("metric-version", "metric version in spec and value")
def mixed_metric_versions(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr"].update(version=2))


@forgery("metric-card", "unit of the metric")
def wrong_unit(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["psnr"].update(unit="%"))


@forgery("metric-card", "better of the metric")
def reversed_direction(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["values"]["mae"].update(better="higher"))


@forgery("unknown-metric", "the result does not have")
def another_recogniser(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        for row in rows:
            for region in plain(row).get("regions", ()):
                if "psnr_word" in region["values"]:
                    region["values"]["t_acc.parseq"] = 1.0

    forged.edit_records(change)


@forgery("rank-metric", "the task is ranked by it")
def without_the_ranked_metric(forged: Forgery) -> None:
    forged.keeps_run_id = False

    def change(row: Row) -> None:
        del row["values"]["psnr"], row["spec"]["metrics"]["psnr"]

    forged.edit_result(change)
    forged.edit_records(lambda rows: [plain(row)["values"].pop("psnr") for row in rows])


@forgery("submission-names", "tokenizer is not what it must be")
def records_of_another_tokenizer(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(tokenizer="mine/best"))


@forgery("bits", "bits do not follow from the tokens and the codebooks")
def wrong_bits(forged: Forgery) -> None:
    def change(rows: list[Row]) -> None:
        for row in rows:
            plain(row)["encoding_bits"] /= 2
            plain(row)["values"]["bpp"] /= 2

    forged.edit_records(change)
    forged.recompute("bpp")


@forgery("rate-value", "tokens does not follow from the encoding")
def wrong_token_count(forged: Forgery) -> None:
    forged.edit_records(lambda rows: [plain(row)["values"].update(tokens=16.0) for row in rows])
    forged.recompute("tokens")


@forgery("tokenizer-card", "codebook_sizes of the registered tokenizer")
def smaller_codebook(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["tokenizer"].update(codebook_sizes=[2]))


@forgery("tokenizer-card", "weights of the registered tokenizer")
def other_weights(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["tokenizer"].update(weights=[["lbg.safetensors", 64 * "0"]]))


@forgery("tokenizer-card", "posterior of the registered tokenizer")
def other_posterior(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["tokenizer"].update(posterior="sample"))


@forgery("environment", "the version of torch is missing")
def environment_without_versions(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["environment"].update(packages={}))


@forgery("time", "times are out of order")
def submitted_before_it_ran(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(submitted="2001-01-01T00:00:00Z"))


# ---- texts -------------------------------------------------------------------------------------------------------


@forgery("result-malformed", "is not of the form family/variant")
def path_traversal_in_a_name(forged: Forgery) -> None:
    forged.keeps_run_id = False
    forged.edit_result(lambda row: row["spec"]["tokenizer"].update(name="../../etc/passwd"))


@forgery("unsafe-text", "holds markup or script")
def script_in_a_name(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(submitter="Me<script>alert(1)</script>"))


@forgery("unsafe-text", "holds control or text-reordering characters")
def reordered_text(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(notes="best \u202eemos"))


@forgery("schema", "code: does not fit the schema")
def script_for_an_address(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(code="javascript:alert(1)"))


@forgery("local-path", "holds a path of the machine")
def path_of_a_machine(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(command="python /home/jane/eval.py"))


@forgery("environment-private", "may say whose machine it was")
def command_line_of_a_machine(forged: Forgery) -> None:
    forged.edit_result(lambda row: row["environment"].update(argv=["tokbench", "run", "--out", "/home/jane"]))


# ---- files -------------------------------------------------------------------------------------------------------


@forgery("schema-version", "schema version 99")
def future_result(forged: Forgery) -> None:
    forged.edit_result(lambda row: row.update(schema_version=99))


@forgery("schema-version", "upgrade tokbench")
def future_submission(forged: Forgery) -> None:
    forged.edit_submission(lambda row: row.update(schema_version=99))


@forgery("schema", "an unknown field")
def unknown_field(forged: Forgery) -> None:
    forged.edit_records(lambda rows: rows[0].update(bonus=1))


@forgery("extra-file", "extra file")
def extra_file(forged: Forgery) -> None:
    (forged.folder / "run_me.sh").write_text("echo hello")


@forgery("missing-file", "missing file")
def missing_records(forged: Forgery) -> None:
    (forged.folder / "records.jsonl.gz").unlink()


@forgery("missing-file", "submission.json: is a missing file")
def missing_submission(forged: Forgery) -> None:
    (forged.folder / "submission.json").unlink()


@forgery("file-digest", "result.json: SHA-256 digest")
def digest_mismatch(forged: Forgery) -> None:
    forged.keeps_digests = True
    with (forged.folder / "result.json").open("a") as file:
        file.write(" ")


@forgery("records-digest", "the records' SHA-256 digest")
def records_edited_after_the_run(forged: Forgery) -> None:
    rows = forged.records
    content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    (forged.folder / "records.jsonl.gz").write_bytes(gzip.compress(content))


@forgery("link", "is a symbolic link")
def link_to_elsewhere(forged: Forgery) -> None:
    (forged.folder / "result.json").unlink()
    (forged.folder / "result.json").symlink_to("/etc/hostname")


@forgery("records-damaged", "damaged or truncated")
def truncated_gzip(forged: Forgery) -> None:
    path = forged.folder / "records.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-200])


@forgery("records-damaged", "the last line has no end")
def truncated_records(forged: Forgery) -> None:
    forged.edit_record_text(lambda text: text[:-1])


@forgery("bomb", "zip bomb")
def gzip_bomb(forged: Forgery) -> None:
    (forged.folder / "records.jsonl.gz").write_bytes(gzip.compress(bytes(40 << 20), mtime=0))


@forgery("json", "nested too deeply")
def nested_json(forged: Forgery) -> None:
    forged.edit_record_text(lambda text: text + 200_000 * "[" + 200_000 * "]" + "\n")


@forgery("json", "byte order mark")
def byte_order_mark(forged: Forgery) -> None:
    path = forged.folder / "result.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


@forgery("json", "is not UTF-8")
def other_encoding(forged: Forgery) -> None:
    path = forged.folder / "result.json"
    path.write_bytes(path.read_bytes().replace(b"Quick look", b"Quick \xff look").replace(b"few", b"f\xe9w"))


@forgery("json", "duplicate key: 'status'")
def duplicated_keys(forged: Forgery) -> None:
    forged.edit_record_text(lambda text: text.replace('"status":"ok"', '"status":"failed","status":"ok"', 1))


@forgery("picture-pixels", "shows other pixels")
def prettier_picture(forged: Forgery) -> None:
    from PIL import Image

    path = next((forged.folder / "pictures").iterdir())
    with Image.open(path) as image:
        image.point(lambda level: min(255, level + 1)).save(path, "PNG")


@forgery("pictures", "besides the pixels")
def picture_with_a_comment(forged: Forgery) -> None:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    path = next((forged.folder / "pictures").iterdir())
    info = PngInfo()
    info.add_text("comment", "<script>alert(1)</script>")
    with Image.open(path) as image:
        image.save(path, "PNG", pnginfo=info)


@forgery("picture-choice", "is not one of the samples whose pictures are shown")
def best_picture_chosen(forged: Forgery) -> None:
    def change(row: Row) -> None:
        shown = row["pictures"]
        other = next(record["id"] for record in forged.records if record["id"] not in shown)
        shown[other] = shown.pop(next(iter(shown)))

    forged.edit_submission(change)


# ---- the tests ---------------------------------------------------------------------------------------------------


def test_the_honest_ones_are_valid(honest: Path, pictured: Path, shelf: Known) -> None:
    for path in (honest, pictured):
        (verdict,) = validate([path], known=shelf)
        assert verdict.errors == ()
        assert verdict.n_records == 11
        notes = {note.code: note.where for note in verdict.findings if note.code != "dirty-checkout"}
        assert notes == {"not-recomputable": "bpp_order0"}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_rejected_for_their_reason(
    name: str, honest: Path, pictured: Path, shelf: Known, tmp_path: Path
) -> None:
    forge, code, words = FORGERIES[name]
    forged = copy_of(pictured if "picture" in name else honest, tmp_path)
    forge(forged)
    errors = forged.errors(shelf)
    assert any(error.code == code and words in str(error) for error in errors), "\n".join(map(str, errors[:20]))


def test_copies_that_nobody_touched_stay_valid(honest: Path, shelf: Known, tmp_path: Path) -> None:
    """The forger's tools alone change nothing: it is the forgery that is found."""
    forged = copy_of(honest, tmp_path)
    forged.keeps_run_id = False
    forged.edit_records(lambda rows: None)
    forged.recompute("psnr", "mae", "ssim", "bpp", "tokens")
    assert forged.errors(shelf) == []


def test_all_errors_are_listed_not_the_first(honest: Path, shelf: Known, tmp_path: Path) -> None:
    forged = copy_of(honest, tmp_path)
    names = ("edited_mean", "edited_n", "edited_group", "script_in_a_name", "wrong_unit", "extra_file", "moved_box")
    for name in names:
        FORGERIES[name][0](forged)
    found = forged.errors(shelf)
    for name in names:
        _, code, words = FORGERIES[name]
        assert any(error.code == code and words in str(error) for error in found), name
    assert all(error.got or error.expected or error.code in ("extra-file", "region-missing") for error in found)
