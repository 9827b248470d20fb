"""Which folder of psap may import which: a folder imports only folders below it, and some not even those."""

import grimp
import pytest

FOLDERS = [
    "cli",
    "workflow",
    "standalone",
    "planning",
    "analysis",
    "bench",
    "suites",
    "tracking",
    "training",
    "pruning",
    "models",
    "data",
    "utils",
]
APART = {
    ("pruning", "models"),
    ("pruning", "data"),
    ("standalone", "bench"),
    ("standalone", "analysis"),
    ("analysis", "bench"),
    ("analysis", "tracking"),
    ("analysis", "training"),
}
AT_THE_ROOT = {"__init__", "__main__", "errors", "export", "layers", "lightning"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("psap", cache_dir=None)


def folder(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def crossing(graph: grimp.ImportGraph) -> set[str]:
    """Imports from one folder into another that the house does not allow."""
    found = set()
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            above, below = folder(module), folder(other)
            if above == below or above not in FOLDERS or below not in FOLDERS:
                continue
            if FOLDERS.index(above) > FOLDERS.index(below) or (above, below) in APART:
                found.add(f"{module} imports {other}")
    return found


def test_a_folder_imports_only_folders_below_it(graph: grimp.ImportGraph) -> None:
    assert crossing(graph) == set()


def test_a_broken_wall_is_seen(graph: grimp.ImportGraph) -> None:
    broken = grimp.build_graph("psap", cache_dir=None)
    broken.add_import(importer="psap.pruning.pruner", imported="psap.models.saved")
    broken.add_import(importer="psap.utils.files", imported="psap.suites.grid")
    assert crossing(broken) == {
        "psap.pruning.pruner imports psap.models.saved",
        "psap.utils.files imports psap.suites.grid",
    }


def test_no_module_imports_itself_by_way_of_others(graph: grimp.ImportGraph) -> None:
    for module in graph.modules:
        for other in graph.find_modules_directly_imported_by(module):
            assert not graph.find_shortest_chain(importer=other, imported=module), f"{module} and {other}"


def test_the_root_holds_what_users_import(graph: grimp.ImportGraph) -> None:
    assert {folder(module) for module in graph.modules} - set(FOLDERS) - {""} <= AT_THE_ROOT


def test_mlflow_is_imported_by_tracking_alone() -> None:
    outside = grimp.build_graph("psap", cache_dir=None, include_external_packages=True)
    assert {folder(module) for module in outside.find_modules_that_directly_import("mlflow")} == {"tracking"}
