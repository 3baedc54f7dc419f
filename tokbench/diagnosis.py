"""What this installation can do: the checks behind ``tokbench doctor``."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from tokbench.cache import cache_folder
from tokbench.cards import TokenizerCard
from tokbench.data.prepare import PREPARE_COMMANDS, prepared_folder
from tokbench.environment import package_version
from tokbench.errors import ManifestError, SampleError, TokbenchError
from tokbench.requirements import install_command, missing_modules, why_unavailable

_NEEDED = ("torch", "numpy", "pillow", "pandas", "pyarrow", "matplotlib", "scikit-image", "scikit-learn", "insightface")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the diagnosis.

    Attributes:
        status: ``ok``; ``missing`` (optional, and absent); ``broken`` (needed by the task ``quick``).
        found: what is there, or what its absence costs.
        fix: the exact command that changes it; "" if there is nothing to do.
    """

    name: str
    status: Literal["ok", "missing", "broken"]
    found: str
    fix: str = ""


def diagnose() -> list[Check]:
    """Every check, needed things first."""
    return [
        *_packages(),
        *_devices(),
        *_codecs(),
        *_tokenizers(),
        *_metrics(),
        *_known_weights(),
        *_data(),
        *_storage(),
    ]


def _packages() -> Iterator[Check]:
    yield Check(name="python", status="ok", found=f"{platform.python_version()} on {platform.platform()}")
    yield Check(name="tokbench", status="ok", found=package_version("tokbench") or "not installed, run from source")
    for name in _NEEDED:
        found = package_version(name)
        if found is None:
            yield Check(name=name, status="broken", found="not installed", fix=f"pip install {name}")
        else:
            yield Check(name=name, status="ok", found=found)


def _devices() -> Iterator[Check]:
    if find_spec("torch") is None:
        return
    import torch

    yield Check(name="device cpu", status="ok", found=f"{torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            yield Check(name=f"device cuda:{index}", status="ok", found=torch.cuda.get_device_name(index))
    elif torch.backends.mps.is_available():
        yield Check(name="device mps", status="ok", found="Apple GPU")
    else:
        why = "this build of torch has no CUDA" if torch.version.cuda is None else "no GPU or driver is visible"
        yield Check(name="device gpu", status="missing", found=f"{why}; tokenizers run on the CPU")


def _codecs() -> Iterator[Check]:
    from PIL import features

    for feature, family in (("webp", "webp"), ("avif", "avif")):
        if features.check(feature):
            yield Check(name=f"codec {family}", status="ok", found=str(features.version(feature)))
        else:
            yield Check(
                name=f"codec {family}",
                status="missing",
                found=f"Pillow was built without it; the tokenizer {family} cannot run",
                fix="pip install --upgrade --force-reinstall --only-binary :all: pillow",
            )


def _tokenizers() -> Iterator[Check]:
    from tokbench.families import families
    from tokbench.registry import openings, tokenizers

    every = families()
    runnable = [family.default for family in every if family.kind != "reserved"]
    things = [*runnable, *(module.OPENS for module in openings().items.values())]
    able = [card for card in runnable if not missing_modules(card)]
    found = f"{len(able)} of {len(runnable)} families have their packages; {len(every) - len(runnable)} are reserved"
    yield Check(name="tokenizers", status="ok", found=found)
    for thing in things:
        if missing := missing_modules(thing):
            found, fix = f"needs {', '.join(missing)}", install_command(thing)
            yield Check(name=f"tokenizer {thing.name.partition('/')[0]}", status="missing", found=found, fix=fix)
    for card in able:
        if card.weights and not (card.hub or card.page or card.weights_keys):  # downloads are not fetched for this
            yield _weights(card)
    for name, why in tokenizers().broken.items():
        yield Check(name=f"plug-in {name}", status="missing", found=f"could not be imported: {why}")


def _weights(card: TokenizerCard) -> Check:
    """Loading is the check: adapters verify their weights' digests."""
    from tokbench.tokenizers import load_tokenizer

    files = ", ".join(name for name, _ in card.weights)
    try:
        load_tokenizer(card.name, device="cpu")
    except TokbenchError as err:
        return Check(name=f"weights {card.family}", status="broken", found=str(err), fix="reinstall tokbench")
    return Check(name=f"weights {card.family}", status="ok", found=f"{files} (digest as pinned)")


def _metrics() -> Iterator[Check]:
    from tokbench.registry import metrics

    plugins = metrics()
    reasons = {key: why_unavailable(metric) for key, metric in plugins.items.items()}
    able = [key for key, reason in reasons.items() if not reason]
    yield Check(name="metrics", status="ok", found=f"{len(able)} of {len(reasons)} can run: {', '.join(able)}")
    for reason in dict.fromkeys(reason for reason in reasons.values() if reason):
        keys = ", ".join(key for key, why in reasons.items() if why == reason)
        found, _, fix = reason.partition(": ")
        yield Check(name="metrics", status="missing", found=f"{keys}: {found}", fix=fix)
    for name, why in plugins.broken.items():
        yield Check(name=f"plug-in {name}", status="missing", found=f"could not be imported: {why}")


def _known_weights() -> Iterator[Check]:
    from tokbench.weights import places
    from tokbench.weights.catalogue import catalogue
    from tokbench.weights.files import find_weights, get_command, wrong_digest

    here = {file.owner: path for file in catalogue().values() if (path := find_weights(file)) is not None}
    size = sum(path.stat().st_size for path in here.values())
    own = places.own_folder()
    where = f"{places.OWN_FOLDER} is {own}" if own else f"{places.OWN_FOLDER} is not set"
    found = f"{len(here)} of {len(catalogue())} known files of weights are here, {size / 1e6:.0f} MB; {where}"
    yield Check(name="weights", status="ok", found=found)
    for owner, path in here.items():
        if wrong := wrong_digest(catalogue()[owner], path):
            fix = f"delete {path}, then {get_command(catalogue()[owner])}"
            yield Check(name=f"weights {owner}", status="missing", found=wrong, fix=fix)
    if switch := places.offline_switch():
        found = f"{switch} forbids downloads; what is here is used"
        yield Check(name="network", status="missing", found=found, fix=f"unset {switch.partition('=')[0]}")


def _data() -> Iterator[Check]:
    from tokbench.data.manifests import list_manifests, load_manifest, load_pixels

    for name in list_manifests():
        manifest = load_manifest(name)
        errors: dict[str, str] = {}
        for sample in manifest.samples:
            if sample.source in errors:
                continue
            try:
                load_pixels(sample, manifest.root)
            except SampleError as err:
                errors[sample.source] = str(err)
        if errors:
            first = next(iter(errors.values()))
            yield Check(name=f"data {name}", status="broken", found=f"{len(errors)} sources fail; the first: {first}")
        else:
            yield Check(name=f"data {name}", status="ok", found=f"{len(manifest.samples)} samples, all as pinned")
    for name, command in PREPARE_COMMANDS.items():
        yield _prepared(name, command)


def _prepared(name: str, command: str) -> Check:
    from tokbench.data.manifests import TOML_NAME, load_manifest

    folder = prepared_folder(name)
    if not (folder / TOML_NAME).is_file():
        return Check(name=f"data {name}", status="missing", found="not prepared on this machine", fix=command)
    try:
        manifest = load_manifest(folder)
    except ManifestError as err:
        return Check(name=f"data {name}", status="missing", found=str(err), fix=command)
    return Check(name=f"data {name}", status="ok", found=f"{len(manifest.samples)} samples, prepared in {folder}")


def _storage() -> Iterator[Check]:
    folder = cache_folder()
    used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.exists() else 0
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    yield Check(name="cache", status="ok", found=f"{folder}: {used / 1e6:.1f} MB used, {free / 1e9:.0f} GB free")
