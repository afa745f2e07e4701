"""The service as its role makes it: systemd starts it, starts it again, and it can be scraped and taken away."""

from __future__ import annotations

import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import Lived
from tests.e2e.serving import wanted
from tests.e2e.systemd import Server, booted
from tests.e2e.test_control import until, xl_list_mib
from tests.hosts.plain import free_port

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(
        os.getuid() != 0 or shutil.which("systemd-nspawn") is None, reason="a machine with systemd needs root here"
    ),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with booted(tmp_path) as made:
        yield made


def balanced(port: int) -> dict[str, float]:
    """Guests that a service says it balances, and what they have (MiB)."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            told = answer.read().decode()
    except (urllib.error.URLError, OSError):
        return {}
    has = dict(re.findall(r'^ballast_guest_current_bytes\{guest="(\w+)"\} (\S+)$', told, re.MULTILINE))
    takes_part = dict(re.findall(r'^ballast_guest_balanced\{guest="(\w+)"\} (\S+)$', told, re.MULTILINE))
    return {name: float(size) / 2**20 for name, size in has.items() if float(takes_part.get(name, 0))}


def test_the_role_makes_a_service_that_systemd_keeps_alive_and_that_can_be_taken_away(
    lived: Lived, server: Server, tmp_path: Path
) -> None:
    lived.restore()
    port, dom0 = free_port(), lived.site.dom0
    files = [tmp_path / "lab_key", tmp_path / "lab_hosts"]
    for file, source in zip(files, (dom0.key_file, dom0.known_hosts), strict=True):
        shutil.copyfile(source, file)
    login = {"key_file": "/etc/ballast/lab_key", "known_hosts": "/etc/ballast/lab_hosts"}
    config = tmp_path / "service.yml"
    config.write_text(yaml.safe_dump(wanted(lived, login=login, metrics=f"127.0.0.1:{port}")))

    given = {"service_config": str(config), "service_files": [str(file) for file in files]}
    server.play(**given)
    until(lambda: min(balanced(port).values(), default=0) > 310 and len(balanced(port)) == 2, 180, "both have half")
    assert server.ask("systemctl is-active ballast") == "active"
    assert server.ask("journalctl -u ballast -o cat | grep -c '^Starting'") == "1"
    assert re.search(r"^server +: ok=\d+ +changed=0 ", server.play(**given), re.MULTILINE)

    (tmp_path / "bad.yml").write_text(f"{config.read_text()}perod_s: 2\n")
    said = server.play(well=False, **{**given, "service_config": str(tmp_path / "bad.yml")})
    assert f"{tmp_path}/bad.yml cannot be used, and nothing was changed: " in said
    assert "perod_s" in said
    assert "/.ansible/tmp" not in said.partition("cannot be used")[2]
    assert server.ask("systemctl is-active ballast") == "active"

    before_mib = xl_list_mib(lived)
    server.ask("kill -9 $(systemctl show -p MainPID --value ballast)")
    until(lambda: server.ask("systemctl show -p NRestarts --value ballast") == "1", 60, "systemd starts it again")
    until(lambda: len(balanced(port)) == 2, 180, "it goes on")
    assert {name: xl_list_mib(lived)[name] for name in balanced(port)} == pytest.approx(
        {name: before_mib[name] for name in ("g1", "g2")}, abs=2
    ), "which moves nothing"

    server.play(service_state="absent")
    assert server.ask("ls /etc/systemd/system/ballast.service 2>/dev/null; pgrep -u ballast -l; true") == ""
    assert re.search(r"^server +: ok=\d+ +changed=0 ", server.play(service_state="absent"), re.MULTILINE)
