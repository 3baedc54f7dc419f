"""A program that stays: started once with its weights, asked a line of JSON at a time, answering on marked lines.

A request is one line, ``{"id": 3, "do": "encode", "input": FOLDER, "output": FOLDER}``; its answer is a line that
begins with ``@tokbench``: ``{"id": 3}`` or ``{"id": 3, "error": TEXT}``. All other lines are the program's own talk and
go to the log.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import subprocess
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tokbench.errors import BadOutputError, TokenizerError
from tokbench_adapters._external.description import Program
from tokbench_adapters._external.process import GRACE_S, Workplace, describe_exit, end, start

PROTOCOL = 1
MARK = b"@tokbench "
STRIKES = 3
"""Failures in a row, with no batch decoded between them, after which the program is not started again."""


class PipeProgram:
    """Calls are one at a time, from any thread. A program that died is started again by the next call, to a limit."""

    def __init__(self, name: str, program: Program, environment: Mapping[str, str]) -> None:
        self._name = name
        self._program = program
        self._environment = environment
        self._place = Workplace(program)
        self._lock = threading.RLock()
        self._strikes = 0
        self._number = 0
        self._live: _Live | None = None
        with self._lock:
            self._live = self._start()

    @property
    def about(self) -> Mapping[str, Any]:
        """What the program said of itself when it started."""
        return {} if self._live is None else self._live.about

    def exchange(self) -> Any:
        """See :meth:`Workplace.exchange`."""
        return self._place.exchange()

    def run(self, task: str, source: Path, target: Path) -> None:
        """Have ``encode``, ``decode`` or ``codebooks`` done, from one folder into the other.

        Raises:
            TokenizerError: it raised, died, or did not answer in time; with what it wrote last.
            BadOutputError: its answer does not follow the protocol.
        """
        with self._lock:
            if self._live is None:
                if self._strikes >= STRIKES:
                    raise TokenizerError(
                        f"{self._name}: the program failed {self._strikes} times in a row and is not started again; "
                        "the first failures say why"
                    )
                self._live = self._start()
            request = {"do": task, "input": str(source), "output": str(target)}
            reply = self._ask(self._live, request, timeout_s=self._program.timeout_s, doing=task)
            if error := reply.get("error"):
                raise TokenizerError(f"{self._name}: {task} failed in the program: {error}")
            if task == "decode":
                self._strikes = 0

    def close(self) -> None:
        """Hang up and wait until the program and its children are gone; a later call starts it again."""
        with self._lock:
            if self._live is not None:
                self._live.finish()
                self._live = None

    def _start(self) -> _Live:
        self._place.begin()
        live = _Live(self._program, self._environment, self._place.log)
        weakref.finalize(self, live.finish)
        timeout_s = self._program.start_timeout_s
        live.about = self._ask(live, {"do": "hello", "protocol": PROTOCOL}, timeout_s=timeout_s, doing="start")
        if live.about.get("protocol") != PROTOCOL:
            live.finish(grace_s=0)
            spoken = live.about.get("protocol")
            raise TokenizerError(
                f"{self._name}: the program speaks protocol {spoken}, this tokbench {PROTOCOL}; give it the "
                "tokbench_external.py that `tokbench external init` writes"
            )
        return live

    def _ask(self, live: _Live, request: dict[str, Any], *, timeout_s: float, doing: str) -> dict[str, Any]:
        """The answer to one request; whatever goes wrong, the program is ended, since nothing is known of its state."""
        self._number += 1
        try:
            return live.ask({"id": self._number, **request}, timeout_s)
        except BaseException as err:
            self._live = None
            self._strikes += 1
            code = live.process.poll() if isinstance(err, _NoAnswerError) else None
            live.finish(grace_s=0)
            if not isinstance(err, _NoAnswerError):
                raise
            what = f"{self._name}: `{shlex.join(self._program.serve)}`"
            why = f"ended with {describe_exit(code)}" if err.is_death and code is not None else str(err)
            kind = BadOutputError if err.is_malformed else TokenizerError
            raise kind(f"{what} {why}, asked to {doing}.{self._place.last_lines()}") from None


class _NoAnswerError(Exception):
    """No usable answer came."""

    def __init__(self, why: str, *, is_death: bool = False, is_malformed: bool = False) -> None:
        super().__init__(why)
        self.is_death = is_death
        self.is_malformed = is_malformed


class _Live:
    """One start of the program. Holds nothing of whoever asks, so that these can be collected."""

    def __init__(self, program: Program, environment: Mapping[str, str], log: Path) -> None:
        self.about: Mapping[str, Any] = {}
        self.process = start(
            program.serve, program, environment=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, log=log
        )
        self._owner = os.getpid()
        self._is_over = False
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=_listen, args=(self.process.stdout, self._lines, log), daemon=True)
        self._reader.start()

    def ask(self, request: Mapping[str, Any], timeout_s: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:  # it hung up; its exit code and last lines say why
            return self._gone()
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise _NoAnswerError(f"did not answer within {timeout_s:g} s") from None
        if line is None:
            return self._gone()
        try:
            reply = json.loads(line)
        except ValueError:
            reply = None
        if not isinstance(reply, dict) or reply.get("id") != request["id"]:
            raise _NoAnswerError(
                f"answered {line.decode(errors='replace').strip()[:200]!r}, expected JSON with the id {request['id']}",
                is_malformed=True,
            )
        return reply

    def finish(self, *, grace_s: float = GRACE_S) -> None:
        """Once: later its process number may be another's."""
        if not self._is_over:
            self._is_over = True
            end(self.process, self._owner, grace_s=grace_s)

    def _gone(self) -> dict[str, Any]:
        try:
            self.process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            raise _NoAnswerError("closed its output without ending") from None
        raise _NoAnswerError("ended", is_death=True)


def _listen(stream: IO[bytes], lines: queue.SimpleQueue[bytes | None], log: Path) -> None:
    """Answers to the queue, everything else to the log, until the program hangs up."""
    with stream, log.open("ab") as talk:
        for line in stream:
            if line.startswith(MARK):
                lines.put(line.removeprefix(MARK))
            elif line.strip():
                talk.write(line)
                talk.flush()
    lines.put(None)
