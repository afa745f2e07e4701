"""Runs one of pgbench's own scripts against a PostgreSQL of its own: TPC-B's transactions, or looking accounts up.

`prepare` makes the database once; a run works on it where it is, and leaves it as good as new but for the history. The
server listens on a socket in the run's folder only.

The result: `tps`, transactions per second, as the database itself counts them: in its history, or in its statistics
where nothing is written. Asked for at a pace, time is left over while memory is ample. Afterwards branches, tellers
and history must agree on the money, and the database with what pgbench says it did.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from programs import CHECK_S, POLL_S, Failed, Program, ask, conclude, scratch, serving
from touching import Run

USER = "postgres"
PREPARE_S = 1800.0  # a slow guest, a large scale
MONEY = "SELECT (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers), "
MONEY += "(SELECT coalesce(sum(delta), 0) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)"
LOOKUPS = "SELECT idx_scan FROM pg_stat_user_tables WHERE relname = 'pgbench_accounts'"
WARM = "SELECT pg_prewarm('pgbench_accounts_pkey'), pg_prewarm('pgbench_accounts')"
COUNTED_S = 10.0  # for what a connection did to reach the statistics; it tells them at least once a second
TPC_B, SELECT = SCRIPTS = ("tpcb-like", "select-only")
LAZY = ["-c", "listen_addresses=", "-c", "max_connections=40", "-c", "max_wal_size=256MB", "-c", "huge_pages=off"]
LAZY += ["-c", "autovacuum=off"]  # once a minute: whether within a run, and with what to do, is chance


def programs() -> Path:
    """Return the folder of the newest PostgreSQL that is installed. Raises Failed when none is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        raise Failed("there is no PostgreSQL in /usr/lib/postgresql; the workload's packages are missing")
    return found[-1].parent


class Database:
    """The cluster in a folder, and the ways to its server."""

    def __init__(self, data: str, sockets: Path) -> None:
        """Look for the programs; nothing is started."""
        self.cluster = Path(data) / "cluster"
        self._bin, self._sockets = programs(), sockets
        shutil.chown(sockets, USER)

    def server(self, shared_mib: int) -> Program:
        """Start the server."""
        memory = ["-c", f"shared_buffers={shared_mib}MB", "-c", f"unix_socket_directories={self._sockets}"]
        argv = [str(self._bin / "postgres"), "-D", str(self.cluster), *LAZY, *memory]
        return Program(argv, self._sockets / "server.log", user=USER)

    def client(self, program: str, *arguments: str) -> list[str]:
        """Return the command of a client."""
        place = ["-h", str(self._sockets), "-U", USER]
        return [str(self._bin / program), *place, *arguments, USER]

    def ready(self) -> bool:
        """Whether the server answers."""
        try:
            self.query("SELECT 1")
        except Failed:
            return False
        return True

    def query(self, sql: str, timeout_s: float = CHECK_S) -> list[str]:
        """Return the first row."""
        return ask(self.client("psql", "-qAt", "-F", " ", "-c", sql), timeout_s=timeout_s).split()

    def lookups(self) -> int:
        """Return how many accounts were looked up since its statistics began."""
        return int(self.query(LOOKUPS)[0])

    def create(self) -> None:
        """Make an empty cluster."""
        shutil.rmtree(self.cluster, ignore_errors=True)
        self.cluster.mkdir()
        shutil.chown(self.cluster, USER, USER)
        initdb = [str(self._bin / "initdb"), "-D", str(self.cluster), "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        ask(initdb, user=USER, timeout_s=PREPARE_S)


def prepare(run: Run, data: str, scale: int) -> Mapping[str, float]:
    """Make the cluster and fill it: 100,000 accounts, some 15 MiB, for each unit of scale."""
    with scratch(data) as folder:
        database = Database(data, folder)
        database.create()
        with serving(database.server(shared_mib=32), run, database.ready, signal.SIGINT):
            ask(database.client("pgbench", "-i", "-q", "-s", str(scale)), timeout_s=PREPARE_S)
            for sql in ("CREATE EXTENSION pg_prewarm", "VACUUM (ANALYZE)", "CHECKPOINT"):
                database.query(sql, PREPARE_S)
    return {"scale": scale}


def measure(run: Run, arguments: argparse.Namespace) -> Mapping[str, float]:
    """Run transactions until the deadline, and look whether they were done."""
    with scratch(arguments.data) as folder:
        database = Database(arguments.data, folder)
        server = database.server(arguments.shared_mib)
        with serving(server, run, database.ready, signal.SIGQUIT):
            if arguments.prewarm == "true":
                database.query(WARM, PREPARE_S)
            before, looked_up = database.query(MONEY), database.lookups()
            options = ["-n", "-M", "prepared", "-b", arguments.script]
            options += ["-c", str(arguments.clients), "-T", str(max(1, round(run.duration_s)))]
            pace = ["-R", str(arguments.tps)] if arguments.tps else []
            run.begin()
            pgbench = Program(database.client("pgbench", *options, *pace), folder / "pgbench.log")
            status = pgbench.follow(run)
            elapsed_s = run.elapsed_s
            if status is None and not run.stopped:
                status = pgbench.wait(CHECK_S)  # it ends with the transactions under way
                elapsed_s = run.elapsed_s
            if status:
                raise pgbench.failure()
            pgbench.end()
            said = pgbench.said if status == 0 else ""
            if arguments.script == SELECT:
                done = counted(lambda: database.lookups() - looked_up, said)
            else:
                done = checked(before, database.query(MONEY), said)
    return {"tps": done / elapsed_s, "transactions": done, "elapsed_s": elapsed_s}


def checked(before: list[str], after: list[str], said: str) -> int:
    """Return how many transactions the database holds of this run. Raises Failed when the accounts do not agree."""
    branches, tellers, history, rows = (int(new) - int(old) for new, old in zip(after, before))
    if not branches == tellers == history:
        raise Failed(f"branches have {branches}, tellers {tellers}, history {history}: money was made or lost")
    return agreed(claimed(said), rows, "history")


def counted(lookups: Callable[[], int], said: str) -> int:
    """Return how many accounts the database's statistics say were looked up, once they have all that pgbench claims."""
    claim, until_s = claimed(said), time.monotonic() + COUNTED_S
    while claim is not None and lookups() < claim and time.monotonic() < until_s:
        time.sleep(POLL_S)
    return agreed(claim, lookups(), "statistics")


def claimed(said: str) -> int | None:
    """Return how many transactions pgbench says it did; None when it was ended before it could say."""
    found = re.search(r"transactions actually processed: (\d+)", said)
    return int(found[1]) if found else None


def agreed(claim: int | None, done: int, witness: str) -> int:
    """Return what was done. Raises Failed when it is nothing, or not what pgbench claims."""
    if claim is not None and claim != done:
        raise Failed(f"pgbench says {claim} transactions, the {witness} {done}")
    if not done:
        raise Failed("not one transaction was done")
    return done


def main() -> None:
    """Prepare, or run until the deadline or a signal; then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="make the database instead")
    parser.add_argument("--data", required=True)
    parser.add_argument("--scale", type=int, default=1)
    parser.add_argument("--shared-mib", type=int, default=32)
    parser.add_argument("--script", choices=SCRIPTS, default=TPC_B, help="of pgbench's own")
    parser.add_argument("--prewarm", choices=("true", "false"), default="false", help="fill the buffers before")
    parser.add_argument("--clients", type=int, default=2)
    parser.add_argument("--tps", type=float, default=0.0, help="asked for; 0: as many as can be done")
    parser.add_argument("--duration-s", type=float, default=PREPARE_S)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)
    if arguments.prepare:
        run.start()
        conclude(run, lambda: prepare(run, arguments.data, arguments.scale))
    conclude(run, lambda: measure(run, arguments))


if __name__ == "__main__":
    main()
