"""Points of a grid: their names, and which operator each kind of codes gets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from perturbation_inputs import normal, stream_of

from tokbench.cards import TokenizerCard
from tokbench.encodings import BitCodes, Latents, Tokens, TokenStream
from tokbench.errors import BadOutputError, NotApplicableError
from tokbench.perturbation.facts import checked, codebook_of, quantiser_of
from tokbench.perturbation.points import Point, derivation, points_for
from tokbench.quantisers import Composition, Quantiser
from tokbench.tokenizers import load_tokenizer
from tokbench.wrapping import wrap

BOOK = normal(20, 3)


def lookup(composition: Composition = "single", **books: torch.Tensor) -> Quantiser:
    return Quantiser(kind="lookup", composition=composition, codebooks=books or {"0": BOOK})


def names(quantiser: Quantiser) -> list[str]:
    return [point.name for point in points_for(quantiser, alphas=(0.5, 1), deltas=(4, 16))]


def test_only_pfids_own_operator_has_no_name() -> None:
    assert names(lookup()) == ["alpha=0.5.delta=4", "alpha=1.delta=4", "alpha=0.5.delta=16", "alpha=1.delta=16"]
    assert names(lookup("product"))[0] == "product.alpha=0.5.delta=4"
    assert names(lookup("residual")) == [
        "frozen.level=1.alpha=0.5.delta=16",
        "frozen.level=1.alpha=1.delta=16",
        "reencoded.level=1.alpha=0.5.delta=16",
        "reencoded.level=1.alpha=1.delta=16",
    ]
    assert names(lookup("multi_scale")) == names(lookup("residual"))[:2]
    anew = replace(lookup("multi_scale"), requantise=lambda tokens, _: tokens)
    assert names(anew) == names(lookup("residual"))
    assert names(Quantiser(kind="sign", composition="single"))[-1] == "signs.alpha=1.delta=16"
    fsq = Quantiser(kind="levels", composition="single", levels=(8, 5), basis=(1, 8))
    assert names(fsq) == ["levels.alpha=0.5", "levels.alpha=1"]


def test_names_can_be_read_back() -> None:
    for point in (
        Point(operator="lookup", alpha=0.05, delta=200),
        Point(operator="product", alpha=1, delta=3),
        Point(operator="frozen", alpha=0.9, delta=200, level=3),
        Point(operator="reencoded", alpha=0.9, delta=200, level=1),
        Point(operator="levels", alpha=0.25),
        Point(operator="signs", alpha=0.25, delta=16),
    ):
        assert Point.of_name(point.name) == point


def test_a_neighbourhood_wider_than_the_codebook_is_refused() -> None:
    with pytest.raises(NotApplicableError, match="neighbourhood of 21 codes needs as many, and codebook '0' has 20"):
        points_for(lookup(), alphas=(0.5,), deltas=(4, 21))
    with pytest.raises(NotApplicableError, match="codebook 'b' has 10"):
        points_for(lookup("product", a=BOOK, b=BOOK[:10]), alphas=(0.5,), deltas=(16,))
    with pytest.raises(NotApplicableError, match="implicit codebook has 8"):
        points_for(Quantiser(kind="sign", composition="single", basis=(4, 2, 1)), alphas=(0.5,), deltas=(16,))


def test_each_sub_codebook_of_a_product_is_perturbed_by_itself() -> None:
    books = {"a": normal(20, 3, seed=1), "b": normal(30, 2, seed=2)}
    quantiser = checked(lookup("product", **books))
    given = Tokens(
        streams=tuple(stream_of(normal(2, 500, book.shape[1], seed=5), book, name=name) for name, book in books.items())
    )
    derive = derivation(Point(operator="product", alpha=0.5, delta=10), quantiser, widest=10)
    changed = derive(given, [1, 2])
    assert isinstance(changed, Tokens)
    masks = torch.stack([stream.replaced for stream in changed.streams]).double()  # type: ignore[misc]
    spread = 4 * (0.45 * 0.55 / 1000) ** 0.5
    assert masks.mean((1, 2)).tolist() == pytest.approx([0.45, 0.45], abs=spread)
    assert float((masks[0] * masks[1]).mean()) == pytest.approx(0.45**2, abs=spread)


def test_every_operator_takes_its_encodings_and_no_others() -> None:
    bits = BitCodes(values=BOOK[None] > 0, vectors=BOOK[None])
    signs = Quantiser(kind="sign", composition="single")
    derive = derivation(Point(operator="signs", alpha=1, delta=4), signs, widest=4)
    assert isinstance(derive(bits, [0]), BitCodes)
    with pytest.raises(BadOutputError, match="kind sign, and encode returned Latents"):
        derive(Latents(values=BOOK[None]), [0])
    two = Tokens(streams=(stream_of(normal(1, 4, 3), BOOK),) * 2)
    with pytest.raises(BadOutputError, match="has one stream, encode gave 2"):
        derivation(Point(operator="lookup", alpha=1, delta=4), lookup(), widest=4)(two, [0])


def test_a_codebook_with_nan_is_named_with_how_much_of_it_is_broken() -> None:
    bad = BOOK.clone()
    bad[[3, 7], 1] = torch.nan
    bad[9, 0] = torch.inf
    with pytest.raises(BadOutputError, match=r"codebook '0': 3 of 20 entries hold NaN .* the first is entry 3"):
        checked(lookup(**{"0": bad}))
    with pytest.raises(BadOutputError, match=r"shape \(K, d\), got torch.int64"):
        checked(lookup(**{"0": BOOK.long()}))
    unit = checked(Quantiser(kind="lookup", composition="single", codebooks={"0": BOOK}, is_normalised=True))
    torch.testing.assert_close(unit.codebooks["0"].norm(dim=1), torch.ones(20))


def test_a_stream_must_fit_its_codebook() -> None:
    with pytest.raises(BadOutputError, match="codebook 'other' with 20 entries"):
        codebook_of(lookup(), stream_of(normal(1, 4, 3), BOOK, name="other"))
    with pytest.raises(BadOutputError, match="codebook '0' with 19 entries"):
        codebook_of(lookup(), stream_of(normal(1, 4, 3), BOOK[:19]))


def test_tokenizers_say_what_they_are_through_the_wrapper() -> None:
    assert quantiser_of(load_tokenizer("lbg/d1", device="cpu")).composition == "single"
    rvq = quantiser_of(load_tokenizer("rvq/d4", device="cpu"))
    assert (rvq.composition, len(rvq.codebooks)) == ("residual", 4)

    class Silent:
        card = TokenizerCard(name="toy/silent", codebook_sizes=(4,))
        encode = decode = None

    class Smooth:
        card = TokenizerCard(name="toy/smooth", latent="continuous")

        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return images

        decode = encode

    with pytest.raises(NotApplicableError, match="does not show its codebook"):
        quantiser_of(Silent())  # type: ignore[arg-type]
    with pytest.raises(NotApplicableError, match="latents are continuous"):
        quantiser_of(wrap(Smooth()))


def test_facts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BadOutputError, match="if and only if it looks codes up"):
        Quantiser(kind="sign", composition="single", codebooks={"0": BOOK})
    with pytest.raises(BadOutputError, match="if and only if it looks codes up"):
        Quantiser(kind="lookup", composition="single")
    with pytest.raises(BadOutputError, match="as many levels"):
        Quantiser(kind="levels", composition="single", levels=(8, 5), basis=(1,))
    with pytest.raises(BadOutputError, match="residual codes of kind sign"):
        Quantiser(kind="sign", composition="residual")


@pytest.mark.parametrize("operator", ["lookup", "product", "frozen", "reencoded", "signs", "levels"])
def test_empty_encodings_stay_empty(operator: str) -> None:
    stream = TokenStream(
        indices=torch.zeros(2, 0, dtype=torch.int64), codebook_size=8, codebook="0", vectors=torch.zeros(2, 0, 3)
    )
    quantiser = {
        "signs": Quantiser(kind="sign", composition="single", basis=(4, 2, 1)),
        "levels": Quantiser(kind="levels", composition="single", levels=(4, 2), basis=(1, 4)),
    }.get(operator, lookup("residual", **{"0": BOOK[:8]}))
    streams = (stream, stream) if operator in ("product", "frozen", "reencoded") else (stream,)
    point = Point(operator=operator, alpha=1.0, delta=2, level=1)  # type: ignore[arg-type]
    changed = derivation(point, quantiser, widest=2)(Tokens(streams=streams), [0, 1])
    assert isinstance(changed, Tokens)
    assert [tuple(part.indices.shape) for part in changed.streams] == [(2, 0)] * len(streams)
