"""Documents: figures come from committed result files, and what they name exists."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from combiner_cli.cli.main import main

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "FORMAT.md",
    *sorted(ROOT.glob("benchmarks/*.md")),
    ROOT / "priors" / "README.md",
]
TABLES = [
    (document, name) for document in DOCUMENTS for name in re.findall(r"<!-- results/(.*?) -->", document.read_text())
]
LINKS = sorted(
    {
        (document, target)
        for document in DOCUMENTS
        for pair in re.findall(r"\]\((?!http)([^)#]+)\)|<img [^>]*src=\"([^\"]+)\"", document.read_text())
        for target in pair
        if target
    }
)


def tables(text):
    """All tables of a Markdown text, each a list of lines."""
    found, current = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            current.append(line)
        elif current:
            found.append(current)
            current = []
    return found


@pytest.mark.parametrize(("document", "name"), TABLES, ids=lambda part: getattr(part, "name", part))
def test_tables_of_documents_are_those_of_the_result_files(document, name):
    behind = document.read_text().split(f"<!-- results/{name} -->")[1]
    (table,) = tables((RESULTS / name).read_text())
    assert tables(behind)[0] == table


def test_documents_show_results():
    assert len(TABLES) >= 20


@pytest.mark.parametrize(("document", "target"), LINKS, ids=lambda part: getattr(part, "name", part))
def test_links_lead_somewhere(document, target):
    assert (document.parent / target).exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_commands_and_options_of_documents_exist(document):
    helps = {command: CliRunner().invoke(main, [command, "-h"]).stdout for command in main.commands}
    families = ("pyramid", "lapped", "linear", "siren")
    helps["learn-prior"] += "".join(
        CliRunner().invoke(main, ["learn-prior", "--family", family, "-h"]).stdout for family in families
    )
    for line in re.findall(r"^\$ combiner (.*)$", document.read_text(), re.MULTILINE):
        command, *words = line.split("#")[0].split("|")[0].split()
        assert command in helps, line
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", helps[command]))
        assert {word for word in words if word.startswith("--") or re.fullmatch("-[a-z]", word)} <= known, line


def test_every_exit_code_is_documented():
    from combiner_cli import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    for kind in kinds:
        if kind is not errors.CombinerError:
            assert f"| {kind.exit_code} |" in (ROOT / "README.md").read_text()
            assert f"{kind.exit_code} " in CliRunner().invoke(main, ["-h"]).stdout
