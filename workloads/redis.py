"""Fills a Redis and asks it for keys by a popularity law, at a pace, several requests on their way at once.

The clock starts when it is filled. One request in ten writes its key anew. Groups of requests go out together over a
local socket; every answer is checked to the last byte, and at the end the server must still have every key.

The result: `requests_per_s`; `p99_ms`, how long the answers of a group took, with one group in a hundred taking longer;
`lost_s`, the time by which groups ended after the next was due.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from programs import CHECK_S, POLL_S, Failed, Program, conclude, quantile, scratch, serving
from random_touch import Popularity
from touching import Over, Run, Schedule

WRITES = 0.1
MOST_REQUESTS_A_FILL = 64


class Client:
    """The one connection; what it waits for may take as long as the run, whose end raises Over."""

    def __init__(self, path: Path, run: Run) -> None:
        """Do not connect yet."""
        self._path, self._run = path, run
        self._socket = socket.socket(socket.AF_UNIX)
        self._rest = b""

    def ready(self) -> bool:
        """Whether the server takes the connection."""
        with contextlib.suppress(OSError):
            self._socket.connect(str(self._path))
            self._socket.settimeout(0.2)
            return True
        return False

    def close(self) -> None:
        """Let go of the connection."""
        self._socket.close()

    def send(self, requests: Sequence[Sequence[bytes]]) -> None:
        """Send requests together."""
        data = memoryview(b"".join(map(encoded, requests)))
        while data:
            with contextlib.suppress(socket.timeout):
                data = data[self._socket.send(data) :]
            self._run.check()

    def line(self) -> bytes:
        """Return the next line of the answer."""
        while b"\r\n" not in self._rest:
            self._more()
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    def reply(self) -> bytes:
        """Return one answer: a status with its sign, or a value. Raises Failed when it is an error."""
        line = self.line()
        if line[:1] == b"-":
            raise Failed(f"redis answered: {line[1:].decode(errors='replace')}")
        if line[:1] != b"$":
            return line
        length = int(line[1:])
        if length < 0:
            return b""
        while len(self._rest) < length + 2:
            self._more()
        value, self._rest = self._rest[:length], self._rest[length + 2 :]
        return value

    def _more(self) -> None:
        with contextlib.suppress(socket.timeout):
            data = self._socket.recv(1 << 16)
            if not data:
                raise Failed("redis closed the connection")
            self._rest += data
        self._run.check()


def encoded(words: Sequence[bytes]) -> bytes:
    """Return a request as Redis takes it."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Values:
    """What each key holds: its own number, then bytes that do not compress."""

    def __init__(self, length: int) -> None:
        """Draw the bytes once."""
        self._bytes = random.Random(1).getrandbits(8 * length).to_bytes(length, "little")

    def of(self, key: int) -> bytes:
        """Return what a key holds."""
        head = b"%d:" % key
        return head + self._bytes[len(head) :]


def fill(client: Client, keys: int, values: Values) -> None:
    """Write every key once."""
    for first in range(0, keys, MOST_REQUESTS_A_FILL):
        group = range(first, min(keys, first + MOST_REQUESTS_A_FILL))
        client.send([(b"SET", b"%d" % key, values.of(key)) for key in group])
        for key in group:
            if client.reply() != b"+OK":
                raise Failed(f"redis did not take the key {key}")


def ask(client: Client, keys: Sequence[int], values: Values, chance: random.Random) -> None:
    """Send a group of requests and check every answer."""
    writes = [chance.random() < WRITES for _ in keys]
    client.send([
        (b"SET", b"%d" % key, values.of(key)) if write else (b"GET", b"%d" % key) for key, write in zip(keys, writes)
    ])  # fmt: skip
    for key, write in zip(keys, writes):
        if client.reply() != (b"+OK" if write else values.of(key)):
            raise Failed(f"redis gave the wrong value for the key {key}")


def measure(run: Run, arguments: argparse.Namespace) -> Mapping[str, float]:
    """Fill, ask until the deadline, and count the keys."""
    with scratch(arguments.data) as folder:
        path = folder / "redis.sock"
        options = {"port": "0", "unixsocket": str(path), "save": "", "appendonly": "no", "dir": str(folder)}
        argv = ["redis-server", *(word for key, value in options.items() for word in (f"--{key}", value))]
        server = Program(argv, folder / "server.log")
        with contextlib.closing(Client(path, run)) as client, serving(server, run, client.ready):
            values = Values(arguments.value_bytes)
            fill(client, arguments.keys, values)
            popularity = Popularity(arguments.law, arguments.exponent, arguments.keys, arguments.seed)
            run.begin()
            figures = drive(run, client, popularity, values, arguments)
            require_keys(path, arguments.keys)
            return figures


def require_keys(path: Path, keys: int) -> None:
    """Raise Failed when the server does not have every key, or does not say so in time."""
    try:
        # The run's own connection may have answers on their way.
        run = Run(CHECK_S)
        run.start()
        with contextlib.closing(Client(path, run)) as client:
            while not client.ready():
                time.sleep(POLL_S)
            client.send([(b"DBSIZE",)])
            said = client.reply()
    except Over:
        raise Failed(f"redis did not say within {CHECK_S:.0f} s how many keys it has") from None
    if said != b":%d" % keys:
        raise Failed(f"redis has {said[1:].decode()} keys, and {keys} were written")


def drive(
    run: Run, client: Client, popularity: Popularity, values: Values, arguments: argparse.Namespace
) -> Mapping[str, float]:
    """Ask until the deadline."""
    chance = random.Random(arguments.seed)
    schedule = Schedule(run, arguments.requests_per_s / arguments.pipeline)
    took_s: list[float] = []
    with contextlib.suppress(Over):
        while True:
            begun_s = time.monotonic()
            ask(client, popularity.draw(arguments.pipeline), values, chance)
            took_s.append(time.monotonic() - begun_s)
            run.progress(f"{len(took_s)} groups, {schedule.lost_s:.1f} s lost")
            schedule.next()
    elapsed_s = run.elapsed_s
    schedule.late()
    if not took_s:
        raise Failed("not one group of requests was answered in time")
    return {
        "requests_per_s": len(took_s) * arguments.pipeline / elapsed_s,
        "p99_ms": 1000 * quantile(took_s, 0.99),
        "lost_s": schedule.lost_s,
        "elapsed_s": elapsed_s,
    }


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, required=True)
    parser.add_argument("--value-bytes", type=int, required=True)
    parser.add_argument("--law", choices=("uniform", "zipf"), required=True)
    parser.add_argument("--exponent", type=float, default=1.0, help="of zipf")
    parser.add_argument("--pipeline", type=int, required=True, help="requests of a group")
    parser.add_argument("--requests-per-s", type=float, required=True, help="asked for; 0: as many as can be done")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)
    conclude(run, lambda: measure(run, arguments))


if __name__ == "__main__":
    main()
