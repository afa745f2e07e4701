"""Serves static pages with Apache and fetches them with ab (ApacheBench), one page after the other.

The server is a single process with threads, on 127.0.0.1 and a port of the run's own, with nothing but what serving
files takes.

The result: `requests_per_s` over all pages. Every answer must be a success and have the page's length.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from programs import CHECK_S, Failed, Program, conclude, scratch, serving, which
from touching import Run

USER = "www-data"
MODULES = Path("/usr/lib/apache2/modules")
CONFIGURATION = """
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {folder}/pid
ErrorLog {folder}/error.log
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
StartServers 1
ThreadsPerChild {clients}
MaxRequestWorkers {clients}
DocumentRoot {folder}/pages
"""
REQUESTS = 2000  # of one page before the next; ab keeps each in memory
ANSWER_S = 60  # ab gives up on a connection that is silent for so long


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_pages(folder: Path, pages: int, page_kib: int) -> None:
    """Write the pages, each with its own text."""
    (folder / "pages").mkdir()
    size = 1024 * page_kib
    for number in range(pages):
        text = f"<p>page {number}</p>\n".encode()
        (folder / "pages" / f"{number}.html").write_bytes((text * (1 + size // len(text)))[:size])


def requests_in(said: str, page_kib: int) -> int:
    """Return how many requests ab says were answered. Raises Failed when one was not answered as it should be."""
    numbers = {name: int(number) for name, number in re.findall(r"^([\w -]+): +(\d+)\b", said, re.MULTILINE)}
    wrong = numbers.get("Failed requests", 0) + numbers.get("Non-2xx responses", 0)
    if wrong or numbers.get("Document Length") != 1024 * page_kib:
        last = " | ".join(line for line in said.splitlines() if re.match("(Failed|Non-2xx|Document)", line))
        raise Failed(f"ab did not get the pages: {last or said.strip()[-300:]}")
    return numbers.get("Complete requests", 0)


def measure(run: Run, arguments: argparse.Namespace) -> Mapping[str, float]:
    """Fetch page after page until the deadline."""
    with scratch(arguments.data) as folder:
        write_pages(folder, arguments.pages, arguments.page_kib)
        port, clients = free_port(), arguments.clients
        values = {"port": port, "folder": folder, "modules": MODULES, "clients": max(clients, 4)}
        (folder / "apache.conf").write_text(CONFIGURATION.format(**values), encoding="utf-8")
        shutil.chown(folder, USER)
        # As its user from the beginning: a server that changes its user is no longer bound to our end.
        server = Program([which("apache2"), "-X", "-f", str(folder / "apache.conf")], folder / "server.log", user=USER)
        with serving(server, run, lambda: answers(port), signal.SIGKILL):
            run.begin()
            done, turn = 0, 0
            while not run.stopped and run.elapsed_s < arguments.duration_s:
                options = ["-q", "-k", "-c", str(clients), "-n", str(REQUESTS), "-s", str(ANSWER_S)]
                page = f"http://127.0.0.1:{port}/{turn % arguments.pages}.html"
                ab = Program([which("ab"), *options, page], folder / "ab.log")
                if ab.follow(run) is None:
                    ab.send(signal.SIGINT)  # then it says how far it came, and ends with 1
                    ab.wait(CHECK_S)
                elif ab.status:
                    raise ab.failure()
                done += requests_in(ab.said, arguments.page_kib)
                turn += 1
                run.progress(f"{done} requests")
            elapsed_s = run.elapsed_s
    if not done:
        raise Failed("not one request was answered in time")
    return {"requests_per_s": done / elapsed_s, "requests": done, "elapsed_s": elapsed_s}


def main() -> None:
    """Run until the deadline or a signal, then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pages", type=int, required=True)
    parser.add_argument("--page-kib", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True, help="connections at once")
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, required=True)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)
    conclude(run, lambda: measure(run, arguments))


if __name__ == "__main__":
    main()
