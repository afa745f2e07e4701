"""A playbook through ansible-runner: what is told while it runs, what came of it, and how it is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import harness
from harness.progress import playbook
from harness.progress.playbook import PROJECT, Kind, Line, Listener, Played

SAY = f"""
import os, sys, time
sys.path.insert(0, {str(PROJECT)!r})
from harness.progress import Progress
Progress().say("host keys " + os.environ["ANSIBLE_HOST_KEY_CHECKING"])
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one playbook; its first task speaks past Ansible, as the trials do."""
    tasks = [
        {"name": "Speak", "ansible.builtin.command": {"argv": [sys.executable, "-c", SAY, "{{ nap | default(0) }}"]}},
        {"name": "Show", "ansible.builtin.debug": {"msg": ["so it is", "{{ word | default('unset') }}"]}},
        {
            "name": "Maybe",
            "ansible.builtin.command": {"argv": ["sh", "-c", "echo why >&2; exit {{ code | default(0) }}"]},
        },
    ]
    play = {"name": "A play", "hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    (tmp_path / "ansible.cfg").write_text(
        "[defaults]\nlocalhost_warning=false\ninterpreter_python=auto_silent\ncallbacks_enabled=heartbeat\n"
    )
    (tmp_path / "playbooks").symlink_to(PROJECT / "playbooks")
    (tmp_path / "main.yml").write_text(yaml.safe_dump([play]))
    return tmp_path


def play(
    project: Path, *extra_vars: str, hear: Callable[[Line], None] = lambda _: None
) -> tuple[Played, list[tuple[float, Line]]]:
    lines: list[tuple[float, Line]] = []
    began_s = time.monotonic()

    def note(line: Line) -> None:
        lines.append((time.monotonic() - began_s, line))
        hear(line)

    return playbook.play("main.yml", note, extra_vars=extra_vars, project=project), lines


def texts(lines: list[tuple[float, Line]], kind: Kind) -> list[str]:
    return [line.text for _, line in lines if line.kind is kind]


def test_plays_tasks_messages_and_our_own_progress_are_told_in_their_order_and_live(project: Path) -> None:
    played, lines = play(project, playbook.extra_var("word", "a b=c 'd'"), "nap=2")
    assert played == Played(done=True, stopped=False, trials_failed=False, failures=())
    told = [line.kind for _, line in lines if line.kind is not Kind.WARNING]
    assert told == [Kind.PLAY, Kind.TASK, Kind.PROGRESS, Kind.TASK, Kind.SAID, Kind.TASK]
    assert texts(lines, Kind.TASK) == ["Speak", "Show", "Maybe"]
    assert texts(lines, Kind.SAID) == ["so it is\na b=c 'd'"]
    moments = [at_s for at_s, line in lines if line.kind is Kind.PROGRESS or line.text == "Show"]
    assert moments[1] - moments[0] > 1  # not kept back until the task had ended


def test_host_keys_are_checked_as_without_ansible_runner(project: Path) -> None:
    _, lines = play(project)
    assert "host keys True" in texts(lines, Kind.PROGRESS)[0]


def test_a_failed_task_is_told_with_what_its_command_said(project: Path) -> None:
    played, lines = play(project, "code=3")
    assert not played.done
    assert played.failures == ("localhost: Maybe: why",)
    assert texts(lines, Kind.FAILED) == list(played.failures)


def test_a_playbook_that_cannot_be_read_fails_with_what_ansible_says(project: Path) -> None:
    (project / "main.yml").write_text("- hosts: localhost\n  nonsense: 1\n")
    played, _ = play(project)
    assert not played.done
    assert "nonsense" in played.failures[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_playbook_and_what_it_runs(project: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)

    def interrupt(line: Line) -> None:
        if line.kind is Kind.PROGRESS:  # it is in the midst of it
            threading.Timer(0.5, lambda: os.kill(os.getpid(), number)).start()

    played, lines = play(project, "nap=300", hear=interrupt)
    assert (played.stopped, played.done, played.failures) == (True, False, ())
    assert lines[-1][0] < 200, "nobody waited for the nap to end"
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("heard", [True, False])
def test_after_ctrl_c_the_trial_in_flight_may_end_by_itself(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """A stand-in for `harness trials`: it outlives the playbook by a moment, in which it would set safe targets.

    It heeds what trials heed: Ansible's word comes as SIGINT, as SIGTERM too, or, on a busy machine, not at all.

    What the playbook says comes late on a busy machine; it is stopped as it should be whether heard or not.
    """
    if not heard:
        monkeypatch.setattr(Listener, "hear", lambda *_: False)
    package, began, ended = tmp_path / "harness", tmp_path / "began", tmp_path / "ended"
    package.mkdir()
    (package / "__init__.py").write_text(f"__path__.append({str(Path(harness.__file__).parent)!r})")
    body = f"""
import pathlib, time
from harness.cli.ending import stopped_by_signals
from harness.cli.trials import stop_with_playbook
try:
    with stopped_by_signals():
        stop_with_playbook()
        pathlib.Path({str(began)!r}).touch()
        time.sleep(300)
except KeyboardInterrupt:
    time.sleep(3)
    pathlib.Path({str(ended)!r}).touch()
"""
    (package / "__main__.py").write_text(body)
    command = {"argv": [sys.executable, "-m", "harness", "trials", "quick"], "chdir": str(tmp_path)}
    task = {"name": "Trials", "ansible.builtin.command": command}
    play_ = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}
    (project / "main.yml").write_text(yaml.safe_dump([play_]))

    def interrupt() -> None:
        while not began.exists():
            time.sleep(0.1)
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert play(project)[0].stopped
    assert ended.exists()


def event(name: str, **data: object) -> dict[str, object]:
    return {"event": name, "event_data": data, "pid": 1}


TRIALS = ["/usr/bin/python3", "-m", "harness", "trials", "quick", "--out", "results"]


@pytest.mark.parametrize(("command", "rc", "failed"), [(TRIALS, 1, True), (TRIALS, 0, False), (["false"], 1, False)])
def test_failed_trials_are_known_from_the_exit_of_their_command(command: list[str], rc: int, failed: bool) -> None:
    listener = Listener(lambda _: None)
    listener.hear(event("runner_on_ok", res={"cmd": command, "rc": rc}, task_action="ansible.builtin.command"))
    listener.hear(event("runner_on_failed", host="localhost", task="A failed trial", res={"msg": "some failed"}))
    assert listener.played().trials_failed is failed


def test_the_playbook_still_calls_the_trials_as_they_are_recognised() -> None:
    text = (PROJECT / "playbooks/trials.yml").read_text()
    assert "- harness\n          - trials\n" in text


def test_a_failure_that_the_playbook_ignores_is_none() -> None:
    listener = Listener(lambda _: None, status=0)
    listener.hear(event("runner_on_failed", host="h", task="t", res={"msg": "m"}, ignore_errors=True))
    assert listener.played() == Played(done=True, stopped=False, trials_failed=False, failures=())


def test_what_a_machine_says_cannot_command_the_terminal() -> None:
    lines: list[Line] = []
    listener = Listener(lines.append)
    listener.hear({"event": "verbose", "stdout": "\x1b[31mred\x1b[0m\x07 \x1b]0;title\x07end"})
    assert "\x1b" not in lines[0].text
    assert "\x07" not in lines[0].text


def test_asked_twice_it_is_killed() -> None:
    listener = Listener(lambda _: None, pid=2**22 + 1)  # above any process number
    assert not listener.is_to_be_killed()
    listener.stop()
    assert not listener.is_to_be_killed()
    listener.stop()
    assert listener.is_to_be_killed()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (2, "ballast: /results/trials.csv: No space left on device; make room there"),
        (70, "ZeroDivisionError: nobody foresaw it"),
        (1, "Killed by something that prints no folder"),
    ],
)
def test_what_ended_the_trials_is_shown_by_the_playbook_and_nothing_else_in_its_place(
    project: Path, tmp_path: Path, code: int, said: str
) -> None:
    """The real playbook of the trials, with a stand-in for `harness trials` above it."""
    (project / "below").mkdir()
    for name in ("trials", "machines"):
        shutil.copy(PROJECT / "playbooks" / f"{name}.yml", project / "below")
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").touch()
    stand_in = f"import sys\nprint({said!r}, file=sys.stderr)\nsys.exit({code})\n"
    (tmp_path / "harness" / "__main__.py").write_text(stand_in)
    given = ("experiment=quick", "lab_enabled=false")
    played = playbook.play("below/trials.yml", lambda _: None, extra_vars=given, project=project)
    assert not played.done
    assert not played.trials_failed
    (failure,) = played.failures
    assert failure.endswith(said)
    assert "has no attribute" not in failure


@pytest.mark.parametrize("done", [[], ["b"]])
def test_hosts_that_are_made_already_are_left_out_and_a_group_without_any_is_no_warning(
    tmp_path: Path, done: list[str]
) -> None:
    groups = {"xen_hosts": ["a", "b"], "xen_guests": ["g1"]} | ({"provisioned": done} if done else {})
    inventory = tmp_path / "hosts.yml"
    listed = {group: {"hosts": {name: {} for name in names}} for group, names in groups.items()}
    inventory.write_text(yaml.safe_dump(listed))
    program = Path(sys.executable).with_name("ansible-playbook")
    ran = subprocess.run(
        [program, "--list-hosts", "-i", inventory, "playbooks/provision.yml"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "WARNING" not in ran.stdout + ran.stderr
    hosts = ran.stdout.partition("): Xen hosts")[2].partition("play #")[0]
    assert [name for name in "ab" if f"      {name}\n" in hosts] == [name for name in "ab" if name not in done]
