"""Every reader of what others say, given anything: it reads, or says in its own kind of error that it cannot.

Text at random, and real text of which pieces were cut out, doubled, exchanged or put in: by hypothesis, and in a corpus
that is the same every time. No other exception, no endless loop, and no answer longer than a measure.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli.decide import read_views
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from harness.experiment.metrics import Metric
from harness.experiment.workloads import WORKLOADS, load_workload, load_workloads
from harness.service.trust import TrustFile
from harness.view import ViewError
from harness.xen import toolstack
from harness.xen.agent import OPS, Agent
from harness.xen.brake import Brake, BrakeError
from harness.xen.describe import dpkg_packages, xl_info
from harness.xen.domains import Domain, HostState, StateError
from harness.xen.facts import LONGEST_LINE, Sample, SampleError, parse_sample, rates
from harness.xen.intake import LINES, Intake
from harness.xen.link import AgentLink
from harness.xen.machine import Machine
from harness.xen.page_ages import histogram, touched_kib
from harness.xen.ssh import ConnectionFailed, connect
from harness.xen.swap_trace import MOST_FOLLOWED, MOST_PAGES, SwapTrace, pages
from harness.xen.toolstack import Tools
from harness.xen.tracer import Disk, Tracer
from tests.unit.test_xen_agent import FakeXen

ROOT = Path(__file__).parents[2]
LINES_SEEN = [
    line for path in sorted((ROOT / "tests/fixtures/xen").glob("*.txt")) for line in path.read_bytes().splitlines()[:5]
]
SPICES = (
    b"", b"\0", b"\xff\xfe", b"\n", b"\r", b" ", b"  ", b"=", b":", b",", b"{", b"}", b"[", b"]", b'"', b"-1", b"0",
    b"9" * 400, b"18446744073709551612", b"1e308", b"NaN", b"null", b"true", b"\x1b[2J",
    "٣".encode(), "\u202e".encode(),
)  # fmt: skip
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def mutated(text: bytes, random_: random.Random) -> bytes:
    """A text of which one to four pieces were cut out, doubled, replaced or moved."""
    for _ in range(random_.randint(1, 4)):
        start = random_.randrange(len(text) + 1)
        end = min(len(text), start + random_.choice((0, 1, 4, 16, 64)))
        piece = random_.choice((b"", random_.choice(SPICES), 2 * text[start:end], text[end : end + 16]))
        text = text[:start] + piece + text[end:]
    return text


def corpus(texts: list[bytes], each: int) -> Iterator[bytes]:
    """The same mutations every time."""
    random_ = random.Random(15)  # no secret
    for text in texts:
        yield text
        for _ in range(each):
            yield mutated(text, random_)


def mutations(texts: list[bytes]) -> st.SearchStrategy[bytes]:
    """Bytes at random, and mutations of these."""
    return st.binary(max_size=300) | st.builds(
        lambda text, seed: mutated(text, random.Random(seed)),  # no secret
        st.sampled_from(texts), st.integers(0, 1 << 32),
    )  # fmt: skip


def reads(read: Callable[[Any], object], given_: Any, *refusals: type[Exception]) -> Any:  # noqa: ANN401  # of any kind
    """What was read; None where that was refused as it should be."""
    began_s = time.process_time()
    try:
        return read(given_)
    except refusals:
        return None
    finally:
        assert time.process_time() - began_s < 2


def use(line: bytes) -> None:
    """Read a line, and do with it what the arbiter does."""
    said = reads(parse_sample, line, SampleError)
    if said is not None:
        rates(SAMPLE, said)
        histogram(said.page_ages or ())
        touched_kib(said.page_ages, 30.0)


SAMPLE = parse_sample(LINES_SEEN[0])


def test_the_corpus_of_samples_is_read_or_refused() -> None:
    for line in corpus(LINES_SEEN, 100):
        use(line)


@FUZZ
@given(mutations(LINES_SEEN))
def test_samples(line: bytes) -> None:
    use(line)


@FUZZ
@given(st.lists(mutations(LINES_SEEN), max_size=30))
def test_the_intake(chunks: list[bytes]) -> None:
    intake = Intake()
    for chunk in chunks:
        assert len(intake.take(chunk)) <= LINES
        assert len(intake._rest) <= LONGEST_LINE


METRICS = [metric for workload in load_workloads().values() for metric in workload.metrics]
OUTPUTS = [
    b'{"work_s": 12.5, "turns_per_s": 3}\n',
    b"events per second: 12.5\ntotal time: 3.2s\nops/sec 12 | 3.5 K/s\n",
    b"bogo ops real time usr time sys time\n1.5 2.5 3.5\n",
]


@FUZZ
@given(mutations(OUTPUTS), st.sampled_from(METRICS))
def test_what_a_workload_prints(output: bytes, metric: Metric) -> None:
    reads(metric.read, output.decode(errors="replace"), ValueError)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("unit", ["9", " ", "9 ", "a9.", "\n", '{"a":', "[", "9" * 100 + "\n"])
def test_no_output_whatever_takes_the_reader_of_a_number_long(metric: Metric, unit: str) -> None:
    reads(metric.read, (unit * 65536)[:65536], ValueError)


KNOWN = [
    b"[127.0.0.1]:2222 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3nUe5tMZz9Zk1PqT2xJtX5RfQ0qO0mG3o0l1V2c3Q4\n",
    b"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB\n",
    b"@revoked * ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=\n# a comment\n\n",
]


@pytest.fixture(scope="module", name="machine")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    import paramiko

    folder = tmp_path_factory.mktemp("known")
    paramiko.ECDSAKey.generate().write_private_key_file(str(folder / "id"))
    return Machine(name="g1", address="127.0.0.1", port=1, key_file=folder / "id", known_hosts=folder / "known_hosts")


@FUZZ
@given(text=mutations(KNOWN))
def test_known_hosts(text: bytes, machine: Machine) -> None:
    machine.known_hosts.write_bytes(text)
    with pytest.raises(ConnectionFailed, match="g1"):
        connect(machine, timeout_s=1)


XL = [
    b"Name                                        ID   Mem VCPUs\tState\tTime(s)\nDomain-0  0  1024  1  r-----  9.1\n"
    b"g1  3   256     1     -b----       5.3\n",
    b"release                : 6.1.0\ntotal_memory           : 4096\nfree_memory            : 1024\nnr_cpus : 2\n",
]


@FUZZ
@given(out=mutations(XL), read=st.text(max_size=20))
def test_what_xens_tools_print(out: bytes, read: str) -> None:
    text = out.decode(errors="replace")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolstack, "_run", lambda *argv: read if argv[0] == "xenstore-read" else text)
        for op in ("state", "set"):
            request = {"op": op, "targets_kib": {"g1": 1000}}
            answer = Agent(Tools()).answer(json.dumps(request).encode())
            assert isinstance(json.loads(json.dumps(answer)), dict)
    xl_info(text.splitlines())
    for name, (version, _) in dpkg_packages(text.splitlines()).items():
        assert (name + version).isprintable()


REQUESTS = [
    b'{"id": 1, "op": "state"}',
    b'{"id": 2, "op": "lease", "seconds": 15, "safe_kib": {"g1": 1000, "g2": 2000}, "begin": true}',
    b'{"id": 3, "op": "set", "targets_kib": {"g1": 1000}, "caps_kib": {"g2": 2000}}',
    b'{"id": 4, "op": "restore"}', b'{"id": 5, "op": "trace", "disks": {"g1": 51728}}',
    b'{"id": 6, "op": "until", "moment_s": 12.5}', b'{"id": 7, "op": "hold", "after_s": 0.02, "idle": "lab-idle"}',
    b'{"id": 8, "op": "bye", "restore": true}',
]  # fmt: skip


def asked(line: bytes) -> None:
    """An agent has an answer to everything but what it answers later, and only ever sets what is a size."""
    xen = FakeXen()
    agent = Agent(xen, lambda: 0.0, Tracer())  # type: ignore[arg-type]
    agent.brake = Brake(lambda *_: None, "/nonexistent")
    answer = reads(agent.answer, line)
    if answer is None:
        assert agent.until_s is not None
    else:
        assert isinstance(json.loads(json.dumps(answer)), dict)


def test_the_corpus_of_requests_is_answered() -> None:
    for line in corpus(REQUESTS, 100):
        asked(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = ("id", "seconds", "safe_kib", "targets_kib", "caps_kib", "disks", "moment_s", "after_s", "idle", "restore")


@FUZZ
@given(mutations(REQUESTS) | st.builds(
    lambda op, rest: json.dumps({"op": op} | rest).encode(),
    st.sampled_from(OPS), st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4),
))  # fmt: skip
def test_requests_to_the_agent(line: bytes) -> None:
    asked(line)


ANSWERS = [
    b'{"id": 1, "mono_s": 5.0, "total_kib": 4000, "free_kib": 100, "domains": {"g1": {"domid": 1, "current_kib": 5, '
    b'"max_kib": 7, "static_max_kib": 7, "target_kib": 5, "paused": false, "dying": false, "disks_kib": '
    b'{"51728": [1, 2]}, "hvm": false}}}\n',
    b'{"id": 2, "mono_s": 5.0, "error": "no"}\n',
    b"[" * 100_000 + b"\n",
]


class Pipe:
    """A channel that gives what was put into it."""

    def __init__(self, chunk: bytes) -> None:
        self.left = [chunk]
        self.exit_status = -1
        self.status_event = SimpleNamespace(wait=lambda _: True)

    def settimeout(self, _: float) -> None:
        """There is nothing to wait for."""

    def recv(self, _: int) -> bytes:
        return self.left.pop() if self.left else b""

    def recv_stderr_ready(self) -> bool:
        return False


@FUZZ
@given(mutations(ANSWERS))
def test_answers_of_the_agent(chunk: bytes) -> None:
    link = AgentLink.__new__(AgentLink)
    link._rest, link._channel = b"", cast("Any", Pipe(chunk))
    said = reads(link._line, time.monotonic() + 1, EOFError)
    if said is not None:
        reads(HostState.told, said, StateError)


@FUZZ
@given(content=st.binary(max_size=0x510))
def test_a_port_that_says_anything(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "port"
    path.write_bytes(content)
    brake = Brake(lambda *_: None, str(path))
    reads(lambda given_: brake.put_on(0.0, given_), 7, BrakeError)
    brake.take_off()


TRACED = [
    b"block_rq_complete: 202,16 WS () 4096 + 64 0 [0]\nblock_rq_complete: 202,16 RM () 4096 + 8 0 [0]\n",
    b"block_bio_queue: 253,0 D 99999999999999999999 + 8 [kswapd0]\nCPU:1 [LOST 12 EVENTS]\n",
]


@FUZZ
@given(mutations(TRACED))
def test_what_the_kernel_traces(text: bytes) -> None:
    tracer = Tracer()
    disk = Disk.__new__(Disk)
    disk.start, disk.end, disk.device, disk.event = 0, 1 << 62, (202, 16), "block_rq_complete"
    tracer._disks = {(202, 16): [("g1", disk)]}
    tracer._kept = {"g1": deque()}
    tracer._take_in(text)
    assert isinstance(json.dumps(tracer.take()), str)


FIGURE = st.floats(0, 1e15) | st.sampled_from([0.0, 2.0**40, 4.0, math.nan])


@FUZZ
@given(mutations([b"W0+64 R0+8 D8+8 W99999999+9999999999", b"R8+8 " * 50]), FIGURE, FIGURE, FIGURE)
def test_the_trace_of_a_swap_disk(text: bytes, used: float, cached: float, device: float) -> None:
    said = Sample(seq=0, mono_s=0.0, swap_used_kib=used, swap_cached_kib=cached, swap_device=device)
    domain = Domain(
        domid=1, current_kib=1, max_kib=None, static_max_kib=None, target_kib=None, paused=False, dying=False,
        disks_kib={"0": (0, 0), "51728": (0, 0)},
    )  # fmt: skip
    events = text.decode(errors="replace")
    host = SimpleNamespace(trace=lambda disks: {"events": dict.fromkeys(disks, events), "lost": 0, "failed": {}})
    trace = SwapTrace(cast("Any", host), lambda *_: None)
    for now_s in (0.0, 2.0, 4.0):
        began_s = time.process_time()
        curves = trace.returns({"g1": (said, domain)}, now_s)
        assert time.process_time() - began_s < 5
        assert all(depth > 0 and rate > 0 for depth, rate in curves.get("g1", ()))
    assert next(pages(events), ("W", 0))[1] >= 0
    assert MOST_FOLLOWED <= MOST_PAGES


YAML = [path.read_bytes() for path in sorted((ROOT / "experiments").glob("*.yml"))[:4]]
PROGRAMS = [path.read_bytes() for path in sorted(WORKLOADS.glob("*.yml"))[:4]]


@FUZZ
@given(text=mutations(YAML))
def test_experiments(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "fuzz.yml"
    path.write_bytes(text)
    reads(load_experiment, str(path), ConfigError)


@FUZZ
@given(text=mutations(PROGRAMS))
def test_workloads(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mono.yml"
    path.write_bytes(text)
    reads(load_workload, path, ConfigError)


VIEWS = [
    b'{"time_s": 12.0, "host": {"total_kib": 4194304, "free_kib": 102400, "reserve_kib": 65536}, "guests": [{"name": '
    b'"g1", "current_kib": 393216, "min_kib": 131072, "max_kib": 1048576, "shares": 1000, "mem_total_kib": 325000, '
    b'"stall_some": 0.0, "age_s": 0.4, "page_ages": [[1.5, 4]], "ghost_returns": [[4, 2.5]]}]}\n',
]


@FUZZ
@given(mutations([*VIEWS, 2 * VIEWS[0]]) | JSON.map(lambda value: json.dumps(value).encode()))
def test_views(text: bytes) -> None:
    reads(lambda given_: list(read_views(given_)), text.decode(errors="replace"), ViewError)


TRUST = [
    b'{"utc": "2026-03-01T00:00:00.000+00:00", "guests": {"g1": {"strikes": 3, "speed_kib_s": 5.5, "rest_s": 20.0}}}'
]


@FUZZ
@given(text=mutations(TRUST) | JSON.map(lambda value: json.dumps(value).encode()))
def test_the_file_of_trust(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trust.json"
    path.write_bytes(text)
    known, why = reads(lambda file: file.read(), TrustFile(path))
    assert known == {} or why == ""
    assert len(why) < 1000
