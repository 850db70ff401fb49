"""The rules of the house that a reader may rely on: imports point one way, a file is one idea, and says which."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import penstock

PACKAGE = Path(penstock.__file__).parent
ROOT = PACKAGE.parent.parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in MODULES]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
#: ``config`` and ``chat`` stand side by side at the bottom, with ``errors`` below them.
MAY_IMPORT = {
    "errors": set(),
    "config": {"errors"},
    "chat": {"errors"},
    "dialects": {"errors", "chat", "config"},
    "policy": {"errors", "chat", "config"},
    "relay": {"errors", "chat", "config", "dialects", "policy"},
    "observe": {"errors", "chat", "config", "relay"},
    "server": {"errors", "chat", "config", "dialects", "policy", "relay"},
    "simulate": {"dialects"},
    "service": {"errors", "chat", "config", "dialects", "policy", "relay", "server", "observe", "simulate"},
    "cli": {"errors", "chat", "config", "dialects", "policy", "relay", "server", "observe", "service", "simulate"},
    "__main__": {"cli"},
}
#: Decisions and formats wait for nothing: they know no event loop and no HTTP library.
PURE = ("chat", "config", "dialects", "policy")
LOOPS = ("trio", "quart", "quart_trio", "hypercorn", "httpx", "anyio", "asyncio")
LONGEST = 500


def part(path: Path) -> str:
    """The package of the house that a module belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """Everything that a module imports when it runs, by full name; what only a type checker reads is left out."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    names = (name.split(".") for name in imports(path))
    found = {name[1] for name in names if name[0] == "penstock" and len(name) > 1}
    return {name for name in found if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_imports_point_one_way(module: Path) -> None:
    name = part(module)
    if name == "__init__":
        assert not parts_imported(module)
        return
    reversed_arrows = sorted(f"{name} → {other}" for other in parts_imported(module) - MAY_IMPORT[name] - {name})
    assert not reversed_arrows


@pytest.mark.parametrize("name", PURE)
def test_the_pure_parts_name_no_event_loop(name: str) -> None:
    named = {other.partition(".")[0] for path in MODULES if part(path) == name for other in imports(path)}
    assert named.isdisjoint(LOOPS)


def test_the_pure_parts_load_no_event_loop() -> None:
    """What the names do not show: an import that brings one with it."""
    pure = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in MODULES if part(path) in PURE]
    script = f"import sys, {', '.join(pure)}\nprint(*sorted(set({LOOPS!r}) & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_every_part_has_its_rule() -> None:
    assert {part(path) for path in MODULES} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", [*MODULES, *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_grows_past_one_idea(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST


def test_no_two_folders_of_tests_have_a_module_of_the_same_name() -> None:
    """pytest puts each of them on the path: the first that is imported would be everybody's."""
    folders = {path.parent for path in TESTS if path.name.startswith("test_")}
    apart = ("conftest.py", "__main__.py", "__init__.py")
    names = Counter(path.name for path in TESTS if path.parent in folders and path.name not in apart)
    assert [name for name, count in names.items() if count > 1] == []


def undocumented(path: Path) -> Iterator[str]:
    """The module, and public classes with methods of their own: data is said by its fields, a subclass by its base."""
    tree = ast.parse(path.read_text())
    if not ast.get_docstring(tree) and path.name != "__main__.py":
        yield "the module"
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not (node.name.startswith("_") or node.bases or ast.get_docstring(node)):
            methods = [item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            if any(not name.startswith("_") for name in methods):
                yield node.name


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_what_is_public_says_what_it_is(module: Path) -> None:
    assert list(undocumented(module)) == []


def test_every_module_can_be_imported() -> None:
    for path in MODULES:
        if path.name != "__main__.py":
            importlib.import_module(".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts))


#: Promises instead of work, and places that no reader has.
UNWANTED = re.compile(r"\b(TODO|FIXME|XXX|HACK|WIP)\b|/(work|root)/")


@pytest.mark.parametrize(
    "path",
    [path for path in (*MODULES, *TESTS) if path != Path(__file__)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_nothing_is_left_for_later(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if UNWANTED.search(line)] == []
