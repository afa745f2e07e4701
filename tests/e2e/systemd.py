"""A machine with a systemd of its own, for the role that makes a service: a Debian in a container beside this one.

It has the checkout in /opt/ballast, as the role's documentation wants it, and is reached by SSH as any server.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.lab.image import cache_root, locked
from tests.e2e.conftest import BIN, PROJECT
from tests.e2e.test_control import until
from tests.hosts.plain import free_port

HOME = Path("/opt/ballast")
PACKAGES = "systemd-sysv,dbus,openssh-server,iproute2,procps,python3"
LEFT_BEHIND = shutil.ignore_patterns(".git", ".cache", ".ansible", ".lab", "results", "__pycache__", ".*_cache")
LONGEST_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running one."""

    inventory: Path

    def ask(self, words: str) -> str:
        """Run a shell's words on it, whatever becomes of them; return what they print."""
        argv = [str(BIN / "ansible"), "server", "-i", str(self.inventory), "-e", "ansible_ssh_use_tty=false"]
        argv += ["-m", "raw", "-a", words]
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=LONGEST_S)
        return done.stdout.partition("\n")[2].strip()

    def play(self, *, well: bool = True, **variables: object) -> str:
        """Run the service's playbook on it, which is to end well or not; return what it printed."""
        said = yaml.safe_dump({"service_home": str(HOME)} | variables, default_flow_style=True, width=10_000)
        argv = [str(BIN / "ansible-playbook"), "playbooks/service.yml", "-i", str(self.inventory), "-e", said]
        done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=LONGEST_S)
        assert (done.returncode == 0) is well, done.stdout[-4000:] + done.stderr[-1000:]
        return done.stdout


@contextmanager
def booted(folder: Path) -> Iterator[Server]:
    """Boot one whose files are in a folder; it is gone afterwards."""
    tree, port = folder / "tree", free_port()
    subprocess.run(["cp", "-a", _debian(), tree], check=True)
    _check_out(tree)
    _let_in(folder, tree, port)
    argv = ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--machine=ballast-server", "--boot",
            "--console=pipe", "--kill-signal=SIGRTMIN+3", "--directory", str(tree)]  # fmt: skip
    with (folder / "console.log").open("w") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    server = Server(inventory=_inventory(folder, port))
    try:
        until(lambda: server.ask("systemctl is-system-running") in ("running", "degraded"), 120, "systemd runs")
        yield server
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        shutil.rmtree(tree)


def _debian() -> Path:
    """The tree of one, made once."""
    made = cache_root() / "servers" / hashlib.sha256(PACKAGES.encode()).hexdigest()[:12]
    with locked(made.parent):
        if not made.exists():
            part = made.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            subprocess.run(
                ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "--format=directory",
                 "bookworm", str(part)], check=True,
            )  # fmt: skip
            part.rename(made)
    return made


def _check_out(tree: Path) -> None:
    """Put this checkout where services have theirs; its .venv says where it lies in two files."""
    home = tree / HOME.relative_to("/")
    shutil.copytree(PROJECT, home, symlinks=True, ignore=LEFT_BEHIND)
    for path in (home / ".venv" / "bin" / "ballast", *home.glob(".venv/lib/python3*/site-packages/ballast.pth")):
        path.write_text(path.read_text().replace(str(PROJECT), str(HOME)))


def _let_in(folder: Path, tree: Path, port: int) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "id"], check=True)
    (tree / "root" / ".ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(folder / "id.pub", tree / "root" / ".ssh" / "authorized_keys")
    (tree / "etc/ssh/sshd_config.d/here.conf").write_text(f"Port {port}\nListenAddress 127.0.0.1\n")
    own = (tree / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {own}")


def _inventory(folder: Path, port: int) -> Path:
    said = {
        "ansible_host": "127.0.0.1", "ansible_port": port, "ansible_user": "root",
        "ansible_ssh_private_key_file": str(folder / "id"), "ansible_python_interpreter": "/usr/bin/python3",
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder / 'known_hosts'} -o IdentitiesOnly=yes",
    }  # fmt: skip
    path = folder / "inventory.yml"
    path.write_text(yaml.safe_dump({"ballast": {"hosts": {"server": said}}}))
    return path
