"""ImageNet and COCO: small copies in every layout people keep them in, and everything that can be wrong with one."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tokbench.__main__ import main
from tokbench.data.converters import coco, imagenet
from tokbench.data.image_sets import prepare_image_set
from tokbench.data.inspecting import LEDGER_NAME
from tokbench.data.manifests import load_pixels
from tokbench.data.places import PLACES_NAME
from tokbench.data.prepare import find_manifest, prepared_folder
from tokbench.errors import ManifestError, SampleError

WORDNET = ("n01440764", "n02123045", "n07920052")
N = 6


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKBENCH_DATA", str(tmp_path / "user_data"))
    monkeypatch.setattr(imagenet, "N_IMAGES", N)
    monkeypatch.setattr(imagenet, "N_CLASSES", len(WORDNET))
    monkeypatch.setattr(coco, "N_IMAGES", N)


def jpeg(number: int, *, orientation: int = 0) -> bytes:
    size = (40 + number, 30)
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    options: dict[str, Any] = {}
    if orientation:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def wordnet(number: int) -> str:
    return WORDNET[(number * number) % len(WORDNET)]


def write(path: Path, data: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def imagenet_files() -> dict[str, bytes]:
    return {imagenet.image_name(number): jpeg(number) for number in range(1, N + 1)}


def solution_csv() -> str:
    rows = [f"ILSVRC2012_val_{number:08d},{wordnet(number)} 1 2 30 20 \n" for number in range(1, N + 1)]
    return "ImageId,PredictionString\n" + "".join(rows)


def flat(root: Path) -> Path:
    for name, data in imagenet_files().items():
        write(root / name, data)
    write(root / "LOC_val_solution.csv", solution_csv())
    return root


def as_kaggle_has_it(root: Path) -> Path:
    for name, data in imagenet_files().items():
        write(root / "ILSVRC/Data/CLS-LOC/val" / name, data)
    write(root / "ILSVRC/Data/CLS-LOC/train/n01440764/n01440764_1.JPEG", jpeg(99))
    write(root / "ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG", jpeg(98))
    write(root / "LOC_val_solution.csv", solution_csv())
    return root


def class_folders(root: Path) -> Path:
    for number, (name, data) in enumerate(imagenet_files().items(), start=1):
        write(root / "val" / wordnet(number) / name, data)
    return root


def one_tar(root: Path) -> Path:
    root.mkdir()
    with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as tar:
        for name, data in imagenet_files().items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    write(root / "val.txt", "".join(f"{imagenet.image_name(n)} {WORDNET.index(wordnet(n))}\n" for n in range(1, N + 1)))
    write(root / "synset_words.txt", "".join(f"{word} some words\n" for word in WORDNET))
    return root / "ILSVRC2012_img_val.tar"


def zip_of_class_folders(root: Path) -> Path:
    root.mkdir()
    with zipfile.ZipFile(root / "val.zip", "w") as archive:
        for number, (name, data) in enumerate(imagenet_files().items(), start=1):
            method = zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED
            archive.writestr(f"val/{wordnet(number)}/{name}", data, method)
    return root


def hub_shards(root: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    root.mkdir()
    rows = [
        {"bytes": data, "path": f"{name.removesuffix('.JPEG')}_{wordnet(number)}.JPEG"}
        for number, (name, data) in enumerate(imagenet_files().items(), start=1)
    ]
    order = [3, 0, 5, 1, 4, 2]
    for shard, part in enumerate((order[:2], order[2:])):
        table = pa.table({"image": [rows[row] for row in part], "label": [row % 3 for row in part]})
        pq.write_table(table, root / f"validation-{shard:05d}-of-00002.parquet")
    pq.write_table(pa.table({"image": rows[:1], "label": [0]}), root / "train-00000-of-00294.parquet")
    return root


def devkit(root: Path) -> Path:
    import scipy.io

    flat(root)
    (root / "LOC_val_solution.csv").unlink()
    kit = root / "ILSVRC2012_devkit_t12/data"
    ids = {word: number for number, word in enumerate(reversed(WORDNET), start=1)}
    truth = "".join(f"{ids[wordnet(number)]}\n" for number in range(1, N + 1))
    write(kit / "ILSVRC2012_validation_ground_truth.txt", truth)
    synsets = np.array([(number, word) for word, number in ids.items()], [("ILSVRC2012_ID", "O"), ("WNID", "O")])
    scipy.io.savemat(kit / "meta.mat", {"synsets": synsets})
    return root


def wordnet_a_line(root: Path) -> Path:
    flat(root)
    (root / "LOC_val_solution.csv").unlink()
    labels = "".join(wordnet(number) + "\n" for number in range(1, N + 1))
    write(root / "imagenet_2012_validation_synset_labels.txt", labels)
    return root


LAYOUTS = (flat, as_kaggle_has_it, class_folders, one_tar, zip_of_class_folders, hub_shards, devkit, wordnet_a_line)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_layout_gives_the_same_manifest(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    expected = prepare_image_set("imagenet", flat(tmp_path / "expected"), out=tmp_path / "expected_out")
    prepare_image_set("imagenet", layout(tmp_path / "copy"))
    manifest = find_manifest("imagenet")
    assert manifest.digest == expected.digest
    assert {sample.id for sample in manifest.samples} == {f"ILSVRC2012_val_{n:08d}" for n in range(1, N + 1)}
    assert not manifest.notes
    for sample in manifest.samples:
        number = int(sample.id[-8:])
        assert sample.label == wordnet(number)
        assert sample.source == f"named:{sample.id}.JPEG"
        assert np.array_equal(load_pixels(sample, manifest.root), np.asarray(Image.open(io.BytesIO(jpeg(number)))))


def test_rows_of_shards_are_read_in_their_order(tmp_path: Path) -> None:
    manifest = prepare_image_set("imagenet", hub_shards(tmp_path / "copy"))
    assert [int(sample.id[-8:]) - 1 for sample in manifest.samples] == [3, 0, 5, 1, 4, 2]


def test_a_copy_without_classes_is_taken_with_a_note(tmp_path: Path) -> None:
    root = flat(tmp_path / "copy")
    (root / "LOC_val_solution.csv").unlink()
    manifest = prepare_image_set("imagenet", root)
    assert not any(sample.label for sample in manifest.samples)
    assert "LOC_val_solution.csv" in manifest.notes[0]


def test_sources_that_disagree_about_a_class_are_refused(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "copy")
    write(root / "LOC_val_solution.csv", solution_csv().replace(wordnet(2), "n01440765"))
    with pytest.raises(ManifestError, match=r"LOC_val_solution.csv says n01440765 .* disagree on"):
        prepare_image_set("imagenet", root)


def test_what_is_missing_is_said_and_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = flat(tmp_path / "copy")
    (root / imagenet.image_name(2)).unlink()
    (root / imagenet.image_name(5)).unlink()
    assert main(["data", "prepare", "imagenet", "--root", str(root)]) == 1
    said = capsys.readouterr().err
    assert f"4 of {N} images" in said
    assert f"missing: {imagenet.image_name(2)}, {imagenet.image_name(5)}" in said
    assert "--partial" in said
    assert not prepared_folder("imagenet").exists() or not (prepared_folder("imagenet") / "manifest.toml").exists()
    with pytest.raises(ManifestError, match="`tokbench data prepare imagenet --root DIR`"):
        find_manifest("imagenet")


def test_an_incomplete_copy_can_be_taken_and_makes_results_partial(tmp_path: Path) -> None:
    from tokbench.evaluation import evaluate
    from tokbench.tasks.catalogue import find_task

    root = flat(tmp_path / "copy")
    (root / imagenet.image_name(2)).unlink()
    manifest = prepare_image_set("imagenet", root, partial=True)
    assert f"5 of {N} images" in manifest.notes[0]
    result = evaluate("identity", "imagenet-256", "psnr")
    assert (result.status, result["psnr"]) == ("partial", 100)
    assert result.reason == "imagenet has 5 samples here, the whole set 50000"
    assert find_task("imagenet-256").n_samples == 50_000


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    root = flat(tmp_path / "copy")
    path = root / imagenet.image_name(3)
    path.write_bytes(path.read_bytes()[:-200])
    write(root / imagenet.image_name(4), b"")
    with pytest.raises(ManifestError, match=r"2 of 6 images cannot be used:\n.*00003.*truncated(.|\n)*00004.*empty"):
        prepare_image_set("imagenet", root)
    manifest = prepare_image_set("imagenet", root, partial=True)
    assert len(manifest.samples) == 4
    assert "2 images left out, which cannot be used" in manifest.notes


def test_other_and_double_images_are_left_out_with_a_note(tmp_path: Path) -> None:
    root = flat(tmp_path / "copy")
    one_tar(root / "again")
    write(root / "cat.jpg", jpeg(50))
    manifest = prepare_image_set("imagenet", root)
    assert len(manifest.samples) == N
    assert "1 other images left out, the first: cat.jpg" in manifest.notes
    assert any("6 images are there more than once" in note for note in manifest.notes)
    places = (prepared_folder("imagenet") / PLACES_NAME).read_text()
    assert "archive:" not in places


def test_no_image_at_all(tmp_path: Path) -> None:
    write(tmp_path / "copy/cat.jpg", jpeg(50))
    with pytest.raises(ManifestError, match=r"no images of ImageNet .* ILSVRC2012_val_00000001.JPEG"):
        prepare_image_set("imagenet", tmp_path / "copy")
    with pytest.raises(ManifestError, match="does not exist"):
        prepare_image_set("imagenet", tmp_path / "nothing")


def test_published_crops_ignore_a_cameras_orientation(tmp_path: Path) -> None:
    """Their loaders take pixels as stored; so must the manifest, for equal crops."""
    root = flat(tmp_path / "copy")
    write(root / imagenet.image_name(1), jpeg(1, orientation=6))
    manifest = prepare_image_set("imagenet", root)
    sample = manifest.samples[0]
    assert (sample.width_px, sample.height_px) == (41, 30)
    assert np.array_equal(load_pixels(sample, manifest.root), np.asarray(Image.open(io.BytesIO(jpeg(1)))))
    assert any("1 images carry an orientation mark" in note for note in manifest.notes)


def test_what_was_looked_at_is_not_looked_at_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tokbench.data import inspecting

    looked: list[str] = []
    decode = inspecting.decode_image

    def counted(data: bytes, *, name: str) -> np.ndarray:
        looked.append(name)
        return decode(data, name=name)

    monkeypatch.setattr(inspecting, "decode_image", counted)
    root = flat(tmp_path / "copy")
    first = prepare_image_set("imagenet", root)
    assert len(looked) == N
    ledger = prepared_folder("imagenet") / LEDGER_NAME
    ledger.write_text(ledger.read_text()[:-30])  # as a run that was killed leaves it
    looked.clear()
    assert prepare_image_set("imagenet", root).digest == first.digest
    assert looked == [imagenet.image_name(N)]
    looked.clear()
    write(root / imagenet.image_name(2), jpeg(20))
    assert prepare_image_set("imagenet", root).digest != first.digest
    assert looked == [imagenet.image_name(2)]
    looked.clear()
    prepare_image_set("imagenet", root)
    assert not looked


def test_an_image_that_changed_since_is_told(tmp_path: Path) -> None:
    root = flat(tmp_path / "copy")
    manifest = prepare_image_set("imagenet", root)
    write(root / imagenet.image_name(1), jpeg(30))
    with pytest.raises(SampleError, match="has sha256"):
        load_pixels(manifest.samples[0], manifest.root)
    (prepared_folder("imagenet") / PLACES_NAME).unlink()
    with pytest.raises(SampleError, match="prepare the data set again"):
        load_pixels(manifest.samples[1], manifest.root)


def coco_folder(root: Path) -> Path:
    for number in range(1, N + 1):
        write(root / "val2017" / f"{number * 139:012d}.jpg", jpeg(number))
        write(root / "train2017" / f"{number * 139 + 1:012d}.jpg", jpeg(number))
    return root


def instances(**changed: int) -> str:
    rows = [{"file_name": f"{n * 139:012d}.jpg", "width": 40 + n, "height": 30} for n in range(1, N + 1)]
    rows[0].update(changed)
    return json.dumps({"images": rows, "annotations": []})


def test_coco_as_folder_and_as_zip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = coco_folder(tmp_path / "coco")
    assert main(["data", "prepare", "coco", "--root", str(root)]) == 0
    assert f"{N} images in" in capsys.readouterr().out
    first = find_manifest("coco")
    assert not first.notes
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped/val2017.zip", "w") as archive:
        for path in sorted((root / "val2017").iterdir()):
            archive.write(path, f"val2017/{path.name}")
    second = prepare_image_set("coco", tmp_path / "zipped/val2017.zip", out=tmp_path / "out")
    assert second.digest == first.digest
    assert np.array_equal(load_pixels(first.samples[0], first.root), load_pixels(second.samples[0], second.root))


def test_cocos_own_list_is_checked(tmp_path: Path) -> None:
    root = coco_folder(tmp_path / "coco")
    write(root / "annotations/instances_val2017.json", instances())
    assert len(prepare_image_set("coco", root).samples) == N
    write(root / "annotations/instances_val2017.json", instances(width=7))
    with pytest.raises(ManifestError, match=r"000000000139.jpg: 41×30 px, published as 7×30"):
        prepare_image_set("coco", root)
    write(root / "annotations/instances_val2017.json", '{"images": []}')
    with pytest.raises(ManifestError, match="lists no images"):
        prepare_image_set("coco", root)
    (root / "annotations/instances_val2017.json").unlink()
    (root / "val2017/000000000139.jpg").unlink()
    with pytest.raises(ManifestError, match="5 of 6 images of COCO val2017 are there"):
        prepare_image_set("coco", root)


def test_a_damaged_zip_says_where(tmp_path: Path) -> None:
    from tokbench.data import zips

    path = zip_of_class_folders(tmp_path / "copy") / "val.zip"
    name = next(name for name in zips.index_zip(path) if name.endswith("00000002.JPEG"))
    data = bytearray(path.read_bytes())
    data[zips.index_zip(path)[name].header + 200] ^= 255
    path.write_bytes(bytes(data))
    with pytest.raises(SampleError, match="damaged at member"):
        zips.read_member(path, name)
    with pytest.raises(SampleError, match="no readable member"):
        zips.read_member(path, "val/other.JPEG")
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(SampleError, match="not a zip file"):
        zips.index_zip(path)


def test_the_commands_say_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "imagenet"]) == 2
    assert "imagenet needs --root: run `tokbench data prepare imagenet --root DIR`" in capsys.readouterr().err
    assert main(["data", "prepare", "tokbench", "--partial", "--root", "x"]) == 2
    assert main(["run", "--tokenizer", "identity", "--task", "coco-256", "--metrics", "psnr"]) == 1
    assert "`tokbench data prepare coco --root DIR`" in capsys.readouterr().err


def test_doctor_says_what_is_not_prepared(tmp_path: Path) -> None:
    from tokbench.data.prepare import PREPARE_COMMANDS
    from tokbench.diagnosis import _prepared

    check = _prepared("imagenet", PREPARE_COMMANDS["imagenet"])
    assert (check.status, check.fix) == ("missing", "tokbench data prepare imagenet --root DIR")
    prepare_image_set("imagenet", flat(tmp_path / "copy"))
    assert _prepared("imagenet", PREPARE_COMMANDS["imagenet"]).status == "ok"
