"""An inventory means to the harness what it means to Ansible; what it cannot do as Ansible does, it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.experiment import entered
from harness.experiment.document import ConfigError
from harness.experiment.files import load_experiment
from harness.experiment.inventory import machines, told
from harness.experiment.site import from_inventory, site
from harness.xen.machine import Machine

RICH = """
all:
  vars: {domain: example.org, ansible_user: "{{ who }}", who: root, ballast_known_hosts: known}
  children:
    xen_hosts:
      hosts:
        alpha: {ansible_ssh_host: 192.0.2.11, ansible_ssh_port: 2222, ansible_ssh_user: admin, ansible_become: true}
        beta:
    xen_guests:
      children:
        web:
          hosts:
            g1: {ansible_host: "{{ inventory_hostname }}.{{ domain }}", ansible_port: "{{ p | default(2022) }}"}
            g2: {ansible_port: null}
        rest:
          hosts:
            g3:
            lost: {ansible_host: "{{ nowhere }}"}
"""
GROUP_VARS = {"web": "xen_host: alpha\nxen_domain: 'Windows 10'\n", "rest": "xen_host: beta\n"}
VAULTED = "ansible_private_key_file: !vault |\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("inventory")
    (made / "hosts.yml").write_text(RICH)
    (made / "group_vars").mkdir()
    for group, text in GROUP_VARS.items():
        (made / "group_vars" / f"{group}.yml").write_text(text)
    return made


def test_ctrl_c_stays_ours_when_ansible_has_been_asked(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("xen_hosts: {hosts: {alpha: {ballast_known_hosts: known}}}\n")
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    assert set(machines([tmp_path / "hosts.yml"])) == {"alpha"}
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.fixture(scope="module")
def known(folder: Path) -> Iterator[dict[str, dict[str, Any]]]:
    """What Ansible makes of it, with a user out of a vault."""
    (folder / "password").write_text("open\n")
    program = Path(sys.executable).with_name("ansible-vault")
    argv = [program, "encrypt_string", "--vault-password-file", "password", "--name", "ansible_user", "bob"]
    secret = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout
    (folder / "host_vars").mkdir()
    (folder / "host_vars" / "g3.yml").write_text(secret)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(folder / "password"))
        patch.chdir(folder)
        yield machines([Path("hosts.yml")])


def machine(facts: dict[str, Any]) -> Machine:
    return entered.machine(facts, entered.ask_openssh(facts))


def test_templates_legacy_names_null_and_a_host_without_variables_come_to_what_ansible_makes_of_them(
    known: dict[str, dict[str, Any]],
) -> None:
    said = {name: machine(facts) for name, facts in known.items() if "fault" not in facts}
    assert {name: (each.user, each.address, each.port) for name, each in said.items()} == {
        "alpha": ("admin", "192.0.2.11", 2222),
        "beta": ("root", "beta", 22),
        "g1": ("root", "g1.example.org", 2022),
        "g2": ("root", "g2", 22),
        "g3": ("bob", "g3", 22),
    }
    assert [name for name, each in said.items() if each.sudo] == ["alpha"]
    assert said["g1"].xen_name == "Windows 10"


def test_nested_groups_and_group_vars_count(known: dict[str, dict[str, Any]]) -> None:
    assert {name for name, facts in known.items() if "xen_guests" in facts.get("groups", ())} == {"g1", "g2", "g3"}
    assert known["g3"]["host_of"] == "beta"


def test_what_cannot_be_made_of_a_host_is_told_only_where_that_host_is_needed(known: dict[str, dict[str, Any]]) -> None:
    assert "'nowhere' is undefined" in known["lost"]["fault"]
    of_two = load_experiment("quick").envelope()
    two = of_two.model_copy(update={"guests": of_two.guests[:2]})
    with pytest.raises(ConfigError, match=r"guests g1 and g2 are both the domain Windows 10 on alpha; correct xen_dom"):
        site(known, two, "mine.yml")
    apart = {**known, "g2": known["g2"] | {"domain": "db [old]"}}
    assert site(apart, two, "mine.yml").dom0.name == "alpha"
    renamed = of_two.guests[0].model_copy(update={"name": "lost"})
    with pytest.raises(ConfigError, match=r"mine\.yml: lost: .*'nowhere' is undefined; correct"):
        site(known, two.model_copy(update={"guests": (renamed,)}), "mine.yml")


def test_guests_of_two_hosts_are_no_experiment(known: dict[str, dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"on several hosts \(alpha, beta\), and memory does not cross hosts"):
        site(known, load_experiment("quick").envelope(), "mine.yml")


def test_an_unknown_guest_host_or_count_of_hosts_is_told(known: dict[str, dict[str, Any]]) -> None:
    quick = load_experiment("quick").envelope()
    alone = {name: known[name] for name in ("alpha", "beta", "g1")}
    with pytest.raises(ConfigError, match="needs the guest g2, and group xen_guests has g1"):
        site(alone, quick, "mine.yml")
    one = quick.model_copy(update={"guests": quick.guests[:1]})
    with pytest.raises(ConfigError, match="xen_host: gamma, and group xen_hosts has alpha, beta"):
        site(alone | {"g1": known["g1"] | {"host_of": "gamma"}}, one, "mine.yml")
    with pytest.raises(ConfigError, match="2 hosts, and an experiment runs on exactly one; say on which"):
        site(alone | {"g1": known["g1"] | {"host_of": ""}}, one, "mine.yml")


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("xen_domain: '{{ typo }}'", "'typo' is undefined; correct"),
        ("ballast_known_hosts: '{{ typo }}/known'", "'typo' is undefined; correct"),
        ("xen_domain: {a: b}", r"xen_domain is \{'a': 'b'\}, and has to be a text; correct"),
        ("xen_host: [alpha]", r"xen_host is \['alpha'\], and has to be a text; correct"),
        ("xen_domain: 7\nxen_host:", ""),
    ],
)
def test_a_variable_of_ours_that_is_none_is_told_and_none_that_is_empty(
    tmp_path: Path, variable: str, said: str
) -> None:
    (tmp_path / "mine.yml").write_text("xen_hosts: {hosts: {alpha: }}\nxen_guests: {hosts: {g1: }}\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "g1.yml").write_text(f"{variable}\n")
    quick = load_experiment("quick")
    one = quick.model_copy(update={"guests": quick.guests[:1]})
    if said:
        with pytest.raises(ConfigError, match=rf"mine\.yml: g1: .*{said}"):
            from_inventory([tmp_path / "mine.yml"], one)
    else:
        assert from_inventory([tmp_path / "mine.yml"], one).guests[0].xen_name == "7"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (None, "no such inventory"),
        ("xen_hosts: [1, 2]\n", "Ansible cannot read it|group xen_guests has none"),
    ],
)
def test_what_ansible_cannot_read_is_told(tmp_path: Path, file: str | None, said: str) -> None:
    if file is not None:
        (tmp_path / "mine.yml").write_text(file)
    with pytest.raises(ConfigError, match=said):
        from_inventory([tmp_path / "mine.yml"], load_experiment("quick").envelope())


def test_an_inventory_that_ansible_takes_for_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.ini").write_text("[xen_hosts\nalpha\n")
    with pytest.raises(ConfigError, match=r"mine\.ini: Ansible cannot read it"):
        from_inventory([tmp_path / "mine.ini"], load_experiment("quick"))


FACTS: dict[str, Any] = {
    "name": "g1", "groups": ["xen_guests"], "host": "g1.example.org", "port": None, "remote_user": "root",
    "private_key_file": None, "ssh_args": "-F none", "ssh_common_args": "", "ssh_extra_args": "",
    "ssh_executable": "ssh", "connection": "ssh", "become": False, "become_method": "sudo", "become_user": "root",
    "become_exe": "sudo", "become_flags": "-H -S -n", "become_password": False, "secrets": [], "known_hosts": "",
    "domain": "", "host_of": "", "lab": "", "lab_clock": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [
        ({"connection": "local"}, "set ansible_connection: ssh"),
        ({"secrets": ["password"]}, "give a key instead"),
        ({"secrets": ["private_key_passphrase"]}, "ssh-add"),
        ({"ssh_executable": "/opt/wrapped"}, "the harness speaks SSH itself"),
        ({"ssh_common_args": "-o CertificateFile=/k-cert.pub"}, "authorized_keys"),
        ({"ssh_common_args": "-o KnownHostsCommand=/bin/true"}, "ballast_known_hosts"),
        ({"ssh_common_args": "-o BindAddress=192.0.2.1"}, "routes"),
        ({"ssh_common_args": "-o ProxyCommand='nc %h %p 2>/dev/null'"}, "into a script"),
        ({"ssh_common_args": "-o ProxyCommand='nc %d %p'"}, "with %d"),
        ({"ssh_common_args": "-o NoSuchOption=1"}, "ssh refuses"),
        ({"ssh_common_args": "-o 'open"}, "correct its quotes"),
        ({"ssh_common_args": "-o IdentityAgent=/run/other"}, "SSH_AUTH_SOCK=/run/other"),
        ({"host": "-oProxyCommand=evil"}, "is no address"),
        ({"host": "a b"}, "is no address"),
        ({"groups": ["xen_hosts"], "remote_user": "bob"}, "ansible_become: true"),
        ({"become": True, "remote_user": "bob", "become_password": True}, "NOPASSWD"),
        ({"become": True, "remote_user": "bob", "become_method": "su"}, "by sudo alone"),
        ({"become": True, "remote_user": "bob", "become_user": "eve"}, "take out ansible_become_user"),
        ({"become": True, "remote_user": "bob", "become_flags": "-E"}, "sudo -n"),
    ],
)
def test_what_the_harness_cannot_do_as_ansible_does_is_refused_with_its_remedy(
    facts: dict[str, Any], remedy: str
) -> None:
    with pytest.raises(ConfigError, match=remedy):
        machine(FACTS | facts)


@pytest.mark.parametrize(
    ("arguments", "proxy"),
    [
        ("-J jump", ("ssh", "-F", "none", "-o", "BatchMode=yes", "-W", "[g1.example.org]:22", "--", "ssh://jump")),
        (
            "-o ProxyJump=a@first:2022,b@second",
            ("ssh", "-F", "none", "-o", "BatchMode=yes", "-J", "a@first:2022",
             "-W", "[g1.example.org]:22", "--", "ssh://b@second"),
        ),
        ("-o ProxyCommand='nc -X 5 %h %p'", ("nc", "-X", "5", "g1.example.org", "22")),
        ("-o ProxyCommand=none", ()),
    ],
)  # fmt: skip
def test_a_jump_host_and_a_proxy_are_gone_through(arguments: str, proxy: tuple[str, ...]) -> None:
    assert machine(FACTS | {"ssh_common_args": arguments}).proxy == proxy


def test_openssh_s_own_configuration_counts(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(
        f"Host g1.example.org\n HostName 192.0.2.7\n Port 2200\n HostKeyAlias one\n IdentityFile {tmp_path}/id\n"
        f" IdentitiesOnly yes\n UserKnownHostsFile {tmp_path}/a {tmp_path}/b\n GlobalKnownHostsFile none\n"
    )
    (tmp_path / "b").write_text("")
    found = machine(FACTS | {"ssh_args": f"-F {tmp_path}/config"})
    assert (found.address, found.port, found.host_key_alias) == ("192.0.2.7", 2200, "one")
    assert (found.key_file, found.identities, found.named_only) == (None, (tmp_path / "id",), True)
    assert (found.known_hosts, found.also_known) == (tmp_path / "b", ())


def test_no_key_need_be_named_and_the_agent_is_asked() -> None:
    found = machine(FACTS)
    assert found.key_file is None
    assert found.identities
    assert (found.agent, found.named_only) == (True, False)


WRONG_TYPES = [{**FACTS, "name": ["g1"]}, {**FACTS, "groups": None}, {**FACTS, "groups": [1]}]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[1]", '[{"name": "g1"}]', "3", "{}", "NaN", "[" * 100_000, *(json.dumps([one]) for one in WRONG_TYPES)],
    ids=lambda text: text[:30],
)
def test_what_the_playbook_did_not_collect_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--machines"):
        told(text)
    assert told(json.dumps([FACTS])) == {"g1": FACTS}
