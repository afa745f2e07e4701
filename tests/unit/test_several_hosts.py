"""An experiment whose guests are on several hosts: a part for each, one trial, one run, one report."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli.live import app
from harness.experiment import told
from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError
from harness.experiment.files import EXPERIMENTS, load_experiment
from harness.experiment.needs import library_of
from harness.experiment.site import sites
from harness.experiment.together import Begin, GivenUpError, Part, Watch, together
from harness.lab import inventory, shape
from harness.lab.image import LabError
from harness.lab.lab import Lab
from harness.lab.room import require_memory
from harness.policies import make
from harness.records import RecordsError, Stamp, TrialRow, read_decisions, read_run
from harness.replay import replay_run
from harness.simulator.machine import load_machine
from harness.simulator.runner import one_by_one, simulate
from harness.xen.machine import Machine
from harness.xen.ssh import ConnectionFailed
from reports.answers import ground
from reports.study import studies
from reports.timeline import timelines

BOTH = load_experiment("two-hosts")
ROW = TrialRow(guest="g1", workload="idle", status="ok", started=Stamp(utc="", mono_s=0), duration_s=1.0)


def written(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    said = yaml.safe_load((EXPERIMENTS / "two-hosts.yml").read_text())
    change(said)
    (path := folder / "two-hosts.yml").write_text(yaml.safe_dump(said))
    return path


def facts(name: str, group: str, host_of: str = "") -> dict[str, Any]:
    return {"name": name, "groups": [group], "host_of": host_of, "lab": "", "address": name}


# What an experiment may say ------------------------------------------------------------------------------------------


def test_each_host_has_its_guests_and_its_pool_and_what_it_does_not_say_is_the_experiments() -> None:
    parts = BOTH.parts()
    assert {host: [guest.name for guest in part.guests] for host, part in parts.items()} == {
        "xen1": ["g1", "g2"],
        "xen2": ["g3", "g4"],
    }
    assert [(part.pool_mib, part.reserve_mib) for part in parts.values()] == [(800, 64), (700, 64)]
    assert load_experiment("quick").parts() == {"": load_experiment("quick")}


def test_without_limits_each_host_has_room_for_its_own_guests_at_their_largest() -> None:
    assert [part.at(None, "unconstrained").pool_mib for part in BOTH.parts().values()] == [1280, 1120]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda said: said["guests"][1].pop("host"), r"guests\[1\]\.host: is missing, and other guests are on"),
        (lambda said: said["guests"][0].update(host="g2"), r"guests\[0\]\.host: g2 is the name of a guest"),
        (lambda said: said["guests"][0].update(host="xen_hosts"), r"means something else to Ansible; call the host"),
        (lambda said: said["guests"][0].update(host="localhost"), r"means something else to Ansible; call the host"),
        (lambda said: said["guests"][0].update(host="../x"), r"guests\[0\]\.host"),
        (lambda said: said["hosts"].update(xen3={"pool_mib": 1}), r"hosts\.xen3: no guest is on xen3; did you mean"),
        (
            lambda said: said.update(pool_mib=790),
            r"pool_mib: is 790, and the guests' initial_mib on xen1 add up",
        ),
        (lambda said: said["hosts"]["xen2"].update(pool_mib=600), r"hosts\.xen2: is 600, and .* on xen2 add up to 700"),
        (lambda said: said.update(figures=["states"]), r"figures: are of what one host's arbiter did; remove them"),
        (
            lambda said: said.update(sweep={"name": "x", "levels": [{"at": 1, "pool_mib": 900}]}),
            r"sweep\.levels\[0\]\.pool_mib: is that of every host, and `hosts` gives one its own",
        ),
    ],
)
def test_what_cannot_be_is_refused_by_line_and_key(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_experiment(written(tmp_path, change))


# Where it runs -------------------------------------------------------------------------------------------------------


def test_a_guest_that_the_inventory_has_elsewhere_and_a_host_that_is_not_there_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def machine(told: dict[str, Any], _: str) -> Machine:
        return Machine(name=told["name"], address=told["address"], known_hosts=Path("known"))

    monkeypatch.setattr("harness.experiment.site._machine", machine)
    hosts = {name: facts(name, "xen_hosts") for name in ("xen1", "xen2")}
    guests = {name: facts(name, "xen_guests") for name in ("g1", "g2", "g3", "g4")}
    found = sites({**hosts, **guests}, BOTH, "mine.yml")
    assert {host: [each.name for each in (one.dom0, *one.guests)] for host, one in found.items()} == {
        "xen1": ["xen1", "g1", "g2"],
        "xen2": ["xen2", "g3", "g4"],
    }
    one_machine = {**hosts, "xen2": hosts["xen2"] | {"address": "xen1"}}
    with pytest.raises(ConfigError, match=r"xen1 and xen2 are one machine \(xen2 \(root@xen1:22\)\); correct"):
        sites({**one_machine, **guests}, BOTH, "mine.yml")
    with pytest.raises(ConfigError, match="guest g3 has xen_host: xen1, and in two-hosts it is on xen2; correct one"):
        sites({**hosts, **guests, "g3": facts("g3", "xen_guests", "xen1")}, BOTH, "mine.yml")
    with pytest.raises(ConfigError, match="guest g4 has host: xen2, and group xen_hosts has xen1"):
        sites({"xen1": hosts["xen1"], **guests}, BOTH, "mine.yml")


def test_what_hosts_agree_in_stands_where_that_of_one_would_and_the_rest_by_their_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = {
        "xen1": {"lab": True, "memory_mib": 2, "workloads": {"g1": {}}},
        "xen2": {"lab": True, "memory_mib": 3, "workloads": {"g3": {}}},
    }
    monkeypatch.setattr(told, "told_by", lambda part, *_: dict(said[part.guests[0].host]))
    there: Any = dict.fromkeys(said)
    assert told.told_by_all(BOTH, {}, there) == {
        "lab": True,
        "workloads": {"g1": {}, "g3": {}},
        "hosts": {"xen1": {"memory_mib": 2}, "xen2": {"memory_mib": 3}},
    }


def test_each_host_is_a_lab_and_another_experiments_lab_keeps_them_from_starting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BALLAST_CACHE", str(tmp_path))
    shapes = shape.all_of(BOTH, library_of(BOTH))
    assert {host: (one.host, one.pool_mib) for host, one in shapes.items()} == {
        "xen1": ("xen1", 800),
        "xen2": ("xen2", 700),
    }
    assert shapes["xen1"].key() != shapes["xen2"].key()
    others = (Lab.of(shapes["xen2"]), Lab(tmp_path / "labs" / "stranger"))
    monkeypatch.setattr(Lab, "running", lambda: others)
    monkeypatch.setattr("harness.lab.lab.obtain", lambda *_: None)
    with pytest.raises(LabError, match=r"another lab is up \(stranger\)\. End it with"):
        Lab.of(shapes["xen1"]).up(shapes["xen1"], lambda _: None, None, beside=shapes.values())


def test_a_host_that_is_away_keeps_no_other_from_being_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    def restore(part: Experiment, *_: object) -> dict[str, float]:
        if "g1" in {guest.name for guest in part.guests}:
            raise ConnectionFailed("xen1 cannot be reached")
        return {}

    monkeypatch.setattr("harness.cli.live.located", lambda *_: dict.fromkeys(BOTH.parts()))
    monkeypatch.setattr("harness.service.arbiter.restore", restore)
    told = CliRunner().invoke(app, ["restore", "two-hosts"])
    assert told.exit_code == 1
    assert "xen1: xen1 cannot be reached" in told.stderr
    assert told.stdout.splitlines() == ["g3 350 MiB", "g4 350 MiB"]


def test_two_labs_must_find_room_together(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = list(shape.all_of(BOTH, library_of(BOTH)).values())
    one_mib = shapes[0].taken_mib + 600
    meminfo = f"MemTotal: 1 kB\nMemAvailable: {one_mib * 1024} kB\n"
    monkeypatch.setattr(Path, "read_text", lambda _: meminfo)
    require_memory(shapes[:1])
    with pytest.raises(LabError, match=r"pool 800 \+ 700, reserve 64 \+ 64"):
        require_memory(shapes)


def test_machines_of_two_labs_keep_their_own_keys_in_one_inventory(tmp_path: Path) -> None:
    image: Any = type("Image", (), {"host_key": "ssh-ed25519 AAAA", "key_file": tmp_path / "key"})()
    merged: dict[str, dict[str, Any]] = {}
    for host, one in shape.all_of(BOTH, library_of(BOTH)).items():
        (folder := tmp_path / host).mkdir()
        inventory.write(folder, one, image, dict.fromkeys((host, *(guest.name for guest in one.guests)), 22))
        for content in yaml.safe_load((folder / inventory.FILE).read_text()).values():
            assert set(content) == {"hosts"}
            merged |= content["hosts"]
    assert {name: Path(said["ballast_lab"]).name for name, said in merged.items()} == {
        "xen1": "xen1", "g1": "xen1", "g2": "xen1", "xen2": "xen2", "g3": "xen2", "g4": "xen2",
    }  # fmt: skip
    assert [merged[guest]["xen_host"] for guest in ("g1", "g3")] == ["xen1", "xen2"]


# One trial -----------------------------------------------------------------------------------------------------------


def part(happened: list[str], name: str, ready: threading.Event | None = None) -> Part:
    def run(begin: Begin, watch: Watch) -> list[TrialRow]:
        watch("getting ready")
        if ready is not None:
            ready.wait(10)
        happened.append(f"{name} ready")
        begin(lambda: None)
        happened.append(f"{name} begins")
        return [ROW]

    return run


def test_work_begins_when_the_last_host_is_ready() -> None:
    happened: list[str] = []
    seen: list[str] = []
    late = threading.Event()

    def watch(what: str) -> None:
        seen.append(what)
        if "xen1: getting ready; xen2: getting ready" in what:
            late.set()

    rows = together({"xen1": part(happened, "xen1"), "xen2": part(happened, "xen2", late)}, watch)
    assert len(rows) == 2
    assert {*happened[:2]} == {"xen1 ready", "xen2 ready"}
    assert seen[-1] == "xen1: getting ready; xen2: getting ready"


def test_a_part_that_failed_keeps_no_other_from_its_work() -> None:
    happened: list[str] = []
    rows = together({"xen1": lambda begin, watch: [], "xen2": part(happened, "xen2")}, lambda _: None)
    assert (rows, happened) == ([ROW], ["xen2 ready", "xen2 begins"])


def test_a_host_that_is_away_gives_up_the_trial_on_all_and_is_what_is_told() -> None:
    def away(begin: Begin, watch: Watch) -> list[TrialRow]:
        raise RecordsError("xen1 is away")

    happened: list[str] = []
    with pytest.raises(RecordsError, match="xen1 is away"):
        together({"xen2": part(happened, "xen2", threading.Event()), "xen1": away}, lambda _: None)
    assert "xen2 begins" not in happened


def test_who_stops_it_stops_every_part_within_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def works(begin: Begin, watch: Watch) -> list[TrialRow]:
        try:
            begin(lambda: None)
            while True:
                watch("works")
        except GivenUpError:
            ended.append("told")
            raise

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.experiment.together.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together({"xen1": works, "xen2": works}, lambda _: None)
    assert ended == ["told", "told"]


# One run and one report ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("several")
    return simulate(BOTH, out, load_machine(), one_by_one, lambda *_: None).folder


def test_a_run_has_the_guests_of_all_hosts_and_each_hosts_arbiter_sees_its_own_alone(run: Path) -> None:
    read = read_run(run)
    assert set(read.trials["guest"]) == {"g1", "g2", "g3", "g4"}
    assert set(read.trials["status"]) == {"ok"}
    lines = list(read_decisions(run))
    seen = {(line["host"], *(guest["name"] for guest in line["view"]["guests"])) for line in lines}
    assert seen == {("xen1", "g1", "g2"), ("xen2", "g3", "g4")}
    ticks = [(line["block"], line["order"], line["host"], line["tick"]) for line in lines]
    assert ticks == sorted(ticks), "the arbiters of a trial stand one after the other, each with its own ticks"
    assert not list(run.glob("trials/*/hosts"))


def test_a_replay_lets_each_arbiter_decide_on_its_own(run: Path, tmp_path: Path) -> None:
    found = replay_run(run, make("static", {}), "static", tmp_path)
    assert len(found) == 4 * 4
    same = [one for one in found if one.label == "static"]
    assert len(same) == 8


def test_the_report_has_the_guests_of_each_host_together_and_says_what_each_shares(run: Path) -> None:
    (study,) = studies([run])
    assert study.hosts == {"xen1": ("g1", "g2"), "xen2": ("g3", "g4")}
    said = ground(study)
    assert "4 guests on 2 hosts, one decision every 2.0 s. xen1, 800 MiB: g1 (mono), g2 (idle); xen2, 700 MiB" in said
    first, second = timelines(study)
    assert "the guests of xen1" in first.caption
    assert "the guests of xen2" in second.caption


def test_guests_that_only_a_level_counts_out_are_in_the_report_too(tmp_path: Path) -> None:
    many = {"name": "count", "levels": [{"at": 1}, {"at": 2, "guests": {"g4": {"count": 2, "initial_mib": 170}}}]}
    wanted = load_experiment(written(tmp_path, lambda said: said.update(sweep=many, repetitions=1)))
    (study,) = studies([simulate(wanted, tmp_path, load_machine(), one_by_one, lambda *_: None).folder])
    assert study.hosts == {"xen1": ("g1", "g2"), "xen2": ("g3", "g4", "g41", "g42")}
    captions = [picture.caption for part in study.parts for picture in timelines(part)]
    assert sum("the guests of xen2" in caption for caption in captions) == 2


def test_one_host_is_one(tmp_path: Path) -> None:
    def one(said: dict[str, Any]) -> None:
        said.update(hosts={}, guests=said["guests"][:2], judged_by=[], repetitions=1)

    wanted = load_experiment(written(tmp_path, one))
    (study,) = studies([simulate(wanted, tmp_path, load_machine(), one_by_one, lambda *_: None).folder])
    assert "2 guests on 1 host, one" in ground(study)


def test_the_experiment_of_the_manifest_is_itself_one_that_can_be_run(run: Path, tmp_path: Path) -> None:
    said = json.loads((run / "manifest.json").read_text())["experiment"]
    (tmp_path / "again.yml").write_text(yaml.safe_dump(said))
    again = load_experiment(tmp_path / "again.yml").parts()
    assert {host: (part.guests, part.pool_mib, part.reserve_mib) for host, part in again.items()} == {
        host: (part.guests, part.pool_mib, part.reserve_mib) for host, part in BOTH.parts().items()
    }
