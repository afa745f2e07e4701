"""The disk image of dom0 and the guests: built once by mmdebstrap, kept under a hash of all that goes into it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.experiment.machine import Debian
from harness.experiment.needs import Preparation
from harness.lab import idle, kernel

PROJECT = Path(__file__).resolve().parents[2]
FILES = PROJECT / "roles" / "lab" / "files"
SOURCES = PROJECT / "workloads"

PACKAGES = (
    "linux-image-amd64", "xenstore-utils", "openssh-server", "python3", "python3-apt", "dmsetup", "busybox-static",
    "iproute2", "kmod", "procps", "sudo",
)  # fmt: skip
"""What every machine of the lab has; workloads add theirs."""
XEN: Mapping[Debian, str] = {"bookworm": "4.17", "trixie": "4.20"}
"""The version of Xen that a release has, by which its packages are called."""

LEAN = ("doc", "man", "locale", "info")
"""Parts of /usr/share that no machine of the lab reads."""
MANUALS = 'mkdir -p "$1"/usr/share/man/man1 "$1"/usr/share/man/man7'
"""Folders that Java and PostgreSQL make links in."""


class LabError(RuntimeError):
    """The lab cannot be had; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """What goes into an image."""

    suite: Debian = "bookworm"
    packages: tuple[str, ...] = PACKAGES
    """Beside Xen."""
    size_mib: int = 3072
    preparations: tuple[Preparation, ...] = ()
    """Of workloads. Done here, at this machine's own speed, they need not be done in every guest under emulation."""
    mirrors: tuple[str, ...] = ()
    """Lines for mmdebstrap; empty: its default for the suite."""

    def key(self) -> str:
        """Sixteen hex digits that change whenever the image would."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        files = sorted(path for path in FILES.rglob("*") if path.is_file())
        for path in [Path(kernel.__file__), Path(idle.__file__), *files, *sources()]:
            digest.update(f"{path.name}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A finished image and the keys that belong to it; all in one folder that only its owner can read."""

    folder: Path

    @property
    def base(self) -> Path:
        """The disk that every machine's own is laid over."""
        return self.folder / "base.qcow2"

    @property
    def key_file(self) -> Path:
        """The private key that opens every machine of the lab."""
        return self.folder / "id_ed25519"

    @property
    def host_key(self) -> str:
        """The public host key of every machine, as known_hosts wants it."""
        kind, key = (self.folder / "ssh_host_ed25519_key.pub").read_text().split()[:2]
        return f"{kind} {key}"


def cache_root() -> Path:
    """Where images and labs are kept: $BALLAST_CACHE, or `ballast` in the user's cache folder."""
    if chosen := os.environ.get("BALLAST_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ballast"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` for one process; others wait."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def obtain(spec: ImageSpec, say: Callable[[str], None]) -> Image:
    """Return the image for `spec`, building it if it is not in the cache (about a minute, some 500 MB).

    Raises:
        LabError: mmdebstrap failed; the message holds the end of its log.

    """
    images = cache_root() / "images"
    finished = Image(folder=images / spec.key())
    if finished.base.exists():
        return finished
    with locked(images):
        if finished.base.exists():
            return finished
        for leftover in images.glob("*.part"):
            shutil.rmtree(leftover)
        part = images / f"{spec.key()}.part"
        part.mkdir(mode=0o700)
        _build(spec, part, say)
        part.rename(finished.folder)
    return finished


def _build(spec: ImageSpec, out: Path, say: Callable[[str], None]) -> None:
    for name in ("id_ed25519", "ssh_host_ed25519_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ballast-lab", "-f", out / name], check=True
        )
    (out / "size").write_text(f"{spec.size_mib}M")
    (out / "prepare").write_text("\n".join(_prepared(spec)))
    excludes = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in LEAN]
    hooks = [f"--customize-hook={hook}" for hook in _hooks(out)]
    xen = (f"xen-hypervisor-{XEN[spec.suite]}-amd64", f"xen-utils-{XEN[spec.suite]}")
    packages = f"--include={','.join((*xen, *spec.packages))}"
    options = ["--variant=minbase", packages, *excludes, f"--setup-hook={MANUALS}", *hooks, "--format=null"]
    command = ["mmdebstrap", *options, spec.suite, "-"]
    environment = os.environ | {
        "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",  # mke2fs, on a user's path
        "INITRD": "No",  # the distribution's own initramfs, which takes a while and is not used here
    }
    log = cache_root() / "image-build.log"
    with subprocess.Popen(
        [*command, *spec.mirrors], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as build:
        lines: list[str] = []
        for line in build.stdout or ():
            lines.append(line)
            if line.startswith("I: "):
                say(f"image: {line[3:].strip()[:100]}")
    log.write_text("".join(lines))
    if build.returncode:
        tail = "".join(lines[-12:])
        raise LabError(
            f"the lab's image could not be built (mmdebstrap: exit {build.returncode}); the end of {log}:\n{tail}"
            "Check that the distribution's package mirror can be reached, then start again."
        )


def sources() -> list[Path]:
    """What we wrote of the workloads ourselves."""
    return sorted(path for path in SOURCES.iterdir() if path.suffix in (".java", ".py"))


def _prepared(spec: ImageSpec) -> Iterator[str]:
    """The shell script that makes ready what the role would: its marks tell the role that it has nothing to do."""
    yield "set -e"
    for preparation in spec.preparations:
        yield shlex.join(["mkdir", "-p", preparation.data])
        yield from map(shlex.join, preparation.commands)
        yield shlex.join(["touch", preparation.stamp])


def _hooks(out: Path) -> list[str]:
    """What mmdebstrap does with the finished tree. Without root its hooks cannot read our files: it carries them."""
    carried = [FILES / "customize-image", FILES / "initramfs-init", Path(kernel.__file__), Path(idle.__file__)]
    carried += [out / name for name in ("id_ed25519.pub", "ssh_host_ed25519_key", "size", "prepare")]
    made = ("base.qcow2", "xen", "vmlinux", "initramfs")
    return [
        'mkdir -p "$1/ballast-lab/out" "$1/ballast-lab/workloads"',
        shlex.join(["copy-in", str(FILES / "rootfs"), *map(str, carried), "/ballast-lab"]),
        shlex.join(["copy-in", *map(str, sources()), "/ballast-lab/workloads"]),
        'sh "$1/ballast-lab/customize-image" "$1"',
        *(shlex.join(["download", f"/ballast-lab/out/{name}", str(out / name)]) for name in made),
    ]
