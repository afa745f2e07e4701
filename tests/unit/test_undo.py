"""Taking a Xen host back: what the role made goes, and what anybody else has made since stays."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "roles" / "xen_host" / "files" / "undo.py"
XL = '## Global XL config file ##\n#autoballoon="auto"\n#vif.default.bridge="xenbr0"\n'
SIMULATED = (
    "Reading package lists...\nPurg xen-utils-common [4.17]\nRemv libvirt-daemon-xen [9.0]\nPurg libyajl2 [2.1]\n"
)


@pytest.fixture
def undo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("undo", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_line_that_the_role_wrote_is_as_it_was_and_later_lines_of_others_stay(undo: ModuleType) -> None:
    ours = XL.replace('#autoballoon="auto"', 'autoballoon="off"') + 'vif.default.script="vif-route"\n'
    assert undo.put_back(ours, XL) == XL + 'vif.default.script="vif-route"\n'


def test_a_line_that_was_not_there_is_gone(undo: ModuleType) -> None:
    assert undo.put_back('a = 1\nautoballoon="off"\nb = 2\n', "a = 1\nb = 2\n") == "a = 1\nb = 2\n"


def test_the_name_of_a_guest_is_read_back_as_the_template_quotes_it(undo: ModuleType) -> None:
    assert undo.name_of('# Ansible\nname = "db \\"old\\" \\\\1"\ntype = "pv"\n') == 'db "old" \\1'
    assert undo.name_of("") == ""


def test_packages_of_others_that_would_go_with_ours_are_seen(undo: ModuleType) -> None:
    assert undo.stays(["xen-utils-common", "libyajl2"], SIMULATED) == ["libvirt-daemon-xen"]


def test_a_package_that_anothers_needs_stays_and_the_rest_goes(
    undo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "packages").write_text("libyajl2\nmmdebstrap\ngone-since\n")
    (tmp_path / "auto").write_text("iproute2\n")
    needs, ended = {"libyajl2": "virt-top"}, []

    def says(*argv: str) -> str:
        if argv[0] == "dpkg-query":
            return "installed libyajl2\ninstalled mmdebstrap\ninstalled iproute2\nconfig-files gone-since\n"
        names = [word for word in argv if word in ("libyajl2", "mmdebstrap")]
        return "".join(f"Purg {name}\nRemv {needs.get(name, name)}\n" for name in names)

    monkeypatch.setattr(undo, "run", says)
    monkeypatch.setattr(undo.subprocess, "run", lambda argv, **_: ended.append(argv[0:1] + argv[-2:]))
    undo.packages(tmp_path, tmp_path)
    assert capsys.readouterr().out == "stays: libyajl2, which virt-top needs\n"
    assert ended == [["apt-get", "purge", "mmdebstrap"], ["apt-mark", "auto", "iproute2"]]
    assert list(tmp_path.iterdir()) == []


def test_guests_of_ours_end_and_are_started_no_more(
    undo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, started = tmp_path / "config", tmp_path / "auto"
    config.mkdir()
    started.mkdir()
    (config / "g1.cfg").write_text('name = "web"\n')
    (started / "g1.cfg").symlink_to(config / "g1.cfg")
    (started / "theirs.cfg").write_text("")
    asked: list[tuple[str, ...]] = []

    def says(*argv: str) -> str:
        asked.append(argv)
        return "7\n" if argv[:2] == ("xl", "domid") else ""

    monkeypatch.setattr(undo, "run", says)
    monkeypatch.setattr(undo, "STARTED", started)
    undo.guests(tmp_path, config)
    assert asked[0] == ("xl", "domid", "web")
    assert asked[1][-3:] == ("shutdown", "-w", "7")
    assert not any("destroy" in words for words in asked)
    assert [path.name for path in started.iterdir()] == ["theirs.cfg"]
    assert list(config.iterdir()) == []


def test_disks_go_only_when_that_is_asked_for_and_only_ours(undo: ModuleType, tmp_path: Path) -> None:
    for name in ("disks/g1", "images/bookworm", "host_keys", "mine"):
        (tmp_path / name).mkdir(parents=True)
    assert undo.disks(tmp_path) == [str(tmp_path / "disks" / "g1")]
    undo.remove(tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
