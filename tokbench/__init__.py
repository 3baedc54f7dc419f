"""tokbench: the benchmark suite for visual tokenizers.

>>> import tokbench
>>> result = tokbench.evaluate("lbg", task="quick", metrics="all")  # doctest: +SKIP
>>> result["psnr"]  # doctest: +SKIP

Importing this package is light: torch is imported when something is loaded or measured.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokbench.branches import Branch
    from tokbench.cards import MetricCard, TokenizerCard
    from tokbench.contracts import Tokenizer
    from tokbench.encodings import BitCodes, Latents, Payloads, Tokens, TokenStream
    from tokbench.errors import TokbenchError
    from tokbench.evaluation import evaluate, score
    from tokbench.results import Record, RunResult, Value
    from tokbench.runfolder import read_records, read_result
    from tokbench.samples import Manifest, Region, Sample
    from tokbench.tasks.task import Task
    from tokbench.tokenizers import load_tokenizer
    from tokbench.wrapping import wrap

_HOME = {
    "BitCodes": "encodings",
    "Branch": "branches",
    "Latents": "encodings",
    "Manifest": "samples",
    "MetricCard": "cards",
    "Payloads": "encodings",
    "Record": "results",
    "Region": "samples",
    "RunResult": "results",
    "Sample": "samples",
    "Task": "tasks.task",
    "TokbenchError": "errors",
    "TokenStream": "encodings",
    "Tokenizer": "contracts",
    "TokenizerCard": "cards",
    "Tokens": "encodings",
    "Value": "results",
    "evaluate": "evaluation",
    "load_tokenizer": "tokenizers",
    "read_records": "runfolder",
    "read_result": "runfolder",
    "score": "evaluation",
    "wrap": "wrapping",
}

__all__ = [
    "BitCodes",
    "Branch",
    "Latents",
    "Manifest",
    "MetricCard",
    "Payloads",
    "Record",
    "Region",
    "RunResult",
    "Sample",
    "Task",
    "TokbenchError",
    "TokenStream",
    "Tokenizer",
    "TokenizerCard",
    "Tokens",
    "Value",
    "evaluate",
    "load_tokenizer",
    "read_records",
    "read_result",
    "score",
    "wrap",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tokbench' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"tokbench.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
