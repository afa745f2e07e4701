"""A plain Debian server in QEMU: a disk with GRUB, systemd, SSH and nothing of Xen, such as an installer leaves."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.lab.image import cache_root, locked
from harness.lab.qemu import SVM_CPU

HERE = Path(__file__).parent
PACKAGES = (
    "linux-image-amd64", "grub-pc", "systemd-sysv", "udev", "dbus", "openssh-server", "python3", "iproute2",
    "python3-apt", "ca-certificates", "procps", "kmod", "e2fsprogs", "util-linux",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What its administrator has chosen."""

    suite: str
    network: str
    """Who configures the card: networkd or ifupdown."""
    packages: tuple[str, ...] = ()
    volume_group: str = ""
    """On a second disk; guests' disks are volumes of it."""
    guests: tuple[str, str]
    """Their releases."""
    xen: str
    """Which Xen its release has."""


KINDS = {
    "bookworm": Kind(suite="bookworm", network="networkd", guests=("bookworm", "bookworm"), xen="4.17"),
    "trixie": Kind(
        suite="trixie", network="ifupdown", packages=("ifupdown", "dhcpcd-base", "lvm2"), volume_group="guests",
        guests=("trixie", "bookworm"), xen="4.20",
    ),
}  # fmt: skip
"""By name: as `scripts/test --hosts` has it."""
VOLUMES_MIB = 8000
DISK_MIB, MEMORY_MIB = 10_000, 4096
"""Of memory a part is above 4 GiB. Without it Xen unpacks dom0's kernel where SeaBIOS left code, and QEMU translates
anew with every write: hours, for Debian 13."""
ADDRESSES = {"xen1": "10.0.2.15", "g1": "10.0.2.21", "g2": "10.0.2.22"}
"""Of QEMU's own network: the first is what its DHCP gives."""
BOOT_S = 3600.0
"""Three minutes where a processor is free; where others have it, twenty are not enough."""
GRUB = """\
GRUB_DEFAULT=0
GRUB_TIMEOUT=1
GRUB_DISTRIBUTOR=Debian
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
GRUB_CMDLINE_LINUX="console=ttyS0 mitigations=off"
GRUB_CMDLINE_XEN="console=com1 com1=115200,8n1 spec-ctrl=eager-fpu xpti=false"
GRUB_CMDLINE_LINUX_XEN_REPLACE="console=hvc0 mitigations=off tsc=unstable"
GRUB_DISABLE_OS_PROBER=true
"""
"""As its administrator may have written it; what stands for Xen is what emulation needs (harness/lab/qemu.py).
No rootdelay: Debian's initramfs sleeps so long before it looks for a disk at all."""


def disk(kind: Kind) -> Path:
    """Return the folder of its disk, which is built where need be."""
    packages = [*PACKAGES, *kind.packages]
    said = "\n".join([kind.suite, kind.network, *packages, GRUB, (HERE / "customize-disk").read_text()])
    finished = cache_root() / "plain" / hashlib.sha256(said.encode()).hexdigest()[:12]
    with locked(finished.parent):
        if not finished.exists():
            part = finished.with_suffix(".part")
            subprocess.run(["rm", "-rf", part], check=True)
            _build(part, kind, packages)
            part.rename(finished)
    return finished


def _build(part: Path, kind: Kind, packages: list[str]) -> None:
    (part / "rootfs" / "etc" / "default").mkdir(parents=True)
    (part / "rootfs" / "etc" / "default" / "grub").write_text(GRUB)
    for name in ("id", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", part / name], check=True)
    (part / "size").write_text(str(DISK_MIB))
    (part / "network").write_text(kind.network)
    carried = [
        *(str(part / name) for name in ("rootfs", "id.pub", "host_key", "size", "network")),
        HERE / "customize-disk",
    ]
    hooks = [
        shlex.join(["copy-in", *map(str, carried), "/disk"]),
        'sh "$1/disk/customize-disk" "$1"',
        shlex.join(["download", "/disk/out/disk.qcow2", str(part / "disk.qcow2")]),
    ]
    subprocess.run(
        [
            "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}",
            '--setup-hook=mkdir -p "$1/disk/out"', *(f"--customize-hook={hook}" for hook in hooks),
            "--format=null", kind.suite, "-",
        ],
        check=True,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
    )  # fmt: skip


@contextmanager
def running(kind: Kind, folder: Path) -> Iterator[Path]:
    """Boot one from a copy that writes into `folder`; returns the inventory there, once SSH answers."""
    made = disk(kind)
    ports = {name: free_port() for name in ADDRESSES}
    forwards = "".join(f",hostfwd=tcp:127.0.0.1:{port}-{ADDRESSES[name]}:22" for name, port in ports.items())
    overlay = ["-b", made / "disk.qcow2", "-F", "qcow2", folder / "disk.qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *overlay], check=True)
    volumes = folder / "volumes.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", volumes, f"{VOLUMES_MIB}M"], check=True)
    argv = [
        "qemu-system-x86_64", "-accel", "tcg,thread=multi,tb-size=1024", "-cpu", SVM_CPU, "-smp", "1",
        "-m", str(MEMORY_MIB), "-nodefaults", "-display", "none", "-vga", "std", "-serial", "file:console.log",
        "-qmp", "unix:qmp.sock,server=on,wait=off",
        "-drive", "file=disk.qcow2,if=virtio,format=qcow2,cache=unsafe",
        "-drive", "file=volumes.qcow2,if=virtio,format=qcow2,cache=unsafe",
        "-device", "virtio-net-pci,netdev=n0,romfile=", "-netdev", f"user,id=n0{forwards}",
    ]  # fmt: skip
    with (folder / "qemu.log").open("w") as log, subprocess.Popen(argv, cwd=folder, stdout=log, stderr=log) as qemu:
        try:
            _wait(ports["xen1"], qemu)
            yield _inventory(kind, made, folder, ports)
        finally:
            qemu.terminate()
            with suppress(subprocess.TimeoutExpired):
                qemu.wait(20)
            qemu.kill()


def _inventory(kind: Kind, made: Path, folder: Path, ports: dict[str, int]) -> Path:
    known = folder / "known_hosts"
    known.write_text(f"[127.0.0.1]:{ports['xen1']} {(made / 'host_key.pub').read_text()}")
    guest = {"gateway": "10.0.2.2", "disk_mib": 2200}
    tree = {
        "all": {
            "vars": {
                "lab_enabled": False, "ballast_known_hosts": str(known), "ansible_host": "127.0.0.1",
                "ansible_user": "root", "ansible_ssh_private_key_file": str(made / "id"),
                "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o IdentitiesOnly=yes",
                "ansible_python_interpreter": "/usr/bin/python3",
            },
            "hosts": {"localhost": {
                "ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            }},
            "children": {
                "xen_hosts": {"hosts": {"xen1": {
                    "ansible_port": ports["xen1"], "xen_host_dom0_memory_mib": 1024, "xen_host_dom0_vcpus": 1,
                    "xen_host_bridge": "xenbr0", "xen_host_bridge_change": True, "xen_host_bridge_undo_s": 600,
                    "xen_host_reboot": True, "xen_host_reboot_timeout_s": int(BOOT_S),
                    "xen_host_volume_group": kind.volume_group,
                }}},
                "xen_guests": {"hosts": {
                    name: {"ansible_port": ports[name], "xen_guest_image": {
                        **guest, "release": release, "type": domain, "address": f"{ADDRESSES[name]}/24", "extra": words,
                    }}
                    for release, (name, domain, words) in zip(kind.guests, (
                        ("g1", "pvh", "mitigations=off nohz=off"),  # as in the lab (harness/lab/inventory.py)
                        ("g2", "pv", "mitigations=off"),
                    ), strict=True)
                }},
            },
        },
    }  # fmt: skip
    path = folder / "inventory.yml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def free_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait(port: int, qemu: subprocess.Popen[bytes]) -> None:
    """Until SSH says who it is: QEMU itself accepts every connection."""
    until_s = time.monotonic() + BOOT_S
    while time.monotonic() < until_s and qemu.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 10) as connection:
            if connection.recv(4) == b"SSH-":
                return
        time.sleep(2)
    raise TimeoutError(f"the plain machine did not answer within {BOOT_S:.0f} s; see console.log")
