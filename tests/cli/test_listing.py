"""What there is, as a user reads it: lists by kind, patterns, reserved systems, and cards in full."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.test_commands import tokbench
from tokbench import families, registry
from tokbench.cards import TokenizerCard
from tokbench.cli.columns import column_lines
from tokbench.cli.facts import codebook, labelled, sides, tokens
from tokbench.cli.listing import matches
from tokbench.families import KINDS, kind_of, needs
from tokbench.registry import openings, tokenizers
from tokbench.weights.files import WeightsFile

CARD = TokenizerCard(
    name="made/up",
    title="Made up",
    codebook_sizes=(4096, 4096),
    size_multiple=16,
    downsampling=16,
    tokens=512,
    hub="org/made-up@" + "a" * 40,
    licence="MIT",
)


@pytest.fixture(autouse=True)
def _no_weights_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TOKBENCH_WEIGHTS", str(tmp_path / "weights"))


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert tokbench(*arguments) == 0
    return capsys.readouterr().out.splitlines()


def facts_of(card: TokenizerCard) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(card)


def test_columns_are_aligned_and_the_last_wraps_on_a_terminal_alone() -> None:
    rows = ["a heading", ("one", "12", "words of a long line that has to go on below"), ("three", "4", "short")]
    assert column_lines(("name", "n", "what"), rows) == [
        "name   n   what",
        "",
        "a heading",
        "one    12  words of a long line that has to go on below",
        "three  4   short",
    ]
    narrow = column_lines(("name", "n", "what"), rows, width=42)
    assert narrow[3:] == [
        "one    12  words of a long line that has",
        "           to go on below",
        "three  4   short",
    ]
    assert column_lines(None, rows[1:], width=20) == column_lines(None, rows[1:]), "too narrow to wrap"
    assert max(map(len, column_lines(None, [("×", "…" * 40)], width=42))) == 43, "what has no spaces is not broken"
    assert column_lines(("a", "b"), ["h"], is_terminal=True)[0] == "\x1b[2ma  b\x1b[0m"


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("titok/l32", "", True),
        ("ta_titok/bl128_vq", "titok", True),
        ("titok/l32", "/l32", True),
        ("titok/l32", "t*k", True),
        ("titok/l32", "titok/l*", True),
        ("ta_titok/bl128_vq", "t?tok*", False),
        ("titok/l32", "TITOK", False),
    ],
)
def test_patterns(name: str, pattern: str, expected: bool) -> None:
    assert matches(name, pattern) == expected


def test_tokenizers_are_listed_by_kind_one_row_a_family(capsys: pytest.CaptureFixture[str]) -> None:
    out = lines(capsys, "list", "tokenizers")
    headings = [out.index(title) for kind, title in KINDS.items() if kind != "reserved"]
    assert headings == sorted(headings)
    first = [line.split()[0] for line in out if line and not line.startswith(" ")]
    runnable = {entry.card.family for entry in tokenizers().items.values() if not entry.card.reserved}
    assert {name: first.count(name) for name in runnable} == dict.fromkeys(runnable, 1)
    assert {f"{prefix}:" for prefix in openings().items} <= set(first)
    (titok,) = (line for line in out if line.startswith("titok "))
    n = sum(entry.card.family == "titok" for entry in tokenizers().items.values())
    assert titok.split()[1:5] == [str(n), "32", "4,096", "256"]
    assert titok.endswith("→ downloads yucornetto/tokenizer_titok_l32_imagenet")
    (taming,) = (line for line in out if line.startswith("taming "))
    assert "weights from https://heibox.uni-heidelberg.de/d/" in taming
    (identity,) = (line for line in out if line.startswith("identity "))
    assert "→" not in identity


def test_reserved_systems_are_collapsed_at_the_end_and_told_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    reserved = {name: entry.card for name, entry in tokenizers().items.items() if entry.card.reserved}
    out = lines(capsys, "list", "tokenizers")
    (start,) = (number for number, line in enumerate(out) if line.startswith(f"reserved, {len(reserved)} systems"))
    named = [name for line in out[start + 1 :] for name in line.rpartition(": ")[2].split()]
    assert sorted(named) == sorted(reserved)
    assert len(out) - start - 1 == len({card.reserved for card in reserved.values()}), "one line a reason"
    out = lines(capsys, "list", "tokenizers", "--reserved")
    rows = [line for line in out if line]
    assert len(rows) == 1 + len(reserved)
    (hieratok,) = (line for line in rows if line.startswith("hieratok "))
    assert hieratok.endswith(f"{reserved['hieratok'].reserved}; arXiv:2509.23736")
    (var,) = (line for line in rows if line.startswith("var "))
    assert var.endswith(f"{reserved['var'].reserved}; https://github.com/FoundationVision/VAR")


def test_every_variant_when_asked_or_when_the_pattern_names_one(capsys: pytest.CaptureFixture[str]) -> None:
    variants = [name for name in tokenizers().items if name.startswith("llamagen/")]
    for arguments in (["llamagen", "--all"], ["llamagen", "--variants"], ["llamagen/"], ["llamagen/*"]):
        out = lines(capsys, "list", "tokenizers", *arguments)
        assert [line.split()[0] for line in out[3:]] == variants
    (row,) = lines(capsys, "list", "tokenizers", "llamagen")[3:]
    assert row.split()[:2] == ["llamagen", str(len(variants))]


def test_patterns_find_reserved_and_opened_names_too(capsys: pytest.CaptureFixture[str]) -> None:
    out = lines(capsys, "list", "tokenizers", "hieratok")
    assert out[1].startswith("reserved")
    assert len(out) == 3
    out = lines(capsys, "list", "tokenizers", "quantised*")
    assert any("quantised:NAME?bits=" in line for line in out)
    assert not any(line.startswith("reserved") for line in out)


def test_json_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench("list", "tokenizers", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == len(tokenizers().items) + len(openings().items)
    by_name = {row["name"]: row for row in rows}
    assert by_name["titok/l32"]["kind"] == "sequence"
    assert by_name["titok/l32"]["needs"] == "downloads yucornetto/tokenizer_titok_l32_imagenet"
    assert by_name["quantised:"]["kind"] == "opened"
    assert by_name["quantised:"]["usage"].startswith("quantised:NAME?bits=")
    assert by_name["hieratok"]["kind"] == "reserved"
    assert [row["kind"] for row in rows][-1] == "reserved"
    assert tokbench("list", "tokenizers", "--reserved", "--json") == 0
    assert {row["kind"] for row in json.loads(capsys.readouterr().out)} == {"reserved"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "tokenizers", "nothing*"], "none of the tokenizers match 'nothing*'"),
        (["list", "metrics", "nothing"], "none of the metrics match 'nothing'"),
        (["list", "metrics", "--all"], "are for `tokbench list tokenizers`"),
        (["list", "tasks", "--reserved"], "are for `tokbench list tokenizers`"),
    ],
)
def test_what_cannot_be_listed_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tokbench(*arguments) == 2
    assert message in capsys.readouterr().err


def test_other_lists_take_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split()[0] for line in lines(capsys, "list", "metrics", "psnr*")[1:2]] == ["psnr"]
    assert all(line.startswith("imagenet") for line in lines(capsys, "list", "tasks", "imagenet")[1:])


def test_kinds_follow_from_cards() -> None:
    assert kind_of(CARD) == "codes"
    assert kind_of(replace(CARD, downsampling=None)) == "sequence"
    assert kind_of(replace(CARD, codebook_sizes=(), latent="continuous")) == "latents"
    assert kind_of(replace(CARD, hub="")) == "built_in"
    assert kind_of(replace(CARD, hub="", page="https://example.org")) == "codes"
    assert kind_of(replace(CARD, hub="", weights_keys=("vgg16",))) == "codes"
    assert kind_of(replace(CARD, reserved="no weights")) == "reserved"


def test_needs_until_they_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs(CARD) == ["downloads org/made-up"]
    gated = replace(CARD, gated="terms to accept", requires=("package_that_is_not_there",))
    assert needs(gated) == [
        "package_that_is_not_there: pip install package_that_is_not_there",
        "downloads org/made-up",
        "terms to accept",
    ]
    own = tmp_path / "weights" / "org" / "made-up" / "model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"x")
    assert needs(CARD) == []
    assert needs(replace(gated, requires=())) == [], "terms were accepted by whoever has the file"

    page = replace(CARD, hub="", page="https://example.org/share", gated="research only")
    assert needs(page) == ["weights from https://example.org/share", "research only"]
    copy = tmp_path / "weights" / "made" / "another.ckpt"
    copy.parent.mkdir()
    copy.write_bytes(b"x")
    assert needs(page) == ["weights from https://example.org/share", "research only"]
    copy.rename(copy.with_name("model_up.ckpt"))
    assert needs(page) == []

    files = {
        "one": WeightsFile(owner="one", name="one.pth", format="state_dict", url="https://example.org/one"),
        "two": WeightsFile(owner="two", name="two.pth", format="state_dict", url="https://example.org/two"),
        "three": WeightsFile(owner="three", name="three.pth", format="state_dict", command="pip install three"),
    }
    monkeypatch.setattr(families, "known", files.__getitem__)
    keyed = replace(CARD, hub="", weights_keys=("one", "two", "three"))
    assert needs(keyed) == ["tokbench weights fetch one two", "pip install three"]
    assert needs(replace(keyed, reserved="not ported")) == []


def test_facts_in_words() -> None:
    card = facts_of(CARD)
    assert (tokens(card), codebook(card), sides(card)) == ("512", "2 × 4,096", "n × 16 px")
    assert codebook(facts_of(replace(CARD, codebook_sizes=(8, 8, 5)))) == "2 × 8 + 5"
    assert codebook(facts_of(replace(CARD, codebook_sizes=(), latent="continuous"))) == "continuous"
    assert codebook(facts_of(replace(CARD, codebook_sizes=(), latent="none"))) == "–"
    assert sides(facts_of(replace(CARD, fixed_size_px=256))) == "256 px"
    assert sides(facts_of(replace(CARD, size_multiple=1))) == "any"
    assert tokens(facts_of(replace(CARD, tokens=None))) == "–"
    assert tokens(facts_of(replace(CARD, prefix_axis="positions", max_length=512))) == "1–512"


def test_a_card_in_full_is_labelled_and_in_reading_order() -> None:
    digest = "ab" * 32
    card = replace(
        CARD, weights=(("model.pt", digest),), gated="terms to accept", side_information="a caption",
        deterministic=False, pixel_range=(-1.0, 1.0), paper="arXiv:2406.07550", repository="https://github.com/org/it",
        weights_licence="none stated", notes=("First.", "Second."),
    )  # fmt: skip
    rows = labelled({**facts_of(card), "needs": "downloads org/made-up", "variants": ["made/up", "made/down"]})
    assert rows == [
        ("still needs", "downloads org/made-up"),
        ("variants", "up down"),
        ("latent", "discrete tokens"),
        ("tokens", "512 at 256 px, 6,144 bits"),
        ("codebook", "2 × 4,096"),
        ("image sides", "n × 16 px"),
        ("pixels a cell", "16 on a side"),
        ("network's range", "[-1, 1]"),
        ("decoding", "draws random numbers, seeded for each image"),
        ("also decodes from", "a caption"),
        ("weights", f"org/made-up on the hub at {'a' * 40}"),
        ("sha256", f"{digest}  model.pt"),
        ("terms", "terms to accept"),
        ("licence", "MIT"),
        ("weights' licence", "none stated"),
        ("paper", "arXiv:2406.07550, https://arxiv.org/abs/2406.07550"),
        ("repository", "https://github.com/org/it"),
        ("notes", "First.\nSecond."),
    ]
    sampled = labelled(facts_of(replace(CARD, codebook_sizes=(), latent="continuous", posterior="sample")))
    assert ("posterior", "a sample is decoded, seeded for each image") in sampled
    assert dict(labelled(facts_of(replace(CARD, reserved="no weights"))))["cannot be run"] == "no weights"
    assert "latent" not in dict(labelled(facts_of(replace(CARD, reserved="no weights"))))


def test_cards_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out = lines(capsys, "show", "taming")
    assert out[0] == "tokenizer taming/imagenet_f16_16384: VQGAN f16, 16384 codes (ImageNet)"
    assert any(line.startswith("  weights ") and "heibox.uni-heidelberg.de" in line for line in out)
    out = lines(capsys, "show", "hieratok")
    assert out[1] == f"  cannot be run  {tokenizers().items['hieratok'].card.reserved}"
    for name in ("quantised", "quantised:"):
        out = lines(capsys, "show", name)
        assert out[0].startswith("prefix quantised: ")
        assert out[1].startswith("  typed as  quantised:NAME?bits=")
    assert lines(capsys, "show", "psnr")[0] == "metric psnr"
    assert tokbench("show", "diffusers", "--json") == 0
    assert json.loads(capsys.readouterr().out)["prefix"] == "diffusers"


def test_an_opened_name_is_loaded_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    out = lines(capsys, "show", "quantised:pca?bits=4")
    assert "  opened as         quantised:pca?bits=4" in out
    assert tokbench("show", "quantised:pca?nothing=4") == 2
    assert "has no option nothing" in capsys.readouterr().err


def test_a_tokenizer_of_yours_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs.py").write_text(
        "class Half:\n    size_multiple = 2\n"
        "    def encode(self, images): return images[..., ::2, ::2]\n"
        "    def decode(self, latents): return latents\n"
    )
    monkeypatch.chdir(tmp_path)
    out = lines(capsys, "show", f"{tmp_path / 'theirs.py'}:Half")
    assert out[0] == "tokenizer half: Half"
    assert "  image sides      n × 2 px" in out


def test_broken_plug_ins_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    broken = registry.Plugins(items=tokenizers().items, broken={"theirs (x.y)": "ImportError: no x"})
    monkeypatch.setattr(registry, "tokenizers", lambda: broken)
    assert tokbench("list", "tokenizers") == 0
    assert "broken plug-in theirs (x.y): ImportError: no x" in capsys.readouterr().err


def test_doctor_counts_reserved_systems_apart(capsys: pytest.CaptureFixture[str]) -> None:
    from tokbench.diagnosis import _tokenizers

    checks = list(_tokenizers())
    (summary,) = (check for check in checks if check.name == "tokenizers")
    n = len({entry.card.family for entry in tokenizers().items.values() if entry.card.reserved})
    assert summary.status == "ok"
    assert summary.found.endswith(f"; {n} are reserved")
    assert not [check for check in checks if check.status == "broken"]
    assert not [check for check in checks if "hieratok" in check.name]
