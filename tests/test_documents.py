"""Documents: figures come from committed result files, and what they name exists."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from combiner_cli.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


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


@pytest.mark.parametrize("name", re.findall(r"<!-- results/(.*?) -->", README))
def test_tables_of_the_readme_are_those_of_the_result_files(name):
    behind = README.split(f"<!-- results/{name} -->")[1]
    (table,) = tables((ROOT / "benchmarks" / "results" / name).read_text())
    assert tables(behind)[0] == table


def test_the_readme_shows_results():
    assert len(re.findall(r"<!-- results/(.*?) -->", README)) >= 4


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(target):
    assert (ROOT / target).exists()


def test_commands_and_options_of_the_readme_exist():
    helps = {command: CliRunner().invoke(main, [command, "-h"]).stdout for command in main.commands}
    for line in re.findall(r"^\$ combiner (.*)$", README, re.MULTILINE):
        command, *words = line.split("#")[0].split()
        assert command in helps, line
        known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", helps[command]))
        assert {word for word in words if word.startswith("-")} <= known, line


def test_every_exit_code_is_documented():
    from combiner_cli import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    for kind in kinds:
        if kind is not errors.CombinerError:
            assert f"| {kind.exit_code} |" in README
            assert f"{kind.exit_code} " in CliRunner().invoke(main, ["-h"]).stdout
