"""docs/workloads.md: what it lists is what there is, and its example is a workload as it stands on the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.experiment.workloads import GIVEN, WORKLOADS, Workload, load_workload, load_workloads
from harness.simulator.loads import load_of

PAGE = (Path(__file__).parents[2] / "docs" / "workloads.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_every_workload_is_on_the_page_and_every_one_of_the_page_there() -> None:
    named = [name for cells in rows("What there is") for name in re.findall(r"`([^`]+)`", cells[0])]
    assert sorted(named) == sorted(load_workloads())


def test_the_keys_of_the_file_are_those_that_are_read() -> None:
    named = {name for cells in rows("The file") for name in re.findall(r"`([^`]+)`", cells[0])}
    assert named == {*Workload.model_fields}


def test_every_placeholder_that_a_run_may_use_is_on_the_page() -> None:
    (run,) = (cells[1] for cells in rows("The file") if cells[0] == "`run`")
    assert {*re.findall(r"`\{(\w+)\}`", run)} - {"parameter"} == {*GIVEN}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """The two files of the example, as they stand on the page, beside what they import."""
    for language, name in (("yaml", "lookup.yml"), ("python", "lookup.py")):
        (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copy(WORKLOADS / "touching.py", tmp_path)
    return tmp_path


def test_the_example_measures_what_its_file_promises(folder: Path) -> None:
    workload = load_workload(folder / "lookup.yml")
    command = workload.command({"mib": 1}, duration_s=0.5, seed=1, directory=str(folder))
    done = subprocess.run([sys.executable, *command[1:]], input="go\n", capture_output=True, text=True, check=True)
    ready, result = done.stdout.splitlines()
    assert ready == "ready"
    assert [metric.read(done.stdout) for metric in workload.metrics] == [json.loads(result)["lookups_per_s"]]
    load_of(workload.modelled({}), "")


def test_the_example_says_why_when_it_has_nothing_to_report(folder: Path) -> None:
    command = load_workload(folder / "lookup.yml").command({}, duration_s=0, seed=1, directory=str(folder))
    done = subprocess.run([sys.executable, *command[1:]], input="go\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "failed: not one word was looked up in time\n")


def test_the_example_keeps_to_the_rules_of_the_project(folder: Path) -> None:
    rules = f"--config={Path(__file__).parents[2] / 'pyproject.toml'}"
    for check in (["format", "--check"], ["check", "--ignore=T20"]):  # T20: a workload prints
        subprocess.run([sys.executable, "-m", "ruff", *check, rules, str(folder / "lookup.py")], check=True)
