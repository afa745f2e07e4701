"""Trials on a Dask cluster, for more than one machine. Dask is an extra (requirements-cluster.txt, docs/cluster.md)."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, TypeVar

from harness.experiment.manifest import source, sources_sha256

if TYPE_CHECKING:  # an extra, which most installations do not have
    from distributed import Client

T = TypeVar("T")
R = TypeVar("R")

CONNECT_S = 10.0
FIRST_WORKER_S = 30.0
"""A scheduler that has no worker by then is left alone."""


class ClusterError(RuntimeError):
    """The cluster cannot be used; the message says why, and what to do."""


def map_on_cluster(address: str, work: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
    """Do the work of every item on a cluster; yields the results as they are done, in any order.

    What the work raises, the caller gets. Whatever ends this early (that, Ctrl-C, a caller who has heard enough), what
    has not begun is cancelled; what has begun on a worker ends by itself.

    Raises:
        ClusterError: Dask is not installed, nobody answers at the address, or a worker has another source than ours.

    """
    try:
        from distributed import KilledWorker, as_completed
    except ModuleNotFoundError as error:
        raise ClusterError(
            f"{error.name} is not installed, and a cluster needs it. Install the extra, here and on every worker: "
            ".venv/bin/python -m pip install --require-hashes --no-deps -r requirements-cluster.txt"
        ) from error
    ours = {**source(), "files": sources_sha256()}
    with _connected(address) as client:
        futures = client.map(_guarded(ours), [pickle.dumps((work, item)) for item in items], pure=False)
        try:
            for future in as_completed(futures, loop=client.loop):
                host, theirs, result = future.result()
                if theirs != ours:
                    where = f"the worker on {host} has {_told(theirs)}, and here is {_told(ours)}"
                    if _told(theirs) == _told(ours):
                        where += ", with other files in harness/ or workloads/"
                    raise ClusterError(f"{where}; bring both to the same commit and start the worker again")
                yield result
                future.release()
        except KilledWorker as error:
            raise ClusterError(f"a worker died, again and again, over the same item ({error}); see its log") from error
        except CancelledError as error:
            raise ClusterError(
                f"the scheduler at {address} is gone ({error}); start it and its workers again"
            ) from error
        finally:
            client.cancel([future for future in futures if not future.done()])


def _guarded(ours: Mapping[str, Any]) -> Callable[[bytes], tuple[str, dict[str, Any] | None, Any]]:
    """Return what does the work of a pickled item, on a worker whose source is ours; with the worker's host and source.

    It is an inner function, which travels with its code: a worker that has another source, or none, can run it too.
    """

    def run(pickled: bytes) -> tuple[str, dict[str, Any] | None, Any]:
        import pickle
        import platform

        try:
            from harness.experiment.manifest import source, sources_sha256
        except ImportError:
            return platform.node(), None, None
        theirs = {**source(), "files": sources_sha256()}
        if theirs != ours:
            return platform.node(), theirs, None
        work, item = pickle.loads(pickled)
        return platform.node(), theirs, work(item)

    return run


def _told(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "no checkout of this project on its Python's path"
    commit = f"commit {found['commit']}" if found["commit"] else "no commit"
    return f"{commit} with changes" if found["dirty"] else commit


def _connected(address: str) -> Client:
    """A client of the scheduler, which has a worker."""
    from distributed import Client

    try:
        asyncio.run(_reach(address))  # a Client that does not get through complains again when it is thrown away
        client = Client(address, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no Dask scheduler at {address!r}: {error}. Give HOST:PORT of one that runs: .venv/bin/dask scheduler"
        ) from error
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_S)
    except TimeoutError:
        client.close()
        raise ClusterError(
            f"the scheduler at {address} has no worker; start some: .venv/bin/dask worker {address}, in this checkout"
        ) from None
    return client


async def _reach(address: str) -> None:
    from distributed.comm import connect
    from distributed.security import Security

    comm = await connect(address, timeout=CONNECT_S, **Security().get_connection_args("client"))
    await comm.close()
