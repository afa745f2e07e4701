#!/usr/bin/env python3
"""Takes back what the role made of this host, and nothing else; runs on the host itself, with its own Python.

    undo.py look STATE CONFIG         what there is of ours, as JSON; changes nothing
    undo.py guests STATE CONFIG       shuts down the guests that the role started, and has none started at boot
    undo.py settings STATE CONFIG     dom0's weight and the lines of files are what they were
    undo.py packages STATE CONFIG     removes the packages that the role brought; those that another needs stay
    undo.py disks STATE CONFIG        removes images, and the guests' disks with all that is on them

STATE is where the role has kept what was there before, CONFIG where the guests' configurations lie.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

FILES = {"xl.conf": Path("/etc/xen/xl.conf"), "libxl.conf": Path("/etc/libvirt/libxl.conf")}
"""By the name under which STATE/before has each; of them the role writes one line."""
LINE = re.compile(r"^#?\s*autoballoon\s*=.*$", re.MULTILINE)
STARTED = Path("/etc/xen/auto")
SHUTDOWN_S = 300
"""Then a guest that does not end is ended: it may have no use for what Xen tells it."""


def run(*argv: str) -> str:
    """Return what a command prints, nothing where it fails or is not there."""
    try:
        return subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False).stdout
    except FileNotFoundError:
        return ""


def lines(path: Path) -> list[str]:
    """Those of a file that may be missing."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def name_of(config: str) -> str:
    """Which domain a configuration is of."""
    found = re.search(r'^name = "(.*)"$', config, re.MULTILINE)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else ""


def put_back(now: str, before: str) -> str:
    """A file with the one line that the role wrote as it was, or gone; whatever else has been written since stays."""
    was = LINE.search(before)
    return LINE.sub(lambda _: was[0], now, count=1) if was else re.sub(LINE.pattern + r"\n?", "", now, flags=LINE.flags)


def stays(wanted: list[str], simulated: str) -> list[str]:
    """What would go with our packages although we did not bring it, as `apt-get --simulate` tells it."""
    gone = re.findall(r"^(?:Remv|Purg) (\S+)", simulated, re.MULTILINE)
    return sorted({*gone} - {*wanted})


def disks(state: Path) -> list[str]:
    """Of guests: their folders, or logical volumes."""
    volumes = [volume for volume in lines(state / "volumes") if Path(volume).exists()]
    return sorted({*map(str, (state / "disks").glob("*")), *volumes})


def look(state: Path, config: Path) -> dict[str, object]:
    """What there is of ours."""
    capabilities = Path("/proc/xen/capabilities")
    return {
        "guests": [name_of(path.read_text()) for path in sorted(config.glob("*.cfg"))],
        "settings": [str(FILES[path.name]) for path in sorted((state / "before").glob("*.conf"))]
        + ["dom0's weight"] * (state / "before" / "weight").exists(),
        "packages": lines(state / "packages"),
        "auto": lines(state / "auto"),
        "disks": disks(state),
        "bridge": (state / "bridge.py").exists(),
        "boot": Path("/etc/default/grub.d/ballast.cfg").exists(),
        "xen": capabilities.exists() and "control_d" in capabilities.read_text(),
    }


def guests(_: Path, config: Path) -> None:
    """Shut them down."""
    for path in sorted(config.glob("*.cfg")):
        if domid := run("xl", "domid", name_of(path.read_text())).strip():
            run("timeout", str(SHUTDOWN_S), "xl", "shutdown", "-w", domid)
            if run("xl", "domname", domid):
                run("xl", "destroy", domid)
        (STARTED / path.name).unlink(missing_ok=True)
        path.unlink()


def settings(state: Path, _: Path) -> None:
    """Put them back."""
    for kept in sorted((state / "before").glob("*.conf")):
        if FILES[kept.name].exists():
            FILES[kept.name].write_text(put_back(FILES[kept.name].read_text(), kept.read_text()))
        kept.unlink()
    for weight in lines(state / "before" / "weight"):
        run("xl", "sched-credit2", "-d", "Domain-0", "-w", weight)
    (state / "before" / "weight").unlink(missing_ok=True)


def packages(state: Path, _: Path) -> None:
    """Remove them, and say which stay."""
    there = run("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n").split("\n")
    wanted = [package for package in lines(state / "packages") if f"installed {package}" in there]
    purge = ["apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=300", "purge"]
    while wanted and (others := stays(wanted, run(*purge, "--simulate", *wanted))):
        needed = needed_by(others, wanted)
        print(f"stays: {' '.join(needed)}, which {' '.join(others)} needs")
        wanted = [package for package in wanted if package not in needed]
    if wanted:
        subprocess.run([*purge, *wanted], stdout=sys.stderr, check=True)
    chosen = [package for package in lines(state / "auto") if f"installed {package}" in there and package not in wanted]
    if chosen:
        subprocess.run(["apt-mark", "auto", *chosen], stdout=sys.stderr, check=True)
    for name in ("packages", "auto"):
        (state / name).unlink(missing_ok=True)


def needed_by(others: list[str], wanted: list[str]) -> list[str]:
    """Those of `wanted` that cannot go without one of the others."""

    def takes(package: str) -> bool:
        return bool({*others} & {*stays([], run("apt-get", "--simulate", "purge", package))})

    return [package for package in wanted if takes(package)] or wanted


def remove(state: Path, _: Path) -> None:
    """Remove disks and images."""
    for volume in lines(state / "volumes"):
        if Path(volume).exists():
            subprocess.run(["lvremove", "--yes", volume], stdout=sys.stderr, check=True)
    for name in ("disks", "images", "host_keys"):
        shutil.rmtree(state / name, ignore_errors=True)
    (state / "volumes").unlink(missing_ok=True)


def main() -> None:
    """See the top."""
    action, state, config = sys.argv[1:]
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    actions = {"look": look, "guests": guests, "settings": settings, "packages": packages, "disks": remove}
    if (found := actions[action](Path(state), Path(config))) is not None:
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
