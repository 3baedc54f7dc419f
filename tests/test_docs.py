"""The documents say what the product does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tokbench.families import KINDS, families
from tokbench.registry import metrics, openings, tokenizers

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")])


def test_every_metric_is_in_the_metrics_page() -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    missing = [key for key in metrics().items if f"`{key.partition('.')[0]}" not in page]
    assert not missing


def test_every_tokenizer_family_that_runs_is_in_the_readme() -> None:
    page = (REPOSITORY / "README.md").read_text()
    families = {entry.card.family for entry in tokenizers().items.values() if not entry.card.reserved}
    assert not [family for family in families if f"`{family}`" not in page]


def rows_of(section: str) -> dict[str, list[str]]:
    """A table of the tokenizers' page with names in its second column: the first column's text → the names."""
    page = (REPOSITORY / "docs" / "tokenizers.md").read_text()
    table = page.partition(section)[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]
    return {first: re.findall(r"`([a-z0-9_]+:?)`", second) for first, second in rows if "---" not in first}


def test_the_tokenizers_page_has_every_family_by_kind() -> None:
    expected = {title: [f.name for f in families() if f.kind == kind] for kind, title in KINDS.items()}
    del expected[KINDS["reserved"]]
    expected["opened by name"] = sorted(f"{prefix}:" for prefix in openings().items)
    assert {kind: sorted(names) for kind, names in rows_of("| kind | tokenizers |\n").items()} == expected


def test_the_tokenizers_page_says_why_systems_are_reserved() -> None:
    expected: dict[str, list[str]] = {}
    for family in families():
        if family.kind == "reserved":
            expected.setdefault(family.default.reserved, []).append(family.name)
    assert {why: sorted(names) for why, names in rows_of("| why | systems |\n").items()} == expected


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_exist(document: Path) -> None:
    from tokbench.cli.main import cli

    for command in re.findall(r"`(?:… )?tokbench ([a-z]+)", document.read_text()):
        assert command in cli.commands, f"{document.name} names `tokbench {command}`"


def test_the_readmes_own_tokenizer_runs(tmp_path: Path, photos: Path) -> None:
    import torch

    from tokbench.evaluation import evaluate
    from tokbench.tasks.catalogue import folder_task
    from tokbench.tokenizers import load_tokenizer

    (code,) = re.findall(r"```python\n(# mine\.py\n.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)

    class Net(torch.nn.Module):
        def encode(self, images: torch.Tensor) -> torch.Tensor:
            return ((images[:, 0, ::16, ::16] + 1) * 8191).long()

        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            grey = codes[:, None].float() / 8191 - 1
            return torch.nn.functional.interpolate(grey, scale_factor=16.0).repeat(1, 3, 1, 1)

    (tmp_path / "mine.py").write_text(code.replace('torch.jit.load("checkpoint.pt")', "NET"))
    (tmp_path / "mine.py").write_text("NET = None\n" + (tmp_path / "mine.py").read_text())
    import sys

    sys.path.insert(0, str(tmp_path))
    try:
        import mine  # type: ignore[import-not-found]

        mine.NET = Net()
        result = evaluate(load_tokenizer("mine:MyTokenizer"), folder_task(size_px=64), "psnr,bpp", data=photos)
    finally:
        sys.path.remove(str(tmp_path))
    assert result.status == "complete"
    assert result["bpp"] == 14 / 256


def test_the_guides_own_adapter_runs(photos: Path) -> None:
    from tokbench.evaluation import evaluate
    from tokbench.tasks.catalogue import folder_task

    page = (REPOSITORY / "docs" / "add-a-tokenizer.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    space: dict[str, object] = {}
    exec(compile(code, "guide", "exec"), space)
    cards, load = space["CARDS"], space["load"]
    assert isinstance(cards, tuple)
    tokenizer = load(cards[2], device="cpu", dtype="float32")  # type: ignore[operator]
    assert evaluate(tokenizer, folder_task(size_px=64), "psnr", data=photos)["psnr"] == 100
