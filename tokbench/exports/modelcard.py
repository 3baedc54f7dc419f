"""Model-card evaluation metadata: the ``model-index`` that model hubs read from a card's front matter."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from tokbench.errors import UsageError
from tokbench.results import RunResult, Value

TASK_TYPE = "image-to-image"  # the hub's name for it; tokbench's own is the task's name


def model_index(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The structure of ``huggingface_hub.eval_results_to_model_index``, without its empty fields.

    One entry a run: the data set is the task's manifest, its revision the manifest's digest, its configuration the task
    and version. Values that are not ``ok`` and costs, which belong to a machine, are left out.

    Raises:
        UsageError: several tokenizers (a card is of one), the same task twice, an incomplete run, or nothing measured.
    """
    names = list(dict.fromkeys(result.spec.tokenizer.name for result in results))
    if len(names) != 1:
        raise UsageError(f"a model card is of one model, these runs are of {', '.join(names) or 'none'}")
    for result in results:
        if result.status != "complete" or result.counts.get("failed"):
            raise UsageError(
                f"the run of {result.spec.tokenizer.name} on {result.spec.task['name']} is not complete "
                f"({result.reason or 'samples failed'}); a model card states whole runs only"
            )
    entries = [_entry(result, keys) for result in results]
    places = [(entry["dataset"]["config"], entry["dataset"]["revision"]) for entry in entries]
    if len(set(places)) < len(places):
        raise UsageError("two of these runs are of the same task and data; pass one of them")
    if not any(entry["metrics"] for entry in entries):
        raise UsageError("these runs have no measured value to export")
    return [{"name": names[0], "results": [entry for entry in entries if entry["metrics"]]}]


def to_front_matter(results: Sequence[RunResult], *, keys: Sequence[str] = ()) -> str:
    """The metadata as a card's YAML front matter, to be put at its beginning or merged into it."""
    lines = ["---", "model-index:", *_yaml(model_index(results, keys=keys), ""), "---", ""]
    return "\n".join(lines)


def _entry(result: RunResult, keys: Sequence[str]) -> dict[str, Any]:
    task, manifest = result.spec.task, result.manifest
    values = [result.values[key] for key in keys or result.values if key in result.values]
    return {
        "task": {"type": TASK_TYPE, "name": "Image reconstruction"},
        "dataset": {
            "name": str(task["title"]),
            "type": str(manifest["name"]),
            "config": f"{task['name']}-v{task['version']}",
            "split": "test",
            "revision": result.spec.manifest_digest,
        },
        "metrics": [_metric(value) for value in values if value.status == "ok" and value.kind != "cost"],
        "source": {
            "name": f"tokbench {result.environment.get('tokbench', '')}".strip(),
            "url": "https://arxiv.org/abs/2505.18142",
        },
    }


def _metric(value: Value) -> dict[str, Any]:
    unit = f" ({value.unit})" if value.unit else ""
    branch = f", {value.branch}" if value.branch else ""
    arguments: dict[str, Any] = {"version": value.version, "n": value.n, "better": value.better}
    if value.ci95 is not None:
        arguments["ci95"] = list(value.ci95)
    return {"type": value.key, "value": value.value, "name": f"{value.title}{unit}{branch}", "args": arguments}


def _yaml(node: Any, indent: str) -> Iterator[str]:
    """Block YAML. Texts and keys are written as JSON strings, which YAML reads alike and nothing can break out of."""
    if isinstance(node, dict):
        for key, item in node.items():
            if isinstance(item, dict | list) and item:
                yield f"{indent}{_scalar(key)}:"
                yield from _yaml(item, indent + "  ")
            else:
                yield f"{indent}{_scalar(key)}: {_scalar(item)}"
        return
    for item in node:
        if isinstance(item, dict):
            first, *rest = _yaml(item, indent + "  ")
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_scalar(item)}"


def _scalar(value: Any) -> str:
    if (
        isinstance(value, str)
        and value.isidentifier()
        and value.lower() not in {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
    ):
        return value
    text = json.dumps(value, allow_nan=False)
    # YAML 1.1 wants a point in a number with an exponent, or takes it for text.
    if isinstance(value, float) and "e" in text and "." not in text:
        return text.replace("e", ".0e")
    return text
