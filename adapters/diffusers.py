"""Any image autoencoder that diffusers can read: ``diffusers:ORG/REPO``, or a folder of yours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from tokbench.cards import Posterior, TokenizerCard
from tokbench.errors import UsageError
from tokbench.names import Opening
from tokbench_adapters._libraries import diffusers_codes as codes
from tokbench_adapters._libraries.autoencoder import CLASSES, POSTERIORS, autoencoder_of, with_facts
from tokbench_adapters._libraries.diffusers_folder import read_autoencoder
from tokbench_adapters._reading.places import Target

if TYPE_CHECKING:
    from tokbench.contracts import Tokenizer
    from tokbench.names import OpenName

OPENS = Opening(
    prefix="diffusers",
    usage="diffusers:ORG/REPO[/SUBFOLDER][@REVISION] or diffusers:./FOLDER, then ?posterior=mode|sample&subfolder=vae",
    title="any image autoencoder of diffusers, on the hub or in a folder",
    requires=("diffusers",),
    extra="diffusers",
)
NEWEST = (
    "No revision was named, so the newest files of the repository are taken; their digests are on the card of the run."
)


def open_name(
    name: OpenName,
    *,
    device: str,
    dtype: str,
    load: Callable[[str], Tokenizer],  # noqa: ARG001
) -> Tokenizer:
    """The autoencoder that lies there, continuous or with codes; its card is read from its configuration.

    Raises:
        UsageError: the name is malformed, or holds something but an image autoencoder.
        WeightsError: its files cannot be had, or do not fit the configuration.
    """
    options = name.only(posterior=_posterior, subfolder=_subfolder)
    target = Target.parse(name.target, usage=OPENS.usage)
    subfolder = str(options.get("subfolder", target.subfolder))
    if target.subfolder and subfolder != target.subfolder:
        raise UsageError(f"{name.target} is in {target.subfolder}, and subfolder={subfolder} says otherwise")
    posterior = cast("Posterior", options.get("posterior", ""))
    query = "&".join(f"{key}={value}" for key, value in name.options.items())
    card = TokenizerCard(
        name=f"{OPENS.prefix}/{replace(target, subfolder=subfolder).variant}",
        hub=target.hub,
        opened_as=f"{OPENS.prefix}:{name.target}" + (f"?{query}" if query else ""),
        posterior=posterior,
        requires=OPENS.requires,
        extra=OPENS.extra,
        licence="not known; see its publisher",
        notes=() if target.revision or target.folder else (NEWEST,),
    )
    opened = read_autoencoder(card, {**CLASSES, **codes.classes()}, subfolder=subfolder, folder=target.folder)
    if opened.class_name not in codes.KINDS:
        return autoencoder_of(opened, with_facts(opened), device=device, dtype=dtype)
    if posterior:
        raise UsageError(f"{name.target} is a {opened.class_name}, which has codes and no posterior; leave it out")
    return codes.codes_of(opened, codes.with_facts(opened), device=device, dtype=dtype)


def _posterior(text: str) -> str:
    if text not in POSTERIORS:
        raise ValueError(f"expected {' or '.join(POSTERIORS)}")
    return text


def _subfolder(text: str) -> str:
    parts = text.strip("/").split("/")
    if not all(parts) or ".." in parts or text.startswith("/"):
        raise ValueError("expected a folder inside the repository")
    return "/".join(parts)
