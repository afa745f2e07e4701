"""`type: pv | pvh` of a guest, from the experiment to Xen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, StrictUndefined

from harness.experiment.files import load_experiment
from harness.experiment.live import TrialError, check_types
from harness.experiment.workloads import load_workloads
from harness.lab import inventory, qemu, shape
from harness.lab.image import Image
from harness.lab.qemu import Accelerator
from harness.xen.domains import Domain

PROJECT = Path(__file__).parents[2]
TEMPLATE = PROJECT / "roles" / "xen_host" / "templates" / "guest.cfg.j2"


def written(folder: Path, *types: str | None) -> Path:
    """An experiment with one idle guest of each type; None: it does not say."""
    guests = [
        {"name": f"g{number}", "workload": "idle", "min_mib": 160, "initial_mib": 288, "max_mib": 480}
        | ({} if each is None else {"type": each})
        for number, each in enumerate(types, 1)
    ]
    path = folder / "types.yml"
    said = {"name": "types", "pool_mib": 288 * len(types), "guests": guests, "policies": ["static"], "duration_s": 10}
    path.write_text(yaml.safe_dump(said))
    return path


def lab_shape(folder: Path, *types: str | None) -> shape.Shape:
    return shape.of(load_experiment(written(folder, *types)), load_workloads())


def domains(folder: Path, *types: str | None) -> list[dict[str, Any]]:
    """What the lab's inventory says of its guests."""
    (folder / "ssh_host_ed25519_key.pub").write_text("ssh-ed25519 AAAA")
    image = Image(folder=folder)
    form = lab_shape(folder, *types)
    inventory.write(folder, form, image, dict.fromkeys(("dom0", *(guest.name for guest in form.guests)), 1))
    tree = yaml.safe_load((folder / inventory.FILE).read_text())
    return [host["xen_guest_domain"] for host in tree["xen_guests"]["hosts"].values()]


def test_a_guest_of_the_lab_is_paravirtual_unless_the_experiment_says_pvh(tmp_path: Path) -> None:
    assert [domain["type"] for domain in domains(tmp_path, None, "pv", "pvh")] == ["pv", "pv", "pvh"]


def test_only_a_pvh_guest_keeps_its_tick(tmp_path: Path) -> None:
    assert ["nohz=off" in domain["extra"].split() for domain in domains(tmp_path, "pv", "pvh")] == [False, True]


def test_the_processor_has_virtualisation_only_where_a_guest_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not lab_shape(tmp_path, None, "pv").svm
    assert lab_shape(tmp_path, "pv", "pvh").svm
    assert "Nehalem,+rdrand" in Accelerator(name="tcg", why="").arguments
    monkeypatch.setattr(qemu.shutil, "which", lambda _: "/usr/bin/qemu")
    monkeypatch.delenv("BALLAST_ACCELERATOR", raising=False)
    chosen = qemu.choose_accelerator(Image(folder=tmp_path), svm=True)
    assert chosen.name == "tcg", "whatever KVM could do"
    assert "Opteron_G3,+svm,+npt,+rdrand" in chosen.arguments


def test_a_lab_with_another_type_is_another_lab(tmp_path: Path) -> None:
    keys = [lab_shape(tmp_path, *types).key() for types in ((None,), ("pv",), ("pvh",))]
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(("said", "line"), [({}, 'type = "pv"'), ({"type": "pvh"}, 'type = "pvh"')])
def test_the_role_writes_the_type_and_pv_where_the_inventory_says_none(
    tmp_path: Path, said: dict[str, str], line: str
) -> None:
    (domain,) = domains(tmp_path, None)
    del domain["type"]
    jinja = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    written_by_role = jinja.from_string(TEMPLATE.read_text()).render(item=domain | said, ansible_managed="managed")
    assert line in written_by_role.splitlines()


@pytest.mark.parametrize(
    ("said", "hvm", "refused"),
    [
        ("pvh", False, True),
        ("pv", True, True),
        ("pvh", True, False),
        ("pv", False, False),
        (None, True, False),
        (None, False, False),
        ("pvh", None, False),
        ("pv", None, False),
    ],
)
def test_a_type_that_xen_contradicts_ends_the_trial_and_one_that_nobody_can_check_does_not(
    tmp_path: Path, said: str | None, hvm: bool | None, refused: bool
) -> None:
    experiment = load_experiment(written(tmp_path, said))
    domain = Domain(
        domid=1,
        current_kib=1,
        max_kib=1,
        static_max_kib=1,
        target_kib=1,
        paused=False,
        dying=False,
        disks_kib={},
        hvm=hvm,
    )
    if not refused:
        check_types(experiment, {"g1": domain})
        return
    with pytest.raises(TrialError, match=f"g1 is to be {said}, and Xen runs it as P"):
        check_types(experiment, {"g1": domain})


def test_dom0_of_the_lab_has_from_the_start_the_weight_that_the_role_gives() -> None:
    weight = yaml.safe_load((PROJECT / "roles" / "xen_host" / "defaults" / "main.yml").read_text())[
        "xen_host_dom0_weight"
    ]
    boot = PROJECT / "roles" / "lab" / "files" / "rootfs" / "usr" / "lib" / "ballast-lab" / "dom0"
    assert f"xl sched-credit2 -d Domain-0 -w {weight}\n" in boot.read_text()
