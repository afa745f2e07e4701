"""The bridge of a Xen host: what the machine's own files become, and what of them is left alone."""

from __future__ import annotations

import importlib.util
import json
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "roles" / "xen_host" / "files" / "bridge.py"


@pytest.fixture(scope="module")
def bridge() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bridge", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STATIC = """\
source /etc/network/interfaces.d/*

auto lo eno1
iface lo inet loopback

iface eno1 inet static
    address 192.0.2.10/24
    gateway 192.0.2.1
iface eno1 inet6 auto
iface eno2 inet manual
"""


def test_the_address_of_the_card_moves_to_the_bridge_and_all_else_stays(bridge: ModuleType) -> None:
    assert bridge.moved(STATIC, "eno1", "xenbr0").splitlines()[1:] == [
        "source /etc/network/interfaces.d/*",
        "",
        "auto lo",
        "iface lo inet loopback",
        "",
        "iface xenbr0 inet static",
        "    bridge_ports eno1",
        "    bridge_hw eno1",
        "    bridge_stp off",
        "    bridge_fd 0",
        "    address 192.0.2.10/24",
        "    gateway 192.0.2.1",
        "iface xenbr0 inet6 auto",
        "iface eno2 inet manual",
        "",
        "iface eno1 inet manual",
        "auto xenbr0",
    ]


def test_a_card_of_which_the_file_says_nothing_is_not_guessed_at(bridge: ModuleType) -> None:
    with pytest.raises(bridge.BridgeError, match=r"says nothing of eno; make the bridge by hand"):
        bridge.moved(STATIC, "eno", "xenbr0")


def test_what_networkd_says_of_the_card_it_says_of_the_bridge_but_whom_it_means(bridge: ModuleType) -> None:
    text = "[Match]\nName=en*\n\n[Network]\nDHCP=ipv4\n# kept\n\n[DHCPv4]\nUseDNS=no\n"
    files = bridge.networkd_files("eno1", "xenbr0", "02:00:00:00:00:01", text, "0x1f")
    said = {path.name: content.removeprefix(bridge.HEAD) for path, content in files.items()}
    assert said["00-ballast-xenbr0.network"] == (
        "[Match]\nName=xenbr0\n\n[Network]\nDHCP=ipv4\n# kept\n\n[DHCPv4]\nUseDNS=no\n\n[DHCPv4]\nIAID=31\n"
    )
    assert said["00-ballast-xenbr0-port.network"] == "[Match]\nName=eno1\n\n[Network]\nBridge=xenbr0\n"
    assert "MACAddress=02:00:00:00:00:01" in said["00-ballast-xenbr0.netdev"]


def test_the_card_is_that_of_the_best_default_route(bridge: ModuleType) -> None:
    assert bridge.card(json.dumps([{"dev": "wlan0", "metric": 600}, {"dev": "eno1", "metric": 100}])) == "eno1"
    with pytest.raises(bridge.BridgeError, match="no default route"):
        bridge.card("[]")


@pytest.mark.parametrize("ends_at", ["ifdown", "ifup", None])
def test_wherever_it_ended_the_card_is_up_again_with_its_own_file(
    bridge: ModuleType, ends_at: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no such bridge here: it has no ports that could be asked for the card."""
    interfaces, done = tmp_path / "interfaces", []

    def run(*argv: str, **_: object) -> str:
        if argv[0] == ends_at:
            raise bridge.BridgeError(argv[0])
        done.append(" ".join(argv))
        return ""

    interfaces.write_text(STATIC)
    monkeypatch.setattr(bridge, "INTERFACES", interfaces)
    monkeypatch.setattr(bridge, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(bridge, "look", lambda _: {"there": False, "card": "eno1", "by": "ifupdown"})
    monkeypatch.setattr(bridge, "run", run)
    monkeypatch.setattr(bridge.subprocess, "run", lambda argv, **_: done.append(" ".join(argv)))
    with suppress(bridge.BridgeError):
        bridge.make("xenbr0")
    ends_at = None
    bridge.undo("xenbr0")
    assert done[-2:] == ["ifdown --force xenbr0", "ifup eno1"]
    assert interfaces.read_text() == STATIC
    assert not (tmp_path / "kept").exists()
