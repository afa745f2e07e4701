"""A lab that has a time of its own: its processor, its disks, its shape, and what an experiment may say of it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from harness.experiment.machine import Debian, Disk, LabTerms, shift
from harness.experiment.needs import library_of
from harness.lab import disks, idle, qemu, shape
from harness.lab.held import Held
from harness.lab.image import XEN, LabError

QUICK = load_experiment("quick")


def of(clock: shape.Clock = "instructions", **terms: object) -> shape.Shape:
    experiment = QUICK.model_copy(update={"lab": LabTerms.model_validate(terms)})
    return shape.of(experiment, library_of(experiment), clock)


def test_the_idle_kernel_is_an_endless_loop_that_xen_knows_how_to_start() -> None:
    image = idle.image(nops=3)
    assert image[:5] == b"\x7fELF\x02"
    kind, _, at, entry, _, size = struct.unpack_from("<IIQQQQ", image, 64)
    assert (kind, entry) == (1, idle.ENTRY)
    text = image[at : at + size]
    assert text[:8] == b"\x90\x90\x90\xe9" + struct.pack("<i", -8)
    notes = image[at + size :]
    assert note_of(notes, 1) == struct.pack("<Q", idle.ENTRY)
    assert note_of(notes, 5) == b"xen-3.0\0"


def note_of(notes: bytes, wanted: int) -> bytes:
    while notes:
        owner, length, kind = struct.unpack_from("<III", notes)
        content, notes = notes[12 + owner :], notes[12 + owner + length + -length % 4 :]
        if kind == wanted:
            return content[:length]
    raise AssertionError(wanted)


@pytest.mark.parametrize(("mips", "power"), [(1000, 0), (500, 1), (250, 2), (7.8125, 7)])
def test_a_processors_speed_is_a_power_of_two_of_nanoseconds_an_instruction(mips: float, power: int) -> None:
    assert shift(mips) == power
    assert LabTerms(processor_mips=float(mips)).processor_mips == mips


def test_a_speed_that_the_emulator_cannot_have_is_refused_with_those_that_it_can() -> None:
    with pytest.raises(ValueError, match=r"1000, 500, 250, 125, 62\.5"):
        LabTerms(processor_mips=300.0)


def test_time_is_instructions_on_one_processor_that_can_be_stopped_unless_the_lab_is_to_be_real() -> None:
    shaped = of(processor_mips=500.0)
    assert shaped.shift == 1
    words = qemu.Accelerator(name="tcg", why="", shift=1).arguments
    assert words[words.index("-icount") + 1] == "shift=1,sleep=on"
    assert words[words.index("-smp") + 1] == "1"
    assert words[words.index("-device") + 1] == "pvpanic,ioport=1285"
    assert words[words.index("-action") + 1] == "panic=pause"
    assert of("real").shift is None
    assert "-icount" not in qemu.Accelerator(name="tcg", why="").arguments
    assert of().key() != of("real").key() != of(processor_mips=500.0).key()


def test_its_machines_run_the_release_that_is_wanted_with_its_xen() -> None:
    assert of().image.suite == "bookworm"
    assert of(debian="trixie").image.suite == "trixie"
    assert of().image.key() != of(debian="trixie").image.key()
    assert {*XEN} == {*get_args(Debian)}
    with pytest.raises(ValueError, match="'bookworm' or 'trixie'"):
        LabTerms.model_validate({"debian": "sid"})


def test_each_guest_has_the_same_part_of_the_processor_and_dom0_one_too() -> None:
    assert of().guest_percent == 25
    assert of("real").guest_percent == 0


def test_dom0_has_the_memory_that_the_guests_disks_are_in() -> None:
    shaped = of(swap={"latency_ms": 0.1, "mb_per_s": 500, "requests": 8})
    guests = " ".join(f"lab.guest={name}:704:128" for name in ("g1", "g2", "g3"))
    assert shaped.words() == f"lab.swap=100000:500:8 lab.files=2000000:0:1 lab.base=1024 {guests}"
    assert shaped.dom0_mib == qemu.DOM0_MIB + 1024 + 3 * (704 + 128) + 55
    # What is in swap is not in the pool: of 2,112 MiB of swap only what the guests can have beyond the pool is used.
    assert shaped.memory_mib - shaped.taken_mib == 2112 - (2400 - 1100) + 1024 - 640


def test_other_disks_take_the_place_of_those_in_the_snapshot_and_files_keep_what_they_hold() -> None:
    shaped = of()
    assert list(disks.steps(shaped, shaped.terms)) == []
    other = list(disks.steps(shaped, LabTerms(files=Disk(latency_ms=5.0, requests=2))))
    assert {machine for machine, _ in other} == {"dom0"}
    assert [command[1:] for _, command in other] == [
        ("lab-base", "70:1024:5000000:0:6"),
        ("g1-files", "65:128:5000000:0:2"),
        ("g2-files", "67:128:5000000:0:2"),
        ("g3-files", "69:128:5000000:0:2"),
    ]
    swaps = list(disks.steps(shaped, LabTerms(swap=Disk(latency_ms=5.0))))
    assert [machine for machine, _ in swaps[:6]] == ["g1", "dom0", "dom0", "dom0", "g1", "g1"]
    assert swaps[8][1] == ("/usr/lib/ballast-lab/disk", "2:704:5000000:0:1")


def written(tmp_path: Path, more: str) -> Path:
    text = (Path("experiments") / "quick.yml").read_text()
    path = tmp_path / "mine.yml"
    path.write_text(text.replace("name: quick", "name: mine") + more)
    return path


def test_a_sweep_varies_the_disks_and_leaves_the_rest_of_the_lab_as_the_experiment_says(tmp_path: Path) -> None:
    more = """
lab: {processor_mips: 500, files: {latency_ms: 1}}
sweep:
  name: latency
  unit: ms
  levels: [{at: 2}, {at: 10, lab: {swap: {latency_ms: 10}}}]
"""
    experiment = load_experiment(written(tmp_path, more))
    first, second = experiment.levels()
    assert first.lab == experiment.lab
    assert (second.lab.processor_mips, second.lab.swap.latency_ms, second.lab.files.latency_ms) == (500, 10, 1)
    assert experiment.resolved()["lab"]["processor_mips"] == 500
    assert experiment.resolved()["sweep"]["levels"][1]["lab"] == {"swap": {"latency_ms": 10.0}}


def test_a_level_cannot_have_a_processor_of_its_own(tmp_path: Path) -> None:
    more = "sweep:\n  name: speed\n  levels: [{at: 1, lab: {processor_mips: 500}}]\n"
    with pytest.raises(ConfigError, match=r"sweep.levels\[0\].lab.processor_mips: one lab has one of these"):
        load_experiment(written(tmp_path, more))


def test_an_experiment_that_says_nothing_of_the_lab_says_nothing_of_it_when_it_is_written_down() -> None:
    assert "lab" not in QUICK.resolved()


class FakeQemu:
    """Speaks QMP: answers every command, and says that the machine stopped when it is told to."""

    def __init__(self, folder: Path) -> None:
        self.commands: list[str] = []
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(folder / "qmp.sock"))
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        self._line, _ = self._server.accept()
        self._line.sendall(b'{"QMP": {}}\r\n')
        for line in self._line.makefile():
            self.commands.append(json.loads(line)["execute"])
            self._line.sendall(b'{"return": {}}\r\n{"event": "RESUME"}\r\n')

    def stop(self) -> None:
        self._line.sendall(b'{"event": "GUEST_PANICKED"}\r\n{"event": "STOP"}\r\n')

    def close(self) -> None:
        self._line.close()
        self._server.close()


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeQemu]:
    served = FakeQemu(tmp_path)
    yield served
    served.close()


def test_a_machine_that_is_held_goes_on_when_asked_and_stands_still_after_the_answer(
    fake: FakeQemu, tmp_path: Path
) -> None:
    held = Held(tmp_path)
    held.release()
    held.nudge()  # it has not stopped: there is nothing to do
    assert fake.commands == ["qmp_capabilities", "cont"]
    fake.stop()
    assert held.wait()
    held.close()
    assert fake.commands == ["qmp_capabilities", "cont", "cont"]


def test_an_answer_that_did_not_leave_in_time_is_let_out_and_the_machine_is_not_waited_for(
    fake: FakeQemu, tmp_path: Path
) -> None:
    held = Held(tmp_path)
    held.release()
    fake.stop()
    while not held.nudges:
        held.nudge()
    assert fake.commands == ["qmp_capabilities", "cont", "cont"]
    assert not held.wait()
    held.close()


def test_only_one_can_have_hold_of_a_machine(fake: FakeQemu, tmp_path: Path) -> None:
    held = Held(tmp_path)
    with pytest.raises(LabError, match="somebody else"):
        Held(tmp_path)
    held.close()
