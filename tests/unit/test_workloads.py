"""The workload files, and the commands and numbers that come of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.experiment.document import ConfigError
from harness.experiment.metrics import Metric
from harness.experiment.workloads import Parameter, Workload, load_workload, load_workloads
from harness.simulator.loads import load_of

GOOD: dict[str, Any] = {
    "name": "spin",
    "what": "spins",
    "run": ["spin", "--mib={mib}", "--for", "{duration_s}", "{seed}", "{dir}/data", "{word}"],
    "parameters": {
        "mib": {"type": "int", "default": 10, "min": 1, "max": 99, "unit": "MiB", "description": "size"},
        "word": {"type": "str", "default": "x", "description": "any text"},
    },
    "metrics": [{"name": "turns", "unit": "1/s", "better": "higher"}],
    "likes_mib": "{mib} + 2.5",
}


def load(folder: Path, **changes: object) -> Workload:
    path = folder / "spin.yml"
    path.write_text(yaml.safe_dump(GOOD | changes, sort_keys=False), encoding="utf-8")
    return load_workload(path)


def test_workloads_that_we_ship_are_valid() -> None:
    real = {
        "7zip",
        "apache",
        "bank-h2",
        "file-scan",
        "john",
        "kernel-build",
        "memtest",
        "pgbench",
        "redis",
        "warehouse",
    }
    assert load_workloads().keys() == {"idle", "leak", "mono", "random"} | real


@pytest.mark.parametrize("name", load_workloads())
def test_the_simulator_has_a_model_of_every_workload(name: str) -> None:
    load_of(load_workloads(names=[name])[name].modelled({}), "")


def test_placeholders_become_part_of_single_items(tmp_path: Path) -> None:
    command = load(tmp_path).command(
        {"mib": 7, "word": "two words; $(id) {seed}"}, duration_s=60.0, seed=3, directory="/d"
    )
    assert command == ("spin", "--mib=7", "--for", "60", "3", "/d/data", "two words; $(id) {seed}")


def test_preparations_are_filled_like_the_run(tmp_path: Path) -> None:
    workload = load(tmp_path, prepare=[["{dir}/make", "{data}"], ["fill", "{mib}"]], run=["spin", "{data}", "{word}"])
    data = workload.data({})
    assert workload.preparations({}, directory="/d") == (("/d/make", data), ("fill", "10"))
    assert workload.command({}, duration_s=1, seed=1, directory="/d")[1] == data


def test_other_preparations_are_made_in_another_folder(tmp_path: Path) -> None:
    workload = load(tmp_path, prepare=[["fill", "{mib}"]], run=["spin", "{word}"])
    assert workload.data({"mib": 7}) != workload.data({}) == workload.data({"mib": 10, "word": "other"})
    assert workload.data({}).startswith("/var/lib/ballast/spin-")


def test_the_room_it_takes_on_the_disk_follows_its_parameters(tmp_path: Path) -> None:
    assert load(tmp_path, disk_mib="{mib} + 30").taken_mib({"mib": 12}) == 42
    assert load(tmp_path).taken_mib({}) == 0


def test_parameters_left_out_have_their_defaults(tmp_path: Path) -> None:
    assert load(tmp_path).fill({"mib": 7}) == {"mib": 7, "word": "x"}


def test_the_memory_it_likes_follows_its_parameters(tmp_path: Path) -> None:
    assert load(tmp_path).wanted_mib({}) == 12.5
    assert load(tmp_path).wanted_mib({"mib": 20}) == 22.5
    assert load(tmp_path, likes_mib=3).wanted_mib({}) == 3
    twice = load(tmp_path, likes_mib="{mib} * 2 + 1.5")
    assert twice.wanted_mib({"mib": 10}) == 21.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run": ["spin", "{mib}", "{word}", "{mbi}"]}, "run: {mbi} is no parameter; did you mean mib?"),
        ({"run": []}, "run: is empty; give the command as a list"),
        ({"run": "spin {mib}"}, "run: must be a list, and is 'spin {mib}'"),
        ({"run": ["spin", "{mib}"]}, "parameters.word: is used nowhere; put it into run or remove it"),
        ({"prepare": [["wait", "{duration_s}"]]}, "prepare: {duration_s} is no parameter"),
        ({"likes_mib": "a lot"}, "likes_mib: must be a number or a sum"),
        ({"prepare": [["fill", "{seed}"]]}, "prepare: {seed} is no parameter"),
        ({"disk_mib": "much"}, "disk_mib: must be a number or a sum"),
        ({"likes_mib": "{mbi}"}, "likes_mib: {mbi} is no parameter; did you mean mib?"),
        ({"files": ["none.py"]}, "files[0]: there is no file none.py"),
        ({"files": ["../spin.yml"]}, "files[0]: there is no file ../spin.yml"),
        ({"name": "spun"}, "name: is spun in spin.yml; give both the same name"),
        (
            {
                "parameters": {
                    **GOOD["parameters"],
                    "mib": {"type": "int", "default": 0, "min": 1, "description": "size"},
                }
            },
            "parameters.mib.default: must be at least 1, and is 0",
        ),
        (
            {"parameters": {**GOOD["parameters"], "seed": {"type": "int", "default": 0, "description": "seed"}}},
            "parameters.seed: is given by the trial; choose another name",
        ),
        ({"metrics": [{"name": "n", "unit": "s", "better": "more"}]}, "metrics[0].better: input should be 'higher' or"),
        ({"metrics": [{"name": "n", "unit": "s", "better": "lower", "regex": "n (.) (.)"}]}, "regex: has 2 groups"),
        ({"metrics": [{"name": "n", "unit": "s", "better": "lower", "regex": "("}]}, "not a regular expression"),
        ({"metric": []}, "metric: unknown key; did you mean metrics?"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_remedy(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, **changes)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("int", 1.5, "must be a whole number, and is 1.5"),
        ("int", True, "must be a whole number, and is True"),
        ("float", float("nan"), "must be a number, and is nan"),
        ("bool", 1, "must be true or false, and is 1"),
        ("str", 1, "must be text, and is 1"),
        ("float", 1, None),
        ("str", "", None),
        ("bool", False, None),
    ],
)
def test_a_parameter_takes_only_values_of_its_type(kind: str, value: object, said: str | None) -> None:
    parameter = Parameter.model_validate({"type": kind, "default": None, "description": ""})
    assert parameter.fault(value) == said


def test_an_unknown_workload_brings_up_the_one_that_was_meant(tmp_path: Path) -> None:
    load(tmp_path)
    with pytest.raises(ConfigError, match=r"spn\.yml: no such workload; did you mean spin\?"):
        load_workloads(tmp_path, ["spn"])


@pytest.mark.parametrize(
    "said", ["9" * 400, "1e308", "1e400", "NaN", "Infinity", "-Infinity", "-0.5", "1e16", "1e-320"]
)
def test_a_number_that_cannot_be_fails_the_row_with_a_reason(said: str) -> None:
    with pytest.raises(ValueError, match="rate") as caught:
        metric().read(f'{{"rate": {said}}}')
    assert "ends with" in str(caught.value)
    with pytest.raises(ValueError, match="rate"):
        metric(regex="rate ([-0-9.eE+A-Za-z]+)").read(f"rate {said}")
    assert len(str(caught.value)) < 700


def metric(**fields: str) -> Metric:
    return Metric.model_validate({"name": "rate", "unit": "1/s", "better": "higher", **fields})


def test_a_number_is_read_from_the_last_json_line() -> None:
    output = '{"rate": 1}\nnoise\n{"rate": 2.5, "other": 3}\n[1]\nbye\n'
    assert metric().read(output) == 2.5
    assert metric(key="other").read(output) == 3


def test_a_number_is_read_from_the_last_match() -> None:
    assert metric(regex=r"^rate: ([\d.]+)/s$").read("rate: 1.0/s\nrate: 20.5/s\nend\n") == 20.5


@pytest.mark.parametrize(
    "output",
    ['{"rate": null}', '{"rate": true}', '{"rate": NaN}', '{"rate": "fast"}', '{"rate": [1]}', '{"r": 1}', "{"],
)
def test_an_output_without_the_number_is_refused_with_its_last_lines(output: str) -> None:
    with pytest.raises(ValueError, match="no number for rate in the output, which ends with: killed"):
        metric().read(f"1\n2\n{output}\nkilled\na\nb\nc\nd\n")


def test_an_empty_output_is_called_nothing_at_all() -> None:
    with pytest.raises(ValueError, match="nothing at all"):
        metric(regex="(x)").read("")
