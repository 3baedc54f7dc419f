"""Descriptions, what a run records of them, and the tokenizer that `tokbench external init` writes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.adapters.external_cases import SCRIPT, describe, images, opened
from tokbench.__main__ import main
from tokbench.encodings import Tokens
from tokbench.errors import UsageError, WeightsError
from tokbench.runfolder import read_result
from tokbench.tokenizers import load_tokenizer
from tokbench_adapters._external.description import read_description

REPOSITORY = Path(__file__).resolve().parents[2]
STARTER = REPOSITORY / "adapters" / "_external"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_everything_it_says_is_on_the_card(tmp_path: Path) -> None:
    facts: dict[str, Any] = {
        "title": "A toy",
        "tokens": 256,
        "downsampling": 1,
        "licence": "MIT",
        "weights_licence": "CC-BY-4.0",
        "paper": "2504.08736",
        "repository": "https://example.org/toy",
        "hub": "ORG/REPO",
        "page": "https://example.org/weights",
        "gated": "ask the authors",
        "side_information": "a caption",
        "posterior": "mode",
        "notes": ["One.", "Two."],
    }
    card = opened(tmp_path, "positions", **facts).card
    assert card.name == "external/positions"
    assert {key: getattr(card, key) for key in facts if key != "notes"} == {
        key: value for key, value in facts.items() if key != "notes"
    }
    assert card.notes[:2] == ("One.", "Two.")
    assert card.opened_as == f"external:{tmp_path / 'positions.toml'}"
    assert (card.prefix_axis, card.max_length, card.fixed_size_px) == ("positions", 16, 16)
    assert f"The program ran under Python {sys.version.split()[0]}, numpy {np.__version__}." in card.notes


def edited(change: Callable[[str], str]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = describe(folder, "tokens")
        path.write_text(change(path.read_text()))
        return path

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: folder / "none.toml", r"cannot read .*none.toml \(No such file.*tokbench external init DIR"),
        (lambda folder: folder, "cannot read"),
        (edited(lambda text: text + "\n["), "is not TOML"),
        (edited(lambda text: text.replace('"latent" =', '"latnet" =')), "no key 'latnet' .did you mean latent"),
        (edited(lambda text: text.replace('"latent" =', '"title" =')), "says no latent"),
        (edited(lambda text: text.replace('"tokens"', '"toys/tokens"', 1)), "one word in lower case, without a slash"),
        (edited(lambda text: text.replace("[256]", '["256"]')), "codebook_sizes must be a list of whole numbers"),
        (edited(lambda text: text.replace("[256]", "[0]")), "codebook_sizes must be a list of whole numbers from 1"),
        (
            edited(lambda text: text.replace('"discrete"', '"none"')),
            "latent must be one of discrete, continuous, codec",
        ),
        (edited(lambda text: "pixel_range = [1, -1]\n" + text), "pixel_range is two numbers that rise"),
        (edited(lambda text: "max_length = 4\n" + text), "prefix_axis and max_length go together"),
        (
            edited(lambda text: text.replace('"command" =', '"comand" =')),
            r"\[run\] has no key 'comand' .did you mean command",
        ),
        (
            edited(lambda text: text.replace('"timeout_s" = 60.0', '"timeout_s" = 0')),
            "timeout_s must be seconds, above 0",
        ),
        (edited(lambda text: text + 'folder = "nowhere"\n'), "the working folder .*nowhere does not exist"),
        (edited(lambda text: text + 'encode = ["a"]\n'), "either a `command` .* or both"),
        (edited(lambda text: text.replace('"command" =', '"encode" =')), "either a `command` .* or both"),
        (edited(lambda text: text.partition("[run]")[0]), "either a `command` .* got nothing"),
        (
            edited(lambda text: text.replace('"command" =', '"encode" =') + 'decode = ["x", "{input}", "{output}"]\n'),
            r"encode needs \{input\} and \{output\}",
        ),
        (edited(lambda text: text + '\n[weights]\nfile.pt = ""\n'), 'in quotes: "checkpoint.pt" = ""'),
        (edited(lambda text: text + '\n[quantiser]\nkind = "nearest"\n'), "kind must be one of lookup, sign, levels"),
        (edited(lambda text: "run = 3\n" + text.partition("[run]")[0]), "run is a table"),
    ],
)
def test_what_a_description_cannot_say_is_refused(write: Callable[[Path], Path], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        load_tokenizer(f"external:{write(tmp_path)}", device="cpu")


def test_options_belong_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="external: has no option bits; it has none"):
        load_tokenizer(f"external:{describe(tmp_path, 'tokens')}?bits=3", device="cpu")


def test_paths_are_relative_to_the_file_and_may_hold_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, upstream = tmp_path / "my descriptions", tmp_path / "up stream"
    home.mkdir()
    upstream.mkdir()
    (upstream / "upstream_package.py").write_text("LEVELS = 255\n")
    python = home / "an environment" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (home / "pro gram.py").write_text(
        "import os, sys, numpy as np, upstream_package, tokbench_external\n"
        "assert os.getcwd() == sys.argv[1] and os.environ['HERE'] == sys.argv[2] + '/x'\n"
        "tokbench_external.serve(\n"
        "    encode=lambda images: np.rint(images.mean(1) * upstream_package.LEVELS).astype(int), decode=None)\n"
    )
    run = {
        "command": ["an environment/python", "{here}/pro gram.py", str(upstream), "{here}"],
        "folder": "../up stream",
        "environment": {"HERE": "{here}/x"},
    }
    describe(home, "tokens", run=run)
    monkeypatch.chdir(home.parent)
    for name in ("my descriptions/tokens.toml", str(home / "tokens.toml")):
        tokenizer = load_tokenizer(f"external:{name}", device="cpu")
        encoding = tokenizer.encode(images())
        assert isinstance(encoding, Tokens)
        assert torch.equal(encoding.streams[0].indices, (images().mean(1) * 255).round().long())
        assert set(dict(tokenizer.card.weights)) == {"tokens.toml", "an environment/python", "pro gram.py"}


def test_the_program_is_told_device_and_type(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import tokbench_external as t\n"
        "def encode(images): raise ValueError(t.DEVICE + ' ' + t.DTYPE)\n"
        "t.serve(encode=encode, decode=None)\n"
    )
    command = ["{python}", "program.py"]
    path = describe(tmp_path, "tokens", run={"command": command})
    with pytest.raises(Exception, match="ValueError: cpu bfloat16"):
        load_tokenizer(f"external:{path}", device="cpu", dtype="bfloat16").encode(images())
    path = describe(tmp_path, "tokens", run={"command": command, "environment": {"TOKBENCH_DEVICE": "cuda:1"}})
    with pytest.raises(Exception, match="ValueError: cuda:1 float32"):
        load_tokenizer(f"external:{path}", device="cpu").encode(images())


def test_digests_say_what_ran(tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    weights.write_bytes(b"some weights")
    pinned = {"weights": {"weights.bin": sha256(weights)}}
    card = opened(tmp_path, "tokens", tables=pinned).card
    assert dict(card.weights) == {
        "tokens.toml": sha256(tmp_path / "tokens.toml"),
        "external_toys.py": sha256(SCRIPT),
        "weights.bin": sha256(weights),
    }
    weights.write_bytes(b"other weights")
    with pytest.raises(WeightsError, match=rf"weights.bin has sha256 {sha256(weights)}, expected"):
        opened(tmp_path, "tokens", tables=pinned)
    noted = opened(tmp_path, "tokens", tables={"weights": {"weights.bin": ""}}).card
    assert dict(noted.weights)["weights.bin"] == sha256(weights)
    weights.unlink()
    with pytest.raises(WeightsError, match=r"names .*weights\.bin, which is not there"):
        opened(tmp_path, "tokens", tables=pinned)


def test_files_of_one_name_have_a_digest_each(tmp_path: Path) -> None:
    """Here two of weights in other folders, and one that is named in the command as well."""
    files = [tmp_path / part / "weights.bin" for part in ("encoder", "decoder")]
    for file in files:
        file.parent.mkdir()
        file.write_bytes(file.parent.name.encode())
    (tmp_path / "described").mkdir()
    tables = {"weights": dict.fromkeys([*map(str, files), str(SCRIPT)], "")}
    weights = dict(opened(tmp_path / "described", "tokens", tables=tables).card.weights)
    assert sorted(weights.values()) == sorted(map(sha256, [*files, SCRIPT, tmp_path / "described" / "tokens.toml"]))


def checkout_note(path: Path) -> str:
    notes = load_tokenizer(f"external:{path}", device="cpu").card.notes
    (found,) = [note for note in notes if note.startswith("Ran in ")]
    return found


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_checkout_is_known_by_its_commit_and_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    upstream, home = tmp_path / "Upstream", tmp_path / "home"
    (upstream / "code").mkdir(parents=True)
    home.mkdir()

    def git(*arguments: str) -> str:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", "-C", upstream, *who, *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    path = describe(home, "tokens", run={"folder": "../Upstream/code"})
    assert checkout_note(path) == "Ran in code, of which git knows no commit: only the digests say what ran."
    (upstream / "code" / "net.py").write_text("depth = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = f"Ran in the git checkout Upstream at commit {git('rev-parse', 'HEAD')}, clean."
    assert checkout_note(path) == clean
    seen = {clean}
    for name, content in (("net.py", "depth = 2\n"), ("net.py", "depth = 3\n"), ("new.py", "1\n"), ("new.py", "2\n")):
        (upstream / "code" / name).write_text(content)
        note = checkout_note(path)
        assert re.search(r"with uncommitted changes, sha256 [0-9a-f]{64}\.$", note)
        assert note not in seen
        seen.add(note)
    (upstream / "code" / "new.py").unlink()
    (upstream / "code" / "net.py").write_text("depth = 1\n")
    assert checkout_note(path) == clean


@pytest.fixture
def starter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "a new folder"
    assert main(["external", "init", str(folder)]) == 0
    assert capsys.readouterr().out.endswith(f"now: tokbench run --tokenizer external:{folder}/tokenizer.toml\n")
    return folder


def test_the_starter_is_whole_and_never_overwrites(starter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = sorted(path.name for path in starter.iterdir())
    assert written == ["tokbench_external.py", "tokenizer.py", "tokenizer.toml"]
    (starter / "tokenizer.toml").unlink()
    assert main(["external", "init", str(starter)]) == 2
    assert "tokenizer.py, " in capsys.readouterr().err
    assert not (starter / "tokenizer.toml").exists()


def test_the_starters_keys_are_known(starter: Path) -> None:
    """Those in comments too: a user uncomments them."""
    path = starter / "tokenizer.toml"
    lines = [re.sub(r"^# (?=\w+ = |\[|\")", "", line) for line in path.read_text().splitlines()]
    (starter.parent / "SomeTokenizer").mkdir()
    (starter.parent / "SomeTokenizer" / "checkpoint.pt").touch()
    path.write_text("\n".join(lines))
    description = read_description(path)
    assert description.program.folder.resolve() == starter.parent / "SomeTokenizer"
    assert description.program.environment == {"CUDA_VISIBLE_DEVICES": "1"}
    assert description.program.log == starter / "tokenizer.log"
    assert [file.name for file in description.weights] == ["checkpoint.pt"]


def test_the_starters_answers_are_what_its_words_say(starter: Path) -> None:
    tokenizer = load_tokenizer(f"external:{starter / 'tokenizer.toml'}", device="cpu")
    batch = images(2, 32)
    encoding = tokenizer.encode(batch)
    assert isinstance(encoding, Tokens)
    assert [tuple(stream.indices.shape) for stream in encoding.streams] == [(2, 4, 4), (2, 8, 8), (2, 16, 16)]
    for kept, block in enumerate((8, 4, 2), start=1):
        decoded = tokenizer.decode(encoding.keep_streams(kept), seeds=[0, 0])
        of_blocks = torch.nn.functional.avg_pool2d(decoded - batch, block)
        # Half a step, where what was left over lies in the range that has codes.
        inside = torch.nn.functional.avg_pool2d(batch, block)
        coarse = 0 if kept == 1 else tokenizer.decode(encoding.keep_streams(kept - 1), seeds=[0, 0])
        left = (inside - (0 if kept == 1 else torch.nn.functional.avg_pool2d(coarse, block))).abs()  # type: ignore[arg-type]
        assert float(of_blocks[left <= (1 if kept == 1 else 0.5)].abs().max()) <= 1 / 30 + 1e-6


def test_a_run_of_the_starter_from_the_command_line(
    starter: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real images, from another folder, and from the tokenizer's own process twice: the same records."""
    monkeypatch.chdir(tmp_path)
    common = ["run", "--tokenizer", f"external:{starter.name}/tokenizer.toml", "--task", "folder", "--data", photos]
    options = ["--size", "64", "--lengths", "1,2,3", "--metrics", "psnr,bpp", "--no-report"]
    for number in ("1", "2"):
        assert main([*map(str, common), *options, "--out", number, "--batch-size", number]) == 0
    folders = [tmp_path / number / "folder" / "external__colour_pyramid" for number in ("1", "2")]
    assert (folders[0] / "records.jsonl").read_bytes() == (folders[1] / "records.jsonl").read_bytes()
    result = read_result(folders[0])
    assert result.counts == {"ok": 10, "failed": 0}
    assert result.values["bpp@length=1"].value == 12 / 64
    assert result.values["bpp"].value == 12 / 64 + 12 / 16 + 12 / 4
    values = [result.values[f"psnr@length={length}"].value for length in (1, 2, 3)]
    assert values == sorted(values)  # type: ignore[type-var]
    assert result.spec.tokenizer.opened_as == f"external:{starter.name}/tokenizer.toml"
    capsys.readouterr()
    assert main(["doctor", "--tokenizer", f"external:{starter.name}/tokenizer.toml", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert [row["status"] for row in checks] == ["ok"] * 6
    baseline = str(folders[0])
    rerun = ["--rerun", f"external:{starter}/tokenizer.toml", "--data", str(photos), "--baseline", baseline]
    assert main(["check", *rerun, "--out", "again"]) == 0


def test_the_helper_runs_on_old_pythons() -> None:
    """Its words are those of Python 3.8."""
    import ast

    source = (STARTER / "helper" / "tokbench_external.py").read_text()
    ast.parse(source, feature_version=(3, 8))
    tree = ast.parse(source)
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"numpy"}
    assert "removeprefix" not in source
