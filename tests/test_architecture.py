"""The shape of the house: imports run one way, the package stays light, and public names are as declared."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tokbench

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGE = REPOSITORY / "tokbench"

# A module may import from its own layer's package and from any layer above it in this list, never from one below.
LAYERS = [
    ["errors"],
    ["cards", "estimates", "samples", "encodings"],
    ["contracts", "names", "once", "quantisers", "results", "seeds", "stats", "tasks.task", "wrapping"],
    [
        "aggregation",
        "cache",
        "rate_distortion",
        "requirements",
        "environment",
        "registry",
        "schema",
        "images",
    ],
    ["runfolder", "tasks.catalogue", "tasks.stored", "weights"],
    ["networks", "curves", "published", "submissions.form"],
    ["placement", "data", "branches", "engines", "families", "tokenizers", "report", "schemas"],
    ["perturbation", "exports"],
    ["metrics", "comparison"],
    ["runner", "gate", "leaderboard"],
    ["evaluation", "diagnosis", "curve_comparison"],
    ["rerun", "sweep", "submissions", "trial"],
    ["cli"],
    ["__main__"],
]
# These only read files: they must work where the tokenizer's and metrics' packages are not installed.
READERS = ("report", "comparison", "gate", "leaderboard", "exports", "published", "schemas", "submissions.form")
READERS_MAY_NOT_USE = ("metrics", "runner", "tokenizers", "wrapping", "placement", "data", "evaluation")


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


def layer(module: str) -> int:
    for rank, names in enumerate(LAYERS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return rank
    raise AssertionError(f"tokbench.{module} is in no layer: add it to LAYERS where it belongs")


def imports(path: Path) -> set[str]:
    """Modules of tokbench that a file imports at run time, wherever in the file; type-only imports do not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tokbench."):
            found.add(node.module.removeprefix("tokbench."))
        elif isinstance(node, ast.Import):
            found |= {name.name.removeprefix("tokbench.") for name in node.names if name.name.startswith("tokbench.")}
    return found


@pytest.mark.parametrize("module", [name for name in modules() if name and name != "tasks"])
def test_imports_run_one_way(module: str) -> None:
    path = modules()[module]
    if path.name == "__init__.py":
        assert not imports(path), "package __init__ files hold a docstring only"
        return
    for other in imports(path):
        same_room = other.partition(".")[0] == module.partition(".")[0]
        assert layer(other) < layer(module) or same_room, f"tokbench.{module} imports tokbench.{other} from below"


@pytest.mark.parametrize("module", [name for name in modules() if name.startswith(READERS)])
def test_readers_need_no_measuring_code(module: str) -> None:
    for other in imports(modules()[module]):
        assert not other.startswith(READERS_MAY_NOT_USE), f"tokbench.{module} imports tokbench.{other}"


def test_adapters_see_only_the_contracts() -> None:
    allowed = {"cards", "contracts", "encodings", "errors", "images", "names", "quantisers", "weights"}
    for path in sorted((REPOSITORY / "adapters").rglob("*.py")):
        others = {name for name in imports(path) if name.partition(".")[0] not in allowed}
        assert not others, f"{path.name} imports {others}"


def test_the_core_never_imports_the_adapters_by_name() -> None:
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [name.name for name in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.startswith("tokbench_adapters") for name in names), module


def heavy_after_importing(names: list[str]) -> str:
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\n"
    code += "print(*sorted({'torch', 'pandas', 'matplotlib', 'skimage'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_every_module_imports_without_torch() -> None:
    names = ["tokbench"] + [f"tokbench.{name}" for name in modules() if name and name != "__main__"]
    names += [f"tokbench_adapters.{path.stem}" for path in (REPOSITORY / "adapters").glob("*.py")]
    assert heavy_after_importing([name.removesuffix(".__init__") for name in names]) == ""


def test_that_check_can_fail() -> None:
    assert heavy_after_importing(["torch"]) == "torch"


def test_public_names_are_sorted_complete_and_documented() -> None:
    assert tokbench.__all__ == sorted(tokbench.__all__)
    for name in tokbench.__all__:
        assert getattr(tokbench, name).__doc__ or name in ("Encoding",), f"tokbench.{name} has no docstring"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tokbench.nothing  # noqa: B018


def test_the_wheel_holds_every_package() -> None:
    setup = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = setup["package-dir"]
    declared = set(setup["packages"])
    on_disk = set()
    for name, folder in places.items():
        root = REPOSITORY / folder
        for init in root.rglob("__init__.py"):
            on_disk.add(".".join([name, *init.parent.relative_to(root).parts]))
    assert declared == on_disk


def test_adapters_are_one_package_under_one_name() -> None:
    import tokbench_adapters
    from tokbench.registry import tokenizers

    assert tokenizers().items
    assert Path(tokbench_adapters.__file__ or "").parent.name in ("adapters", "tokbench_adapters")
    assert "adapters" not in sys.modules


def test_modules_stay_readable() -> None:
    """Over 300 lines a module wants splitting."""
    long = {name: n for name, path in modules().items() if (n := len(path.read_text().splitlines())) > 320}
    assert not long
