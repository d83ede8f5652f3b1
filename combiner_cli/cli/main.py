"""The command line: parse, call the pipeline, report."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from types import FrameType
from typing import Any

import click

from .. import __version__
from ..errors import OUT_OF_MEMORY, CombinerError, LimitError, OutputError, is_out_of_memory
from ..learning.distributed import from_environment
from . import options, streams
from .commands.bench import bench
from .commands.compare import compare
from .commands.completion import completion
from .commands.decode import decode
from .commands.encode import encode
from .commands.info import info
from .commands.learn_prior import learn_prior
from .commands.priors import priors
from .commands.test import test

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
_INTERRUPTED = 130
_BROKEN_PIPE = 141
_TERMINATED = 143
_PUT_OFF = 0.1  # seconds until a signal comes again that cannot be obeyed at once
_IMPORTS = "<frozen importlib"  # how the names of the files begin that import others


class _Commands(click.Group):
    """A group that turns expected errors into one line and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except CombinerError as error:
            _fail(ctx, str(error), error.exit_code)
        except BrokenPipeError:  # whoever read the output has enough of it
            ctx.exit(_BROKEN_PIPE)
        except Exception as error:
            if ctx.meta.get(options.INTERRUPTED):  # in the midst of an extension's import it surfaces as another error
                _fail(ctx, "interrupted", _INTERRUPTED)
            if not is_out_of_memory(error):
                raise
            _fail(ctx, OUT_OF_MEMORY, LimitError.exit_code)
        except KeyboardInterrupt:
            _fail(ctx, "interrupted", _INTERRUPTED)


def _fail(ctx: click.Context, message: str, exit_code: int) -> None:
    if ctx.meta.get(options.VERBOSE):
        traceback.print_exc()
    click.echo(f"combiner: {message}", err=True)
    ctx.exit(exit_code)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave as after an error, so that temporary files are removed."""
    if not _comes_again(number, frame):
        raise SystemExit(_TERMINATED)


def _comes_again(number: int, frame: FrameType | None) -> bool:
    """Put off a signal that came where an exception would do harm, or would be lost.

    While torch is loaded it may abort the process, with nothing removed; in callbacks of Python's own imports it is
    ignored.

    Args:
        number: of the signal.
        frame: that it interrupted.

    Returns:
        whether it was put off.
    """
    specification = getattr(sys.modules.get("torch"), "__spec__", None)
    imports = frame is not None and frame.f_code.co_filename.startswith(_IMPORTS)
    if not imports and not getattr(specification, "_initializing", False):
        return False
    again = threading.Timer(_PUT_OFF, _send_to_main_thread, [number])
    again.daemon = True
    again.start()
    return True


def _send_to_main_thread(number: int) -> None:
    """Raise a signal where it interrupts what takes long, if threads can be chosen here."""
    identifier = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and identifier is not None:
        signal.pthread_kill(identifier, number)
    else:
        signal.raise_signal(number)


@click.group(cls=_Commands, context_settings=_CONTEXT)
@click.version_option(__version__, "--version", prog_name="combiner", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Compress images and sound as Bayesian implicit neural representations.

    \b
    Examples:
      combiner encode photo.png -o photo.cmb
      combiner decode photo.cmb
      combiner encode -r photos/ -d coded/
      combiner info photo.cmb
      combiner learn-prior photographs/ -o mine.safetensors
      combiner bench photographs/

    \b
    Exit codes: 0 success, 1 some of many files failed, 2 usage, 3 unreadable input, 4 damaged file,
    5 unknown version, 6 prior missing or of the wrong kind, 7 output not writable,
    8 verification failed, 9 over a limit, 10 unsuitable data set, 11 Dask cluster not usable;
    130 interrupted, 141 output not read, 143 terminated (as shells report these signals).
    """

    outside = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _comes_again(number, frame):
            return
        ctx.meta[options.INTERRUPTED] = True
        if callable(outside):
            outside(number, frame)
        raise KeyboardInterrupt

    if ctx.invoked_subcommand not in (learn_prior.name, bench.name):
        # imports and codecs make many objects and no cycles to speak of; to look for them takes time
        gc.disable()
        ctx.call_on_close(gc.enable)
    signal.signal(signal.SIGINT, interrupt)
    ctx.call_on_close(lambda: signal.signal(signal.SIGINT, outside))
    signal.signal(signal.SIGTERM, _terminate)


for _command in (encode, decode, info, test, compare, priors, learn_prior, bench, completion):
    main.add_command(_command)


def run() -> None:
    """The program. Once it has cleaned up it ends by the signal that it was sent, so that shells and xargs stop too."""
    interrupted = False

    def interrupt(_number: int, _frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    # before torch is loaded: its threads sleep while they wait for each other, or else they keep the cores of a busy
    # machine from those that they wait for
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    streams.attach()
    code = _status()
    if code in (_BROKEN_PIPE, _TERMINATED):
        _end_by(code - 128)
    if interrupted or code == _INTERRUPTED:  # before and after the command click has another exit code
        _end_by(signal.SIGINT)
    if "torch.distributed" in sys.modules and from_environment().size > 1:
        _end_at_once(code)
    sys.exit(code)


def _status() -> int:
    """Run the command line; the exit code, once all of its output is where it belongs."""
    try:
        try:
            main(prog_name="combiner")
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except streams.OutputLost as lost:
        streams.detach_output()
        if lost.unread:
            return _BROKEN_PIPE
        click.echo(f"combiner: {lost}", err=True)
        return OutputError.exit_code


def _end_at_once(code: int) -> None:
    """Leave without a goodbye: threads of torch.distributed may abort a process that ends when all is written."""
    sys.stderr.flush()
    os._exit(code)


def _end_by(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
