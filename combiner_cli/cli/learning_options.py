"""The options of learn-prior: those of every learning, and those that families say they have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from ..learning.job import LearningOption

_FAMILY = "combiner.family"  # that the options are shown of


class FamilyType(click.ParamType[str]):
    """The name of a family."""

    name = "family"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        del param, ctx
        return f"[{'|'.join(sorted(_names()))}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in _names():
            self.fail(f"there is no family {value}; choose one of {', '.join(sorted(_names()))}", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        del ctx, param
        return [click.shell_completion.CompletionItem(name) for name in _names() if name.startswith(incomplete)]


class LearningCommand(click.Command):
    """A command that has the options of the families too.

    It takes those of all of them, so that it can say to which family one belongs; its help shows those of the family
    that is named, or of the usual ones.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[_FAMILY] = _named_family(args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        parameters = super().get_params(ctx)
        names = {parameter.name for parameter in parameters}
        for option in _options_of(*_names()):
            if option.name not in names:
                parameters.insert(-1, click_option(option))
                names.add(option.name)
        return parameters

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Options"):
            formatter.write_dl(_records(super().get_params(ctx), ctx))
        family = ctx.meta.get(_FAMILY)
        for heading, of_section in _sections(family):
            with formatter.section(heading):
                formatter.write_dl(_records([click_option(option) for option in of_section], ctx))
        others = sorted(set(_names()) - ({family} if family else set(_usual())))
        with formatter.section("Other families"):
            formatter.write_dl([(name, _about(name)) for name in others])
        formatter.write_paragraph()
        formatter.write_text(f"Their options: {ctx.command_path} --family {others[0]} -h, and likewise")


def click_option(option: LearningOption) -> click.Option:
    """An option of a family as one of the command line. What value it can have is checked by the learning.

    Args:
        option: of a family.
    """
    kinds: dict[str, click.ParamType[Any]] = {
        "integer": click.INT,
        "number": click.FLOAT,
        "choice": click.Choice(option.choices),
        "prior": options.PRIOR,
    }
    default = option.default_text or option.default
    text = option.help if default is None else f"{option.help} [default: {default}]"
    return click.Option([option.flag], type=kinds[option.type], multiple=option.several, help=text)


def _records(parameters: Sequence[click.Parameter], ctx: click.Context) -> list[tuple[str, str]]:
    """What the help says of parameters."""
    records = [parameter.get_help_record(ctx) for parameter in parameters if isinstance(parameter, click.Option)]
    return [record for record in records if record is not None]


def _sections(family: str | None) -> Iterator[tuple[str, list[LearningOption]]]:
    """Headings and options below them: of a family, or first what the usual ones share and then what they do not."""
    if family is not None:
        yield f"Options of {family}", _options_of(family)
        return
    usual = _usual()
    shared = [option for option in _options_of(next(iter(usual))) if all(option in _options_of(name) for name in usual)]
    yield f"Options of {' and '.join(usual)}", shared
    for name, kind in usual.items():
        of_family = [option for option in _options_of(name) if option not in shared]
        yield f"Options of {name}, the usual family for {kind}s", of_family


def _named_family(args: Sequence[str]) -> str | None:
    """The family that is named in arguments, if there is one of that name."""
    for number, argument in enumerate(args):
        flag, separator, value = argument.partition("=")
        if flag == "--family":
            name = value if separator else next(iter(args[number + 1 :]), "")
            return name if name in _names() else None
    return None


def _names() -> tuple[str, ...]:
    from ..families import registry

    return registry.names()


def _usual() -> dict[str, str]:
    """The families that are learned where none is named, and what of."""
    from ..families import registry

    return {name: kind for kind, name in registry.USUAL.items()}


def _options_of(*names: str) -> list[LearningOption]:
    from ..families import registry

    return [option for name in names for option in registry.get(name).options()]


def _about(name: str) -> str:
    """What a family is, in a sentence."""
    from ..families import registry

    return (inspect.getdoc(type(registry.get(name))) or "").partition("\n")[0]
