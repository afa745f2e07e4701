"""The service's own file: who is balanced, how he is reached, and what a mistake is answered with."""

from __future__ import annotations

import errno
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.experiment.document import ConfigError
from harness.service.file import Service, load_service

Write = Callable[..., Service]

TEXT = """\
login: {{key_file: {folder}/id, known_hosts: {folder}/known_hosts}}
host: {{address: xen1.example.org, port: 2222}}
guests:
  - {{match: 'web-*', address: '{{name}}.example.org', min_mib: 512, max_mib: 4096, shares: 2000}}
  - {{match: 'Windows 10', address: 192.0.2.7, user: admin, min_mib: 1024, max_mib: 2048}}
policy: {{name: two-state, reserve_mib: 128}}
"""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    for name in ("id", "known_hosts"):
        (tmp_path / name).touch()

    def write(text: str = TEXT, **changes: str) -> Service:
        path = tmp_path / "service.yml"
        path.write_text(text.format(folder=tmp_path) + "".join(f"{key}: {value}\n" for key, value in changes.items()))
        return load_service(path)

    return write


def test_a_guest_is_what_the_first_pattern_that_matches_says(write: Write) -> None:
    service = write()
    rule = service.rule("web-7")
    assert (rule.terms().min_kib, rule.terms().max_kib, rule.terms().shares) == (512 * 1024, 4096 * 1024, 2000)
    assert service.rule("db1") is None
    assert service.rule("Web-7") is None


def test_machines_are_reached_as_the_file_says_for_all_and_for_each(write: Write) -> None:
    service = write()
    web, windows = service.machine("web-7", service.rule("web-7")), service.machine("Windows 10", service.guests[1])
    assert (str(web), web.key_file.name, web.xen_name) == ("web-7 (root@web-7.example.org:22)", "id", "web-7")
    assert str(windows) == "Windows 10 (admin@192.0.2.7:22)"
    assert str(service.dom0()) == "dom0 (root@xen1.example.org:2222)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("min_mib: 512", "min_mib: 5120", "service.yml:4: guests[0].min_mib: is 5120, above max_mib 4096"),
        ("'Windows 10'", "'web-*'", "service.yml:5: guests[1].match: is that of guests[0] too"),
        ("'web-*'", "'*'", "service.yml:5: guests[1].match: never counts"),
        (
            "two-state",
            "two-states",
            "service.yml:6: policy.name: there is no policy two-states; did you mean two-state?",
        ),
        ("reserve_mib", "reserves", "service.yml:6: policy.reserves: unknown key"),
        ("{folder}/id", "{folder}/ids", "service.yml:1: login.key_file: "),
        ("port: 2222", "port: 0", "service.yml:2: host.port: "),
        ("host:", "hosts:", "service.yml:2: hosts: unknown key; did you mean host?"),
        ("user: admin, ", "workload: idle, ", "service.yml:5: guests[1].workload: unknown key"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_remedy(old: str, new: str, said: str, write: Write) -> None:
    with pytest.raises(ConfigError) as error:
        write(TEXT.replace(old, new))
    assert said in str(error.value)


@pytest.mark.parametrize("address", ["9469", "127.0.0.1:", "a b:1", "127.0.0.1:70000"])
def test_metrics_are_asked_for_at_an_address_and_a_port(address: str, write: Write) -> None:
    with pytest.raises(ConfigError, match="metrics"):
        write(metrics=repr(address))
    assert write(metrics="127.0.0.1:9469").metrics == "127.0.0.1:9469"


def test_a_key_that_whoever_runs_it_cannot_read_is_named_with_the_remedy(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root all can be read, so the system's refusal is played."""
    opened = Path.open

    def refused(path: Path, *mode: str, **how: str) -> object:
        if path.name == "id":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *mode, **how)  # type: ignore[arg-type,call-overload]

    monkeypatch.setattr(Path, "open", refused)
    me = pwd.getpwuid(os.geteuid()).pw_name
    with pytest.raises(
        ConfigError, match=rf"id cannot be read by {me} \(Permission denied\); chgrp {me} and chmod 640"
    ):
        write()
