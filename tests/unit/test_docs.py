"""The pages of docs/ say what the code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any, get_args

import pytest

from docs import figures
from harness.experiment.config import Figure
from harness.experiment.files import load_experiment, names
from harness.experiment.manifest import manifest
from harness.experiment.plan import plan
from harness.records import EVENT_COLUMNS, REPLAY_COLUMNS, SAMPLE_COLUMNS, STATUSES, TRIAL_COLUMNS
from harness.view import COLUMNS, CURVES, HOST_FIELDS, HostView
from harness.xen import facts
from reports import tables_of
from reports.findings import Findings
from reports.special import KINDS, asked
from reports.study import studies
from tests.unit import synthetic_run as synthetic

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
SCRIPTS = [path for path in sorted(DOCS.glob("*.py")) if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def test_every_statement_of_the_theory_has_a_test_and_every_test_a_statement() -> None:
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "tests/unit").glob("test_theory*.py")]
    tested = {int(number) for source in sources for number in re.findall(r"def test_t(\d+)_", source)}
    stated = {int(number) for number in re.findall(r"\*\*T(\d+)\.?\*\*", page("theory.md"))}
    assert stated == tested == set(range(1, max(stated) + 1))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_that_is_asked_for_help_or_for_what_it_has_not_changes_nothing(path: Path) -> None:
    for option, status in (("--help", 0), ("--nonsense", 2)):
        done = subprocess.run([sys.executable, path, option], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert f"usage: {path.name}" in done.stdout + done.stderr
        assert f"docs/{path.name}" in done.stdout or status


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_and_every_path_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    paths = re.findall(
        r"`((?:harness|reports|tests|docs|roles|playbooks|workloads|experiments|scripts|inventory)/[\w./-]+)`", text
    )
    missing += [named for named in paths if not (PROJECT / named).exists()]
    assert not missing


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_figure_is_drawn_by_the_code_byte_for_byte(path: Path, tmp_path: Path) -> None:
    shown = re.findall(r"figures/([\w-]+)\.svg", path.read_text(encoding="utf-8"))
    assert set(shown) <= set(figures.FIGURES)
    if shown:
        figures.draw(tmp_path)
        for name in figures.FIGURES:
            drawn, kept = ((folder / f"{name}.svg").read_bytes() for folder in (tmp_path, figures.FOLDER))
            assert drawn == kept, f"{name}.svg is not what the code draws: .venv/bin/python docs/figures.py"


def section(name: str, title: str) -> str:
    """The text under a heading of a page."""
    match = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page(name), re.M | re.S)
    assert match is not None
    return match[1]


def table(text: str, head: str) -> list[list[str]]:
    """The rows of the first table whose first column has this head, without backticks."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {head} |"))
    body = takewhile(lambda line: line.startswith("|"), lines[start + 2 :])
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in body]


@pytest.mark.parametrize(
    ("file", "head", "columns"),
    [
        ("trials.csv", "column", TRIAL_COLUMNS),
        ("samples.csv", "column", SAMPLE_COLUMNS),
        ("replay.csv", "column", REPLAY_COLUMNS),
        ("events.jsonl", "key", EVENT_COLUMNS),
    ],
)
def test_the_columns_of_a_file_and_their_types_are_those_of_the_records(
    file: str, head: str, columns: Mapping[str, str]
) -> None:
    said = [
        (name, {"text": "str"}.get(kind, kind)) for name, kind, *_ in table(section("results.md", f"`{file}`"), head)
    ]
    assert said == list(columns.items())


@pytest.mark.parametrize("file", ["trials.csv", "samples.csv", "replay.csv"])
def test_a_columns_unit_is_the_one_in_its_name(file: str) -> None:
    endings = {"_kib": "KiB", "_mib": "MiB", "_kib_s": "KiB/s", "_faults_s": "1/s", "_s": "s"}
    for name, _, unit, _ in table(section("results.md", f"`{file}`"), "column"):
        ending = max((ending for ending in endings if name.endswith(ending)), key=len, default="")
        assert unit == endings.get(ending, unit), name


def test_every_status_is_explained() -> None:
    (status,) = (row[3] for row in table(section("results.md", "`trials.csv`"), "column") if row[0] == "status")
    assert re.findall(r"`(\w+)`", f"`{status}`") == list(STATUSES)


def test_the_keys_of_a_decision_are_those_that_are_written(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1, shadows=["equal"]).path
    line = json.loads((path / "decisions.jsonl").read_text().splitlines()[0])
    written = [
        f"{key}.{inner}" if key in ("decision", "plan", "outcome", "timing") else key
        for key, value in line.items()
        for inner in (value if key in ("decision", "plan", "outcome", "timing") else [""])
    ]
    of_several_hosts = ["host"]
    told = [row[0] for row in table(section("results.md", "`decisions.jsonl`"), "key")]
    assert [key for key in told if key not in of_several_hosts] == written
    assert set(of_several_hosts) <= set(told)


def test_every_event_that_the_code_can_write_is_on_the_page() -> None:
    told = re.compile(r'(?:\.event|_tell|_events|\btell)\(\s*"(\w+)"')
    sources = [path.read_text(encoding="utf-8") for path in (PROJECT / "harness").rglob("*.py")]
    events = {event for source in sources for event in told.findall(source)}
    assert {row[0] for row in table(section("results.md", "`events.jsonl`"), "event")} == events


def test_the_keys_of_the_manifest_are_those_that_are_written() -> None:
    quick = load_experiment("quick")
    written = manifest("r1", quick, plan(quick), "xen", {})
    said = {row[0]: row[1] for row in table(section("results.md", "`manifest.json`"), "key")}
    assert set(said) == {*written, "repeated", "started_utc", "finished_utc", "files"}
    for key in ("git", "host"):
        assert re.findall(r"`(\w+)`", f"`{said[key]}`") == list(written[key])


def test_the_keys_of_the_view_are_those_that_are_read() -> None:
    said = [row[0] for row in table(section("results.md", "The view"), "key")]
    assert said == ["time_s", *(f"host.{key}" for key in HOST_FIELDS), "name", *COLUMNS, *CURVES]


def test_the_view_on_the_page_can_be_decided_on() -> None:
    text = re.search(r"```json\n(.*?)```", section("results.md", "The view"), re.S)
    assert text is not None
    view = HostView.from_json(json.loads(text[1]))
    assert view.names == ("g1",)
    assert all(len(curve) for curves in (view.page_ages, view.ghost_returns) for curve in curves if curve)


def test_what_the_sampler_tells_is_what_is_read_of_its_line() -> None:
    said = table(section("signals.md", "What the sampler tells without being asked"), "on the line")
    keys = [key for cells in said for key in re.findall(r"\w+(?=`)", f"{cells[0]}`")]
    assert sorted(keys) == sorted(key.decode() for key in (*facts._PLAIN, *facts._COUNTERS, *facts._EXTRAS))
    columns = [column for cells in said[-3:] for column in re.findall(r"\w+_kib", cells[2])]
    assert columns == [column for column, _ in facts._EXTRAS.values()]


@pytest.mark.parametrize("row", table(section("design.md", "Governor"), "constant"), ids=lambda row: row[0])
def test_a_constant_on_the_design_page_has_its_value_in_the_code(row: list[str]) -> None:
    name, value, module = row
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found() if isinstance(found, type) else found, part)
    assert str(found) == value


def test_every_room_of_the_harness_is_on_the_design_page() -> None:
    named = set(re.findall(r"`([\w./]+)`", section("design.md", "Rooms")))
    rooms = {f"{path.parent.name}/" for path in (PROJECT / "harness").glob("*/__init__.py")}
    assert rooms <= named


def test_the_page_of_experiments_has_every_experiment_with_its_claim_and_figure() -> None:
    rows = {row[0]: row for row in table(page("experiments.md"), "experiment")}
    assert set(rows) == set(names())
    for name, row in rows.items():
        experiment = load_experiment(name)
        assert row[1] == experiment.claim
        assert re.findall(r"[\w-]{3,}", row[2]) == list(experiment.figures)
        assert row[3].startswith(("ballast simulate ", "scripts/run-experiment", "ansible-playbook playbooks/"))
    figures_told = [row[0] for row in table(page("experiments.md"), "figure")]
    assert figures_told == sorted(figures_told, key=list(get_args(Figure)).index)
    assert set(figures_told) == set(get_args(Figure)) == set(KINDS)


def test_every_promise_of_the_security_page_names_a_test_that_there_is() -> None:
    page = (PROJECT / "SECURITY.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+\.py)`", page))
    assert named
    assert not {name for name in named if not (PROJECT / "tests" / "unit" / name).is_file()}


def test_every_column_of_every_table_of_a_report_is_defined(tmp_path: Path) -> None:
    setting = dict(synthetic.manifest()["experiment"])  # type: ignore[call-overload]
    sweep = {"name": "load", "levels": [{"at": 1}, {"at": 2}]}
    policies = ["static", {"name": "two-state", "label": "two-state", "tax": 0.5, "hysteresis": 0.1}]
    paths = [
        synthetic.write_run(
            tmp_path / name, run=name, backend=backend, blocks=1, levels={1: 1.0, 2: 1.0}, shadows=["equal"],
            gains={"static": (1, 1), "two-state": (2, 1), "unconstrained": (4, 4), "oracle": (3, 3)},
            repeats=[(1.01, 1.0)] if backend == "xen" else (), stalls=dict.fromkeys(("static", "oracle"), 3.0),
            experiment=setting
            | {"sweep": sweep, "policies": policies, "figures": sorted(KINDS), "judged_by": [{"guests": ["g1"]}]},
        ).path
        for name, backend in (("a", "xen"), ("b", "simulator"))
    ]  # fmt: skip
    found = [Findings.of(study) for study in studies(paths)]
    frames = tables_of(found, [asked(one) for one in found])
    tables = re.findall(r"(?ms)^\| (?:column|table) \|.*?\n\n", page("results.md"))
    said = set(re.findall(r"`([\w-]+)`", "".join(tables)))
    said |= {f"{end}_{where}" for end in ("low", "high", "n") for where in ("measured", "simulated")}
    written = {(name, column) for name, parts in frames.items() for frame in parts for column in frame.columns}
    assert {name for name, _ in written} >= {
        "overall",
        "claims",
        "shadows",
        "repeatability",
        "agreement",
        "ranking",
        "pareto",
    }
    assert sorted((name, column) for name, column in written if column not in said) == []
