"""Programs that die, hang and fork: told in one message, and nothing of them is left."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.adapters.external_cases import SCRIPT, describe, images, in_process, is_running, opened
from tokbench.errors import BadOutputError, TokenizerError, UsageError
from tokbench.evaluation import evaluate
from tokbench.tasks.catalogue import folder_task
from tokbench.wrapping import Wrapped

REPOSITORY = Path(__file__).resolve().parents[2]


def pid_of(tokenizer: Wrapped) -> int:
    return int(tokenizer.model._program._live.process.pid)


def wait_until(is_so: Callable[[], bool], *, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def pids_in(path: Path) -> list[int]:
    return [int(word) for word in path.read_text().split()] if path.exists() else []


def spawning(folder: Path, wrong: str = "spawns", **run: object) -> tuple[Wrapped, Path]:
    pids = folder / "pids"
    return opened(folder, "tokens", wrong, run={"environment": {"TOY_PIDS": str(pids)}, **run}), pids


def program(folder: Path, source: str, **run: object) -> Wrapped:
    """The toy of tokens, run by another script."""
    (folder / "program.py").write_text(source)
    return opened(folder, "tokens", run={"command": ["{python}", "program.py"], **run})


def test_a_module_that_is_missing_there(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError) as caught:
        program(tmp_path, "import upstream_package_that_is_not_there\n")
    message = str(caught.value)
    assert "external/tokens: `" in message
    assert "program.py` ended with exit code 1, asked to start." in message
    assert "\n    ModuleNotFoundError: No module named 'upstream_package_that_is_not_there'" in message
    assert message.endswith("Is the command's first word the Python of the tokenizer's own environment?")


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"`no-such-python x.py` cannot be started in .*: No such file"):
        opened(tmp_path, "tokens", run={"command": ["no-such-python", "x.py"]})


def test_a_program_that_does_not_serve(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"ended with exit code 0, asked to start.\nThe last it wrote:\n    done"):
        program(tmp_path, "print('done')\n")


def test_a_program_that_loads_for_ever(tmp_path: Path) -> None:
    source = "import time\nprint('loading', flush=True)\ntime.sleep(600)\n"
    with pytest.raises(TokenizerError, match=r"did not answer within 1 s, asked to start.\n.*\n    loading"):
        program(tmp_path, source, start_timeout_s=1)


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ("@tokbench not json", BadOutputError, "answered 'not json', expected JSON with the id 1"),
        ('@tokbench {"id": 9, "protocol": 1}', BadOutputError, "expected JSON with the id 1"),
        ("@tokbench [1]", BadOutputError, "answered '.1.', expected JSON"),
        ('@tokbench {"id": 1, "protocol": 2}', TokenizerError, "speaks protocol 2, this tokbench 1"),
    ],
)
def test_answers_that_follow_another_protocol(answer: str, kind: type, message: str, tmp_path: Path) -> None:
    source = f"import time\ninput()\nprint('''{answer}''', flush=True)\ntime.sleep(600)\n"
    with pytest.raises(kind, match=message):
        program(tmp_path, source)


def test_a_program_that_dies_is_told_with_its_last_lines(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "tokens", "dies")
    with pytest.raises(TokenizerError) as caught:
        tokenizer.encode(images())
    assert "external_toys.py tokens dies` ended with exit code 7, asked to encode." in str(caught.value)
    assert str(caught.value).endswith("\n    about to die")


def test_a_signal_is_named(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "tokens", "hangs", run={"timeout_s": 30})
    os.kill(pid_of(tokenizer), signal.SIGSEGV)
    with pytest.raises(TokenizerError, match="ended with signal SIGSEGV"):
        tokenizer.encode(images())


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    tokenizer, pids = spawning(tmp_path, "spawns_and_hangs", timeout_s=2)
    with pytest.raises(TokenizerError, match="did not answer within 2 s, asked to encode"):
        tokenizer.encode(images())
    assert len(pids_in(pids)) == 2
    assert wait_until(lambda: not any(map(is_running, pids_in(pids))))


def test_a_program_that_dies_of_one_batch_is_started_again(tmp_path: Path, photos: Path) -> None:
    tokenizer = opened(tmp_path, "tokens", "dies_of_many")
    first = pid_of(tokenizer)
    result = evaluate(tokenizer, folder_task(size_px=64), "psnr", data=photos, batch_size=4, limit=4)
    assert result.counts == {"ok": 4, "failed": 0}
    assert pid_of(tokenizer) != first
    expected = evaluate(in_process("tokens"), folder_task(size_px=64), "psnr", data=photos, limit=4)
    assert result["psnr"] == expected["psnr"]


def test_one_that_dies_of_everything_is_given_up(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    source = (
        f"import os, tokbench_external\nopen({str(starts)!r}, 'a').write('x')\n"
        "def encode(images): return images[:, 0].astype(int)\n"
        "def decode(codes): os._exit(3)\n"
        "tokbench_external.serve(encode=encode, decode=decode)\n"
    )
    tokenizer = program(tmp_path, source)
    for number in range(5):
        if number < 3:
            encoding = tokenizer.encode(images())
            with pytest.raises(TokenizerError, match="exit code 3, asked to decode"):
                tokenizer.decode(encoding, seeds=[0] * 3)
        else:
            with pytest.raises(TokenizerError, match="failed 3 times in a row and is not started again"):
                tokenizer.encode(images())
    assert starts.read_text() == "xxx"


def test_an_object_that_is_collected_takes_its_program_along(tmp_path: Path) -> None:
    tokenizer, pids = spawning(tmp_path)
    tokenizer.encode(images())
    assert len(pids_in(pids)) == 2
    assert all(map(is_running, pids_in(pids)))
    del tokenizer
    gc.collect()
    assert wait_until(lambda: not any(map(is_running, pids_in(pids))))


def test_close_ends_it_and_the_next_call_starts_another(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "tokens")
    first = pid_of(tokenizer)
    tokenizer.model.close()
    assert not is_running(first)
    assert tokenizer.encode(images()).bits().tolist() == in_process("tokens").encode(images()).bits().tolist()
    assert pid_of(tokenizer) != first


def test_a_fork_of_ours_does_not_end_it(tmp_path: Path) -> None:
    tokenizer = opened(tmp_path, "tokens")
    live = tokenizer.model._program._live
    live._owner -= 1  # as if this process were a child of the one that started it
    live.finish()
    assert is_running(live.process.pid)
    live._owner, live._is_over = os.getpid(), False
    live.finish()
    assert not is_running(live.process.pid)


def run_cli(description: Path, photos: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tokbench", "run", "--tokenizer", f"external:{description}", "--task", "folder"]
    options = ["--data", str(photos), "--size", "64", "--metrics", "psnr,bpp", "--out", str(out), "--no-report", *more]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_run_leaves_nothing_behind(how: signal.Signals, tmp_path: Path, photos: Path) -> None:
    pids = tmp_path / "pids"
    wrong = "spawns" if how == signal.SIGKILL else "spawns_and_hangs"
    # A child of a killed tokbench's program is its own affair; the program itself must go.
    slow = describe(tmp_path, "tokens", wrong, run={"environment": {"TOY_PIDS": str(pids)}, "scratch": "scratch"})
    running = run_cli(slow, photos, tmp_path / "runs", "--batch-size", "1")
    assert wait_until(lambda: len(pids_in(pids)) >= 2, seconds=60)
    os.kill(running.pid, how)
    out, err = running.communicate(timeout=60)
    ours = pids_in(pids)[::2] if how == signal.SIGKILL else pids_in(pids)
    try:
        assert wait_until(lambda: not any(map(is_running, ours))), (out, err)
        assert running.returncode == (-signal.SIGKILL if how == signal.SIGKILL else 130)
        # Who is killed outright leaves the arrays of one batch.
        assert how == signal.SIGKILL or not list((tmp_path / "scratch").iterdir())
    finally:
        for pid in filter(is_running, pids_in(pids)):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_program_at_work_notices_that_tokbench_is_gone(tmp_path: Path, photos: Path) -> None:
    """After five seconds, in which it might finish."""
    pids = tmp_path / "pids"
    run = {"environment": {"TOY_PIDS": str(pids)}, "scratch": "scratch"}
    running = run_cli(describe(tmp_path, "tokens", "spawns_and_hangs", run=run), photos, tmp_path / "runs")
    assert wait_until(lambda: len(pids_in(pids)) >= 2, seconds=60)
    running.kill()
    running.communicate()
    program_pid, child_pid = pids_in(pids)
    try:
        assert wait_until(lambda: not is_running(program_pid))
    finally:
        os.kill(child_pid, signal.SIGKILL)


def test_the_toys_are_a_program_of_numpy_alone() -> None:
    """So that what the tests show holds for an environment without torch and tokbench."""
    code = f"import runpy, sys; runpy.run_path({str(SCRIPT)!r}); print(*{{'torch', 'tokbench'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for key in ("scratch", "log"):
        with pytest.raises(UsageError, match=r"taken.* cannot be written .*; change `scratch` or `log`"):
            opened(tmp_path, "tokens", run={key: "taken/x"})


def test_the_last_lines_are_of_this_start(tmp_path: Path) -> None:
    (tmp_path / "kept.log").write_text("an older run failed\n")
    with pytest.raises(TokenizerError, match=r"exit code 0, asked to start\.\nIt wrote nothing\.$"):
        program(tmp_path, "", log="kept.log")
    assert (tmp_path / "kept.log").read_text() == "an older run failed\n"
