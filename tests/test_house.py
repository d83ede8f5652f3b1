"""The order of the packages, their doors, and their sizes: imports point one way, and enter by what a door names."""

from __future__ import annotations

import ast
import functools
import graphlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "combiner_cli"
# packages and modules in combiner_cli/, lowest first; each may import from those before it
ORDER = (
    ("errors",),
    ("system",),
    ("signals",),
    ("rec",),
    ("container",),
    ("media",),
    ("family",),
    ("stages",),
    ("learning",),
    ("families",),
    ("priors",),
    ("codec",),
    ("batch",),
    ("api",),
    ("__init__", "pillow_plugin"),
    ("bench",),
    ("cli",),
    ("__main__",),
)
FLOORS = {name: floor for floor, names in enumerate(ORDER) for name in names}
# the interface of a family names what it learns with, and that names the interface: in annotations alone
UPWARDS_FOR_ANNOTATIONS = {("family", "learning")}
FAMILIES_TOGETHER = {("linear", "siren")}  # the first is a way of using the second
WITH_TORCH = {"stages", "learning", "families"}  # packages of which some rooms need it as soon as they are imported
# import by name: families and commands when they are asked for, and what is compiled, where that was possible
BY_NAME = {"families.registry", "cli.main", "rec.native"}
MOST_IN_THE_ROOT, MOST_IN_A_PACKAGE = 8, 9
AS_MANY_AS_COMMANDS = {"cli.commands"}
MOST_LINES = 400
# of several purposes only at first sight; whoever shortens one takes it off the list
LONGER = {
    "media.images": "one form of pixels and what eight file formats make of it",
}
EMPTY_NAMES = {"own", "found", "other"}  # say nothing of what they hold


@dataclass(frozen=True)
class Import:
    """A module of the package, or something in it, that is imported.

    Attributes:
        importer: name of the module that imports, without ``combiner_cli``.
        module: name of what is imported, likewise.
        at_once: whether it is loaded as soon as the importer is.
        for_annotations: whether only checkers of types see it.
    """

    importer: str
    module: str
    at_once: bool
    for_annotations: bool


def name_of(path: Path) -> str:
    """Of a module, without ``combiner_cli``; that of a package ends with ``__init__``."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


FILES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
PACKAGES = {name.removesuffix("__init__").removesuffix(".") for name in FILES if name.endswith("__init__")}


@functools.cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def package_of(name: str) -> str:
    """The package that a module lies in; that of ``signals.__init__`` is ``signals``."""
    return name.rpartition(".")[0]


def imports_below(
    node: ast.AST, at_once: bool = True, for_annotations: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    """All imports below a node, whether they are carried out at once, and whether only by checkers of types."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_once and not for_annotations, for_annotations
            continue
        later = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        checked = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        yield from imports_below(child, at_once and not later, for_annotations or checked)


def absolute(name: str, node: ast.ImportFrom) -> str:
    """What stands behind ``from``, without ``combiner_cli``; empty for the package itself."""
    if not node.level:
        return (node.module or "").removeprefix("combiner_cli").removeprefix(".")
    parts = name.split(".")[: -node.level]
    return ".".join([*parts, *([node.module] if node.module else [])])


@functools.cache
def imports_of(name: str) -> tuple[Import, ...]:
    """The imports of a module that are of this package."""
    return tuple(imports_in(name, tree_of(name)))


def imports_of_benchmarks() -> tuple[Import, ...]:
    """What the scripts beside the package import of it."""
    scripts = sorted((ROOT.parent / "benchmarks").glob("*.py"))
    return tuple(imported for path in scripts for imported in imports_in(path.stem, ast.parse(path.read_text())))


def imports_in(name: str, tree: ast.Module) -> Iterator[Import]:
    """The imports of a module or a script that are of this package."""
    for node, at_once, for_annotations in imports_below(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names if alias.name.split(".")[0] == "combiner_cli"]
            modules = [module.removeprefix("combiner_cli").removeprefix(".") for module in modules]
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").split(".")[0] == "combiner_cli"):
            base = absolute(name, node)
            within = [f"{base}.{alias.name}" if base else alias.name for alias in node.names]
            modules = [module if module in FILES or module in PACKAGES else base for module in within]
        else:
            continue
        yield from (Import(name, module or "__init__", at_once, for_annotations) for module in modules)


IMPORTS = tuple(imported for name in FILES for imported in imports_of(name))


def test_imports_lead_to_modules_that_exist():
    """Or else this file reads imports wrongly."""
    assert {imported.module for imported in IMPORTS} <= set(FILES) | PACKAGES
    assert len(IMPORTS) > 100


def test_every_package_has_its_place_in_the_order():
    assert {name.split(".")[0] for name in FILES} == set(FLOORS)


@pytest.mark.parametrize("top", sorted(FLOORS))
def test_imports_point_one_way(top):
    upwards = [
        (imported.importer, imported.module)
        for imported in IMPORTS
        if imported.importer.split(".")[0] == top
        and (above := imported.module.split(".")[0])
        not in (top, "__init__")  # which holds the version, and loads later
        and FLOORS[above] >= FLOORS[top]
        and not (imported.for_annotations and (top, above) in UPWARDS_FOR_ANNOTATIONS)
        and top != "__init__"
    ]
    assert not upwards


def test_there_are_no_circles():
    graph: dict[str, set[str]] = {name: set() for name in FILES}
    for imported in IMPORTS:
        if imported.module in FILES and not imported.for_annotations and imported.module != "__init__":
            graph[imported.importer].add(imported.module)
    assert len(tuple(graphlib.TopologicalSorter(graph).static_order())) == len(FILES)


def door(package: str) -> tuple[str, ...]:
    """The names that a package lets others import from."""
    for node in tree_of(f"{package}.__init__").body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    return ()


def entered(imported: Import) -> Iterator[tuple[str, str]]:
    """Package and room for each door that an import goes through from outside."""
    here = f"{package_of(imported.importer)}."
    parts = imported.module.split(".")
    for number in range(1, len(parts)):
        package = ".".join(parts[:number])
        if not here.startswith(f"{package}."):
            yield package, parts[number]


def rooms(package: str) -> set[str]:
    """The modules and packages directly in a package."""
    below = [name.removeprefix(f"{package}.") for name in FILES if name.startswith(f"{package}.")]
    return {name.split(".")[0] for name in below} - {"__init__"}


@pytest.mark.parametrize("package", sorted(PACKAGES - {""}))
def test_every_package_has_a_door_that_names_its_rooms(package):
    assert ast.get_docstring(tree_of(f"{package}.__init__"))
    assert set(door(package)) <= rooms(package)
    assert list(door(package)) == sorted(set(door(package)))
    assert door(package)


@pytest.mark.parametrize("package", sorted(PACKAGES - {""}))
def test_nobody_gets_past_a_door(package):
    past = {
        (imported.importer, room)
        for imported in IMPORTS
        for entered_package, room in entered(imported)
        if entered_package == package and room not in door(package)
    }
    assert not past


@pytest.mark.parametrize("package", sorted(PACKAGES - {""}))
def test_a_door_names_only_rooms_that_others_need(package):
    """The benchmarks are others; families and commands are entered by their names."""
    imports = (*IMPORTS, *imports_of_benchmarks())
    needed = {room for imported in imports for entered_package, room in entered(imported) if entered_package == package}
    if package.startswith("families."):
        needed.add("family")
    if package in ("cli", "cli.commands"):  # the program begins here; __main__ and the installed script know it
        needed |= {"main"} if package == "cli" else set(door(package))
    assert set(door(package)) <= needed


def test_only_the_registry_names_a_family():
    assert door("families") == ("registry",)
    families = rooms("families") - {"registry"}
    within = {(imported.importer, imported.module) for imported in IMPORTS if imported.module.startswith("families.")}
    for importer, module in within:
        family = module.split(".")[1]
        inside = importer.startswith("families.") and importer.split(".")[1]
        together = inside == family or (inside, family) in FAMILIES_TOGETHER
        assert family not in families or together, f"{importer} imports {module}"


def test_only_few_modules_import_by_name():
    by_name = {name for name in FILES if any("import_module" in ast.dump(node) for node in tree_of(name).body)}
    assert by_name <= BY_NAME


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_packages_are_small(package):
    modules = [name for name in FILES if package_of(name) == package and not name.endswith("__init__")]
    if package not in AS_MANY_AS_COMMANDS:
        assert len(modules) <= (MOST_IN_A_PACKAGE if package else MOST_IN_THE_ROOT), sorted(modules)


def test_modules_are_short():
    longer = {name for name, path in FILES.items() if len(path.read_text().splitlines()) > MOST_LINES}
    assert longer == set(LONGER)


def bound_names(tree: ast.AST) -> Counter[str]:
    """How often names are given to something: variables, arguments, attributes of classes, handled errors.

    What the argument of a comparison is called is Python's choice.
    """
    names: Counter[str] = Counter()
    comparisons = ("__eq__", "__lt__", "__add__", "__mul__", "__matmul__")
    conventional = {
        id(argument)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name in comparisons
        for argument in function.args.args
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names[node.id] += 1
        elif isinstance(node, ast.arg) and id(node) not in conventional:
            names[node.arg] += 1
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names[node.name] += 1
    return names


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_names_say_what_they_hold(package):
    modules = [name for name in FILES if package_of(name) == package]
    counts = {name: {word: bound_names(tree_of(name))[word] for word in EMPTY_NAMES} for name in modules}
    assert not {name: words for name, words in counts.items() if any(words.values())}


def test_the_check_of_names_sees_all_that_are_given():
    code = "def own(found, *, other=1):\n    own = [other for other in found]\n    for found, _ in own: pass\n"
    assert bound_names(ast.parse(code)) == {"own": 1, "found": 2, "other": 2, "_": 1}
    assert not bound_names(ast.parse("class A:\n    def __eq__(self, other): return 1\n"))["other"]


def loaded_at_once(name: str) -> set[str]:
    """Modules of other packages, by their first names, that a module loads by itself."""
    names = set()
    for node, at_once, _ in imports_below(tree_of(name)):
        if at_once and isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif at_once and isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_torch_is_loaded_by_what_learns_and_encodes_alone():
    """Also where it would come with another module of the package."""
    graph = {name: {imported.module for imported in imports_of(name) if imported.at_once} for name in FILES}
    with_torch = {name for name in FILES if "torch" in loaded_at_once(name)}
    while more := {name for name, modules in graph.items() if modules & with_torch} - with_torch:
        with_torch |= more
    assert {name.split(".")[0] for name in with_torch} <= WITH_TORCH
    assert with_torch
