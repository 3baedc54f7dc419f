from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine_inputs import needs_dlib_weights, portraits
from PIL import Image

from tokbench.engines import arcface, dlib
from tokbench.engines.align import ARCFACE_112, chip, similarity, smooth_chip
from tokbench.engines.arcface import ArcFaceOnnx
from tokbench.engines.base import FaceEngine
from tokbench.engines.dlib_network import DescriptorNetwork
from tokbench.errors import MetricError, WeightsError
from tokbench.metrics.face import cosine, same_person
from tokbench.samples import Region
from tokbench.weights.files import WeightsFile, find_weights

SHARED = Path(__file__).resolve().parents[3] / "shared"
REAL = SHARED / "data" / "real_mini"
SMALL = SHARED / "weights" / "faceplugin_feature"


def small_arcface() -> ArcFaceOnnx:
    """An ArcFace-style network of 5 MB in place of antelopev2."""
    if not (SMALL / "fr_feature.onnx").is_file():
        pytest.skip("needs ../shared/weights/faceplugin_feature/fr_feature.onnx")
    pytest.importorskip("onnxruntime")
    weights = WeightsFile(
        owner="small", name="fr_feature.onnx", format="onnx", sha256="87aacdfe", folders=(str(SMALL),)
    )
    return ArcFaceOnnx(dataclasses.replace(arcface.CARD, key="fr_feature", weights=weights), channels="BGR")


ENGINES = [
    pytest.param(lambda: dlib.ENGINE, id="dlib", marks=needs_dlib_weights),
    pytest.param(small_arcface, id="arcface"),
]


def one(engine: FaceEngine, image: np.ndarray, face: Region) -> np.ndarray:
    embedding = engine.embed(image, [face])[0]
    assert embedding is not None
    return embedding


def close(first: np.ndarray, second: np.ndarray) -> float:
    value = cosine(first, second)
    assert value is not None
    return value


@pytest.mark.parametrize("make", ENGINES)
def test_same_person_strangers_and_blur(make) -> None:
    engine = make()
    image, face = portraits()["one"]
    me = one(engine, image, face)
    assert close(me, one(engine, image, face)) == 1.0
    assert close(me, one(engine, *portraits()["same"])) > 0.7
    assert abs(close(me, one(engine, *portraits()["other"]))) < 0.35
    picture = Image.fromarray(image)
    similarities = []
    for times in (2, 6, 16):
        small = picture.resize((picture.width // times, picture.height // times))
        similarities.append(close(me, one(engine, np.array(small.resize(picture.size)), face)))
    assert similarities == sorted(similarities, reverse=True)
    assert similarities[0] > 0.8 > 0.5 > similarities[-1]
    assert same_person(me, one(engine, *portraits()["same"]), card=engine.card) == 1.0
    assert same_person(me, one(engine, *portraits()["other"]), card=engine.card) == 0.0


@pytest.mark.parametrize("make", ENGINES)
def test_an_embedding_does_not_depend_on_other_faces_or_threads(make) -> None:
    engine = make()
    image, face = portraits()["one"]
    other = Region(kind="face", box=face.box, keypoints=tuple((x + 9, y + 5) for x, y in face.keypoints))
    together = engine.embed(image, [face, other, face])
    assert all(row is not None for row in together)
    np.testing.assert_array_equal(together[0], one(engine, image, face))
    np.testing.assert_array_equal(together[1], engine.embed(image, [other, face])[0])
    with ThreadPoolExecutor(3) as pool:
        for row in pool.map(lambda _: engine.embed(image, [face])[0], range(6)):
            np.testing.assert_array_equal(row, together[0])


@pytest.mark.parametrize("make", ENGINES)
def test_points_that_cannot_be_aligned(make) -> None:
    engine = make()
    image, face = portraits()["one"]
    bad = [
        Region(kind="face", box=face.box, keypoints=points)
        for points in ((), face.keypoints[:4], (face.keypoints[0],) * 5, ((float("nan"), 0.0),) * 5)
    ]
    assert engine.embed(image, bad) == [None] * 4
    far = Region(kind="face", box=face.box, keypoints=tuple((x + 5000, y) for x, y in face.keypoints))
    assert np.isfinite(one(engine, image, far)).all()
    with pytest.raises(MetricError, match="uint8"):
        engine.embed(image.astype(np.float32), [face])


@needs_dlib_weights
def test_the_network_is_dlib_s() -> None:
    library = pytest.importorskip("dlib", reason="needs dlib: pip install dlib-bin")
    path = find_weights(dlib.CARD.weights)
    assert path is not None
    official, ours = library.face_recognition_model_v1(str(path)), DescriptorNetwork(path)
    for image, face in portraits().values():
        matrix = similarity(face.keypoints, dlib.TEMPLATE_150)
        assert matrix is not None
        pixels = smooth_chip(image, matrix, side_px=150)
        np.testing.assert_allclose(ours(pixels), np.array(official.compute_face_descriptor(pixels)), atol=2e-6)


def test_other_files_are_refused_as_networks(tmp_path: Path) -> None:
    (tmp_path / "short.dat").write_bytes(
        b"\x01\x01\x01\rloss_metric_2" + b"\x01\x02\x01\x40\x01\x01\x01\x01\x01\x01" * 9
    )
    with pytest.raises(WeightsError, match="not dlib"):
        DescriptorNetwork(tmp_path / "short.dat")


@needs_dlib_weights
@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/real_mini")
def test_strangers_are_near_zero_and_the_same_person_near_one_on_real_faces() -> None:
    people: list[tuple[str, np.ndarray]] = []
    for line in (REAL / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        for face in row.get("faces", ()) if row["kind"] == "face" else ():
            if face.get("identity") and face.get("kps5") and len(people) < 30:
                image = np.array(Image.open(REAL / row["file"]).convert("RGB"))
                region = Region(kind="face", box=(0, 0, 1, 1), keypoints=tuple(map(tuple, face["kps5"])))
                people.append((face["identity"], one(dlib.ENGINE, image, region)))
    same, strangers = [], []
    for index, (name, first) in enumerate(people):
        for other, second in people[index + 1 :]:
            (same if name == other else strangers).append(close(first, second))
    assert np.mean(same) > 0.75
    assert abs(np.mean(strangers)) < 0.15
    assert min(same) > np.percentile(strangers, 99)


def test_alignment_equals_scikit_image_and_undoes_a_known_motion() -> None:
    from skimage.transform import SimilarityTransform

    _, face = portraits()["one"]
    ours = similarity(face.keypoints, ARCFACE_112)
    theirs = SimilarityTransform.from_estimate(np.array(face.keypoints), np.array(ARCFACE_112))
    assert ours is not None
    np.testing.assert_allclose(ours, theirs.params[:2], atol=1e-9)
    moved = [(3 * y + 7, -3 * x + 2) for x, y in ARCFACE_112]
    back = similarity(moved, ARCFACE_112)
    assert back is not None
    np.testing.assert_allclose(back, [[0, -1 / 3, 2 / 3], [1 / 3, 0, -7 / 3]], atol=1e-9)


def test_a_large_face_is_averaged_and_a_shift_is_exact() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(chip(image, np.array([[1.0, 0, -8], [0, 1, -4]]), side_px=16), image[4:20, 8:24])
    quarter = np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]])
    averaged = image.reshape(16, 4, 16, 4, 3).mean((1, 3))
    np.testing.assert_allclose(smooth_chip(image, quarter, side_px=16), averaged, atol=0.51)
    assert (chip(image, np.array([[1.0, 0, 100], [0, 1, 0]]), side_px=8) == 0).all()


def test_antelopev2_says_where_it_wants_its_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    reason = arcface.ENGINE.unavailable()
    for part in ("glintr100.onnx", "$TOKBENCH_WEIGHTS/antelopev2", "insightface-cli model.download antelopev2"):
        assert part in reason
    with pytest.raises(WeightsError, match="glintr100"):
        arcface.ENGINE.embed(*(lambda image, face: (image, [face]))(*portraits()["one"]))
    folder = tmp_path / ".insightface" / "models" / "antelopev2"
    folder.mkdir(parents=True)
    (folder / "glintr100.onnx").write_bytes(b"no")
    assert "expected 4ab1d643" in arcface.ENGINE.unavailable()
