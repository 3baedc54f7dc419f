"""How far a number falls when codes or latents are a little wrong, as a generator's are.

Each metric measures another one on further reconstructions, decoded from perturbed encodings. What is perturbed, and
how, is in :mod:`tokbench.perturbation`; docs/decisions/0006-robustness.md says why keys and grids are what they are.
"""

from __future__ import annotations

from typing import Any

from tokbench.cards import Better, MetricCard
from tokbench.metrics import feature_distances, fid, pixel, text
from tokbench.metrics.perturbed import InterpolatedMetric, NoisedMetric, PerturbedMetric
from tokbench.metrics.replaced import ReplacedShare

# The averaged grid of "Robust Latent Matters" as we recall it; its evaluation code is not public, so it is our choice.
PFID_ALPHAS = (0.9, 0.8, 0.7, 0.6, 0.5)
PFID_DELTAS = (200, 280, 360)
# A grid that adds few reconstructions to a run: six for most tokenizers.
ALPHAS = (0.1, 0.5, 0.9)
DELTAS = (20, 200)
# Reading every word again is slow.
TEXT_ALPHAS = (0.5,)
TEXT_DELTAS = (200,)
SIGMAS = (0.1, 0.2, 0.5)

_PFID_PAPER = "2503.08354"
_PFID_NOTES = (
    "The operator is lxa9867/ImageFolder's (76ddfb9): each token, with probability alpha, becomes one of the delta "
    "codes nearest to the encoder's output, equally likely, its own included; all images (beta = 1). The evaluation "
    "code is not public: the mean over alpha 0.9, 0.8, 0.7, 0.6, 0.5 and delta 200, 280, 360 is our choice. One "
    "codebook with nearest-code lookup only."
)
_PERTURBED_NOTES = (
    "The operator follows the kind of codes and stands among the details: compare only where it is the same. Alpha "
    "0.1, 0.5, 0.9; delta 20 and 200, of residual codes 200 at the first level, later levels frozen and re-encoded."
)
_NOISED_NOTES = (
    "Gaussian noise of 0.1, 0.2 and 0.5 standard deviations of each channel over the set is added to continuous "
    "latents; ours."
)
_WITHIN_NOTES = (
    "As iFID, but the neighbour is another image of the evaluated set, not a training image, and compared pixels are "
    "8-bit: not comparable with published values."
)


def _inner(metrics: tuple[Any, ...], key: str) -> Any:
    return next(metric for metric in metrics if metric.card.key == key)


def _card(inner: MetricCard, key: str, title: str, notes: str, *, paper: str = "") -> MetricCard:
    """The card of a metric on perturbed encodings: unit and direction are the inner one's."""
    return MetricCard(
        key=key,
        version=1,
        kind="set",
        group="robustness",
        title=title,
        unit=inner.unit,
        better=inner.better,
        low=inner.low,
        high=inner.high,
        aggregate="mean",
        extra=inner.extra,
        requires=inner.requires,
        undefined=inner.undefined or "the metric is undefined on a perturbed reconstruction",
        paper=paper,
        notes=notes,
    )


def _pfid(inner: Any, key: str, title: str, *, instead: str, notes: str = "") -> PerturbedMetric:
    return PerturbedMetric(
        card=_card(inner.card, key, title, f"{_PFID_NOTES} {notes}".strip(), paper=_PFID_PAPER),
        inner=inner,
        alphas=PFID_ALPHAS,
        deltas=PFID_DELTAS,
        is_pfid=True,
        instead=instead,
    )


def _perturbed(
    inner: Any,
    key: str,
    *,
    alphas: tuple[float, ...] = ALPHAS,
    deltas: tuple[int, ...] = DELTAS,
    notes: str = _PERTURBED_NOTES,
) -> PerturbedMetric:
    title = f"{inner.card.title} under perturbed codes"
    return PerturbedMetric(card=_card(inner.card, key, title, notes), inner=inner, alphas=alphas, deltas=deltas)


def _noised(inner: Any, key: str) -> NoisedMetric:
    title = f"{inner.card.title} under noise in the latents"
    return NoisedMetric(card=_card(inner.card, key, title, _NOISED_NOTES), inner=inner, sigmas=SIGMAS)


def _within(inner: Any, key: str, title: str) -> InterpolatedMetric:
    return InterpolatedMetric(card=_card(inner.card, key, title, _WITHIN_NOTES, paper="2603.05630"), inner=inner)


def _share_card(key: str, title: str, *, better: Better = "neither") -> MetricCard:
    return MetricCard(
        key=key, version=1, kind="code", group="robustness", title=title, better=better, low=0.0, high=1.0,
        aggregate="pooled", undefined="the encodings have no codes",
        notes="Over tokens of the perturbed streams, measured; a selected token may keep its code.",
    )  # fmt: skip


_PSNR = _inner(pixel.METRICS, "psnr")
_T_ACC = _inner(text.METRICS, "t_acc.rapidocr")
_RFID = _inner(fid.METRICS, "rfid")
_RFID_PYTORCH = _inner(fid.METRICS, "rfid_pytorch")  # iFID's port of Inception
_FD_EFFNET = _inner(feature_distances.METRICS, "fd_effnet")
_REPLACED = ReplacedShare(card=_share_card("tokens_replaced", "Share of tokens replaced"))

METRICS = (
    _pfid(_RFID, "pfid", "pFID", instead="rfid_perturbed"),
    _pfid(
        _FD_EFFNET,
        "pfd_effnet",
        "Perturbed Fréchet distance (EfficientNet-Lite0)",
        instead="fd_effnet_perturbed",
        notes="Not pFID: features of EfficientNet-Lite0 instead of Inception.",
    ),
    _perturbed(_RFID, "rfid_perturbed"),
    _perturbed(_FD_EFFNET, "fd_effnet_perturbed"),
    _perturbed(_PSNR, "psnr_perturbed"),
    _perturbed(
        _T_ACC,
        "t_acc_perturbed.rapidocr",
        alphas=TEXT_ALPHAS,
        deltas=TEXT_DELTAS,
        notes=f"{_PERTURBED_NOTES} Of that grid alpha 0.5 and delta 200 only, because reading is slow.",
    ),
    _perturbed(_REPLACED, "tokens_replaced_perturbed"),
    _noised(_RFID, "rfid_noised"),
    _noised(_FD_EFFNET, "fd_effnet_noised"),
    _noised(_PSNR, "psnr_noised"),
    _within(_RFID_PYTORCH, "ifid_within", "Interpolated FID within the set"),
    _within(_FD_EFFNET, "ifd_effnet_within", "Interpolated Fréchet distance within the set (EfficientNet-Lite0)"),
)
