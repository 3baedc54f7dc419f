"""Metrics on the features of the Inception of 2015-12-05: rFID by four conventions, KID, and FID at infinity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tokbench.cards import MetricCard
from tokbench.contracts import Summary
from tokbench.metrics.feature_sets import FeatureSetMetric, PairedStatistic
from tokbench.metrics.features import NetworkFeature
from tokbench.metrics.frechet import frechet_summary, frechet_to_published
from tokbench.metrics.frechet_extrapolated import frechet_infinity_summary
from tokbench.metrics.kernels import kid_summary
from tokbench.networks.base import ImageNetwork
from tokbench.networks.inception import INCEPTION_CLEAN, INCEPTION_COMPAT, INCEPTION_PYTORCH
from tokbench.tasks.task import Task
from tokbench.weights.catalogue import known
from tokbench.weights.files import WeightsFile, missing_weights, weights_sha256
from tokbench.weights.loading import load_arrays

ADM_STATISTICS: Mapping[int, WeightsFile] = {256: known("adm_imagenet256"), 512: known("adm_imagenet512")}
ADM_MANIFEST = "imagenet"
HEUSEL = "arXiv:1706.08500"


@dataclass(frozen=True)
class ToPublished:
    """A statistic of the reconstructions alone: their distance to published moments (npz arrays ``mu``, ``sigma``)."""

    weights: WeightsFile

    def __call__(self, reference: np.ndarray, reconstruction: np.ndarray) -> Summary:  # noqa: ARG002
        moments = load_arrays(self.weights, ("mu", "sigma"))
        summary = frechet_to_published(moments["mu"], moments["sigma"], reconstruction)
        origin = {"statistics": self.weights.name, "statistics_sha256": weights_sha256(self.weights)}
        return summary if summary.details is None else replace(summary, details={**summary.details, **origin})


@dataclass(frozen=True, kw_only=True)
class AdmMetric(FeatureSetMetric):
    """The distance to ADM's published moments, which are of one set of images and one crop.

    Attributes:
        statistic: to the moments of the task's size.
        not_for: why the task has no such number; "" if it has.
    """

    statistic: ToPublished
    not_for: str = ""

    def for_task(self, task: Task) -> AdmMetric:
        """The metric for a task over ADM's crops of ImageNet; for any other, one that says why it cannot run."""
        size = task.fit.size_px or 0
        if task.manifest != ADM_MANIFEST or task.fit.method != "adm" or size not in ADM_STATISTICS:
            sizes = " and ".join(f"imagenet-{size}" for size in ADM_STATISTICS)
            return replace(self, not_for=f"ADM's statistics are of its own crops of ImageNet: tasks {sizes}")
        return replace(self, statistic=ToPublished(ADM_STATISTICS[size]), not_for="")

    def unavailable(self) -> str:
        return self.not_for or FeatureSetMetric.unavailable(self) or missing_weights(self.statistic.weights)


def _card(key: str, title: str, network: ImageNetwork, *, notes: str, paper: str = HEUSEL) -> MetricCard:
    is_distance = key.startswith("rfid")
    return MetricCard(
        key=key,
        version=1,
        kind="set",
        group="distribution",
        title=title,
        better="lower",
        low=0.0 if is_distance else None,
        perfect=0.0 if is_distance and key != "rfid_adm" else None,
        aggregate="pooled",
        undefined="fewer than two images were measured",
        paper=paper,
        notes=" ".join((notes, *network.card.notes)),
    )


def _metric(
    key: str, title: str, network: ImageNetwork, statistic: PairedStatistic, *, notes: str, paper: str = HEUSEL
) -> FeatureSetMetric:
    return FeatureSetMetric(
        card=_card(key, title, network, notes=notes, paper=paper),
        feature=NetworkFeature(network=network),
        statistic=statistic,
    )


_FRECHET = "Covariances divide by n - 1; reference and reconstruction are the very same images. "

METRICS: tuple[FeatureSetMetric, ...] = (
    _metric(
        "rfid", "rFID", INCEPTION_COMPAT, frechet_summary,
        notes=_FRECHET + "The reference implementation is torch-fidelity (TiTok, MaskBit, UniTok, DeTok).",
    ),
    _metric(
        "rfid_clean", "rFID (clean-fid)", INCEPTION_CLEAN, frechet_summary, paper="arXiv:2104.11222",
        notes=_FRECHET + "The reference implementation is the package clean-fid in mode clean (MGVQ).",
    ),
    _metric(
        "rfid_pytorch", "rFID (pytorch-fid)", INCEPTION_PYTORCH, frechet_summary,
        notes=_FRECHET + "The reference implementation is pytorch-fid on images of 8 bits (LightningDiT); SEED-Voken, "
        "BSQ-ViT and FlowMo give it images that were not rounded, which this is not.",
    ),
    AdmMetric(
        card=_card(
            "rfid_adm", "rFID (ADM statistics)", INCEPTION_COMPAT, paper="arXiv:2105.05233",
            notes="The reconstructions against the mean and covariance of ImageNet's training images that ADM's "
            "evaluator (openai/guided-diffusion) comes with: a reference of other images, so a perfect reconstruction "
            "is not at 0 but at the distance between validation and training images. The evaluator runs the original "
            "graph; this is its port. Only on ADM's own crop: tasks imagenet-256 and imagenet-512.",
        ),
        feature=NetworkFeature(network=INCEPTION_COMPAT),
        statistic=ToPublished(ADM_STATISTICS[256]),
    ),
    _metric(
        "kid", "KID", INCEPTION_COMPAT, kid_summary, paper="arXiv:1801.01401",
        notes="Unbiased MMD² with the kernel (x y / 2048 + 1)³, the mean over torch-fidelity's own 100 subsets of "
        "1,000 images, drawn independently on both sides; with at most 1,000 images one estimate of the whole set in "
        "which no image meets its own reconstruction (clean-fid lets it: own_pairs_kept). May be negative. The "
        "standard error is the infinitesimal jackknife's of the pairs, not the deviation over subsets.",
    ),
    _metric(
        "fid_inf", "FID at infinity", INCEPTION_COMPAT, frechet_infinity_summary, paper="arXiv:1911.07023",
        notes="The intercept of a line in 1 / n through the rFID of 15 random subsets, as in dgm-eval, but a subset "
        "keeps its pairs on both sides. Not cut at 0: the intercept may be negative.",
    ),
)  # fmt: skip
