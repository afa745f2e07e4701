#!/usr/bin/env python3
"""Disks of guests, each a copy of one image a release; runs on the Xen host itself, with its own Python.

    images.py make|check FOLDER [GROUP] < GUESTS     one JSON object a line: hostname, release, disk_mib, swap_mib, …

Images, and disks where no volume group is named, are files in FOLDER. What is there is taken as it is: a disk is never
written anew. Prints a line for all that was made (`check`: would be), and at the end the host key of every guest.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PACKAGES = (
    "linux-image-cloud-amd64", "systemd-sysv", "udev", "dbus", "openssh-server", "python3", "perl-base", "iproute2",
    "procps", "kmod", "e2fsprogs",
)  # fmt: skip
"""The kernel is Debian's for guests: a quarter of the other's size, and it has what Xen's guests need."""
IMAGE_MIB = 1800
"""Of the file system in an image; each guest's grows to its own disk."""
DRIVERS = """\
#!/bin/sh
[ "$1" = prereqs ] && exit
. /usr/share/initramfs-tools/hook-functions
manual_add_modules xen-blkfront ext4
"""
"""For the initramfs: what a guest finds its root with. A distribution's has all drivers, and takes a guest 150 MiB."""
FSTAB = """\
/dev/xvda / ext4 errors=remount-ro 0 1
/dev/xvdb none swap sw,nofail,x-systemd.device-timeout=15min 0 0
"""
"""Systemd gives a disk 90 s to show up; beside other guests, on an emulated processor, that was not enough."""
MIB = 1 << 20

Guest = dict[str, Any]


def run(*argv: str, **more: Any) -> str:  # noqa: ANN401  # as subprocess has it
    """Return what a command prints; its complaints are shown."""
    return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, **more).stdout


class Disks:
    """Where disks lie: files, or logical volumes."""

    def __init__(self, folder: Path, group: str) -> None:
        self.folder, self.group = folder, group

    def path(self, guest: Guest, what: str) -> Path:
        """Where one is, or would be."""
        if self.group:
            return Path("/dev", self.group, f"ballast-{guest['hostname']}-{what}")
        return self.folder / "disks" / guest["hostname"] / what

    def make(self, guest: Guest, what: str, mib: int) -> Path:
        """Make an empty one."""
        path = self.path(guest, what)
        if self.group:
            run("lvcreate", "--yes", "--wipesignatures", "y", "--size", f"{mib}M", "--name", path.name, self.group)
            with (self.folder / "volumes").open("a") as volumes:  # for the teardown
                volumes.write(f"{self.path(guest, what.removesuffix('.part'))}\n")
        else:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.truncate(mib * MIB)
        return path

    def drop(self, guest: Guest, what: str) -> None:
        """Remove what an interruption has left of one that was being made."""
        path = self.path(guest, what)
        if path.exists() and self.group:
            run("lvremove", "--yes", f"{self.group}/{path.name}")
        elif path.exists():
            path.unlink()

    def rename(self, made: Path, path: Path) -> None:
        """Have it there, whole."""
        if self.group:
            run("lvrename", self.group, made.name, path.name)
        else:
            made.rename(path)


def image(folder: Path, release: str, mirrors: list[str]) -> bool:
    """Have the image of a release: its file system, kernel and initramfs; whether it had to be made."""
    finished = folder / "images" / release
    if finished.is_dir():
        return False
    part = folder / "images" / f"{release}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o755)
    tree = part / "tree"
    with Path(part, "log").open("w") as log:
        options = ["--variant=minbase", f"--include={','.join(PACKAGES)}", initramfs(part)]
        subprocess.run(["mmdebstrap", *options, release, str(tree), *mirrors], stdout=log, stderr=log, check=True)
    for kernel in (tree / "boot").glob("vmlinuz-*"):
        shutil.copy(kernel, part / "vmlinuz")
    for ramdisk in (tree / "boot").glob("initrd.img-*"):
        shutil.copy(ramdisk, part / "initrd.img")
    for key in (tree / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # each guest has its own
    run("systemctl", f"--root={tree}", "enable", "systemd-networkd.service")
    run("mke2fs", "-q", "-t", "ext4", "-d", str(tree), str(part / "root.ext4"), f"{IMAGE_MIB}M")
    for unneeded in (tree, part / "initramfs-tools"):
        shutil.rmtree(unneeded)
    part.rename(finished)
    return True


def initramfs(part: Path) -> str:
    """What has mmdebstrap make an initramfs of our drivers alone."""
    ours = part / "initramfs-tools"
    for name, text in (("hooks/ballast", DRIVERS), ("conf.d/ballast", "MODULES=list\n")):
        (ours / name).parent.mkdir(parents=True)
        (ours / name).write_text(text)
        (ours / name).chmod(0o755)
    return f"--essential-hook=copy-in {ours} /etc"


@contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """See what is on a disk."""
    with tempfile.TemporaryDirectory() as folder:
        run("mount", *(["-o", "loop"] if disk.is_file() else []), str(disk), folder)
        try:
            yield Path(folder)
        finally:
            run("umount", folder)


def fill(folder: Path, guest: Guest, disk: Path) -> None:
    """Copy the image to a guest's disk, and make it that guest's."""
    source = folder / "images" / guest["release"] / "root.ext4"
    run("dd", f"if={source}", f"of={disk}", "bs=1M", "conv=sparse,notrunc", "status=none")
    subprocess.run(["e2fsck", "-fp", str(disk)], stdout=subprocess.DEVNULL, check=False)  # 1: it has mended something
    run("resize2fs", str(disk), stderr=subprocess.DEVNULL)
    with mounted(disk) as root:
        (root / "etc/hostname").write_text(f"{guest['hostname']}\n")
        (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {guest['hostname']}\n")
        (root / "etc/fstab").write_text(FSTAB)
        network = f"[Match]\nType=ether\n\n[Network]\n{address(guest)}"
        (root / "etc/systemd/network/ballast.network").write_text(network)
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        ssh = root / "root/.ssh"
        ssh.mkdir(mode=0o700, exist_ok=True)
        (ssh / "authorized_keys").write_text("".join(f"{key}\n" for key in guest["authorized_keys"]))
        (ssh / "authorized_keys").chmod(0o600)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key"))
        kept = host_key(folder, guest)
        kept.parent.mkdir(mode=0o755, exist_ok=True)
        shutil.copy(root / "etc/ssh/ssh_host_ed25519_key.pub", kept)


def address(guest: Guest) -> str:
    """What a guest's network is configured by."""
    if not guest["address"]:
        return "DHCP=yes\n"
    return f"Address={guest['address']}\n" + (f"Gateway={guest['gateway']}\n" if guest["gateway"] else "")


def host_key(folder: Path, guest: Guest) -> Path:
    """Where the public key is that a guest shows."""
    return folder / "host_keys" / f"{guest['hostname']}.pub"


def runs(guest: Guest) -> bool:
    """Whether Xen has a domain of its name."""
    return subprocess.run(["xl", "domid", guest["name"]], capture_output=True, check=False).returncode == 0


def have(folder: Path, disks: Disks, guest: Guest, *, check: bool) -> Iterator[str]:
    """Have a guest's disks; yields what was made. One that runs from other disks is taken as it is."""
    root, swap = disks.path(guest, "root"), disks.path(guest, "swap")
    if not root.exists() and runs(guest):
        return
    if not root.exists():
        yield str(root)
        if not check:
            if image(folder, guest["release"], guest["mirrors"]):
                yield f"image {guest['release']}"
            disks.drop(guest, "root.part")
            unfinished = disks.make(guest, "root.part", guest["disk_mib"])
            fill(folder, guest, unfinished)
            disks.rename(unfinished, root)
    if not swap.exists():
        yield str(swap)
        if not check:
            disks.drop(guest, "swap.part")
            unfinished = disks.make(guest, "swap.part", guest["swap_mib"])
            run("mkswap", str(unfinished), stderr=subprocess.DEVNULL)
            disks.rename(unfinished, swap)


def main() -> None:
    """See the top."""
    action, folder, *group = sys.argv[1:]
    os.umask(0o022)  # what is in an image is for everybody there; disks lie in folders that nobody else may enter
    disks = Disks(Path(folder), group[0] if group else "")
    guests = [json.loads(line) for line in sys.stdin if line.strip()]
    for guest in guests:
        for made in have(Path(folder), disks, guest, check=action == "check"):
            print("made", made)
    for guest in guests:
        kept = host_key(Path(folder), guest)
        if kept.exists():
            print("key", json.dumps({"name": guest["hostname"], "key": " ".join(kept.read_text().split()[:2])}))


if __name__ == "__main__":
    main()
