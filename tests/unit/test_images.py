"""Disks of guests on a Xen host: each made once, whole or not at all, and what is there is left alone."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "roles" / "xen_host" / "files" / "images.py"
GUEST = {
    "name": "g1", "hostname": "g1", "release": "bookworm", "disk_mib": 64, "swap_mib": 32, "mirrors": [],
    "authorized_keys": ["ssh-ed25519 AAAA me"], "address": "", "gateway": "",
}  # fmt: skip


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, where nothing is mounted and mmdebstrap makes nothing."""
    spec = importlib.util.spec_from_file_location("images", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "image", lambda *_: True)
    monkeypatch.setattr(module, "fill", lambda *_: None)
    monkeypatch.setattr(module, "runs", lambda _: False)
    return module


def have(images: ModuleType, folder: Path, *, check: bool = False, **guest: Any) -> list[str]:  # noqa: ANN401
    return list(images.have(folder, images.Disks(folder, ""), GUEST | guest, check=check))


def test_disks_are_made_once_and_a_preview_makes_none(images: ModuleType, tmp_path: Path) -> None:
    root, swap = (str(tmp_path / "disks" / "g1" / what) for what in ("root", "swap"))
    assert have(images, tmp_path, check=True) == [root, swap]
    assert list(tmp_path.iterdir()) == []
    assert have(images, tmp_path) == [root, "image bookworm", swap]
    assert Path(root).stat().st_size == 64 << 20
    assert b"SWAPSPACE2" in Path(swap).read_bytes()[:4096]
    Path(root).write_text("mine now")
    assert have(images, tmp_path) == []
    assert Path(root).read_text() == "mine now"


def test_a_disk_that_was_being_made_is_made_anew(
    images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr(images, "fill", fails)
    with pytest.raises(OSError, match="no room"):
        have(images, tmp_path)
    assert not (tmp_path / "disks" / "g1" / "root").exists()
    monkeypatch.setattr(images, "fill", lambda *_: None)
    assert len(have(images, tmp_path)) == 3
    assert sorted(path.name for path in (tmp_path / "disks" / "g1").iterdir()) == ["root", "swap"]


def test_a_guest_that_runs_from_other_disks_gets_none(
    images: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "runs", lambda _: True)
    assert have(images, tmp_path) == []


def test_a_volume_is_named_after_guest_and_use(images: ModuleType, tmp_path: Path) -> None:
    assert images.Disks(tmp_path, "vg0").path(GUEST, "swap") == Path("/dev/vg0/ballast-g1-swap")


def test_an_address_is_given_or_asked_for(images: ModuleType) -> None:
    assert images.address(GUEST) == "DHCP=yes\n"
    fixed = GUEST | {"address": "192.0.2.21/24", "gateway": "192.0.2.1"}
    assert images.address(fixed) == "Address=192.0.2.21/24\nGateway=192.0.2.1\n"


def test_the_host_key_of_a_guest_is_kept_by_its_name(images: ModuleType, tmp_path: Path) -> None:
    assert json.dumps(str(images.host_key(tmp_path, GUEST))).endswith('host_keys/g1.pub"')
