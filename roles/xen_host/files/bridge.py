#!/usr/bin/env python3
"""A bridge over the network card by which this machine is reached; runs on the Xen host itself, with its own Python.

    bridge.py look BRIDGE             what is there and what would be done, as JSON; changes nothing
    bridge.py make BRIDGE             does it; the card's address moves to the bridge
    bridge.py undo BRIDGE             takes back exactly what `make` did

Only files that `make` itself has written, or kept a copy of, are touched by `undo`. Whoever calls `make` from afar
first has systemd call `undo` in a while, and calls that off once the machine is seen to answer.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

NETWORKD = Path("/etc/systemd/network")
INTERFACES = Path("/etc/network/interfaces")
KEPT = Path("/var/lib/ballast/interfaces")
"""The file as it was."""
HEAD = "# Made by Ballast (roles/xen_host); `bridge.py undo` takes it away.\n"


PORT = re.compile(r"^ {4}bridge_ports (\S+)\n {4}bridge_hw \1$", re.MULTILINE)
"""As `moved` writes it."""


class BridgeError(Exception):
    """It cannot be done; the message says why and what to do instead."""


def run(*argv: str) -> str:
    """Return what a command prints.

    Raises:
        BridgeError: it fails.

    """
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BridgeError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def card(routes: str) -> str:
    """The interface of the default route, as `ip -j route show default` tells it."""
    found = sorted(json.loads(routes or "[]"), key=lambda route: route.get("metric", 0))
    if not found:
        raise BridgeError("there is no default route; make the bridge by hand and name it in xen_host_bridge")
    return str(found[0]["dev"])


def moved(text: str, nic: str, bridge: str) -> str:
    """Return /etc/network/interfaces with the card's stanzas those of the bridge, and the card its port."""
    out, auto, ours = [], False, 0
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["iface"] and words[1:2] == [nic]:
            out.append(re.sub(rf"^(\s*iface\s+){re.escape(nic)}\b", lambda found: f"{found[1]}{bridge}", line))
            if words[2:3] == ["inet"]:
                out += [f"    bridge_ports {nic}", f"    bridge_hw {nic}", "    bridge_stp off", "    bridge_fd 0"]
            ours += 1
        elif words[:1] in (["auto"], ["allow-hotplug"]) and nic in words[1:]:
            auto = True
            rest = [word for word in words[1:] if word != nic]
            out += [" ".join([words[0], *rest])] if rest else []
        else:
            out.append(line)
    if not ours:
        raise BridgeError(f"{INTERFACES} says nothing of {nic}; make the bridge by hand and name it in xen_host_bridge")
    started = [f"auto {bridge}"] if auto else []
    return "\n".join([HEAD.rstrip(), *out, "", f"iface {nic} inet manual", *started]) + "\n"


def of_bridge(text: str, bridge: str, iaid: str) -> str:
    """Return a .network file of the card as the bridge's: all but its [Match], with the card's identity for DHCP."""
    kept, skip = [], False
    for line in text.splitlines():
        if line.startswith("["):
            skip = line.strip() == "[Match]"
        if not skip:
            kept.append(line)
    identity = f"\n[DHCPv4]\nIAID={int(iaid, 16)}\n" if iaid else ""
    return f"{HEAD}[Match]\nName={bridge}\n\n" + "\n".join(kept).strip() + "\n" + identity


def networkd_files(nic: str, bridge: str, mac: str, text: str, iaid: str) -> dict[Path, str]:
    """The files that make systemd-networkd do it; they sort before any of the machine's own."""
    return {
        NETWORKD / f"00-ballast-{bridge}.netdev": f"{HEAD}[NetDev]\nName={bridge}\nKind=bridge\nMACAddress={mac}\n",
        NETWORKD / f"00-ballast-{bridge}.network": of_bridge(text, bridge, iaid),
        NETWORKD / f"00-ballast-{bridge}-port.network": f"{HEAD}[Match]\nName={nic}\n\n[Network]\nBridge={bridge}\n",
    }


def look(bridge: str) -> dict[str, object]:
    """What there is, and what would be done.

    Raises:
        BridgeError: nothing that is known here configures the card.

    """
    if Path("/sys/class/net", bridge, "bridge").is_dir():
        ports = sorted(path.name for path in Path("/sys/class/net", bridge, "brif").glob("*"))
        return {"there": True, "bridge": bridge, "ports": ports}
    nic = card(run("ip", "-j", "route", "show", "default"))
    if not Path("/sys/class/net", nic, "device").exists():
        raise BridgeError(f"{nic} is no network card; make the bridge by hand and name it in xen_host_bridge")
    by = manager(nic)
    what = f"{nic} becomes a port of {bridge}, which takes its address, by {by}"
    return {"there": False, "bridge": bridge, "card": nic, "by": by, "what": what}


def manager(nic: str) -> str:
    """Who configures the card: networkd or ifupdown."""
    state = subprocess.run(["networkctl", "--no-pager", "list", nic], capture_output=True, text=True, check=False)
    if re.search(rf"\b{re.escape(nic)}\b.*\b(configured|configuring)\b", state.stdout):
        return "systemd-networkd"
    if INTERFACES.exists() and re.search(rf"^\s*iface\s+{re.escape(nic)}\s", INTERFACES.read_text(), re.MULTILINE):
        return "ifupdown"
    raise BridgeError(
        f"neither systemd-networkd nor {INTERFACES} configures {nic}; make the bridge by hand and name it in "
        "xen_host_bridge"
    )


def make(bridge: str) -> None:
    """Do it."""
    found = look(bridge)
    if found["there"]:
        return
    nic = str(found["card"])
    if found["by"] == "ifupdown":
        before = INTERFACES.read_text()
        after = moved(before, nic, bridge)
        KEPT.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        KEPT.write_text(before)
        INTERFACES.write_text(after)  # first: whoever takes it back knows by this file that there is something
        run("ifdown", "--force", f"--interfaces={KEPT}", nic)
        run("ifup", bridge)
        return
    status = run("networkctl", "--no-pager", "--full", "status", nic)
    file = re.search(r"Network File: (\S+)", status)
    iaid = re.search(r"DHCP4? (?:Client )?IAID: *(0x[0-9a-fA-F]+)", status)
    if file is None or Path(f"{file[1]}.d").is_dir():
        raise BridgeError(
            f"what configures {nic} is not one file; make the bridge by hand and name it in xen_host_bridge"
        )
    text = Path(file[1]).read_text()
    mac = Path("/sys/class/net", nic, "address").read_text().strip()
    for path, content in networkd_files(nic, bridge, mac, text, iaid[1] if iaid else "").items():
        path.write_text(content)
    run("networkctl", "reload")
    run("networkctl", "reconfigure", nic)


def undo(bridge: str) -> None:
    """Take it back."""
    ports = [path.name for path in Path("/sys/class/net", bridge, "brif").glob("*")]
    cards = [port for port in ports if Path("/sys/class/net", port, "device").exists()]
    ours = sorted(NETWORKD.glob(f"00-ballast-{bridge}*"))
    if ours:
        for path in ours:
            path.unlink()
        subprocess.run(["ip", "link", "delete", bridge], check=False)
        run("networkctl", "reload")
        for nic in cards:
            run("networkctl", "reconfigure", nic)
    if KEPT.exists() and (made := INTERFACES.read_text()).startswith(HEAD):
        subprocess.run(["ifdown", "--force", bridge], check=False)
        INTERFACES.write_text(KEPT.read_text())
        KEPT.unlink()
        for nic in PORT.findall(made):  # not the bridge's: it may have none, or may not have come about
            run("ifup", nic)


def main() -> None:
    """See the top."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("look", "make", "undo"):
        sys.exit("usage: bridge.py look|make|undo BRIDGE")
    try:
        found = {"look": look, "make": make, "undo": undo}[sys.argv[1]](sys.argv[2])
    except BridgeError as error:
        sys.exit(str(error))
    if found is not None:
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
