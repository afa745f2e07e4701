"""Of several hosts in one inventory each gets the guests that are its own, and no other's disks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
ROLE = PROJECT / "roles" / "xen_host"
TELL = "{{ dict(guests=xen_host_guests, of_nobody=xen_host_of_nobody, astray=xen_host_astray, disks=xen_host_imaged) }}"
GUESTS: dict[str, dict[str, Any]] = {
    "g1": {"xen_host": "alpha", "xen_guest_image": {"type": "pvh", "address": "192.0.2.21/24"}},
    "g2": {"xen_host": "beta", "xen_guest_domain": {"name": "g2"}},
    "g3": {"xen_host": "alpha", "xen_domain": "Windows 10", "xen_guest_image": {}},
    "g4": {"xen_host": "beta"},
    "g5": {"xen_guest_domain": {"name": "g5"}},
    "g6": {"xen_host": None, "xen_guest_processor_percent": 40},
    "g7": {"xen_host": "gamma", "xen_guest_image": {}},
}


def play_it(folder: Path, variables: dict[str, Any]) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    environment = os.environ | {"ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    command = [program, "-i", "inventory.yml", "-e", json.dumps(variables), "play.yml"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the role makes of an inventory with two hosts, by the host."""
    folder = tmp_path_factory.mktemp("roles")
    inventory = {
        "all": {
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            "children": {"xen_hosts": {"hosts": {"alpha": {}, "beta": {}}}, "xen_guests": {"hosts": GUESTS}},
        },
    }
    task = {
        "name": "Tell",
        "ansible.builtin.copy": {
            "content": "{{ tell | to_json }}",
            "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
            "mode": "0600",
        },
    }
    sizes = {"g1": {"min_mib": 160, "initial_mib": 352, "max_mib": 800, "type": "pv"}}
    play = {
        "hosts": "xen_hosts", "gather_facts": False, "tasks": [task], "vars": {"tell": TELL},
        "vars_files": [str(ROLE / "defaults" / "main.yml"), str(ROLE / "vars" / "main.yml")],
    }  # fmt: skip
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    play_it(folder, {"xen_host_sizes": sizes})
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("alpha", "beta")}


def test_each_host_starts_its_own_guests(told: dict[str, dict[str, Any]]) -> None:
    started = {host: [guest["name"] for guest in said["guests"]] for host, said in told.items()}
    assert started == {"alpha": ["g5", "g1", "Windows 10"], "beta": ["g5", "g2"]}


def test_a_guest_of_which_nobody_says_whose_it_is_is_named(told: dict[str, dict[str, Any]]) -> None:
    assert [said["of_nobody"] for said in told.values()] == [["g5", "g6"], ["g5", "g6"]]
    assert [said["astray"] for said in told.values()] == [["g7"], ["g7"]]


def test_a_guest_from_an_image_has_the_experiments_memory_and_swap_for_all_that_can_be_taken(
    told: dict[str, dict[str, Any]],
) -> None:
    first, second = told["alpha"]["disks"]
    assert (first["domain"]["memory_mib"], first["domain"]["max_mib"], first["domain"]["type"]) == (352, 800, "pvh")
    assert first["disk"]["swap_mib"] == 640
    assert first["disk"]["address"] == "192.0.2.21/24"
    assert second["domain"]["disks"] == ["/var/lib/ballast/disks/g3/root", "/var/lib/ballast/disks/g3/swap"]
    assert second["domain"]["mac"].startswith("00:16:3e:")
    assert second["domain"]["mac"] != first["domain"]["mac"]


def test_what_packages_were_brought_is_remembered_a_line_each_and_added_to(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "packages").write_text("libyajl2\n")
    variables = {
        "xen_host_before": {"stdout_lines": ["there python3", "there iproute2", "auto iproute2", "auto python3"]},
        "xen_host_after": {"stdout_lines": ["there python3", "there iproute2", "there xen-a", "there xen-b",
                                            "auto python3", "auto xen-b"]},
        "xen_host_state_dir": str(state),
    }  # fmt: skip
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump({"xen_hosts": {"hosts": {"alpha": host}}}))
    task = {"name": "Remember", "ansible.builtin.include_tasks": str(ROLE / "tasks" / "brought.yml")}
    play = {"hosts": "xen_hosts", "gather_facts": False, "tasks": [task]}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    play_it(tmp_path, variables)
    assert (state / "packages").read_text() == "libyajl2\nxen-a\nxen-b\n"
    assert (state / "auto").read_text() == "iproute2\n"
    assert sorted(path.name for path in state.iterdir()) == ["auto", "packages"]


def test_parts_of_the_provisioning_can_be_had_by_the_tags_that_the_page_names() -> None:
    plays = yaml.safe_load((PROJECT / "playbooks" / "provision.yml").read_text())
    tags = {tag for play in plays for part in (play, *play.get("roles", [])) for tag in part.get("tags", [])}
    page = (PROJECT / "docs" / "hosts.md").read_text()
    assert tags - {"always"} == {"host", "guests", "workloads", "processors"}
    assert all(f"`{tag}`" in page for tag in tags - {"always"})
