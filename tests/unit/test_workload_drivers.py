"""The drivers of other people's programs: what they start ends with them, and what went wrong is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.experiment.workloads import WORKLOADS, load_workloads
from tests.unit.starting import go, paced, told, untold

Driver = Callable[[str], ModuleType]
Run = Client = Any  # of modules that are there only while a test runs
NUMBER = r"--number=^speed (\d+)"


@pytest.fixture(name="modules")
def _modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the modules of the workloads be imported, and undo afterwards what they do to this process."""
    monkeypatch.syspath_prepend(str(WORKLOADS))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    before = {*sys.modules}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    for name in {*sys.modules} - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(WORKLOADS)):
            del sys.modules[name]


@pytest.fixture(name="driver")
def _driver(modules: None) -> Driver:
    return import_module


def program(folder: Path, text: str) -> str:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def start(folder: Path, argv: str, *, duration_s: float = 2) -> subprocess.Popen[str]:
    return told(command(folder, argv, duration_s=duration_s))


def command(folder: Path, argv: str, *, duration_s: float = 2) -> list[str]:
    options = [f"--program={argv}", NUMBER, f"--data={folder / 'data'}", f"--duration-s={duration_s}"]
    return [sys.executable, "-B", str(WORKLOADS / "repeat.py"), *options]


def finish(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    output, errors = process.communicate(timeout=60)
    said = [line for line in output.splitlines() if line != "ready"]
    return process.returncode, json.loads(said[-1]) if said else {}, errors.strip()


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def ends(pid: int, within_s: float = 10) -> bool:
    until_s = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < until_s:
        time.sleep(0.05)
    return not alive(pid)


def pid_in(path: Path) -> int:
    until_s = time.monotonic() + 10
    while not (path.exists() and path.read_text().strip()):
        assert time.monotonic() < until_s
        time.sleep(0.05)
    return int(path.read_text())


def test_a_program_is_repeated_until_the_deadline_and_its_numbers_averaged(tmp_path: Path) -> None:
    counted = program(tmp_path, f"echo x >>{tmp_path}/runs; echo speed $(wc -l <{tmp_path}/runs)K; sleep 0.3")
    code, figures, _ = finish(start(tmp_path, counted))
    assert code == 0
    assert figures["runs"] >= 2
    assert figures["number"] == pytest.approx(1000 * (figures["runs"] + 1) / 2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo out of luck; exit 3", "failed: program ended with 3: out of luck"),
        ("echo speed unknown", "failed: no number in what it printed, which ends with: speed unknown"),
        ("kill -KILL $$", "failed: program was killed by signal 9: it said nothing"),
    ],
)
def test_a_program_that_goes_wrong_fails_the_run_with_its_reason(tmp_path: Path, text: str, said: str) -> None:
    code, figures, errors = finish(start(tmp_path, program(tmp_path, text)))
    assert (code, figures) == (1, {})
    assert errors.splitlines()[-1] == said


def test_a_program_that_is_not_installed_is_named(tmp_path: Path) -> None:
    code, _, errors = finish(start(tmp_path, "no-such-program,nor-this"))
    assert (code, errors) == (
        1, "failed: no-such-program or nor-this is not installed; the workload's packages are missing",
    )  # fmt: skip


def test_a_program_is_started_only_after_the_word(tmp_path: Path) -> None:
    process = untold(command(tmp_path, program(tmp_path, f"touch {tmp_path}/began; echo speed 1"), duration_s=0.5))
    time.sleep(1)
    assert not (tmp_path / "began").exists()
    go(process)
    code, figures, _ = finish(process)
    assert (code, figures["ended"]) == (0, "deadline")
    assert figures["elapsed_s"] < 1


def test_a_program_cannot_take_the_word_nor_what_follows_it(tmp_path: Path) -> None:
    text = 'read -r line && exit 3; echo "speed 1"; sleep 0.3'
    code, _, errors = finish(told(command(tmp_path, program(tmp_path, text), duration_s=0.5), b"go\nmore\n"))
    assert code == 0, errors


def test_a_driver_that_is_not_told_to_go_cleans_up_and_says_so(tmp_path: Path) -> None:
    for word, said in ((b"", "never told to go"), (None, "told to stop before it was told to go")):
        argv = command(tmp_path, program(tmp_path, "echo speed 1"))
        process = untold(argv) if word is None else told(argv, word)
        if word is None:
            process.terminate()
            process.wait(20)  # its input still open
        code, figures, errors = finish(process)
        assert (code, figures) == (1, {})
        assert said in errors
        assert list((tmp_path / "data").iterdir()) == []


def test_a_run_that_is_killed_leaves_no_program_behind(tmp_path: Path) -> None:
    process = start(tmp_path, program(tmp_path, f"echo $$ >{tmp_path}/pid; exec sleep 60"), duration_s=60)
    pid = pid_in(tmp_path / "pid")
    process.kill()
    process.communicate(timeout=10)
    assert ends(pid)


def test_a_signal_to_the_whole_group_still_lets_the_run_report(tmp_path: Path) -> None:
    text = f'test -e {tmp_path}/pid && sleep 60; echo $$ >{tmp_path}/pid; echo "speed 7"'
    process = told(command(tmp_path, program(tmp_path, text), duration_s=60), start_new_session=True)
    pid_in(tmp_path / "pid")
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGTERM)
    code, figures, _ = finish(process)
    assert (code, figures["number"], figures["runs"], figures["ended"]) == (0, 7, 1, "signal")


def test_a_run_removes_its_folder_and_those_of_runs_that_were_killed(tmp_path: Path) -> None:
    (tmp_path / "data" / "run-old").mkdir(parents=True)
    finish(start(tmp_path, program(tmp_path, "echo speed 1; sleep 0.5"), duration_s=1))
    assert list((tmp_path / "data").iterdir()) == []


def test_a_server_that_ends_before_it_is_ready_is_a_failure_with_its_last_words(driver: Driver, tmp_path: Path) -> None:
    programs, run = driver("programs"), driver("touching").Run(20)
    server = programs.Program([program(tmp_path, "echo no room; exit 1")], tmp_path / "log")
    with pytest.raises(programs.Failed, match=r"program ended with 1: no room"):  # noqa: SIM117
        with programs.serving(server, run, lambda: False):
            pass


def test_a_server_is_taken_down_when_it_does_not_heed_its_signal(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs, run = driver("programs"), driver("touching").Run(20)
    monkeypatch.setattr(programs, "END_S", 0.5)
    text = f"trap '' TERM; echo $$ >{tmp_path}/pid; while :; do sleep 0.1; done"
    server = programs.Program([program(tmp_path, text)], tmp_path / "log")
    with programs.serving(server, run, (tmp_path / "pid").exists):
        pid = pid_in(tmp_path / "pid")
    assert ends(pid)


def test_memtester_counts_only_tests_that_ended_well(driver: Driver) -> None:
    said = "Loop 1:\n  Stuck Address   : \b\b ok         \n  Random Value    : -\b\\\b ok   \n  Compare XOR  : "
    assert driver("memtest").tests_done(said) == 2


def test_a_rate_of_few_large_things_is_up_to_the_last_of_them_and_not_to_the_deadline(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memtest, touching = driver("memtest"), driver("touching")
    said = "echo '  Stuck Address : ok'; sleep 0.5; echo '  Random Value : ok'; printf '  Compare XOR : '; sleep 60"
    run = touching.Run(2.0)
    run.start()
    tester = driver("programs").Program([program(tmp_path, said)], tmp_path / "log")
    done, ended_s = memtest.followed(run, tester)
    tester.end()
    assert done == 2
    assert 0.5 <= ended_s < 1.9

    kernel_build = driver("kernel_build")
    monkeypatch.setattr(kernel_build, "ENCLOSED", [])
    for name, wait_s in (("a", 0), ("b", 0.4), ("c", 60)):
        compiler = program(tmp_path, f"sleep {wait_s}; printf '\\177ELF' >{name}.o")
        (tmp_path / f".{name}.o.cmd").write_text(f"cmd_{name}.o := {shutil.copy(compiler, tmp_path / f'cc-{name}')}\n")
    run = touching.Run(2.0)
    run.start()
    ended: list[float] = []
    assert not kernel_build.compile_all(run, tmp_path, ["a.o", "b.o", "c.o"], 1, tmp_path, ended)
    assert len(ended) == kernel_build.built(tmp_path, ["a.o", "b.o", "c.o"]) == 2
    assert ended[-1] < 1.9


def test_an_object_counts_only_as_an_elf_file(driver: Driver, tmp_path: Path) -> None:
    kernel_build = driver("kernel_build")
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.o").write_bytes(b"\x7fELF...")
    (tmp_path / "lib" / "b.o").write_bytes(b"")
    assert kernel_build.built(tmp_path, ["lib/a.o", "lib/b.o", "lib/c.o"]) == 1
    phases = kernel_build.chosen(24)
    assert {len({*objects}) for objects in phases.values()} == {24}


def test_an_object_is_compiled_by_the_command_that_make_wrote_down(driver: Driver, tmp_path: Path) -> None:
    kernel_build = driver("kernel_build")
    (tmp_path / "lib").mkdir()
    said = """savedcmd_lib/a.o := gcc -DNAME='"a b"' -c -o lib/a.o lib/a.c ; ./objtool lib/a.o"""
    (tmp_path / "lib" / ".a.o.cmd").write_text(f"{said}\n\nsource_lib/a.o := lib/a.c\n")
    assert kernel_build.command(tmp_path, "lib/a.o") == ["gcc", '-DNAME="a b"', "-c", "-o", "lib/a.o", "lib/a.c"]
    with pytest.raises(import_module("programs").Failed, match="does not say how to compile; prepare"):
        kernel_build.command(tmp_path, "lib/b.o")


def test_the_bank_of_pgbench_must_agree_on_the_money(driver: Driver) -> None:
    pgbench = driver("pgbench")
    said = "number of transactions actually processed: 3"
    before = ["10", "10", "10", "1"]
    assert pgbench.checked(before, ["17", "17", "17", "4"], said) == 3
    for after, reason in [
        (["17", "16", "17", "4"], "money was made or lost"),
        (["17", "17", "17", "5"], "pgbench says 3 transactions, the history 4"),
        (before, "pgbench says 3"),
    ]:
        with pytest.raises(import_module("programs").Failed, match=reason):
            pgbench.checked(before, after, said)


def test_a_database_server_does_nothing_by_its_own_clock(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL's autovacuum came in some trials and not in others; docs/decisions/0012-the-labs-own-time.md."""
    pgbench = driver("pgbench")
    monkeypatch.setattr(pgbench, "programs", lambda: tmp_path)
    monkeypatch.setattr(pgbench.shutil, "chown", lambda *_: None)
    monkeypatch.setattr(pgbench, "Program", lambda argv, *_, **__: argv)
    argv = pgbench.Database(str(tmp_path), tmp_path).server(shared_mib=32)
    assert ("-c", "autovacuum=off") in pairwise(argv)


def test_lookups_of_pgbench_are_counted_by_the_database(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    pgbench = driver("pgbench")
    monkeypatch.setattr(pgbench, "COUNTED_S", 0.5)
    said, late = "number of transactions actually processed: 30", iter((10, 20, 30, 30))
    assert pgbench.counted(lambda: next(late), said) == 30
    assert pgbench.counted(lambda: 12, "") == 12
    for lookups, claims, reason in ((29, said, "the statistics 29"), (31, said, "statistics 31"), (0, "", "not one")):
        with pytest.raises(import_module("programs").Failed, match=reason):
            pgbench.counted(lambda lookups=lookups: lookups, claims)


AB = """Document Path:          /1.html
Document Length:        16384 bytes
Complete requests:      2000
Failed requests:        {failed}
Keep-Alive requests:    1981
"""


def test_a_request_that_failed_fails_the_run(driver: Driver) -> None:
    apache = driver("apache")
    assert apache.requests_in(AB.format(failed=0), 16) == 2000
    for said, kib in ((AB.format(failed=2), 16), (AB.format(failed=0), 8), ("", 16)):
        with pytest.raises(import_module("programs").Failed, match="ab did not get the pages"):
            apache.requests_in(said, kib)


def test_reads_that_went_wrong_fail_the_run(driver: Driver) -> None:
    file_scan = driver("file_scan")
    reads = {"io_bytes": 40960, "total_ios": 10, "runtime": 500, "clat_ns": {"percentile": {"99.000000": 2e6}}}
    said = "fio: terminating on signal 2\n" + json.dumps({"jobs": [{"error": 0, "read": reads}]})
    assert file_scan.figures(said) == {"reads_per_s": 20, "p99_ms": 2, "reads": 10}
    for wrong in (
        json.dumps({"jobs": [{"error": 5, "read": reads}]}),
        json.dumps({"jobs": [{"error": 0, "read": {**reads, "io_bytes": 1}}]}),
        json.dumps({"jobs": [{"error": 0, "read": {**reads, "io_bytes": 0, "total_ios": 0}}]}),
        "killed",
    ):
        with pytest.raises(import_module("programs").Failed):
            file_scan.figures(wrong)


class Store:
    """A server with Redis's protocol, and a fault that can be switched on."""

    def __init__(self, path: Path, *, forgets: bool = False) -> None:
        self.values: dict[bytes, bytes] = {}
        self.forgets = forgets
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with suppress(ConnectionError), connection, connection.makefile("rwb") as stream:  # it may just go
                while line := stream.readline():
                    words = []
                    for _ in range(int(line[1:])):
                        length = int(stream.readline()[1:])
                        words.append(stream.read(length + 2)[:-2])
                    stream.write(self._answer(*words))
                    stream.flush()

    def _answer(self, verb: bytes, key: bytes = b"", value: bytes = b"") -> bytes:
        if verb == b"SET":
            self.values[key] = b"" if self.forgets else value
            return b"+OK\r\n"
        if verb == b"DBSIZE":
            return b":%d\r\n" % len(self.values)
        return b"$%d\r\n%s\r\n" % (len(self.values[key]), self.values[key])


WANTED = SimpleNamespace(
    keys=50, value_bytes=100, law="zipf", exponent=1.0, pipeline=4, requests_per_s=40.0, seed=1
)  # fmt: skip


def asked(redis: ModuleType, run: Run, client: Client) -> dict[str, float]:
    values = redis.Values(WANTED.value_bytes)
    redis.fill(client, WANTED.keys, values)
    run.start()
    popularity = redis.Popularity(WANTED.law, WANTED.exponent, WANTED.keys, WANTED.seed)
    return dict(redis.drive(run, client, popularity, values, WANTED))


def test_redis_is_asked_at_the_pace_and_every_answer_checked(driver: Driver, tmp_path: Path) -> None:
    redis, run = driver("redis"), driver("touching").Run(2.0)
    with closing(Store(tmp_path / "socket")), closing(redis.Client(tmp_path / "socket", run)) as client:
        assert client.ready()
        assert paced(asked(redis, run, client)["requests_per_s"], 40)


def test_a_redis_that_gives_other_values_fails_the_run(driver: Driver, tmp_path: Path) -> None:
    redis, run, failed = driver("redis"), driver("touching").Run(20.0), driver("programs").Failed
    store = Store(tmp_path / "socket", forgets=True)
    with closing(store), closing(redis.Client(tmp_path / "socket", run)) as client:
        assert client.ready()
        with pytest.raises(failed, match="redis gave the wrong value for the key"):
            asked(redis, run, client)


def test_a_redis_that_has_lost_keys_fails_the_run(driver: Driver, tmp_path: Path) -> None:
    redis, failed = driver("redis"), driver("programs").Failed
    with closing(Store(tmp_path / "socket")), pytest.raises(failed, match="redis has 0 keys, and 50 were written"):
        redis.require_keys(tmp_path / "socket", 50)


@pytest.fixture(scope="module", name="classes")
def _classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("javac") is None:
        pytest.skip("no javac here; the lab compiles and runs it")
    folder = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-d", folder, WORKLOADS / "Load.java", WORKLOADS / "Warehouse.java"], check=True)
    return folder


def warehouse(classes: Path, **changes: object) -> list[str]:
    values = {"warehouses": 2, "size": 100, "threads": 2, "from-ops-per-s": 50, "to-ops-per-s": 200, "steps": 2,
              "limit-ms": 500, "seed": 1, "duration-s": 2, **changes}  # fmt: skip
    options = [f"--{key}={value}" for key, value in values.items()]
    return ["java", "-Xmx64m", "-XX:+UseSerialGC", "-cp", str(classes), "Warehouse", *options]


def test_the_warehouse_with_time_to_spare_does_what_its_last_step_asks(classes: Path) -> None:
    code, figures, errors = finish(told(warehouse(classes)))
    assert code == 0, errors
    assert paced(figures["max_ops_per_s"], 200)
    assert paced(figures["operations"], 250)


def test_the_warehouse_reports_what_it_did_when_it_is_told_to_stop(classes: Path) -> None:
    process = untold(warehouse(classes, **{"duration-s": 60}))
    go(process)
    time.sleep(1)
    process.terminate()
    code, figures, errors = finish(process)
    assert (code, figures["ended"]) == (0, "signal"), errors


def test_the_clock_of_a_java_program_starts_with_the_word(classes: Path) -> None:
    process = untold(warehouse(classes, **{"duration-s": 1}))
    time.sleep(3)
    assert process.poll() is None
    go(process)
    code, figures, errors = finish(process)
    assert code == 0, errors
    assert 0.99 <= figures["elapsed_s"] < 3, "it ends by the clock, and began a moment after its word"
    assert paced(figures["operations"], 125)


def test_a_java_program_that_is_not_told_to_go_fails_and_says_so(classes: Path) -> None:
    code, figures, errors = finish(told(warehouse(classes), b""))
    assert (code, figures, errors) == (1, {}, "failed: it was never told to go; by hand: echo go | java ...")
    process = untold(warehouse(classes))
    process.terminate()
    process.wait(20)  # its input still open
    code, figures, errors = finish(process)
    assert (code, figures, errors) == (1, {}, "failed: it was told to stop before it was told to go")


def test_a_heap_that_is_too_small_is_a_failure_with_its_reason_before_it_is_ready(classes: Path) -> None:
    output, errors = (process := told(warehouse(classes, size=20000))).communicate(timeout=60)
    code = process.returncode
    assert output == ""
    assert (code, errors.splitlines()[-1]) == (1, "failed: java.lang.OutOfMemoryError: Java heap space")


SEVEN_ZIP = """18:       3054    78   3473   2721  |      39763   100   3231   3216
----------------------------------  | ------------------------------
Avr:      3054    78   3473   2721  |      39763   100   3231   3216
Tot:              89   3352   2969
"""
JOHN = {
    "md5crypt": ("Benchmarking: md5crypt [MD5 32/64 X2]... DONE\nRaw:\t23296 c/s real, 11677 c/s virtual\n\n", 23296),
    "descrypt": ("Many salts:\t10280K c/s real, 5192K c/s virtual\nOnly one salt:\t7008K c/s real\n", 10_280_000),
}


def pattern_of(name: str) -> str:
    command = load_workloads(names=[name])[name].command({}, duration_s=1, seed=1, directory="/d")
    return next(item for item in command if item.startswith("--number=")).removeprefix("--number=")


def test_the_numbers_of_7zip_and_john_are_found_in_what_they_print(driver: Driver) -> None:
    number_in = driver("repeat").number_in
    assert number_in(SEVEN_ZIP, pattern_of("7zip")) == 2969
    for said, number in JOHN.values():
        assert number_in(said, pattern_of("john")) == number
