"""The experiment file: what it may say, and how each mistake is answered."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from harness.experiment.config import Experiment
from harness.experiment.document import ConfigError, Document
from harness.experiment.files import EXPERIMENTS, load_experiment, names
from harness.experiment.signals import aging_s, window_s
from harness.experiment.site import from_inventory

GOOD = """\
name: small
pool_mib: 1000
guests:
  - {name: a, workload: mono, with: {high_mib: 300}, min_mib: 160, initial_mib: 400, max_mib: 800}
  - name: b
    workload: idle
    min_mib: 160
    initial_mib: 400
    max_mib: 800
policies:
  - static
  - {name: two-state, label: half, tax: 0.5}
duration_s: 30
"""


def load(folder: Path, text: str) -> Experiment:
    path = folder / "small.yml"
    path.write_text(text, encoding="utf-8")
    return load_experiment(path)


def complaint(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder, text)
    return str(raised.value).replace(f"{folder}/", "")


def test_experiments_that_we_ship_are_valid() -> None:
    assert "quick" in names()
    for name in names():
        assert load_experiment(name).name == name


def test_what_the_file_leaves_out_is_filled_in(tmp_path: Path) -> None:
    experiment = load(tmp_path, GOOD)
    assert (experiment.reserve_mib, experiment.repetitions, experiment.period_s) == (0, 1, 2.0)
    assert experiment.guests[1].shares == 1000
    assert experiment.guests[0].parameters["high_mib"] == 300
    assert experiment.guests[0].parameters["low_mib"] == 60


def test_how_xen_runs_a_guest_is_said_or_left_open(tmp_path: Path) -> None:
    open_, pvh = load(tmp_path, GOOD), load(tmp_path, GOOD.replace("workload: idle", "workload: idle\n    type: pvh"))
    assert [guest.type for guest in (*open_.guests, *pvh.guests)] == [None, None, None, "pvh"]
    assert "type" not in open_.resolved()["guests"][1], "as in runs made before there was such a key"
    assert pvh.resolved()["guests"][1]["type"] == "pvh"
    assert load(tmp_path, yaml.safe_dump(pvh.resolved())).envelope().guests[1].type == "pvh"
    said = complaint(tmp_path, GOOD.replace("workload: idle", "workload: idle\n    type: hvm"))
    assert said == "small.yml:7: guests[1].type: input should be 'pv' or 'pvh'; it is 'hvm'"


def test_signals_are_off_unless_the_experiment_asks_for_them(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).signals == ()
    both = load(tmp_path, GOOD + "signals: [page-ages, swap-trace]\n")
    assert [signal.name for signal in both.signals] == ["page-ages", "swap-trace"]
    assert (window_s(both.signals), aging_s(both.signals)) == (30, 15), "the kernel's generations span two agings"
    assert both.resolved()["signals"] == [{"name": "page-ages", "window_s": 30.0}, {"name": "swap-trace"}]


def test_a_claim_may_say_what_guests_lose_at_most(tmp_path: Path) -> None:
    assert "loses_at_most" not in load(tmp_path, GOOD).resolved(), "as in runs made before there was such a key"
    some = load(tmp_path, GOOD + "loses_at_most: {percent: 3, guests: [a]}\n").resolved()
    assert some["loses_at_most"] == {"percent": 3.0, "guests": ["a"]}
    unknown = complaint(tmp_path, GOOD + "loses_at_most: {percent: 3, guests: [a, bb]}\n")
    assert "loses_at_most.guests[1]: there is no guest bb; did you mean b?" in unknown
    assert "loses_at_most.percent" in complaint(tmp_path, GOOD + "loses_at_most: {percent: 0}\n")


def test_the_baseline_is_repeated_in_the_lab_unless_the_experiment_says_no(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).resolved()["repeat_baseline"] is True
    assert load(tmp_path, GOOD + "repeat_baseline: false\n").resolved()["repeat_baseline"] is False
    assert "small.yml:14: repeat_baseline: " in complaint(tmp_path, GOOD + "repeat_baseline: twice\n")


@pytest.mark.parametrize("unseen", ["\\x07", "\\u200b", "\\u202e", "\\ufeff"])
def test_no_label_may_have_what_nobody_sees(tmp_path: Path, unseen: str) -> None:
    text = GOOD.replace("label: half", f'label: "ha{unseen}lf"')
    assert complaint(tmp_path, text).startswith(f"small.yml:12: policies[1].label: 'ha{unseen}lf' does not match ")


def test_no_label_may_look_like_the_second_trial_of_a_baseline(tmp_path: Path) -> None:
    said = "label: 'half (again)' ends in ' (again)', which tells the second trial of a baseline; give another"
    assert (
        complaint(tmp_path, GOOD.replace("label: half", "label: half (again)")) == f"small.yml:12: policies[1].{said}"
    )
    shadow = "shadows: [{name: equal, label: half (again)}]\n"
    assert complaint(tmp_path, GOOD + shadow) == f"small.yml:14: shadows[0].{said}"


def test_the_window_of_page_ages_can_be_chosen(tmp_path: Path) -> None:
    signals = load(tmp_path, GOOD + "signals: [{name: page-ages, window_s: 8}]\n").signals
    assert (window_s(signals), aging_s(signals)) == (8, 4)


@pytest.mark.parametrize(
    ("signals", "said"),
    [
        ("[damon]", "small.yml:14: signals[0].name: there is no signal damon; known: page-ages, swap-trace"),
        ("[{name: swap-trace, window_s: 8}]", "window_s belongs to page-ages alone; remove it"),
        ("[{name: page-ages, window: 8}]", "unknown key; did you mean window_s?"),
        ("[{name: page-ages, window_s: 1}]", "signals[0].window_s"),
        ("[swap-trace, swap-trace]", "is the name of signals[0] too"),
        ("page-ages", "must be a list"),
    ],
)
def test_a_signal_that_there_is_not_is_refused(tmp_path: Path, signals: str, said: str) -> None:
    assert said in complaint(tmp_path, GOOD + f"signals: {signals}\n")


def test_a_policy_is_a_name_or_a_mapping(tmp_path: Path) -> None:
    static, half = load(tmp_path, GOOD).policies
    assert (static.name, static.label, static.params) == ("static", "static", {})
    assert (half.name, half.label, half.params) == ("two-state", "half", {"tax": 0.5})


def test_a_policy_without_a_label_is_called_by_its_parameters(tmp_path: Path) -> None:
    text = GOOD.replace("label: half, tax: 0.5", "tax: 0.5, hysteresis: 0.1")
    assert load(tmp_path, text).policies[1].label == "two-state tax=0.5 hysteresis=0.1"


def test_shadows_are_written_like_policies_and_may_be_the_same(tmp_path: Path) -> None:
    assert load(tmp_path, GOOD).shadows == ()
    experiment = load(tmp_path, GOOD + "shadows: [pressure, {name: two-state, label: half, tax: 0.5}]\n")
    assert [choice.label for choice in experiment.shadows] == ["pressure", "half"]
    assert experiment.resolved()["shadows"][1]["tax"] == 0.5
    assert load(tmp_path, yaml.safe_dump(experiment.resolved())).resolved() == experiment.resolved()


@pytest.mark.parametrize(
    ("shadows", "said"),
    [
        ("[presure]", "small.yml:14: shadows[0].name: there is no policy presure; did you mean pressure?"),
        ("[{name: price, tex: 1}]", "shadows[0].tex: unknown key; did you mean tax?"),
        ("[price, price]", "shadows[1].label: price is the label of shadows[0] too; give another"),
        ("price", "shadows: must be a list"),
    ],
)
def test_a_mistake_in_a_shadow_is_named_as_in_a_policy(tmp_path: Path, shadows: str, said: str) -> None:
    assert said in complaint(tmp_path, GOOD + f"shadows: {shadows}\n")


def test_the_resolved_form_is_an_experiment_that_means_the_same(tmp_path: Path) -> None:
    resolved = load(tmp_path, GOOD).resolved()
    assert resolved["policies"][1]["swap_weight"] == 0.2, "defaults of a policy are part of what was run"
    again = load(tmp_path, yaml.safe_dump(resolved))
    assert again.resolved() == resolved


def test_an_experiment_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, GOOD).seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("min_mib: 160, ", "mim_mib: 160, ", "small.yml:4: guests[0].mim_mib: unknown key; did you mean min_mib?"),
        ("min_mib: 160, ", "", "small.yml:4: guests[0].min_mib: missing; add `min_mib: …`"),
        ("pool_mib: 1000", "pool_mib: lots", "small.yml:2: pool_mib: must be a whole number, and is 'lots'"),
        ("pool_mib: 1000", 'pool_mib: "1000"', "small.yml:2: pool_mib: must be a whole number, and is '1000'"),
        ("pool_mib: 1000", "pool_mib: true", "small.yml:2: pool_mib: must be a whole number, and is True"),
        ("pool_mib: 1000", "pool_mib: -5", "small.yml:2: pool_mib: input should be greater than 0; it is -5"),
        ("pool_mib: 1000", "pool_mib:", "small.yml:2: pool_mib: must be a whole number, and is empty"),
        (
            "pool_mib: 1000",
            "pool_mib: 700",
            "small.yml:2: pool_mib: is 700, and the guests' initial_mib add up to 800; raise it or lower theirs",
        ),
        (
            "pool_mib: 1000",
            "pool_mib: 1000\npool_mib: 2000",
            "small.yml:3: pool_mib: given twice, first on line 2; remove one",
        ),
        (
            "    max_mib: 800",
            "    max_mib: 300",
            "small.yml:8: guests[1].initial_mib: is 400; must be from min_mib 160 to max_mib 300",
        ),
        (
            "    max_mib: 800",
            "    max_mib: 100",
            "small.yml:7: guests[1].min_mib: is 160, above max_mib 100; swap or correct them",
        ),
        ("- name: b", "- name: a", "small.yml:5: guests[1].name: a is the name of guests[0] too; give another"),
        (
            "- name: b",
            "- name: dom0",
            "small.yml:5: guests[1].name: dom0 means something else to Xen or Ansible; choose another name",
        ),
        ("- name: b", "- name: 'b; reboot'", "small.yml:5: guests[1].name: 'b; reboot' does not match"),
        (
            "workload: idle",
            "workload: idel",
            "small.yml:6: guests[1].workload: there is no workload idel; did you mean",
        ),
        (
            "high_mib: 300",
            "hihg_mib: 300",
            "small.yml:4: guests[0].with.hihg_mib: mono has no such parameter; did you mean high_mib?",
        ),
        (
            "high_mib: 300",
            "high_mib: a lot",
            "small.yml:4: guests[0].with.high_mib: must be a whole number (MiB), and is 'a lot'",
        ),
        (
            "high_mib: 300",
            "high_mib: 0",
            "small.yml:4: guests[0].with.high_mib: must be at least 1 MiB, and is 0",
        ),
        ("- static", "- statik", "small.yml:11: policies[0].name: there is no policy statik; did you mean static?"),
        ("tax: 0.5", "tex: 0.5", "small.yml:12: policies[1].tex: unknown key; did you mean tax?"),
        ("tax: 0.5", "tax: 1.5", "small.yml:12: policies[1].tax: input should be less than or equal to 1; it is 1.5"),
        (
            "label: half",
            "label: static",
            "small.yml:12: policies[1].label: static is the label of policies[0] too; give another",
        ),
        ("duration_s: 30", "duration_s: 1", "period_s: is 2, longer than duration_s 1; lower it"),
        ("duration_s: 30", "duration_s: .inf", "small.yml:13: duration_s: must be a number, and is inf"),
        ("- static", "- 7", "small.yml:11: policies[0]: must be keys and values, and is 7"),
        (
            "duration_s: 30",
            "duration_s: 30\nmachine: {fualt_s: 1}",
            "small.yml:14: machine.fualt_s: unknown key; did you mean fault_s?",
        ),
        ("duration_s: 30", "duration_s: 30\nmachine: {cpu: 0}", "small.yml:14: machine.cpu: input should be greater"),
        ("guests:", "guests: 3\nothers:", "small.yml:3: guests: must be a list, and is 3"),
        (
            "policies:",
            "policies: []\nclaim: none\nunknown:",
            "small.yml:12: unknown: unknown key; known: baseline, claim, ",
        ),
    ],
)
def test_a_mistake_is_named_by_file_line_key_and_remedy(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert GOOD.count(old) == 1 or old in {"workload: idle", "tax: 0.5"}
    assert said in complaint(tmp_path, GOOD.replace(old, new, 1))


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("pool_mib: 1000", "pool_mib: -1").replace("duration_s: 30", "duration: 30")
    assert [line.split(" ")[1] for line in complaint(tmp_path, text).splitlines()] == [
        "duration_s:",
        "pool_mib:",
        "duration:",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "small.yml:1: must be keys and values, and is empty; give name, pool_mib, guests, policies, duration_s"),
        ("- 1\n- 2\n", "small.yml:1: must be keys and values, and is a list"),
        ("name: [1\npool_mib: 2\n", "small.yml:2: not valid YAML: "),
        ("name: &a [*a]\n", "small.yml:1: name: must be text"),
        ("name: 2024-13-45\n", "small.yml: not valid YAML: month must be in 1..12; correct it"),
        (
            "name: !!python/object/apply:os.system [id]\n",
            "small.yml:1: not valid YAML: could not determine a constructor",
        ),
        ("\x00", "small.yml: not valid YAML: "),
        ("{[1]: 2}", "small.yml:1: not valid YAML: found unhashable key"),
        ("[" * 5000, "small.yml: not valid YAML: "),
        ("1: 2", "small.yml:1: "),
    ],
)
def test_what_is_no_experiment_at_all_is_refused_in_words(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_a_file_that_is_not_utf8_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "small.yml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 6; save it as UTF-8"):
        load_experiment(path)


def test_an_experiment_that_does_not_exist_brings_up_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"qiuck\.yml: no such experiment; did you mean quick\?"):
        load_experiment("qiuck")
    with pytest.raises(ConfigError, match=r"elsewhere/other\.yml: no such experiment; known: .*quick"):
        load_experiment("elsewhere/other.yml")


def test_an_experiment_is_found_by_name_or_by_path() -> None:
    assert load_experiment("quick") == load_experiment(EXPERIMENTS / "quick.yml")


def bomb(depth: int = 9) -> str:
    """A kilobyte that stands for nine to the power of `depth` words."""
    text = "&a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]"
    for level in range(1, depth):
        text = f"&a{level} [{text}{f', *a{level - 1}' * 8}]"
    return text


@pytest.mark.parametrize("key", ["with", "policies"])
def test_a_file_that_stands_for_more_than_fits_into_memory_is_refused_at_once(tmp_path: Path, key: str) -> None:
    found = {
        "with": GOOD.replace("high_mib: 300", f"high_mib: {bomb()}"),
        "policies": GOOD.replace("tax: 0.5", f"tax: {bomb()}"),
    }[key]
    assert found != GOOD
    assert len(found) < 3000
    began_s = time.monotonic()
    said = complaint(tmp_path, found)
    assert time.monotonic() - began_s < 5
    assert re.search(r"small\.yml:\d+: with its aliases .* longer than 1024 KiB; write out", said)


def test_merged_keys_are_counted_before_they_are_merged(tmp_path: Path) -> None:
    lines = ["x0: &x0 {a: b}", *(f"x{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 9)}]}}" for n in range(1, 12))]
    assert re.search(r"small\.yml:\d+: with its aliases", complaint(tmp_path, "\n".join(lines)))


def test_aliases_within_reason_are_as_good_as_written_out(tmp_path: Path) -> None:
    (tmp_path / "some.yml").write_text("a: &a [1, 2]\nb: {c: *a, d: *a}\n")
    assert Document(tmp_path / "some.yml").data == {"a": [1, 2], "b": {"c": [1, 2], "d": [1, 2]}}


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: larger than 1024 KiB"):
        Document(Path("/dev/zero"))


def test_an_inventory_that_stands_for_too_much_is_refused_before_ansible_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(f"all:\n  vars:\n    x: {bomb()}\n")
    with pytest.raises(ConfigError, match=r"mine\.yml:3: with its aliases"):
        from_inventory([path], load_experiment("quick"))
