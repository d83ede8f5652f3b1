"""Work on many files by a Dask cluster: contents of inputs go there, contents of outputs come back.

Machines need no common folders. All of them, the scheduler included, have this program in the version that is here, so
that the same bytes come back as from one machine. A prior that does not come with the program is sent along.
"""

from __future__ import annotations

import logging
import tempfile
import uuid
import warnings
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__
from ..container.file import File
from ..errors import ClusterError, CombinerError, PriorError
from ..family import Prior
from ..priors import library, store
from . import work
from .failures import attempt, failure
from .requests import Converted, Decoding, Failure, Job, Request
from .work import Library

if TYPE_CHECKING:
    from distributed import Client, Future

Result = Converted | Failure

_CONNECT = "15s"  # to wait for a scheduler
_RETRIES = 3  # of a task that fails unexpectedly, or whose prior was lost
_AHEAD = 2  # tasks on their way for each thread of the cluster


@dataclass(frozen=True)
class Shipment:
    """What a worker is told of a prior.

    Attributes:
        id: of the prior.
        content: of its file; ``None`` for a prior that comes with the program.
    """

    id: int
    content: bytes | None = field(compare=False, repr=False)


@dataclass(frozen=True)
class _Task:
    """Some jobs, and how often they were sent again."""

    jobs: tuple[Job, ...]
    tries: int = 0


def run(
    address: str, jobs: Sequence[Job], request: Request, known: Library
) -> Generator[tuple[Job, Result], None, None]:
    """Contents of the outputs of jobs, as they are finished.

    Args:
        address: of the scheduler, as ``tcp://machine:8786``.
        jobs: what there is to do. Their files are read here, some ahead of the work.
        request: what to do.
        known: where priors are found.

    Raises:
        ClusterError: the package distributed is missing, the scheduler cannot be reached or is lost, there are no
            workers, or not everyone has the same version of this program.
    """
    with _connected(address) as client:
        threads = _check_cluster(client, address)
        waiting = deque(_Task(tuple(window)) for window in work.windows(jobs, request, threads))
        yield from _work_off(waiting, _Sender(client, request, known), address, _AHEAD * threads)


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    try:
        from distributed import Client
        from distributed.comm.addressing import parse_address
        from distributed.comm.registry import get_backend
        from distributed.versions import VersionMismatchWarning
    except ImportError as error:
        raise ClusterError("--dask takes the package distributed; install it: pip install 'combiner[dask]'") from error
    with _silent_log():
        try:
            get_backend(parse_address(address)[0])  # a client that fails over this takes long to give up
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)  # _check_cluster looks at what matters
                client = Client(address, timeout=_CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {address}; start one, or give its address, as tcp://machine:8786"
            ) from error
        with client:
            yield client


@contextmanager
def _silent_log() -> Iterator[None]:
    """Keep the tracebacks of a client whose scheduler is lost from the screen: that is said in a line of our own."""
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_cluster(client: Client, address: str) -> int:
    """The number of threads that work for a scheduler, if all of them can.

    Raises:
        ClusterError: there are none, or not everyone has this program in this version.
    """
    versions = {f"worker {name}": version for name, version in client.run(_version, on_error="return").items()}
    if not versions:
        raise ClusterError(f"the Dask cluster at {address} has no workers; start some: dask worker {address}")
    try:
        versions[f"scheduler {address}"] = client.run_on_scheduler(_version)
    except Exception as error:  # whatever it lacks
        versions[f"scheduler {address}"] = error
    for name, version in versions.items():
        if isinstance(version, BaseException):
            raise ClusterError(f"{name} cannot run combiner ({version}); install {__version__} there")
        if version != __version__:
            raise ClusterError(f"{name} has combiner {version}, and here is {__version__}; install the same everywhere")
    return sum(client.nthreads().values())


def _version() -> str:
    return __version__


# ---- here ------------------------------------------------------------------------------------------------------------


class _Sender:
    """Sends contents of inputs, and before them the priors that they take and that do not come with the program."""

    def __init__(self, client: Client, request: Request, known: Library) -> None:
        self.client = client
        self.request = request
        self._known = known
        self._sent: dict[int, Future[bytes] | None] = {}

    def forget_priors(self) -> None:
        """Send priors again when they are needed next."""
        self._sent.clear()

    def send(self, contents: Mapping[Job, bytes]) -> Future[list[Result]]:
        """Have some files worked on."""
        prior = self._prior_for(contents)
        arguments = (__version__, self.request, list(contents), list(contents.values()))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sending large graph")  # an input may be large
            return self.client.submit(
                convert_contents,
                *arguments,
                None if prior is None else prior.id,
                None if prior is None else self._file_for(prior),
                key=f"combiner-{uuid.uuid4()}",
                retries=_RETRIES,
            )

    def _prior_for(self, contents: Mapping[Job, bytes]) -> Prior | None:
        """The prior that files take, where that is known here; each worker chooses the others from those it has."""
        if self.request.prior is not None:
            return self._known.named(self.request.prior)
        if not isinstance(self.request, Decoding):
            return None
        (content,) = contents.values()
        try:
            return self._known.with_id(File.parse(content, self.request.ignore_checksum).prior_id)
        except CombinerError:
            return None  # a worker may have it, or else says what is wrong

    def _file_for(self, prior: Prior) -> Future[bytes] | None:
        """The content of a prior's file, on all workers; ``None`` where they have it from the beginning."""
        if prior.id not in self._sent:
            shipped = library.is_shipped(prior)
            self._sent[prior.id] = None if shipped else self.client.scatter(_content(prior), broadcast=True, hash=False)
        return self._sent[prior.id]


def _content(prior: Prior) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"prior{store.SUFFIX}")
        store.save(prior, path)
        return path.read_bytes()


def _work_off(
    waiting: deque[_Task], sender: _Sender, address: str, most: int
) -> Generator[tuple[Job, Result], None, None]:
    """Results of tasks, of which so many at most are on their way at a time."""
    from distributed import as_completed

    under_way: dict[Future[list[Result]], _Task] = {}
    finished = as_completed(loop=sender.client.loop)
    while waiting or under_way:
        while waiting and len(under_way) < most:
            task = waiting.popleft()
            contents = yield from _read(task, sender.request)
            if contents:
                future = sender.send(contents)
                under_way[future] = replace(task, jobs=tuple(contents))
                finished.add(future)
        if not under_way:
            continue
        future = next(finished)
        task = under_way.pop(future)
        if sender.client.status != "running":
            raise ClusterError(f"the scheduler at {address} is lost; start it again, and this with --skip-existing")
        if future.status in ("cancelled", "lost") and task.tries < _RETRIES:
            # a prior is gone with all the workers that had it; all else that is lost the scheduler has done again
            sender.forget_priors()
            waiting.append(replace(task, tries=task.tries + 1))
        else:
            yield from zip(task.jobs, _results(task, future), strict=True)


def _read(task: _Task, request: Request) -> Generator[tuple[Job, Result], None, dict[Job, bytes]]:
    """Contents of the inputs of a task, but those that cannot be read."""
    contents: dict[Job, bytes] = {}
    for job in task.jobs:
        content = attempt(partial(work.read_source, job.source, request))
        if isinstance(content, Failure):
            yield job, content
        else:
            contents[job] = content
    return contents


def _results(task: _Task, future: Future[list[Result]]) -> list[Result]:
    """What came back, or for every job why nothing did."""
    from distributed import KilledWorker

    if future.status == "finished":
        return future.result()
    error = future.exception() if future.status == "error" else None
    if error is None:
        reason = Failure("the workers that had it were lost again and again", ClusterError.exit_code)
    elif isinstance(error, KilledWorker):
        reason = Failure("workers died of it; perhaps there is too little memory for it", ClusterError.exit_code)
    else:
        reason = failure(error)
    return [reason] * len(task.jobs)


# ---- there -----------------------------------------------------------------------------------------------------------


def convert_contents(
    version: str,
    request: Request,
    jobs: Sequence[Job],
    contents: Sequence[bytes],
    prior_id: int | None,
    prior_content: bytes | None,
) -> list[Result]:
    """Contents of the outputs of jobs, in their order: the work of a worker.

    Args:
        version: of this program where the files are.
        request: what to do.
        jobs: what there is to do.
        contents: of their inputs.
        prior_id: of the prior that they take, where that is known.
        prior_content: of its file, unless it comes with the program.

    Raises:
        ClusterError: another version of this program is here.
    """
    if version != __version__:
        raise ClusterError(f"a worker has combiner {__version__}, and here is {version}; install the same everywhere")
    known = _library_of_worker()
    if prior_id is not None:
        prior = _received(Shipment(prior_id, prior_content))
        with_id = known.with_id
        known = Library(lambda _: prior, lambda number: prior if number == prior_id else with_id(number))
    results = dict(work.convert(jobs, request, known, dict(zip(jobs, contents, strict=True)).__getitem__))
    return [results[job] for job in jobs]


@lru_cache(maxsize=1)
def _library_of_worker() -> Library:
    return work.library()


@lru_cache(maxsize=4)
def _received(shipment: Shipment) -> Prior:
    """The prior of that id, from this machine or from what was sent."""
    try:
        return library.find_id(shipment.id)
    except PriorError:
        if shipment.content is None:
            raise
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"prior{store.SUFFIX}")
        path.write_bytes(shipment.content)
        return store.load(path)
