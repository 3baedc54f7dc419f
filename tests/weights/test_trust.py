"""Files whose code the user lets run: that very file and no other, and the run says so."""

from __future__ import annotations

import io
import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.adapters.vqgan_cases import seeded_checkpoint
from tests.weights.server import Server, put_on_hub, sha256
from tests.weights.test_loading import Evil
from tokbench.__main__ import main
from tokbench.errors import WeightsError
from tokbench.weights.loading import read_checkpoint, read_state_dict
from tokbench.weights.trust import TrustedFile, is_trusted, named, note, noting, trusting
from tokbench_adapters import llamagen

COMMIT = "d" * 40
REPO, FILE = "FoundationVision/LlamaGen", "vq_ds16_c2i.pt"
TINY = replace(llamagen.DS16, channels=32, latent_channels=16, n_blocks=1)
"""The card of llamagen/ds16_c2i stays true of it."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"weights")
    return path


def test_nothing_is_trusted_unless_it_is_named(file: Path, tmp_path: Path) -> None:
    assert named() == ()
    assert not is_trusted(file)
    with trusting(file):
        assert is_trusted(file)
        assert is_trusted(tmp_path / "." / "model.ckpt")
        with trusting("another.ckpt"):
            assert named() == (str(file), "another.ckpt")
            assert is_trusted(file)
    assert not is_trusted(file)


def test_a_link_and_what_it_leads_to_are_one_file(file: Path, tmp_path: Path) -> None:
    """As in the hub's cache, whose snapshots are links to blobs."""
    link = tmp_path / "link.ckpt"
    link.symlink_to(file)
    with trusting(link):
        assert is_trusted(file)
    with trusting(file):
        assert is_trusted(link)


def test_equal_content_under_another_name_is_another_file(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(file.read_bytes())
    with trusting(copy, tmp_path, "", "~nobody_of_that_name/model.ckpt"):
        assert not is_trusted(file)


def test_a_digest_names_the_bytes_wherever_they_lie(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(b"weights")
    with trusting(sha256(b"weights")):
        assert is_trusted(file)
        assert is_trusted(copy)
        file.write_bytes(b"others!")
        assert not is_trusted(file), "the name is that of the bytes"


def test_the_variable_holds_a_list(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKBENCH_TRUST", os.pathsep.join(["~/first.pt", str(file), ""]))
    assert named() == ("~/first.pt", str(file))
    assert is_trusted(file)
    monkeypatch.setenv("TOKBENCH_TRUST", "~/first.pt")
    assert not is_trusted(file)
    first = Path("~/first.pt").expanduser()
    first.write_bytes(b"1")
    assert is_trusted(first)


def test_trust_is_of_one_thread(file: Path) -> None:
    seen: list[bool] = []
    with trusting(file):
        thread = threading.Thread(target=lambda: seen.append(is_trusted(file)))
        thread.start()
        thread.join()
    assert seen == [False]


def test_what_ran_is_noted_once_and_for_all_that_are_listening(file: Path) -> None:
    with noting() as outer:
        with noting() as inner:
            note(file)
            note(file)
        note(file)
    assert inner == outer == [TrustedFile(name="model.ckpt", sha256=sha256(b"weights"))]
    note(file)
    assert len(outer) == 1


def test_a_trusted_file_without_code_is_read_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "tensors.pt"
    torch.save({"a": torch.ones(2)}, path)
    with noting() as ran, trusting(path):
        assert read_state_dict(path, "state_dict")["a"].tolist() == [1, 1]
    assert ran == []


class Missing:
    """Pickles as a class of a module that is not here."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _pretend, ()


def _pretend() -> None:
    raise AssertionError("only its name is pickled")


def test_code_that_cannot_run_is_told(tmp_path: Path) -> None:
    path, legacy = tmp_path / "trainer.ckpt", tmp_path / "legacy.ckpt"
    torch.save({"hook": Missing()}, path)
    torch.save({"hook": Missing()}, legacy, _use_new_zipfile_serialization=False)
    ours = __name__.encode()
    theirs = b"trainer_that_is_absent_".ljust(len(ours), b"x")[: len(ours)]
    legacy.write_bytes(legacy.read_bytes().replace(ours, theirs))
    with trusting(legacy), pytest.raises(WeightsError, match=rf"needs the module {theirs.decode()}, which is not"):
        read_checkpoint(legacy)
    with trusting(path), pytest.raises(WeightsError, match="its pickled code failed: AssertionError: only its name"):
        read_checkpoint(path)


def test_numpy_in_a_pickle_is_named_like_any_other_import(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "scores.pt"
    torch.save({"state_dict": {"a": torch.ones(1)}, "best": np.float64(0.5)}, path)
    with pytest.raises(WeightsError, match=r"would run code: it imports numpy.*--trust"):
        read_checkpoint(path)
    with trusting(path):
        assert read_checkpoint(path)["best"] == 0.5


def checkpoint(marker: Path) -> bytes:
    """A seeded LlamaGen tokenizer in a trainer's pickle that makes a folder when it is read."""
    state = dict(seeded_checkpoint(TINY))
    # A random network paints far outside [0, 1], which a run refuses.
    state["decoder.conv_out.weight"] = state["decoder.conv_out.weight"] * 0.1
    file = io.BytesIO()
    torch.save({"model": state, "hook": Evil(marker)}, file)
    return file.getvalue()


def test_from_the_command_line(
    server: Server,
    home: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Downloaded, refused with the reason, run when trusted, and the run says whose code it was."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setitem(llamagen.VARIANTS, "ds16_c2i", TINY)
    marker = tmp_path / "ran"
    content = checkpoint(marker)
    put_on_hub(server, REPO, FILE, content, commit=COMMIT)

    def run(*more: str) -> int:
        where = ["--task", "folder", "--data", str(photos), "--size", "64", "--limit", "1", "--out", str(tmp_path)]
        what = ["--tokenizer", "llamagen", "--metrics", "psnr", "--no-report", "--device", "cpu"]
        return main(["run", *what, *where, *more])

    assert run() == 1
    message = capsys.readouterr().err
    assert not marker.exists(), "it ran"
    assert f"is refused: reading it would run code: it imports {os.name}.mkdir" in message
    stored = home / ".cache/huggingface/hub/models--FoundationVision--LlamaGen/snapshots" / COMMIT / FILE
    (typed,) = re.findall(r"--trust (\S+),", message)
    assert Path(typed) == stored
    assert f"TOKBENCH_TRUST={stored}" in message

    other = tmp_path / "other.pt"
    other.write_bytes(content)
    assert run("--trust", str(other)) == 1
    assert f"what is trusted now is another file: {other}" in capsys.readouterr().err
    assert not marker.exists(), "it ran"

    assert run("--trust", str(other), "--trust", typed) == 0
    assert marker.is_dir()
    (path,) = tmp_path.rglob("result.json")
    card = json.loads(path.read_text())["spec"]["tokenizer"]
    assert card["weights"] == [[FILE, sha256(content)]]
    assert card["notes"][-1] == (
        f"The code in {FILE} (sha256 {sha256(content)}) was let run: whoever measured trusted that very file."
    )

    marker.rmdir()
    assert run() == 1, "the switch is of one command"
    assert not marker.exists(), "it ran"
    monkeypatch.setenv("TOKBENCH_TRUST", sha256(content))
    assert run() == 0
    assert marker.is_dir()


@pytest.mark.parametrize("command", ["run", "sweep", "check", "show", "doctor"])
def test_every_command_that_loads_a_tokenizer_has_the_switch(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "--trust FILE" in capsys.readouterr().out
