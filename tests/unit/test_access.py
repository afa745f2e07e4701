"""The account that may do nothing else: what its key starts is what the arbiter sends, and nothing besides."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from harness.xen.client import SAMPLER
from harness.xen.facts import parse_sample
from harness.xen.link import SENT, START

ROLE = Path(__file__).parents[2] / "roles" / "access"
WORDS = [f"{path.stem}:{len(path.read_bytes())}" for path in SENT]
AGENT = b"".join(path.read_bytes() for path in SENT)
ASKED = shlex.join(["exec", "python3", "-I", "-c", START, *WORDS])
SAMPLED = SAMPLER.read_bytes() + b"__END__\n"


def host_with(folder: Path, sources: list[tuple[str, str]]) -> Path:
    """Dom0's gate and an agent, as the role puts them there."""
    shutil.copy(ROLE / "files" / "gate.py", folder)
    (folder / "agent.json").write_text(json.dumps([("start", START), *sources]))
    return folder / "gate.py"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return host_with(tmp_path, [(path.stem, path.read_text()) for path in SENT])


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """Its gate and the sampler."""
    shutil.copy(ROLE / "files" / "gate.pl", tmp_path)
    shutil.copy(SAMPLER, tmp_path)
    return tmp_path / "gate.pl"


def started(gate: Path, asked: str, sent: bytes) -> subprocess.CompletedProcess[bytes]:
    program = [sys.executable, "-I"] if gate.suffix == ".py" else ["perl"]
    environment = os.environ | {"SSH_ORIGINAL_COMMAND": asked}
    return subprocess.run(
        [*program, str(gate)], input=sent, env=environment, capture_output=True, check=False, timeout=60
    )


def test_the_role_has_all_of_the_agent_in_its_order() -> None:
    said = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())
    assert said["access_agent"] == ["start", *(path.stem for path in SENT)]


def test_dom0s_gate_starts_the_agent_and_leaves_it_what_follows(tmp_path: Path) -> None:
    """Here a stand-in for the last part of it, which reads what is left of the input."""
    echo = "import os; os.write(1, os.read(0, 100))"
    sources = [*((path.stem, path.read_text()) for path in SENT[:-1]), ("resident", echo)]
    asked = shlex.join(["exec", "python3", "-I", "-c", START, *WORDS[:-1], f"resident:{len(echo)}"])
    sent = "".join(text for _, text in sources) + "a request"
    assert started(host_with(tmp_path, sources), asked, sent.encode()).stdout == b"a request"


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("", AGENT),
        ("id", AGENT),
        ("exec sh", AGENT),
        (f"{ASKED}; id", AGENT),
        (ASKED.replace("import sys", "import os;os.system('id')"), AGENT),
        (f"exec sudo -n -- {ASKED.removeprefix('exec ')}", AGENT),
        (ASKED, AGENT.replace(b"import", b"1mport", 1)),
        (ASKED, AGENT[:-1]),
        (ASKED, b""),
    ],
)  # fmt: skip
def test_dom0s_gate_starts_nothing_else(asked: str, sent: bytes, host: Path) -> None:
    done = started(host, asked, sent)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"run playbooks/access.yml of that one" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_guests_gate_starts_the_sampler_and_leaves_it_what_follows(guest: Path) -> None:
    first = started(guest, "exec perl - 5 0", SAMPLED + b"now 1\n").stdout.splitlines()[0]
    assert parse_sample(first).mem_total_kib > 0


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("", SAMPLED),
        ("exec perl - 5", SAMPLED),
        ("exec perl - 5 0; id", SAMPLED),
        ("exec perl - 5 0\nid", SAMPLED),
        ("exec perl - 5 0 /etc", SAMPLED),
        ("exec perl -e id 5 0", SAMPLED),
        ("exec perl - 5 0", b"system 'id';\n__END__\n"),
        ("exec perl - 5 0", SAMPLED[:-1]),
        ("exec perl - 5 0", b""),
    ],
)
def test_a_guests_gate_starts_nothing_else(asked: str, sent: bytes, guest: Path) -> None:
    done = started(guest, asked, sent)
    assert done.returncode != 0
    assert done.stdout == b""
    assert b"run playbooks/access.yml of that one" in done.stderr
