"""The image tokenizers inside checkpoints of transformers: ``transformers:ORG/REPO``, or a folder of yours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tokbench.cards import TokenizerCard
from tokbench.errors import ReservedError, UsageError, WeightsError
from tokbench.names import Opening
from tokbench_adapters._libraries.transformers_codes import CONFIG, EMU3, JANUS, PREFIXES, VqClass, build
from tokbench_adapters._reading.hub_weights import UNPINNED, with_digest
from tokbench_adapters._reading.places import Place, Target
from tokbench_adapters._reading.shards import read_prefixed

if TYPE_CHECKING:
    from tokbench.contracts import Tokenizer
    from tokbench.names import OpenName

OPENS = Opening(
    prefix="transformers",
    usage="transformers:ORG/REPO[@REVISION] or transformers:./FOLDER",
    title="Emu3VQVAE or JanusVQVAE, alone or inside a multimodal checkpoint",
    requires=("transformers",),
    extra="transformers",
)


@dataclass(frozen=True, kw_only=True)
class _Model:
    """Where a kind of model keeps its tokenizer.

    Attributes:
        vq: the tokenizer's class.
        inside: the key of its configuration in the model's; "" where the model is the tokenizer.
        prefixes: of its tensors.
    """

    vq: VqClass
    inside: str = ""
    prefixes: tuple[str, ...] = ("",)


MODELS = {
    "emu3": _Model(vq=EMU3, inside="vq_config", prefixes=PREFIXES),
    "emu3_vqgan": _Model(vq=EMU3),
    "janus": _Model(vq=JANUS, inside="vq_config", prefixes=PREFIXES),
    "janus_vqgan": _Model(vq=JANUS),
}
"""By ``model_type`` in ``config.json``."""

_HALF = "{} of transformers has an encoder and a codebook and no decoder"
REFUSED = {
    "chameleon": _HALF.format("ChameleonVQVAE") + "; the tokenizers chameleon and anole have both",
    "chameleon_vqgan": _HALF.format("ChameleonVQVAE") + "; the tokenizers chameleon and anole have both",
    "flava": _HALF.format("FlavaImageCodebook"),
    "flava_image_codebook": _HALF.format("FlavaImageCodebook"),
    "glm_image": "GlmImageVQVAE of transformers quantises features of a vision network and gives no images",
    "glm_image_vqmodel": "GlmImageVQVAE of transformers quantises features of a vision network and gives no images",
    "multi_modality": "it is a checkpoint in its authors' form; the tokenizer janus reads that",
    "Emu3VisionVQ": "it is a checkpoint in its authors' form; the tokenizer emu3 reads that",
}
"""Why models with a codebook cannot be measured."""


def open_name(
    name: OpenName,
    *,
    device: str,
    dtype: str,
    load: Callable[[str], Tokenizer],  # noqa: ARG001
) -> Tokenizer:
    """The tokenizer that lies there, alone or inside a larger model, of which only its part is fetched and read.

    Raises:
        UsageError: the name is malformed, or holds no image tokenizer.
        ReservedError: what it holds cannot make images of codes.
        WeightsError: its files cannot be had, or do not fit the configuration.
    """
    name.only()
    target = Target.parse(name.target, usage=OPENS.usage)
    if target.subfolder:
        raise UsageError(f"{name.target} names a folder in a repository; usage: {OPENS.usage}")
    card = TokenizerCard(
        name=f"{OPENS.prefix}/{target.variant}",
        pixel_range=(-1.0, 1.0),
        hub=target.hub,
        opened_as=f"{OPENS.prefix}:{name.target}",
        requires=OPENS.requires,
        extra=OPENS.extra,
        licence="not known; see its publisher",
        notes=() if target.revision or target.folder else (UNPINNED,),
    )
    place = Place(card=card, folder=target.folder)
    config = place.read_json(CONFIG)
    model = _model_of(config, place)
    settings = config.get(model.inside) if model.inside else config
    if not isinstance(settings, dict):
        raise WeightsError(f"{CONFIG} of {place} has no {model.inside}, expected that of {model.vq.name}")
    card, tensors = read_prefixed(place, model.prefixes)
    card = with_digest(card, CONFIG, place.path(CONFIG))
    card = replace(card, title=model.vq.name, notes=(*model.vq.notes, *card.notes))
    return build(card, model.vq, settings, tensors, device=device, dtype=dtype)


def _model_of(config: dict[str, Any], place: Place) -> _Model:
    kind = str(config.get("model_type", "nothing"))
    if kind in REFUSED:
        raise ReservedError(f"{place} cannot be measured: {REFUSED[kind]}")
    if kind not in MODELS:
        raise UsageError(
            f"{place} holds a model of type {kind!r}, which is none of those whose tokenizer this reads: "
            f"{', '.join(MODELS)}"
        )
    return MODELS[kind]
