"""The command completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .. import options


@click.command(epilog=options.exit_codes())
@click.argument("shell", type=click.Choice(["bash", "fish", "zsh"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands, options, names of priors and files.

    \b
    Examples:
      combiner completion bash >> ~/.bashrc
      combiner completion zsh >> ~/.zshrc
      combiner completion fish > ~/.config/fish/completions/combiner.fish
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None  # they come with click
    click.echo(completion_class(ctx.find_root().command, {}, "combiner", "_COMBINER_COMPLETE").source())
