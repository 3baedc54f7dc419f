"""From a known file of weights to the file itself: found, or downloaded and checked."""

from __future__ import annotations

from pathlib import Path

from tokbench.errors import WeightsError
from tokbench.weights import places
from tokbench.weights.download import Download, download
from tokbench.weights.files import WeightsFile, find_weights, get_command, wrong_digest
from tokbench.weights.hub import HubFile, fetch_hub_file
from tokbench.weights.progress import DownloadProgress, terminal_progress


def can_fetch(weights: WeightsFile) -> bool:
    """Whether tokbench downloads it itself; other files come with a package (``weights.command``)."""
    return bool(weights.url or weights.hub)


def fetch(weights: WeightsFile, *, progress: DownloadProgress | None = None) -> Path:
    """The checked file, downloaded if it is not here.

    It is stored in ``$TOKBENCH_WEIGHTS/<folder>`` if that is set; else where other programs of the field look for it
    (torch's hub folder, the hub's cache); else in tokbench's cache folder.

    Args:
        weights: what to fetch.
        progress: told about the download; a bar on a terminal if None.

    Raises:
        WeightsError: see :func:`tokbench.weights.download.download`; or the file that is here is not the pinned one;
            or tokbench does not download it.
    """
    if (here := find_weights(weights)) is not None:
        if wrong := wrong_digest(weights, here):
            raise WeightsError(f"{wrong}: delete it, then {get_command(weights)}")
        return here
    if not can_fetch(weights):
        raise WeightsError(f"{weights.name} is not downloaded by tokbench; get it with: {weights.command}")
    target = destination(weights)
    if switch := places.offline_switch():
        where = target or places.store_folder(weights.folder) / weights.name
        raise WeightsError(
            f"{weights.name} is not on this machine and {switch} forbids to download it; "
            f"copy it to {where} from a machine that has it{f' or from {weights.url}' if weights.url else ''} "
            f"(source: {weights.source or weights.url})"
        )
    progress = progress or terminal_progress()
    if weights.hub:
        file = HubFile.parse(weights.hub)
        return fetch_hub_file(file, sha256=weights.sha256, size=weights.size, target=target, progress=progress)
    assert target is not None  # a plain download always has a place
    what = Download(url=weights.url, path=target, sha256=weights.sha256, size=weights.size, page=weights.source)
    return download(what, progress=progress)


def destination(weights: WeightsFile) -> Path | None:
    """Where a download goes; None for a place of its own in the hub's cache."""
    if (own := places.own_folder()) is not None:
        return own / weights.folder / weights.name
    if weights.hub:
        return None
    shared = next((places.expand(folder) for folder in weights.folders if places.may_store(folder)), None)
    return (shared or places.store_folder(weights.folder)) / weights.name
