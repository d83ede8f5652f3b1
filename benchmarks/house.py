"""How the package is built, in numbers: modules, packages, imports between them, lines, and places that ask what it is.

python benchmarks/house.py                                      # prints the table of this tree
python benchmarks/house.py 0.7.1=../combiner-0.7.1 now=.        # trees beside each other, and results/house.md
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from common import write_table

from combiner_cli.bench import tables

PACKAGE = "combiner_cli"
# of each kind of question, what it looks like in code
QUESTIONS = {
    "asks for a family or the type of a prior": (
        r"isinstance\([^()]*Prior",
        r"\.family\s*(?:==|!=|\bin\b)",
        r"\bfamily\s*(?:==|!=)",
        r"FORMATS\[",
    ),
    "asks for the version of a file": (r"(?:header|content|file)\.version\b", r"\bversion\s*(?:==|!=|in) [\dA-Z_]"),
    "asks for image or sound": (r"""\bkind\s*(?:==|!=)\s*["'](?:image|sound)""",),
}
OF_OTHER_FORMATS = re.compile(r"\b(media|image_files|sound_files|cluster)\b")  # modules that ask for versions of others
LONG = 400  # lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="*", metavar="NAME=FOLDER", help="checkouts; this one where none is named")
    parser.add_argument(
        "--no-wheel", action="store_true", help="leave out the size of the wheel, which has to be built"
    )
    arguments = parser.parse_args()
    named = [tree.partition("=") for tree in arguments.trees] or [("now", "=", str(Path(__file__).parent.parent))]
    counts = {name: counted(Path(folder), not arguments.no_wheel) for name, _, folder in named}
    rows = [
        {"what": what, **{name: f"{numbers[what]:,}" for name, numbers in counts.items()}}
        for what in next(iter(counts.values()))
    ]
    if not arguments.trees:
        print(tables.markdown(rows))
        return
    notes = (
        f"Modules are those of `{PACKAGE}`; imports are counted once for each pair of modules of which one imports the "
        "other or something in it, at once or later. A module that lies in no package within it counts as a package of "
        f"its own. Long modules have over {LONG} lines. Places that ask are lines that match a few patterns, but for "
        "modules of image and sound files."
    )
    write_table("house.md", "The house in numbers", notes, rows)


def counted(root: Path, with_wheel: bool) -> dict[str, int]:
    """The numbers of a checkout.

    Args:
        root: of the checkout.
        with_wheel: whether its wheel is built and weighed.
    """
    package = root / PACKAGE
    texts = {name_of(package, path): path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))}
    modules = {name: text for name, text in texts.items() if not name.endswith("__init__")}
    pairs = set(imports(texts))
    between = {(home(first), home(second)) for first, second in pairs}
    numbers = {
        "modules": len(modules),
        "packages": sum(name.endswith("__init__") for name in texts),
        "modules in the largest package": max(sizes(modules).values()),
        "long modules": sum(lines(text) > LONG for text in texts.values()),
        "imports between modules": len(pairs),
        "imports between packages": sum(home(first) != home(second) for first, second in pairs),
        "pairs of packages of which one imports from the other": len(between - {(same, same) for same, _ in between}),
        "lines of the package": sum(map(lines, texts.values())),
        "lines of the tests": sum(lines(path.read_text(encoding="utf-8")) for path in (root / "tests").rglob("*.py")),
        "names `own`, `found` and `other`": sum(empty_names(text) for text in texts.values()),
    }
    code = [line for name, text in texts.items() if not OF_OTHER_FORMATS.search(name) for line in text.splitlines()]
    for what, patterns in QUESTIONS.items():
        numbers[what] = sum(any(re.search(pattern, line) for pattern in patterns) for line in code)
    if with_wheel:
        numbers["bytes of the wheel"] = wheel_bytes(root)
    return numbers


def name_of(package: Path, path: Path) -> str:
    """Of a module, without that of the whole package."""
    return ".".join(path.relative_to(package).with_suffix("").parts)


def home(module: str) -> str:
    """The package that a module lies in; one that lies in none stands for itself."""
    parts = module.split(".")
    return ".".join(parts[:-1]) or module


def sizes(modules: dict[str, str]) -> dict[str, int]:
    """Number of modules directly in each package."""
    packages = [name.rpartition(".")[0] for name in modules]
    return {package: packages.count(package) for package in packages}


def lines(text: str) -> int:
    return len(text.splitlines())


def imports(texts: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Importing and imported module, once for every name that is imported."""
    for importer, text in texts.items():
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ImportFrom):
                continue
            if node.level:
                base = ".".join([*importer.split(".")[: -node.level], *([node.module] if node.module else [])])
            elif (node.module or "").split(".")[0] == PACKAGE:
                base = (node.module or "").removeprefix(PACKAGE).removeprefix(".")
            else:
                continue
            for alias in node.names:
                below = f"{base}.{alias.name}" if base else alias.name
                candidates = (below, f"{below}.__init__", base, f"{base}.__init__")
                yield from [(importer, name) for name in candidates if name in texts and name != importer][:1]


def empty_names(text: str) -> int:
    """How often a name that says nothing is given to something."""
    nodes = list(ast.walk(ast.parse(text)))
    stored = [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    arguments = [node.arg for node in nodes if isinstance(node, ast.arg)]
    return sum(name in ("own", "found", "other") for name in stored + arguments)


def wheel_bytes(root: Path) -> int:
    """Size of the wheel of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*command, "--wheel-dir", folder, str(root)], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.stat().st_size


if __name__ == "__main__":
    main()
