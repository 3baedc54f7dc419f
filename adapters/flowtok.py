"""FlowTok's image tokenizer: a 512 px image as 77 continuous tokens, and a caption beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokbench_adapters._networks.titok_config import BASE, LARGE, TiTokConfig
from tokbench_adapters._reading.hub_weights import UNPINNED
from tokbench_adapters._reading.torch_checkpoints import read_hub_checkpoint
from tokbench_adapters._titok import NOTES, build, titok_card
from tokbench_adapters.ta_titok import CAPTION, CLIP, caption_states

if TYPE_CHECKING:
    from tokbench.cards import TokenizerCard
    from tokbench.contracts import Tokenizer

VARIANTS: dict[str, TiTokConfig] = {
    "512": TiTokConfig(
        encoder=BASE,
        decoder=LARGE,
        n_tokens=77,
        token_width=16,
        codebook_size=None,
        text_width=768,
        is_rotary=True,
        side_px=512,
    )
}
FILE = "FlowTiTok_512.bin"


def card_of(variant: str, config: TiTokConfig) -> TokenizerCard:
    """The facts of a variant."""
    return titok_card(
        f"flowtok/{variant}",
        f"FlowTok's tokenizer, {config.side_px} px",
        config,
        side_information=f"a caption; here {CAPTION!r} for every image, which costs no bits",
        hub="turkeyju/FlowTok",
        weights_keys=(CLIP,),
        posterior="mode",
        weights_licence="none stated; its authors: created for research purposes",
        paper="arXiv:2503.10772",
        repository="https://github.com/TACJU/FlowTok",
        notes=(
            "Trained again, at 512 px, by the paper's first author; the paper's is at 256 px. No score of this file is "
            "published.",
            "The posterior's mean is decoded; FlowTok's training draws from the posterior.",
            f"The decoder reads CLIP's embedding of a caption. Every image is decoded with {CAPTION!r}.",
            f"CLIP's text half comes from the file that the key {CLIP} of `tokbench weights` names.",
            NOTES["patches"],
            UNPINNED,
        ),
    )


CARDS = tuple(card_of(variant, config) for variant, config in VARIANTS.items())


def load(card: TokenizerCard, *, device: str, dtype: str) -> Tokenizer:
    """Fetch, check and read the official checkpoint, and CLIP's for the caption.

    Raises:
        WeightsError: one of them cannot be had, or is not the one this network is read from.
    """
    pinned, tensors = read_hub_checkpoint(card, FILE)
    return build(pinned, VARIANTS[card.variant], tensors, device=device, dtype=dtype, text=caption_states())
