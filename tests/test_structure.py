"""The house rules: what imports what, and how long things may get."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "moco_dl"
FILES = sorted(PACKAGE.rglob("*.py"))
FIELDS_OF_WORK = {
    "errors": set(),
    "movie": {"errors", "tiff", "hdf5"},
    "tiff": {"errors", "movie"},
    "hdf5": {"errors", "movie"},
    "output": {"errors"},
    "reference": {"errors"},
    "fields": {"errors", "output"},
    "warp": set(),
    "network": {"warp"},
    "losses": {"warp"},
    "scenes": set(),
    "motion": {"errors"},
    "batch": set(),
    "smooth": {"batch"},
    "template": {"reference"},
    "device": {"errors"},
    "refine": {"device", "network", "template", "warp"},
    "prior": {"batch", "refine"},
    "track": {"batch", "prior", "refine"},
    "metrics": set(),
    "moments": set(),
    "flags": set(),
    "residual": {"metrics", "rigid"},
    "tally": {"moments"},
    "watch": {"batch", "evaluation", "flags", "metrics"},
    "verdict": {"evaluation"},
    "summary": {"evaluation", "report"},
    "motion_table": {"evaluation"},
    "truth": {"errors", "evaluation", "fields", "metrics"},
    "evaluation": set(),
    "raster": set(),
    "chart": set(),
    "arrows": set(),
    "timeline": {"chart", "evaluation"},
    "pictures": {"evaluation", "raster"},
    "field_views": {"arrows", "evaluation", "raster"},
    "poster": {"chart", "evaluation", "figures", "raster", "timeline"},
    "report": {"evaluation", "field_views", "pictures", "poster", "raster", "timeline"},
}


def imports(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def ours(tree: ast.AST) -> set[str]:
    parts = (name.split(".") for name in imports(tree) if name.startswith("moco_dl."))
    return {part[1] for part in parts if (PACKAGE / f"{part[1]}.py").exists()}


@pytest.mark.parametrize("name", FIELDS_OF_WORK)
def test_imports_point_one_way(name):
    assert ours(ast.parse((PACKAGE / f"{name}.py").read_text())) <= FIELDS_OF_WORK[name]


@pytest.mark.parametrize(
    "name",
    [
        "movie",
        "tiff",
        "hdf5",
        "output",
        "fields",
        "reference",
        "errors",
        "scenes",
        "motion",
        "batch",
        "smooth",
        "template",
        "metrics",
        "moments",
        "flags",
        "tally",
        "watch",
        "verdict",
        "summary",
        "motion_table",
        "truth",
        "evaluation",
        "raster",
        "chart",
        "arrows",
        "timeline",
        "pictures",
        "field_views",
        "poster",
        "report",
    ],
)
def test_input_and_output_know_no_torch(name):
    assert not any(i.split(".")[0] == "torch" for i in imports(ast.parse((PACKAGE / f"{name}.py").read_text())))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_the_command_line_prints_or_exits(path):
    tree = ast.parse(path.read_text())
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if path.parent.name != "cli":
        assert not called & {"print", "exit"} and "click" not in imports(tree)


def test_grid_sample_stands_in_one_place():
    assert [path.stem for path in FILES if "F.grid_sample(" in path.read_text()] == ["warp"]


def test_size_of_files_functions_and_signatures():
    bodies = []
    for path in FILES:
        assert len(path.read_text().splitlines()) <= 250, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                bodies.append(node.end_lineno - node.lineno + 1)
                arguments = [a for a in node.args.posonlyargs + node.args.args if a.arg not in ("self", "cls")]
                count = len(arguments) + len(node.args.kwonlyargs)
                assert count <= 6, f"{path.name}: {node.name} takes {count} arguments"
                assert bodies[-1] <= 45, f"{path.name}: {node.name} has {bodies[-1]} lines"
    assert sum(length <= 35 for length in bodies) >= 0.95 * len(bodies)


def test_public_functions_are_documented():
    for path in FILES:
        tree = ast.parse(path.read_text())
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def test_the_page_is_made_without_matplotlib():
    for name in ("raster", "chart", "arrows", "timeline", "pictures", "field_views", "report"):
        assert not any("matplotlib" in i for i in imports(ast.parse((PACKAGE / f"{name}.py").read_text())))


def test_script_of_the_page_stays_small():
    script = (PACKAGE / "assets" / "report.js").read_text()
    assert script.startswith('"use strict";') and len(script.splitlines()) <= 300
