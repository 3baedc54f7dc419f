from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from engine_inputs import needs_rapidocr, odd_crops, words

from tokbench.engines.base import PRINTABLE_ASCII
from tokbench.engines.rapidocr import ENGINE, HEIGHT_PX, RapidOcr, collapse, network_input
from tokbench.errors import MetricError

pytestmark = needs_rapidocr


def test_it_reads() -> None:
    read = ENGINE.read([crop for _, crop in words()])
    assert np.mean([text == label for text, (label, _) in zip(read, words(), strict=True)]) > 0.95


def test_a_reading_does_not_depend_on_the_others_their_order_or_the_thread() -> None:
    crops = [crop for _, crop in words(8)] + odd_crops()
    together = ENGINE.read(crops)
    assert [ENGINE.read([crop])[0] for crop in crops] == together
    assert ENGINE.read(crops[::-1]) == together[::-1]
    fresh = RapidOcr()
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(fresh.read, [crops] * 3)) == [together] * 3
    scores = [ENGINE.scores(crop) for crop in crops[:3]]
    with ThreadPoolExecutor(3) as pool:
        for one, other in zip(scores, pool.map(ENGINE.scores, crops[:3]), strict=True):
            np.testing.assert_array_equal(one, other)


def test_it_is_the_package_s_own_recogniser() -> None:
    """Same input to the bit, same probabilities over the characters that are left, same texts but for spaces."""
    from rapidocr import RapidOCR

    params = {
        "Global.use_det": False,
        "Global.use_cls": False,
        "Global.log_level": "error",
        "Rec.rec_img_shape": [3, 48, 96],
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    }
    official = RapidOCR(params=params)
    official.recognize_txt([np.zeros((8, 20, 3), np.uint8)])
    network = official.text_rec
    characters = network.postprocess_op.character
    kept = [0, *(i for i, text in enumerate(characters) if i and (text == " " or text in PRINTABLE_ASCII))]
    assert len(kept) == 96
    for _, crop in words(8):
        given = crop[:, :, ::-1]
        ratio = max(crop.shape[1] / crop.shape[0], 96 / 48)
        expected = network.resize_norm_img(np.ascontiguousarray(given), ratio)[None]
        np.testing.assert_array_equal(network_input(crop), expected)
        whole = network.session(expected)[0][:, kept]
        np.testing.assert_allclose(ENGINE.scores(crop), whole / whole.sum(axis=1, keepdims=True), atol=1e-5)
        assert ENGINE.read([crop])[0] == official.recognize_txt([given]).txts[0].replace(" ", "")


def test_odd_crops_are_read_as_something() -> None:
    for text in ENGINE.read(odd_crops()):
        assert set(text) <= set(PRINTABLE_ASCII)
    assert network_input(np.zeros((2, 900, 3), np.uint8)).shape == (1, 3, HEIGHT_PX, 4096)
    assert network_input(np.zeros((300, 1, 3), np.uint8)).shape == (1, 3, HEIGHT_PX, 96)
    assert ENGINE.read([]) == []


@pytest.mark.parametrize("crop", [np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_crop_is_refused(crop: np.ndarray) -> None:
    with pytest.raises(MetricError, match="uint8"):
        ENGINE.read([crop])


def test_collapsing() -> None:
    characters = ["", "a", "b", " "]
    assert collapse(np.array([0, 1, 1, 0, 1, 3, 2, 2, 0]), characters) == "aab"
    assert collapse(np.array([0]), characters) == ""


def test_it_says_what_it_depends_on_and_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert ENGINE.unavailable() == ""
    identity = ENGINE.identity()
    assert identity["weights"] == ENGINE.card.weights.sha256
    assert all(identity.values())
    folder = tmp_path / "rapidocr"
    folder.mkdir()
    (folder / ENGINE.card.weights.name).write_bytes(b"another network")
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path))
    assert "sha256" in ENGINE.unavailable()
    assert "pip install" in ENGINE.unavailable()
