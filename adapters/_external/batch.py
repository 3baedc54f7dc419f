"""Programs that are run once a batch, from a folder of arrays into another."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokbench.errors import TokenizerError
from tokbench_adapters._external.description import Program
from tokbench_adapters._external.process import Workplace, describe_exit, end, start


class BatchProgram:
    """One command for ``encode`` and one for ``decode``; what they print goes to the log."""

    about: Mapping[str, Any] = {}

    def __init__(self, name: str, program: Program, environment: Mapping[str, str]) -> None:
        self._name = name
        self._program = program
        self._environment = environment
        self._place = Workplace(program)
        self._lock = threading.Lock()  # two copies of the weights may not fit

    def exchange(self) -> Any:
        """See :meth:`Workplace.exchange`."""
        return self._place.exchange()

    def run(self, task: str, source: Path, target: Path) -> None:
        """Run the task's command; errors as :meth:`PipeProgram.run` has them."""
        command = self._program.encode if task == "encode" else self._program.decode
        words = [word.replace("{input}", str(source)).replace("{output}", str(target)) for word in command]
        with self._lock, self._place.log.open("ab") as log:
            self._place.begin()
            process = start(
                words,
                self._program,
                environment=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                log=self._place.log,
            )
            finish = weakref.finalize(self, end, process, os.getpid(), grace_s=0)
            timeout_s = self._program.timeout_s
            try:
                code = process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                why = f"did not end within {timeout_s:g} s"
            else:
                why = f"ended with {describe_exit(code)}" if code else ""
            finally:
                finish()
        if why:
            raise TokenizerError(f"{self._name}: `{shlex.join(words)}` {why}.{self._place.last_lines()}")

    def close(self) -> None:
        """Nothing stays between batches."""
