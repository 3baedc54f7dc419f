"""Converters: annotation files of other people into manifests, and everything that can be wrong with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tokbench.__main__ import main
from tokbench.data.converters.annotated import Annotated, relative_size, without_orientation
from tokbench.data.converters.icdar import count_corners, parse_words, read_icdar
from tokbench.data.converters.textocr import parse_textocr
from tokbench.data.converters.tokbench_annotations import face_set, published_caps, word_set
from tokbench.data.converters.wflw import parse_wflw
from tokbench.data.folder import folder_manifest
from tokbench.data.manifests import load_pixels
from tokbench.data.prepare import find_manifest, prepare_tokbench, save_converted
from tokbench.errors import ManifestError, UnknownNameError
from tokbench.samples import Region

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "real_mini"
FIVE = [[10, 10], [20, 10], [15, 15], [11, 20], [19, 20]]


@pytest.fixture(autouse=True)
def _own_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKBENCH_DATA", str(tmp_path / "user_data"))


def image(path: Path, width: int = 40, height: int = 30, *, orientation: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width * height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    options: dict[str, Any] = {}
    if orientation:
        exif = Image.Exif()
        exif[274] = orientation
        options["exif"] = exif
    Image.fromarray(pixels).save(path, **options)
    return path


def text_json(*files: str, words: Sequence[dict[str, Any]] | None = None, **size: int) -> list[dict[str, Any]]:
    word = {"rec": "Word", "bbox": [1.5, 2, 21.9, 12], "ratio": 0.125}
    return [
        {"file_name": file, "height": 30, "width": 40, **size, "annotations": list(words or [word])} for file in files
    ]


def face_json(*files: str) -> list[dict[str, Any]]:
    face = {"kps": FIVE, "ratio": 0.25, "box": [5, 5, 25, 25], "gt": "someone"}
    return [{"image_name": file, "img_height": 30, "img_width": 40, "faces": [face]} for file in files]


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of TokBench in miniature."""
    root = tmp_path / "TokBench"
    image(root / "images/text_data/ic13/img_1.jpg")
    image(root / "images/text_data/docvqa/page.png")
    image(root / "images/face_data/wflw/0--Parade/a.jpg")
    write(root / "annotations/text_ic13.json", text_json("img_1.jpg"))
    write(root / "annotations/text_docvqa.json", text_json("page.png"))
    write(root / "annotations/face_meta.json", face_json("0--Parade/a.jpg"))
    return root


def run(*arguments: str | Path) -> int:
    return main([str(argument) for argument in arguments])


def test_prepare_writes_a_manifest_that_tasks_find(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ManifestError, match="run `tokbench data prepare tokbench`"):
        find_manifest("tokbench")
    assert run("data", "prepare", "tokbench", "--root", root) == 0
    out, err = capsys.readouterr()
    assert "3 images, 2 words, 1 faces" in out
    assert "without the sets ic15, tt, textocr, cord, sroie, infograph: not comparable" in err
    assert "ic13 has 1 images, 1 words; the published logs 213 and 882" in err
    manifest = find_manifest("tokbench")
    assert [sample.id for sample in manifest.samples] == ["ic13/img_1", "docvqa/page", "wflw/0--Parade/a"]
    assert [sample.tags for sample in manifest.samples] == [("ic13",), ("docvqa",), ("wflw",)]
    word = manifest.samples[0].regions[0]
    assert (word.label, word.box, word.ratio) == ("Word", (1.5, 2, 21.9, 12), 0.125)
    assert word.attributes == {"published_cap": 4}
    face = manifest.samples[2].regions[0]
    assert (face.kind, face.box, face.ratio, face.label) == ("face", (5, 5, 25, 25), 0.25, "someone")
    assert face.keypoints == tuple((float(x), float(y)) for x, y in FIVE)
    for sample in manifest.samples:
        assert load_pixels(sample, manifest.root).shape == (30, 40, 3)
    assert find_manifest("quick").name == "quick"
    with pytest.raises(UnknownNameError):
        find_manifest("quik")


def test_preparing_again_gives_the_same_digest(root: Path, tmp_path: Path) -> None:
    first = prepare_tokbench(root)
    assert prepare_tokbench(root).digest == first.digest
    other = prepare_tokbench(root, out=tmp_path / "elsewhere")
    assert folder_manifest(tmp_path / "elsewhere").digest == other.digest == first.digest
    assert not list(root.rglob("manifest.toml"))


def test_a_root_inside_the_output_needs_no_link(root: Path) -> None:
    manifest = prepare_tokbench(root, out=root)
    assert manifest.samples[0].source == "images/text_data/ic13/img_1.jpg"
    assert load_pixels(manifest.samples[0], manifest.root).shape == (30, 40, 3)


def test_caps_follow_batches_of_64_in_file_order() -> None:
    labels = ["abcdef", *["ab"] * 63, "abc", "a"]
    assert published_caps(labels) == [6] * 64 + [3, 3]
    rows = text_json(*[f"{n}.jpg" for n in range(66)])
    for row, label in zip(rows, labels, strict=True):
        row["annotations"] = [{"rec": label, "bbox": [0, 0, 1, 1], "ratio": 0.1}]
    images = word_set(rows, name="ic13", where="text_ic13.json")
    assert [found.regions[0].attributes["published_cap"] for found in images] == published_caps(labels)


def test_entries_of_one_file_become_one_sample() -> None:
    (found,) = word_set(text_json("a.jpg", "a.jpg"), name="ic13", where="w.json")
    assert len(found.regions) == 2
    with pytest.raises(ManifestError, match=r"w\.json entry 2: a\.jpg is \(40, 30\) px, but \(41, 30\)"):
        word_set([*text_json("a.jpg", width=41), *text_json("a.jpg")], name="ic13", where="w.json")


def test_odd_words_are_kept_for_the_metrics_to_count() -> None:
    words = [
        {"rec": "", "bbox": [0, 0, 5, 5], "ratio": 0.1},
        {"rec": "flat", "bbox": [5, 5, 5, 5], "ratio": 0.1},
        {"rec": "outside", "bbox": [-50, -50, -10, -10], "ratio": 0.1},
    ]
    (found,) = word_set(text_json("a.jpg", words=words), name="ic13", where="w.json")
    assert [region.label for region in found.regions] == ["", "flat", "outside"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, r"w\.json holds dict, expected a list"),
        ([3], "w.json entry 1 is '3', expected an object"),
        ([{"file_name": "a.jpg"}], "w.json entry 1 has no 'annotations'; it has file_name"),
        (text_json("a.jpg", width="40"), "entry 1: width is '40', expected int"),  # type: ignore[arg-type]
        (text_json("a.jpg", words=[{"rec": 5, "bbox": [0, 0, 1, 1], "ratio": 1}]), "word 1: rec is '5', expected str"),
        (text_json("a.jpg", words=[{"rec": "a", "bbox": [0, 0, 1], "ratio": 1}]), "expected a list of 4 numbers"),
        (text_json("a.jpg", words=[{"rec": "a", "bbox": [0, 0, 1, "x"], "ratio": 1}]), "expected a finite number"),
        (text_json("a.jpg", words=[{"rec": "a", "bbox": [0, 0, 1, 1], "ratio": None}]), "ratio is None"),
        (text_json("a.jpg", words=[{"rec": "a", "bbox": [0, 0, 1, float("nan")], "ratio": 1}]), "is nan"),
    ],
)
def test_malformed_words_name_file_and_entry(rows: object, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        word_set(rows, name="ic13", where="w.json")


def test_malformed_faces_name_file_and_entry() -> None:
    rows = face_json("a.jpg")
    rows[0]["faces"][0]["kps"] = FIVE[:4]
    with pytest.raises(ManifestError, match=r"f\.json entry 1, face 1: kps has 4 points, expected 5"):
        face_set(rows, where="f.json")
    rows[0]["faces"][0]["kps"] = [*FIVE[:4], [1, 2, 3]]
    with pytest.raises(ManifestError, match="a point of kps"):
        face_set(rows, where="f.json")


def test_broken_json_names_the_line(root: Path) -> None:
    write(root / "annotations/text_ic13.json", '[{"file_name": "img_1.jpg"},\n {oops}]')
    with pytest.raises(ManifestError, match=r"text_ic13\.json line 2: .*expected JSON"):
        prepare_tokbench(root)


def test_all_missing_and_wrong_images_are_reported_at_once(root: Path) -> None:
    image(root / "images/text_data/ic13/wide.jpg", 50, 30)
    write(root / "images/text_data/ic13/broken.jpg", "not an image")
    write(root / "annotations/text_ic13.json", text_json("img_1.jpg", "gone.jpg", "wide.jpg", "broken.jpg", "../x.jpg"))
    write(root / "annotations/face_meta.json", face_json("lost.jpg"))
    with pytest.raises(ManifestError) as caught:
        prepare_tokbench(root)
    text = str(caught.value)
    assert "ic13: 4 of 5 annotated images cannot be used" in text
    for said in (
        "gone.jpg: missing (text_ic13.json entry 2)",
        "wide.jpg: 50×30 px, annotated as 40×30 px",
        "broken.jpg",
        "../x.jpg: missing",
        "wflw: 1 of 1",
        "lost.jpg: missing (face_meta.json entry 1)",
    ):
        assert said in text, said
    with pytest.raises(ManifestError, match="is not on this machine"):
        find_manifest("tokbench")


def test_what_is_no_copy_of_tokbench_is_said(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is no copy of TokBench"):
        prepare_tokbench(tmp_path)
    (root / "images").rename(root / "elsewhere")
    write(root / "images.zip", "…")
    with pytest.raises(ManifestError, match=r"no images/text_data/ic13; it holds images\.zip: unpack"):
        prepare_tokbench(root)


def test_without_a_copy_the_error_has_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert run("data", "prepare", "tokbench") == 1
    assert "pip install huggingface_hub" in capsys.readouterr().err

    class Hub:
        @staticmethod
        def snapshot_download(*_: object, **__: object) -> str:
            raise OSError("offline mode is enabled")

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)  # type: ignore[arg-type]
    assert run("data", "prepare", "tokbench") == 1
    err = capsys.readouterr().err
    assert "offline mode is enabled" in err
    assert "`tokbench data prepare tokbench --root DIR`" in err


def test_a_downloaded_copy_is_prepared(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    class Hub:
        @staticmethod
        def snapshot_download(name: str, **options: object) -> str:
            assert (name, options["repo_type"]) == ("Junfeng5/TokBench", "dataset")
            return str(root)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)  # type: ignore[arg-type]
    assert run("data", "prepare", "tokbench") == 0
    assert len(find_manifest("tokbench").samples) == 3


def test_orientation_marks_are_taken_off_where_annotations_ignore_them(root: Path) -> None:
    turned = image(root / "images/text_data/ic13/turned.jpg", 40, 30, orientation=6)
    upright = image(root / "images/text_data/ic13/upright.jpg", 30, 40, orientation=8)
    rows = text_json("img_1.jpg", "turned.jpg", "upright.jpg")
    write(root / "annotations/text_ic13.json", rows)
    before = turned.read_bytes()
    manifest = prepare_tokbench(root)
    assert turned.read_bytes() == before
    samples = {sample.id: sample for sample in manifest.samples}
    assert samples["ic13/turned"].source == "upright/ic13/turned.jpg"
    stored = np.asarray(Image.open(turned))
    assert np.array_equal(load_pixels(samples["ic13/turned"], manifest.root), stored)
    assert samples["ic13/upright"].source.startswith("data/")  # annotated as it is seen
    assert load_pixels(samples["ic13/upright"], manifest.root).shape == (30, 40, 3)
    assert upright.is_file()
    assert any("1 images are annotated as stored" in note for note in manifest.notes)


def test_without_orientation_only_takes_jpegs(tmp_path: Path) -> None:
    plain = image(tmp_path / "a.jpg").read_bytes()
    assert without_orientation(plain) == plain
    with pytest.raises(ManifestError, match="only a JPEG"):
        without_orientation(b"\x89PNG")
    with pytest.raises(ManifestError, match="damaged"):
        without_orientation(plain[:2] + b"\xff\xe1\xff\xff")


def test_relative_size_is_the_published_rule() -> None:
    word = Region(kind="word", box=(10, 0, 50, 9), label="abcd")
    assert relative_size(word, width_px=400, height_px=500) == 40 / (4 * 500)
    assert relative_size(Region(kind="word", box=(0, 0, 1, 1)), width_px=4, height_px=5) is None
    assert relative_size(Region(kind="face", box=(0, 0, 10, 20)), width_px=40, height_px=50) == 0.4


ICDAR_2015 = '\ufeff10,10,30,12,30,20,10,18,Genaxis Theatre, yes\n1,1,5,1,5,5,1,5,###\n0,0,9,0,9,9,0,9,"quoted"\n'
ICDAR_2013 = '38, 43, 120, 65, "Tiredness"\n10 20 30 40 a,b\n\n1.5 2 3 4 "\n'


def test_icdar_lines() -> None:
    assert count_corners([ICDAR_2015.lstrip("\ufeff")]) == 4
    assert count_corners([ICDAR_2013]) == 2
    words = parse_words(ICDAR_2015.lstrip("\ufeff"), n_corners=4, where="gt")
    assert [(word.label, word.box) for word in words] == [
        ("Genaxis Theatre, yes", (10, 10, 30, 20)), ("###", (1, 1, 5, 5)), ('"quoted"', (0, 0, 9, 9)),
    ]  # fmt: skip
    words = parse_words(ICDAR_2013, n_corners=2, where="gt")
    assert [(word.label, word.box) for word in words] == [
        ("Tiredness", (38, 43, 120, 65)), ("a,b", (10, 20, 30, 40)), ('"', (1.5, 2, 3, 4)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "n_corners", "line"),
    [("1,2,3,word", 2, 1), ("1,2,3,4,a\n1,2,3,4", 2, 2), ("1,2,3,4,5,6,7,word", 4, 1), ("a,b,c,d,word", 2, 1)],
)
def test_malformed_icdar_lines_name_the_line(text: str, n_corners: int, line: int) -> None:
    with pytest.raises(ManifestError, match=f"gt_1.txt line {line} is"):
        parse_words(text, n_corners=n_corners, where="gt_1.txt")


def test_a_bad_line_in_a_four_corner_set_is_not_read_as_two_corners(tmp_path: Path) -> None:
    image(tmp_path / "images/img_1.jpg")
    write(tmp_path / "gt/gt_img_1.txt", ICDAR_2015 + "1,2,3,4,5,6,7,word\n")
    with pytest.raises(ManifestError, match=r"gt_img_1\.txt line 4"):
        read_icdar(tmp_path / "gt", tmp_path / "images")


def test_icdar_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 10):
        image(tmp_path / f"images/img_{number}.jpg", 100, 60)
    write(tmp_path / "gt/gt_img_10.txt", ICDAR_2015)
    write(tmp_path / "gt/img_2.txt", "")
    arguments = ["--images", tmp_path / "images", "--annotations", tmp_path / "gt", "--out", tmp_path / "out"]
    assert run("data", "convert", "icdar", *arguments, "--name", "mine", "--licence", "CC0-1.0") == 0
    out, err = capsys.readouterr()
    assert "2 images, 2 words, 0 faces" in out
    assert "1 words marked ### are left out" in err
    assert "1 images without an annotation file are left out" in err
    manifest = folder_manifest(tmp_path / "out")
    assert (manifest.name, manifest.licence) == ("mine", "CC0-1.0")
    assert [sample.id for sample in manifest.samples] == ["img_2", "img_10"]
    assert manifest.samples[1].regions[0].ratio == 20 / (20 * 100)
    assert run("data", "verify", "--task", "folder", "--data", tmp_path / "out") == 0
    assert "2 of 2 samples" in capsys.readouterr().out


def test_icdar_without_its_image(tmp_path: Path) -> None:
    image(tmp_path / "images/img_1.jpg")
    write(tmp_path / "gt/gt_img_1.txt", "")
    write(tmp_path / "gt/gt_img_7.txt", "")
    found, _ = read_icdar(tmp_path / "gt", tmp_path / "images")
    with pytest.raises(ManifestError, match=r"img_7\.\*: missing \(gt_img_7\.txt\)"):
        save_converted(found, folder=tmp_path / "images", out=tmp_path / "out", name="n", licence="l")
    with pytest.raises(ManifestError, match=r"holds no \.txt file"):
        read_icdar(tmp_path / "images", tmp_path / "images")
    with pytest.raises(ManifestError, match="is no folder"):
        read_icdar(tmp_path / "gt.zip", tmp_path / "images")


def textocr(**changes: Any) -> dict[str, Any]:
    return {
        "imgs": {
            "a": {"id": "a", "file_name": "train/a.jpg", "width": 40, "height": 30, "set": "train"},
            "b": {"id": "b", "file_name": "train/b.jpg", "width": 40, "height": 30, "set": "train"},
        },
        "anns": {
            "a_1": {"image_id": "a", "bbox": [1.0, 2.0, 20.0, 10.0], "utf8_string": "Shop", "points": [], "area": 200},
            "a_2": {"image_id": "a", "bbox": [0, 0, 1, 1], "utf8_string": "."},
            "7": {"image_id": "a", "bbox": [0, 0, 1, 1], "legibility": "illegible"},
            **changes,
        },
    }


def test_textocr_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(tmp_path / "train_images/a.jpg")  # the archive's folder is not the one the file names
    write(tmp_path / "TextOCR_val.json", textocr())
    arguments = ["--images", tmp_path / "train_images", "--annotations", tmp_path / "TextOCR_val.json"]
    assert run("data", "convert", "textocr", *arguments, "--out", tmp_path / "o", "--name", "t", "--licence", "x") == 0
    out, err = capsys.readouterr()
    assert "1 images, 1 words" in out
    assert "2 words marked unreadable" in err
    assert "1 images without words" in err
    (sample,) = folder_manifest(tmp_path / "o").samples
    assert (sample.id, sample.regions[0].box, sample.regions[0].ratio) == ("train/a", (1, 2, 21, 12), 20 / (4 * 40))


def test_coco_text_has_numbers_for_ids() -> None:
    data = textocr()
    data["imgs"] = {"9": {"id": 9, "file_name": "COCO_9.jpg", "width": 40, "height": 30}}
    data["anns"] = {"1": {"id": 1, "image_id": 9, "bbox": [0, 0, 8, 4], "utf8_string": "ab", "legibility": "legible"}}
    (found,), notes = parse_textocr(data, where="COCO_Text.json")
    assert (found.file, found.size_px, notes) == ("COCO_9.jpg", (40, 30), [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], r"c\.json is '\[\]', expected an object"),
        ({"imgs": {}}, "c.json has no 'anns'"),
        (textocr(x={"image_id": "q", "bbox": [0, 0, 1, 1]}), r"c\.json anns\['x'\]: image_id is 'q'"),
        (textocr(x={"image_id": "a", "bbox": [0, 0], "utf8_string": "w"}), r"anns\['x'\]: bbox"),
        (textocr(x=4), r"anns\['x'\] is '4', expected an object"),
        ({"imgs": {}, "anns": {}}, "no word to be read"),
    ],
)
def test_malformed_textocr_names_the_entry(data: object, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_textocr(data, where="c.json")


def wflw_line(file: str, *, box: bool = True, shift: float = 0) -> str:
    points = [f"{value + shift:.6f}" for index in range(98) for value in (index / 4, index / 5)]
    extra = ["1", "2", "30", "29", "0", "0", "0", "0", "0", "0"] if box else []
    return " ".join([*points, *extra, file])


def test_wflw_lists() -> None:
    twice = "1--Handshaking/a.jpg"
    text = "\n".join([wflw_line(twice), wflw_line("b.jpg", box=False), wflw_line(twice, shift=3)])
    first, second = parse_wflw(text, where="list.txt")
    assert (first.file, len(first.regions), second.file) == ("1--Handshaking/a.jpg", 2, "b.jpg")
    assert first.regions[0].box == (1, 2, 30, 29)
    assert second.regions[0].box == pytest.approx((0, 0, 97 / 4, 97 / 5))
    assert first.regions[0].keypoints == tuple((n / 4, n / 5) for n in (96, 97, 54, 76, 82))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "list.txt is empty"),
        ("1 2 3 a.jpg", "line 1 has 4 fields, expected 196 coordinates"),
        (wflw_line("a.jpg") + "\n" + wflw_line("a.jpg").replace("0.250000", "x", 1), "line 2: could not convert"),
        (wflw_line("a.jpg").replace("0.250000", "nan", 1), "line 1 holds a number that is not finite"),
    ],
)
def test_malformed_wflw_lines_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_wflw(text, where="list.txt")


def test_wflw_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image(tmp_path / "WFLW_images/1--Handshaking/a.jpg")
    write(tmp_path / "list.txt", wflw_line("1--Handshaking/a.jpg"))
    arguments = ["--images", tmp_path / "WFLW_images", "--annotations", tmp_path / "list.txt"]
    assert run("data", "convert", "wflw", *arguments, "--out", tmp_path / "o", "--name", "w", "--licence", "x") == 0
    assert "1 images, 0 words, 1 faces" in capsys.readouterr().out
    (sample,) = folder_manifest(tmp_path / "o").samples
    assert sample.regions[0].ratio == 29 / 40
    assert run("data", "convert", "wflw", "--images", tmp_path / "none", *arguments[2:], "--out", tmp_path / "o2",
               "--name", "w", "--licence", "x") == 2  # fmt: skip
    assert "--images takes the folder" in capsys.readouterr().err


def test_ids_keep_their_ending_only_where_they_must(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.v2.jpg"):
        image(tmp_path / name)
    found = [Annotated(file=name, where="w", regions=()) for name in ("a.jpg", "a.png", "b.v2.jpg")]
    manifest = save_converted(found, folder=tmp_path, out=tmp_path, name="n", licence="l")
    assert [sample.id for sample in manifest.samples] == ["a.jpg", "a.png", "b.v2"]


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared/data/real_mini is not beside the repository")
def test_real_images_in_tokbenchs_layout(tmp_path: Path) -> None:
    """Real scenes and faces as a copy of TokBench: prepared, found, read and placed."""
    from tokbench.cards import TokenizerCard
    from tokbench.runner.loading import Loaded, load_sample
    from tokbench.tasks.catalogue import find_task

    rows = [json.loads(line) for line in (REAL / "manifest.jsonl").read_text().splitlines()]
    root = tmp_path / "TokBench"
    text, faces = [], []
    for row in [row for row in rows if row["kind"] == "scene_text"][:4]:
        words = [
            {"rec": word["text"], "bbox": word["box"],
             "ratio": (word["box"][2] - word["box"][0]) / (len(word["text"]) * max(row["width"], row["height"]))}
            for word in row["words"] if word["text"]
        ]  # fmt: skip
        name = Path(row["file"]).name
        text.append({"file_name": name, "height": row["height"], "width": row["width"], "annotations": words})
        (root / "images/text_data/ic13").mkdir(parents=True, exist_ok=True)
        (root / "images/text_data/ic13" / name).write_bytes((REAL / row["file"]).read_bytes())
    for row in [row for row in rows if row["file"].startswith("faces/wflw")]:
        name = Path(row["file"]).name
        found = [{"kps": face["kps5"], "box": face["box"], "ratio": 0.1, "gt": ""} for face in row["faces"]]
        faces.append({"image_name": name, "img_height": row["height"], "img_width": row["width"], "faces": found})
        (root / "images/face_data/wflw").mkdir(parents=True, exist_ok=True)
        (root / "images/face_data/wflw" / name).write_bytes((REAL / row["file"]).read_bytes())
    write(root / "annotations/text_ic13.json", text)
    write(root / "annotations/face_meta.json", faces)
    prepare_tokbench(root)
    manifest, task = find_manifest("tokbench"), find_task("tokbench-256")
    assert len(manifest.samples) == 6
    for sample in manifest.samples:
        loaded = load_sample(sample, root=manifest.root, task=task, card=TokenizerCard(name="any"))
        assert isinstance(loaded, Loaded)
        assert loaded.model_pixels.shape == (256, 256, 3)
        assert loaded.reference.shape == (sample.height_px, sample.width_px, 3)
        assert loaded.regions == sample.regions
