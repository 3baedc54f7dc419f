from __future__ import annotations

import numpy as np
import pytest
import torch
from metric_inputs import compare, noisy, photographs

from tokbench.errors import MetricError
from tokbench.metrics import ssim as ssim_module
from tokbench.metrics.ssim import C1, C2, MIN_SIDE_PX, SCALE_WEIGHTS, TAPS, ms_ssim, ssim

SSIM, MS_SSIM = ssim_module.METRICS


def skimage_ssim(first: torch.Tensor, second: torch.Tensor) -> float:
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            first.double().numpy(),
            second.double().numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=0,
        )
    )


def exact(reference: torch.Tensor, reconstruction: torch.Tensor) -> tuple[float, float]:
    """SSIM and MS-SSIM of one image by the textbook in float64."""
    from torch.nn.functional import avg_pool2d, conv2d

    taps = torch.tensor(TAPS, dtype=torch.float64)
    down, across = taps.view(1, 1, 11, 1).expand(3, 1, 11, 1), taps.view(1, 1, 1, 11).expand(3, 1, 1, 11)
    x, y = reference[None].double(), reconstruction[None].double()
    terms = []
    for _ in SCALE_WEIGHTS:
        mean_x, mean_y, xx, yy, xy = (
            conv2d(conv2d(m, down, groups=3), across, groups=3) for m in (x, y, x * x, y * y, x * y)
        )
        contrast = (2 * (xy - mean_x * mean_y) + C2) / (xx - mean_x**2 + yy - mean_y**2 + C2)
        luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
        terms.append((float((luminance * contrast).mean()), float(contrast.mean())))
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    factors = [contrast for _, contrast in terms[:-1]] + [terms[-1][0]]
    return terms[0][0], float(np.prod([max(f, 0) ** w for f, w in zip(factors, SCALE_WEIGHTS, strict=True)]))


def flat(level: int, n: int = 1, side_px: int = MIN_SIDE_PX) -> torch.Tensor:
    return torch.full((n, 3, side_px, side_px), level, dtype=torch.uint8)


def test_identical_images_are_exactly_one() -> None:
    for images in (photographs(), flat(255), flat(0)):
        assert ssim(reference=images, reconstruction=images) == [1.0] * images.shape[0]
        assert ms_ssim(reference=images, reconstruction=images) == [1.0] * images.shape[0]


def test_flat_images_leave_the_luminance_term() -> None:
    luminance = (2 * 100 * 140 + C1) / (100**2 + 140**2 + C1)
    images = {"reference": flat(100), "reconstruction": flat(140)}
    assert ssim(**images) == pytest.approx([luminance], abs=1e-6)
    assert ms_ssim(**images) == pytest.approx([luminance ** SCALE_WEIGHTS[-1]], abs=1e-6)


@pytest.mark.parametrize("sigma", [2, 15, 80])
def test_float32_is_within_a_millionth_of_float64(sigma: float) -> None:
    for reference in (photographs()[0], flat(255)[0], flat(0)[0]):
        images = {"reference": reference[None], "reconstruction": noisy(reference, sigma)[None]}
        expected = exact(reference, images["reconstruction"][0])
        assert ssim(**images) == pytest.approx([expected[0]], abs=1e-6)
        assert ms_ssim(**images) == pytest.approx([expected[1]], abs=1e-6)


def test_agrees_with_scikit_image_and_the_interior_of_torchmetrics() -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    reference = photographs()[:, :, :100, :131]
    reconstruction = noisy(reference, 12)
    ours = ssim(reference=reference, reconstruction=reconstruction)
    _, full = structural_similarity_index_measure(
        reconstruction.double(), reference.double(), data_range=255.0, return_full_image=True
    )
    assert ours == pytest.approx(full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3)).tolist(), abs=1e-6)
    assert ours == pytest.approx([skimage_ssim(a, b) for a, b in zip(reference, reconstruction, strict=True)], abs=1e-6)


@pytest.mark.parametrize("size", [(192, 192), (181, 176)])
def test_ms_ssim_agrees_with_torchmetrics_up_to_the_border_of_the_coarsest_scale(size: tuple[int, int]) -> None:
    from torch.nn.functional import avg_pool2d
    from torchmetrics.functional.image import (
        multiscale_structural_similarity_index_measure,
        structural_similarity_index_measure,
    )

    reference = photographs()[:, :, : size[0], : size[1]]
    reconstruction = noisy(reference, 40)
    ours = torch.tensor(ms_ssim(reference=reference, reconstruction=reconstruction), dtype=torch.float64)
    x, y = reference.double(), reconstruction.double()
    whole = multiscale_structural_similarity_index_measure(y, x, data_range=255.0, reduction="none")
    for _ in range(4):
        x, y = avg_pool2d(x, 2), avg_pool2d(y, 2)
    padded, full = structural_similarity_index_measure(y, x, data_range=255.0, return_full_image=True, reduction="none")
    inside = full[..., 5:-5, 5:-5].mean(dim=(1, 2, 3))
    theirs = whole * (inside / padded) ** SCALE_WEIGHTS[-1]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours, whole, atol=5e-3, rtol=0)


def test_symmetric_to_the_bit_and_worse_with_more_noise() -> None:
    reference = photographs()
    for function in (ssim, ms_ssim):
        previous = [1.0] * 3
        for sigma in (3, 10, 30, 90):
            reconstruction = noisy(reference, sigma)
            values = function(reference=reference, reconstruction=reconstruction)
            assert values == function(reference=reconstruction, reconstruction=reference)
            assert all(value < before for value, before in zip(values, previous, strict=True))
            previous = values


def test_negatives_stay_in_range() -> None:
    reference = photographs()
    images = {"reference": reference, "reconstruction": 255 - reference}
    assert all(-1 <= value < 0.1 for value in ssim(**images))
    assert all(0 <= value < 0.1 for value in ms_ssim(**images))
    checks = (torch.arange(MIN_SIDE_PX)[:, None] + torch.arange(MIN_SIDE_PX)) % 2 * 255
    board = checks.to(torch.uint8).expand(1, 3, -1, -1).contiguous()
    assert ssim(reference=board, reconstruction=255 - board)[0] < -0.9
    assert ms_ssim(reference=board, reconstruction=255 - board) == [0.0]


def test_the_number_of_threads_does_not_matter() -> None:
    images = {"reference": photographs(), "reconstruction": noisy(photographs(), 20)}
    threads = torch.get_num_threads()
    values = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            values.append((ssim(**images), ms_ssim(**images)))
    finally:
        torch.set_num_threads(threads)
    assert values[0] == values[1] == values[2]


def test_the_memory_layout_does_not_matter() -> None:
    images = {"reference": photographs(), "reconstruction": noisy(photographs(), 20)}
    last = {name: image.contiguous(memory_format=torch.channels_last) for name, image in images.items()}
    assert last["reference"].stride() != images["reference"].stride()
    assert ssim(**images) == ssim(**last)
    assert ms_ssim(**images) == ms_ssim(**last)


def test_small_sides_are_undefined_with_a_reason_on_the_card() -> None:
    for metric, side in ((SSIM, 11), (MS_SSIM, 176)):
        short = flat(7, n=2, side_px=200)[:, :, : side - 1]
        assert metric.measure(compare(short, short)) == [None, None]
        assert str(side) in metric.card.undefined
        just = flat(7, side_px=200)[:, :, :side]
        assert metric.measure(compare(just, just)) == [1.0]
    with pytest.raises(MetricError, match="at least 11"):
        ssim(reference=flat(0, side_px=10), reconstruction=flat(0, side_px=10))
    with pytest.raises(MetricError, match="at least 176"):
        ms_ssim(reference=flat(0, side_px=175), reconstruction=flat(0, side_px=175))


def test_sharing_work_changes_nothing() -> None:
    reference = photographs()
    reconstruction = noisy(reference, 20)
    comparison = compare(reference, reconstruction)
    alone = MS_SSIM.measure(compare(reference, reconstruction))
    assert SSIM.measure(comparison) == ssim(reference=reference, reconstruction=reconstruction)
    assert MS_SSIM.measure(comparison) == alone == ms_ssim(reference=reference, reconstruction=reconstruction)
