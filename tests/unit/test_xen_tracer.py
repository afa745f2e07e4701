"""The trace of the swap disks in dom0: whose events are whose, what is kept, and that nothing stays behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.xen import tracer as tracer_module
from harness.xen.link import SENT, START
from harness.xen.tracer import COMPLETED, QUEUED, Disk, TraceError, Tracer
from tests.unit.test_xen_agent import SAFE, Told

XVDB = 202 * 256 + 16
RECORDED = """\
block_rq_complete: 254,32 WS () 20736 + 256 [0]
block_rq_complete: 254,32 RA () 4096 + 8 [0]
CPU:0 [LOST 54 EVENTS]
block_rq_complete: 254,32 FWS () 20992 + 64 [0]
block_rq_complete: 254,32 FF () 0 + 0 [0]
block_rq_complete: 254,48 D () 800 + 8 [0]
block_bio_queue: 253,3 R 16 + 8 [3.xvdb-0]
"""
"""As the lab's kernel writes it, but for the last two."""


@pytest.fixture
def dom0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parts of dom0's /sys that are read: three guests with a disk each, the third on LVM, and a partition."""
    for name in ("TRACEFS", "BACKENDS", "BLOCK"):
        folder = tmp_path / name
        folder.mkdir()
        monkeypatch.setattr(tracer_module, name, (folder,) if name == "TRACEFS" else folder)
    for domid, device in ((1, "fe:20"), (2, "fe:30"), (3, "fd:3"), (4, "8:5")):
        folder = tmp_path / "BACKENDS" / f"vbd-{domid}-{XVDB}"
        folder.mkdir()
        (folder / "physical_device").write_text(device + "\n")
    for number in ("254:32", "254:48", "253:3/dm"):
        (tmp_path / "BLOCK" / number).mkdir(parents=True)
    whole = tmp_path / "sda"
    (whole / "sda5").mkdir(parents=True)
    (whole / "dev").write_text("8:0\n")
    for name, text in (("partition", "5"), ("start", "1000"), ("size", "200")):
        (whole / "sda5" / name).write_text(text + "\n")
    (tmp_path / "BLOCK" / "8:5").symlink_to(whole / "sda5")
    (tmp_path / "TRACEFS" / "instances").mkdir()
    return tmp_path


class Kernel:
    """The kernel's end of a trace: an instance has its files as soon as it is made, and is gone with all of them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = root / "TRACEFS" / "instances" / "ballast"
        self.events = self.home / "events" / "block"
        make = Path.mkdir

        def appear(path: Path, *args: object, **kwargs: object) -> None:
            make(path, *args, **kwargs)  # type: ignore[arg-type]
            if path == self.home:
                for folder in ("options", f"events/block/{COMPLETED}", f"events/block/{QUEUED}"):
                    make(self.home / folder, parents=True)
                os.mkfifo(self.home / "trace_pipe")

        monkeypatch.setattr(Path, "mkdir", appear)
        monkeypatch.setattr(Path, "rmdir", shutil.rmtree)

    def writes(self, text: str) -> None:
        with (self.home / "trace_pipe").open("w") as pipe:
            pipe.write(text)


@pytest.fixture
def kernel(dom0: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(dom0, monkeypatch)


@pytest.fixture
def tracer() -> Iterator[Tracer]:
    tracer = Tracer()
    yield tracer
    tracer.close()


def test_every_guest_has_the_events_of_its_own_disk_in_their_order(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g1": (1, XVDB), "g2": (2, XVDB), "g3": (3, XVDB)})
    kernel.writes(RECORDED)
    assert tracer.take() == {
        "events": {"g1": "W20736+256 R4096+8 W20992+64", "g2": "D800+8", "g3": "R16+8"}, "lost": 54, "failed": {},
    }  # fmt: skip
    assert tracer.take()["events"] == {"g1": "", "g2": "", "g3": ""}, "what was taken is not told again"


def test_only_the_swap_disks_are_traced_each_by_the_event_that_it_has(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g1": (1, XVDB), "g2": (2, XVDB), "g3": (3, XVDB)})
    assert (kernel.events / COMPLETED / "filter").read_text() == "dev == 266338336 || dev == 266338352"
    assert (kernel.events / QUEUED / "filter").read_text() == "dev == 265289731"
    assert (kernel.events / QUEUED / "enable").read_text() == "1"


def test_an_event_that_is_not_needed_is_left_off(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g1": (1, XVDB)})
    assert not (kernel.events / QUEUED / "enable").exists()


def test_of_a_disk_that_is_a_partition_only_its_own_sectors_count(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g4": (4, XVDB)})
    kernel.writes("".join(f"block_rq_complete: 8,0 W () {at} + 8 [0]\n" for at in (992, 1000, 1192, 1200)))
    assert tracer.take()["events"] == {"g4": "W0+8 W192+8"}
    assert Disk("8:5").device == (8, 0)


def test_requests_that_continue_each_other_are_told_as_one(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g1": (1, XVDB)})
    kernel.writes("".join(f"block_rq_complete: 254,32 WS () {at} + 8 [0]\n" for at in (8, 16, 24, 48)))
    assert tracer.take()["events"] == {"g1": "W8+24 W48+8"}


def test_half_a_line_waits_for_its_other_half(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g1": (1, XVDB)})
    kernel.writes(RECORDED[:40])
    assert tracer.take()["events"] == {"g1": ""}
    kernel.writes(RECORDED[40:])
    assert tracer.take()["events"]["g1"].startswith("W20736+256")


def test_of_more_events_than_are_kept_the_oldest_are_dropped_and_counted(
    kernel: Kernel, tracer: Tracer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer_module, "KEPT", 2)
    tracer.follow({"g1": (1, XVDB)})
    kernel.writes("".join(f"block_rq_complete: 254,32 WS () {at} + 8 [0]\n" for at in (80, 160, 240)))
    assert tracer.take() == {"events": {"g1": "W160+8 W240+8"}, "lost": 1, "failed": {}}


def test_it_leaves_nothing_behind(kernel: Kernel) -> None:
    tracer = Tracer()
    tracer.follow({"g1": (1, XVDB)})
    assert kernel.home.exists()
    tracer.follow({})
    assert not kernel.home.exists()
    assert not tracer.active


def test_what_a_killed_agent_left_behind_is_taken_away_first(kernel: Kernel, tracer: Tracer) -> None:
    kernel.home.mkdir()
    (kernel.home / "left").touch()
    tracer.follow({"g1": (1, XVDB)})
    assert not (kernel.home / "left").exists()


def test_a_disk_that_dom0s_kernel_does_not_serve_stops_no_other(kernel: Kernel, tracer: Tracer) -> None:
    tracer.follow({"g1": (1, XVDB), "file": (9, XVDB)})
    said = tracer.take()
    assert said["events"] == {"g1": ""}
    assert "block device" in said["failed"]["file"]


def test_without_tracefs_the_error_says_how_to_get_it(dom0: Path, tracer: Tracer) -> None:
    shutil.rmtree(dom0 / "TRACEFS" / "instances")
    with pytest.raises(TraceError, match="mount -t tracefs"):
        tracer.follow({"g1": (1, XVDB)})
    assert not tracer.active


def test_the_agent_traces_the_domains_that_there_are_and_ends_it_when_told(kernel: Kernel) -> None:
    told = Told()
    assert told("lease", seconds=10, safe_kib=SAFE) == {}
    told("state")
    assert told("trace", disks={"g1": XVDB, "gone": XVDB}) == {"events": {"g1": ""}, "lost": 0, "failed": {}}
    kernel.writes(RECORDED)
    assert told("trace", disks={"g1": XVDB})["events"]["g1"].startswith("W20736+256")
    assert told("trace", disks={}) == {"events": {}, "lost": 0, "failed": {}}
    assert not kernel.home.exists()


def test_what_is_sent_to_dom0_finds_its_parts_without_the_project() -> None:
    sources = [path.read_bytes() for path in SENT]
    sources[-1] = b'__name__ = "sent"\n' + sources[-1].replace(b"from __future__ import annotations", b"", 1)
    sources[-1] += b"\nimport json; print(json.dumps([Agent.__module__, sorted(Agent(None).tracer.take())]))"
    words = [f"{path.stem}:{len(source)}" for path, source in zip(SENT, sources, strict=True)]
    argv = [sys.executable, "-I", "-c", START, *words]
    done = subprocess.run(argv, input=b"".join(sources), capture_output=True, check=True, cwd="/")
    assert json.loads(done.stdout) == ["harness.xen.agent", ["events", "failed", "lost"]]
