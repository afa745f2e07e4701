"""`ballast room` and `ballast top`, as their user sees them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.service.door import Door
from tests.unit.test_desk import World


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    """A service with two guests of 800 MiB, whose loop ticks quickly."""
    path, world, end, opened = tmp_path / "s", World(), threading.Event(), threading.Event()

    def loop() -> None:
        for _ in range(3):
            world.tick()  # until each has half
        with Door(path) as door:
            while not end.wait(0.01):
                world.tick()
                door.attend(world.desk.answer)
                opened.set()

    thread = threading.Thread(target=loop)
    thread.start()
    assert opened.wait(10)
    yield path
    end.set()
    thread.join(10)


def ballast(*argv: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, argv, prog_name="ballast")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_room_comes_and_it_is_said_who_paid(service: Path) -> None:
    code, said = ballast("room", "400MiB", "--for", "5min", "--socket", str(service))
    assert code == 0, said
    assert "400 MiB are free for 300 s; paid: g1 200 MiB, g2 200 MiB" in said


def test_room_that_cannot_be_had_is_refused_with_what_could(service: Path) -> None:
    assert ballast("room", "2GiB", "--socket", str(service)) == (
        1, "ballast: 2048 MiB cannot be had now; 1168 MiB could\n",
    )  # fmt: skip


def test_a_dry_run_only_says_who_would_pay(service: Path) -> None:
    code, said = ballast("room", "0.5 GiB", "--dry-run", "--socket", str(service))
    assert code == 0
    assert said.startswith("to pay: g1 256 MiB, g2 256 MiB; it takes ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("size", ["2", "GiB", "2 gib", "-2GiB", "0GiB", "1e3GiB", "2GiB;reboot"])
def test_a_size_without_a_unit_is_no_size(size: str) -> None:
    code, said = ballast("room", "--", size)
    assert code == 2
    assert "2GiB" in said


def test_top_shows_who_has_what(service: Path) -> None:
    code, said = ballast("top", "--socket", str(service))
    assert code == 0
    assert "pool 1,600 MiB" in said
    assert [line.split()[:2] for line in said.splitlines() if line.strip().startswith("g")][1:] == [
        ["g1", "800"], ["g2", "800"],
    ]  # fmt: skip
