"""The JSON Schemas: what we write fits them, what is damaged does not, and our checker agrees with jsonschema."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.toys import Residual
from tokbench.cli.main import cli
from tokbench.errors import UnknownNameError
from tokbench.evaluation import evaluate
from tokbench.published import read_published, row_to_json
from tokbench.schemas.build import Builder
from tokbench.schemas.check import violations
from tokbench.schemas.documents import names, schema_of
from tokbench.submissions.form import FileFacts, Submission, submission_to_json
from tokbench.tasks.catalogue import folder_task

REPOSITORY = Path(__file__).resolve().parents[2]
VALUES = (None, True, -1, 0, 2.5, 1e300, "", "text", "x" * 5000, [], [1], {}, {"a": 1}, [[]], "sha256:zz")


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> dict[str, list[Any]]:
    """Every kind of file, as a real run with branches, regions-free images and timings writes it."""
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOKBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        result = evaluate(
            Residual(), folder_task(size_px=32), "psnr,ssim,bpp,codebook_usage,encode_s,psnr_word", data=photos,
            lengths=(1,), out=out, limit=4,
        )  # fmt: skip
    folder = Path(str(result.path))
    submission = Submission(
        task="quick", tokenizer="a/b", submitted="2026-01-02T03:04:05Z", packed_with="0.1.0", submitter="x",
        licence="CC0-1.0", command="tokbench run", files={"result.json": FileFacts(bytes=1, sha256=64 * "a")},
        pictures={"photo/a": "pictures/0123456789abcdef.png"},
    )  # fmt: skip
    tables = read_published(REPOSITORY / "results" / "published")

    def rows(name: str) -> list[Any]:
        return [json.loads(line) for line in (folder / name).read_text().splitlines()]

    return {
        "result": [json.loads((folder / "result.json").read_text())],
        "record": rows("records.jsonl"),
        "timing": rows("timings.jsonl"),
        "pictures": [json.loads((folder / "pictures" / "index.json").read_text())],
        "submission": [submission_to_json(submission)],
        "published": [row_to_json(row) for table in tables for row in table.rows],
    }


def test_there_is_a_schema_of_every_document(documents: dict[str, list[Any]]) -> None:
    assert set(documents) == set(names())
    assert all(documents.values())
    with pytest.raises(UnknownNameError, match=r"did you mean result\?"):
        schema_of("results")


@pytest.mark.parametrize("name", names())
def test_what_we_write_fits_its_schema(name: str, documents: dict[str, list[Any]]) -> None:
    for document in documents[name]:
        assert violations(document, schema_of(name)) == []


@pytest.mark.parametrize("name", names())
def test_every_object_is_closed_and_described(name: str) -> None:
    schema = schema_of(name)
    assert schema["$schema"].endswith("2020-12/schema")
    for definition in (schema, *schema.get("$defs", {}).values()):
        assert definition["additionalProperties"] is False
        assert set(definition["required"]) <= set(definition["properties"])


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutated(document: Any, rng: random.Random) -> Any:
    """The document with one place removed, replaced or joined by an unknown field."""
    changed = copy.deepcopy(document)
    path = rng.choice(list(places(changed)))
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    action = rng.choice(["remove", "replace", "replace", "add"])
    if action == "remove":
        del parent[path[-1]]
    elif action == "replace":
        parent[path[-1]] = rng.choice(VALUES)
    elif isinstance(parent, dict):
        parent["unknown_field"] = 1
    return changed


@pytest.mark.parametrize("name", names())
def test_our_checker_agrees_with_jsonschema(name: str, documents: dict[str, list[Any]]) -> None:
    """On hundreds of damaged documents: the same verdict."""
    jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")
    schema = schema_of(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    rng = random.Random(name)
    n_rejected = 0
    for _ in range(300):
        document = mutated(rng.choice(documents[name]), rng)
        ours, theirs = violations(document, schema), list(validator.iter_errors(document))
        assert bool(ours) == bool(theirs), (ours, theirs)
        n_rejected += bool(ours)
    assert n_rejected > 50


@pytest.mark.parametrize(
    ("name", "change", "where"),
    [
        ("result", lambda row: row.pop("spec"), "spec"),
        ("result", lambda row: row.update(status="done"), "status"),
        ("result", lambda row: row["values"]["psnr"].update(value="27"), "values/psnr/value"),
        ("result", lambda row: row["values"]["psnr"].update(ci95=[1.0]), "values/psnr/ci95"),
        ("result", lambda row: row["values"].update({"a b": row["values"]["psnr"]}), "values/a b (its name)"),
        ("result", lambda row: row["spec"]["task"].pop("fit"), "spec/task/fit"),
        ("record", lambda row: row.update(size_px=[1, 2, 3]), "size_px"),
        ("record", lambda row: row["branches"][""].update(clamped=1.5), "branches//clamped"),
        ("record", lambda row: row["branches"][""].update(n_tokens=True), "branches//n_tokens"),
        ("record", lambda row: row["branches"][""].update(n_tokens=1.5), "branches//n_tokens"),
        ("timing", lambda row: row.update(n=0), "n"),
        ("pictures", lambda row: row["samples"][0].update(reference="../x.png"), "samples/0/reference"),
        ("submission", lambda row: row.update(code="http://x"), "code"),
        ("submission", lambda row: row.update(submitter=" "), "submitter"),
        ("published", lambda row: row["values"]["tacc"].pop("mean"), "values/tacc/mean"),
    ],
)
def test_damage_is_found_where_it_is(name: str, change: Any, where: str, documents: dict[str, list[Any]]) -> None:
    document = copy.deepcopy(documents[name][0])
    change(document)
    assert [violation.where for violation in violations(document, schema_of(name))] == [where]


def test_an_unknown_keyword_is_an_error_not_a_pass() -> None:
    with pytest.raises(ValueError, match="multipleOf"):
        violations(1, {"multipleOf": 2})


def test_a_type_no_file_holds_has_no_schema() -> None:
    with pytest.raises(TypeError, match="no JSON Schema"):
        Builder({}).schema(complex)


def test_the_command_prints_them() -> None:
    listed = CliRunner().invoke(cli, ["schema"])
    assert [line.split()[0] for line in listed.output.splitlines()] == list(names())
    assert json.loads(CliRunner().invoke(cli, ["schema", "record"]).output) == schema_of("record")
