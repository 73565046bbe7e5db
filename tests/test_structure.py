"""The house rules: what imports what, and how long things may get."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "moco_dl"
FILES = sorted(PACKAGE.rglob("*.py"))
# What a module may import of this project; a dot before a name: of the same room (subpackage).
CORE = {
    "errors": set(),
    "turns": set(),
    "recording": {"errors", "movie"},
    "movie": {"errors", "tiff", "hdf5", "turns"},
    "scanimage": set(),
    "pixelsize": set(),
    "tiff": {"errors", "movie", "pixelsize", "scanimage", "turns"},
    "hdf5": {"errors", "movie"},
    "output": {"errors"},
    "staging": {"errors"},
    "samples": {"batch", "errors"},
    "edges": {"samples"},
    "inplace": {"reference", "samples"},
    "surround": {"edges", "inplace", "samples"},
    "specks": {"edges", "inplace", "samples"},
    "spikes": set(),
    "room": {"movie"},
    "scan": {"errors", "samples"},
    "interleaved": {"batch", "samples"},
    "reference": {"samples"},
    "image": {"errors", "fields"},
    "shifts": set(),
    "walk": {"batch", "samples", "shifts"},
    "fields": {"errors", "output"},
    "warp": set(),
    "network": {"warp"},
    "losses": {"warp"},
    "scenes": set(),
    "motion": {"errors"},
    "batch": set(),
    "blocks": set(),
    "misfit": {"batch"},
    "smooth": {"batch"},
    "steady": {"batch"},
    "strays": {"batch", "misfit"},
    "template": {"samples"},
    "pattern": {"inplace", "network", "samples", "warp"},
    "nearer": {"basis", "bend", "infer", "network"},
    "anchor": {"basis", "batch", "bend", "device", "equations", "infer", "nearer", "network", "refine"},
    "bend": {"batch", "network", "warp"},
    "device": {"errors", "parallel"},
    "parallel": set(),
    "basis": {"device", "network"},
    "difference": {"basis", "device", "misfit", "network", "template", "warp"},
    "refine": {"basis", "device", "difference", "template"},
    "durations": set(),
    "prior": {"basis", "batch", "durations", "refine"},
    "vigour": {"basis"},
    "covariance": {"basis", "batch", "prior", "refine"},
    "risk": {"trajectory"},
    "timefilter": {"batch", "prior", "risk", "vigour"},
    "trajectory": {"batch"},
    "track": {
        "basis",
        "batch",
        "device",
        "misfit",
        "prior",
        "refine",
        "risk",
        "timefilter",
        "trajectory",
        "vigour",
    },
    "checkpoint": {"errors", "network", "staging"},
    "dataset": {
        "errors",
        "fields",
        "figures",
        "image",
        "movie",
        "output",
        "pairs",
        "samples",
        "scenes",
        "staging",
        "synth",
        "train",
    },
    "equations": {"batch", "device", "infer", "misfit", "refine", "samples", "template", "warp"},
    "figures": {"errors"},
    "infer": {"batch", "blocks", "device", "intensity", "network", "rigid", "warp"},
    "intensity": set(),
    "options": {"errors", "movie"},
    "pairs": {"motion", "scenes", "warp"},
    "rest": {"batch", "plan", "samples", "vigour"},
    "rigid": set(),
    "run": {"checkpoint", "dataset", "device", "errors", "figures", "pairs", "staging", "train"},
    "sample_shifts": {"infer", "reference", "samples", "walk"},
    "sampling": {
        "edges",
        "infer",
        "inplace",
        "movie",
        "options",
        "room",
        "samples",
        "scan",
        "specks",
        "spikes",
        "surround",
        "walk",
    },
    "synth": {"motion", "scenes", "warp"},
    "train": {"checkpoint", "errors", "intensity", "losses", "network", "pairs", "warp"},
}
LEAD = {
    "comparison",
    "correction",
    "job",
    "plan",
    "preparation",
    "survey",
}  # modules of the core that bring the others together
ROOMS = {  # every module of a room stands here
    "evaluation": {
        "__init__": {".results"},
        "results": set(),
        "metrics": set(),
        "moments": set(),
        "flags": set(),
        "residual": {".metrics", "rigid"},
        "tally": {".metrics", ".moments"},
        "watch": {".flags", ".metrics", ".results", "batch", "inplace", "samples"},
        "verdict": {".results"},
        "measure": {".evaluator", ".flags", ".metrics", ".residual", ".results", ".tally", ".verdict"},
        "table": {".evaluator", ".measure", ".residual", ".results"},
        "evaluator": {
            ".measure",
            ".metrics",
            ".moments",
            ".results",
            ".table",
            ".tally",
            ".verdict",
            ".watch",
            "batch",
            "blocks",
        },
        "summary": {".results"},
        "pair": {
            ".evaluator",
            "samples",
            ".metrics",
            ".moments",
            ".results",
            ".tally",
            ".watch",
            "batch",
            "correction",
            "errors",
            "fields",
            "movie",
            "parallel",
        },
        "motion_table": {".results"},
        "truth": {".metrics", ".results", "errors", "fields"},
    },
    "report": {
        "__init__": {".page"},
        "raster": {"blocks"},
        "chart": set(),
        "arrows": set(),
        "timeline": {".chart", "evaluation"},
        "pictures": {".raster", "blocks", "evaluation"},
        "field_views": {".arrows", ".raster", "evaluation"},
        "poster": {".chart", ".raster", ".timeline", "evaluation", "figures"},
        "page": {".field_views", ".pictures", ".poster", ".raster", ".timeline", "evaluation"},
    },
}
LISTED = CORE | {
    f"{room}.{name}": allowed for room, modules in ROOMS.items() for name, allowed in modules.items()
}
ENTER_ROOMS = {
    "__init__",
    "job",
    "comparison",
}  # modules of the core that use rooms: the package, and files in, files out
KNOW_TORCH = {
    "basis",
    "bend",
    "device",
    "parallel",
    "difference",
    "warp",
    "network",
    "losses",
    "pattern",
    "refine",
    "prior",
    "covariance",
    "checkpoint",
    "dataset",
    "equations",
    "infer",
    "intensity",
    "pairs",
    "rigid",
    "run",
    "synth",
    "train",
    "evaluation.residual",
}
LOAD_TORCH = {
    "rest",
    "sample_shifts",
    "sampling",
    "nearer",
    "anchor",
    "timefilter",
    "track",
    "vigour",
    "evaluation.measure",
    "evaluation.table",
    "evaluation.pair",
}  # by what they import
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
    return ast.parse(path_of(name).read_text())


def loaded(name: str) -> set[str]:
    """What importing a module of ours imports, directly or not; imports inside functions wait."""
    found, waiting = set(), [name]
    while waiting:
        one = waiting.pop()
        path = path_of(one) if path_of(one).exists() else path_of(f"{one}.__init__")
        statements = [s for s in ast.parse(path.read_text()).body if isinstance(s, ast.Import | ast.ImportFrom)]
        names = imports(ast.Module(statements, []))
        new = {module(other) if other.split(".")[0] == "moco_dl" else other for other in names} - found - {""}
        waiting += [other for other in new if path_of(other).exists() or (PACKAGE / other).is_dir()]
        found |= new
    return found


@pytest.mark.parametrize("name", LISTED)
def test_imports_point_one_way(name):
    room = name.rpartition(".")[0]
    allowed = {room + other if other.startswith(".") else other for other in LISTED[name]}
    assert ours(tree_of(name)) <= allowed


def test_every_module_of_the_core_is_listed():
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == CORE.keys() | LEAD


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_room_is_listed(room):
    assert {path.stem for path in (PACKAGE / room).glob("*.py")} == set(ROOMS[room])


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_rooms_build_on_the_core_and_not_the_core_on_them(path):
    if path.stem not in ENTER_ROOMS:
        rooms = {name.split(".")[0] for name in ours(ast.parse(path.read_text()))} & {*ROOMS, "cli"}
        assert not rooms


def test_no_folder_is_forgotten():
    folders = {path.parent.name for path in FILES if path.parent != PACKAGE}
    assert folders == {*ROOMS, "cli"}


@pytest.mark.parametrize("name", TORCH_FREE)
def test_only_what_computes_with_torch_knows_it(name):
    assert not {i for i in imports(tree_of(name)) | loaded(name) if i.split(".")[0] == "torch"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_only_the_command_line_prints_or_exits(path):
    tree = ast.parse(path.read_text())
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if path.parent.name != "cli":
        assert not called & {"print", "exit", "sys.exit", "os._exit", "sys.stdout.write", "sys.stderr.write"}
        assert "click" not in imports(tree)


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
    for name in ROOMS["report"].keys() - {"poster"}:
        assert not any("matplotlib" in i for i in imports(tree_of(f"report.{name}")))


def test_script_of_the_page_stays_small():
    script = (PACKAGE / "report" / "assets" / "report.js").read_text()
    assert script.startswith('"use strict";') and len(script.splitlines()) <= 300
