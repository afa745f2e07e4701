"""What Ansible and the harness need to get into a running lab: an inventory, and the host keys that are believed."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from harness.lab import qemu
from harness.lab.image import Image
from harness.lab.shape import GuestShape, Shape, swap_number

FILE = "inventory.yml"
GUEST_OPTIONS = "root=/dev/xvda console=hvc0 mitigations=off quiet cryptomgr.notests rodata=off"
PVH_OPTIONS = f"{GUEST_OPTIONS} nohz=off"
"""QEMU's SVM may deliver an interrupt a second time, before its handler has got to the event and though interrupts are
off. An idle guest whose tick had stopped updates its clock there, under a lock, and then waits for itself for ever."""


def write(folder: Path, shape: Shape, image: Image, ports: Mapping[str, int]) -> None:
    """Write both into the lab's folder. `ports`: machine → port on 127.0.0.1."""
    known_hosts = folder / "known_hosts"
    known_hosts.write_text("".join(f"[127.0.0.1]:{port} {image.host_key}\n" for port in ports.values()))
    common = {
        "ballast_lab": str(folder),
        "ballast_lab_clock": shape.clock,
        "ansible_host": "127.0.0.1",
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(image.key_file),
        "ballast_known_hosts": str(known_hosts),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes "
        "-o IdentitiesOnly=yes",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    guests = {
        guest.name: {
            "ansible_port": ports[guest.name],
            "xen_guest_swap_device": "/dev/xvdb",
            "xen_guest_domain": _domain(guest, index),
            "xen_guest_processor_percent": shape.guest_percent,
            "xen_host": shape.host,
        }
        for index, guest in enumerate(shape.guests)
    }
    # Each machine has all of its own: of several labs, groups of one name would have one another's variables.
    tree = {
        "xen_hosts": {"hosts": {shape.host: {**common, "ansible_port": ports[shape.host]}}},
        "xen_guests": {"hosts": {name: {**common, **own} for name, own in guests.items()}},
    }
    (folder / FILE).write_text(yaml.safe_dump(tree, sort_keys=False))


def _domain(guest: GuestShape, index: int) -> dict[str, Any]:
    """What roles/xen_host writes into the configuration of a guest."""
    options = PVH_OPTIONS if guest.type == "pvh" else GUEST_OPTIONS
    disks = [f"/dev/mapper/{guest.name}", f"/dev/nullb{swap_number(index)}"]
    return {
        "name": guest.name,
        "type": guest.type,
        "memory_mib": guest.initial_mib,
        "max_mib": guest.max_mib,
        "vcpus": 1,
        "kernel": "/boot/vmlinux",
        "ramdisk": "/boot/initramfs",
        "extra": f"{options} lab.name={guest.name} lab.ip={qemu.guest_ip(index)}",
        "disks": disks,
        "disk_script": "lab-block",
        "bridge": "xenbr0",
        "mac": f"00:16:3e:00:01:{index + 1:02x}",
        "vif_script": "lab-vif",
    }


def free_ports(count: int) -> list[int]:
    """Ports on 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
