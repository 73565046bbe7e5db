"""The house rules: what imports what, and how long things may get."""

import ast
from pathlib import Path

import pytest
from layers import CORE, ENTER_UPPER, KNOW_TORCH, LEAD, LOAD_TORCH, ROOMS, UPPER

PACKAGE = Path(__file__).resolve().parents[1] / "moco_dl"
FILES = sorted(PACKAGE.rglob("*.py"))
LISTED = CORE | {
    f"{room}.{name}": allowed for room, modules in ROOMS.items() for name, allowed in modules.items()
}
TORCH_FREE = [name for name in LISTED if name not in KNOW_TORCH | LOAD_TORCH]


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def path_of(name: str) -> Path:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


def module(name: str) -> str:
    """The module, or the room itself, that an imported name such as moco_dl.report.chart.ticks is of."""
    parts = name.split(".")[1:]
    while parts and not (path_of(".".join(parts)).exists() or PACKAGE.joinpath(*parts, "__init__.py").exists()):
        parts.pop()
    return ".".join(parts)


def ours(tree: ast.AST) -> set[str]:
    found = {module(name) for name in imports(tree) if name.split(".")[0] == "moco_dl"} - {""}
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)}


def tree_of(name: str) -> ast.Module:
    return ast.parse(path_of(name).read_text(encoding="utf-8"))


def without_types(tree: ast.Module) -> ast.Module:
    """A module without what only its annotations need."""
    return ast.Module(
        [s for s in tree.body if not (isinstance(s, ast.If) and ast.unparse(s.test) == "TYPE_CHECKING")], []
    )


def loaded(name: str) -> set[str]:
    """What importing a module of ours imports, directly or not; imports inside functions wait."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        path = path_of(one) if path_of(one).exists() else path_of(f"{one}.__init__")
        statements = [
            s
            for s in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(s, ast.Import | ast.ImportFrom)
        ]
        names = imports(ast.Module(statements, []))
        new = {module(other) if other.split(".")[0] == "moco_dl" else other for other in names} - found - {""}
        waiting += [other for other in new if path_of(other).exists() or (PACKAGE / other).is_dir()]
        found |= new
    return found


@pytest.mark.parametrize("name", LISTED)
def test_imports_point_one_way(name):
    room = name.rpartition(".")[0]
    allowed = {room + other if other.startswith(".") else other for other in LISTED[name]}
    assert ours(tree_of(name)) == allowed  # what is no longer imported is no longer allowed


def test_imports_never_go_round():
    below = {name: ours(without_types(tree_of(name))) for name in {*LISTED, *LEAD}}
    while below:
        lowest = {name for name, others in below.items() if not others & below.keys()}
        assert lowest, f"round: {sorted(below)}"
        below = {name: others for name, others in below.items() if name not in lowest}


def test_every_module_of_the_core_is_listed():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"} == CORE.keys() | LEAD


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_room_is_listed(room):
    assert {path.stem for path in (PACKAGE / room).glob("*.py")} == set(ROOMS[room])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_core_does_not_build_on_what_stands_above_it(path):
    above = UPPER | {"cli"}
    if path.parent.name not in above and path not in map(path_of, [*ENTER_UPPER, "__main__"]):
        assert not {name.split(".")[0] for name in ours(ast.parse(path.read_text(encoding="utf-8")))} & above


def test_no_folder_is_forgotten():
    folders = {path.parent.name for path in FILES if path.parent != PACKAGE}
    assert folders == {*ROOMS, "cli"}


@pytest.mark.parametrize("name", TORCH_FREE)
def test_only_what_computes_with_torch_knows_it(name):
    assert not {i for i in imports(tree_of(name)) | loaded(name) if i.split(".")[0] == "torch"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_the_command_line_prints_or_exits(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if path.parent.name != "cli":
        assert not called & {"print", "exit", "sys.exit", "os._exit", "sys.stdout.write", "sys.stderr.write"}
        assert "click" not in imports(tree)


def test_grid_sample_stands_in_one_place():
    assert [path.stem for path in FILES if "F.grid_sample(" in path.read_text(encoding="utf-8")] == ["warp"]


def test_size_of_files_functions_and_signatures():
    bodies = []
    for path in FILES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 250, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                bodies.append(node.end_lineno - node.lineno + 1)
                arguments = [a for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
                count = len(arguments) + len(node.args.kwonlyargs)
                assert count <= 6, f"{path.name}: {node.name} takes {count} arguments"
                assert bodies[-1] <= 45, f"{path.name}: {node.name} has {bodies[-1]} lines"
    assert sum(length <= 35 for length in bodies) >= 0.95 * len(bodies)


def test_public_functions_are_documented():
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_page_is_made_without_matplotlib():
    for name in ROOMS["report"].keys() - {"poster"}:
        assert not any("matplotlib" in i for i in imports(tree_of(f"report.{name}")))


def test_script_of_the_page_stays_small():
    script = (PACKAGE / "report" / "assets" / "report.js").read_text(encoding="utf-8")
    assert script.startswith('"use strict";') and len(script.splitlines()) <= 300
