"""What guests need before the trials, and the image of the lab that follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.experiment.config import Experiment
from harness.experiment.files import EXPERIMENTS, load_experiment, names
from harness.experiment.needs import disk_mib, library_of, needs
from harness.experiment.workloads import WORKLOAD_DIR, Workload, load_workloads
from harness.lab import shape
from harness.lab.image import PACKAGES
from harness.xen.describe import dpkg_packages

GUEST = {"min_mib": 160, "initial_mib": 200, "max_mib": 400}


def experiment(folder: Path, *guests: dict[str, Any], **changes: object) -> Experiment:
    named = [{"name": f"g{number}", **GUEST, **guest} for number, guest in enumerate(guests, start=1)]
    said = {"name": "small", "pool_mib": 2000, "guests": named, "policies": ["static"], "duration_s": 30, **changes}
    path = folder / "small.yml"
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return load_experiment(path)


def test_a_guest_needs_what_its_workload_says(tmp_path: Path) -> None:
    wanted = experiment(tmp_path, {"workload": "redis"}, {"workload": "pgbench", "with": {"scale": 3}})
    needed = needs(wanted, library_of(wanted))
    assert needed["g1"].packages == ("redis-server",)
    assert needed["g1"].preparations == ()
    (preparation,) = needed["g2"].preparations
    (command,) = preparation.commands
    assert command[2:] == (f"{WORKLOAD_DIR}/pgbench.py", "--prepare", f"--data={preparation.data}", "--scale=3")
    assert Path(preparation.stamp).parent == Path(preparation.data)


def test_a_guest_is_prepared_for_every_level(tmp_path: Path) -> None:
    levels = [{"at": scale, "guests": {"g1": {"with": {"scale": scale}}}} for scale in (1, 2)]
    wanted = experiment(tmp_path, {"workload": "pgbench"}, sweep={"name": "scale", "levels": levels})
    prepared = needs(wanted, library_of(wanted))["g1"].preparations
    assert [preparation.commands[0][-1] for preparation in prepared] == ["--scale=1", "--scale=2"]
    assert len({preparation.data for preparation in prepared}) == 2


def test_a_source_that_changes_is_prepared_anew(tmp_path: Path) -> None:
    wanted = experiment(tmp_path, {"workload": "warehouse"})
    library = library_of(wanted)
    stamps = []
    for text in ("one", "two"):
        for file in library["warehouse"].files:
            (tmp_path / file).write_text(text)
        (preparation,) = needs(wanted, library, tmp_path)["g1"].preparations
        stamps.append(preparation.stamp)
    assert stamps[0] != stamps[1]


def test_the_image_has_the_packages_and_the_preparations_of_all_guests(tmp_path: Path) -> None:
    wanted = experiment(tmp_path, {"workload": "pgbench"}, {"workload": "bank-h2"}, {"workload": "pgbench"})
    image = shape.of(wanted, library_of(wanted)).image
    assert {*image.packages} == {*PACKAGES, "postgresql", "default-jdk-headless", "libh2-java"}
    assert [Path(preparation.data).name.split("-")[0] for preparation in image.preparations] == ["pgbench", "bank"]


def test_experiments_with_the_same_programs_share_an_image(tmp_path: Path) -> None:
    images = [
        shape.of(wanted, library_of(wanted)).image.key()
        for guests in ([{"workload": "redis"}, {"workload": "apache"}], [{"workload": "apache"}, {"workload": "redis"}])
        for wanted in [experiment(tmp_path, *guests, pool_mib=1000 + len(guests))]
    ]
    assert images[0] == images[1]


def test_the_disk_follows_what_the_workloads_take(tmp_path: Path) -> None:
    small = experiment(tmp_path, {"workload": "mono"})
    large = experiment(tmp_path, {"workload": "file-scan", "with": {"files_mib": 3000}})
    assert disk_mib(small, library_of(small)) == 0
    sizes = [shape.of(wanted, library_of(wanted)).image.size_mib for wanted in (small, large)]
    assert sizes == [shape.SYSTEM_MIB, shape.SYSTEM_MIB + 4 * shape.STEP_MIB]


@pytest.mark.parametrize("workload", load_workloads().values(), ids=lambda workload: workload.name)
def test_only_files_that_a_workload_brings_are_run_by_it(workload: Workload) -> None:
    commands = [workload.run, *workload.prepare]
    used = {item.removeprefix("{dir}/") for argv in commands for item in argv if item.startswith("{dir}/")}
    assert used <= {*workload.files}
    for file in (file for file in workload.files if file.endswith(".py")):
        imported = {
            word
            for word in (tmp.stem for tmp in Path("workloads").glob("*.py"))
            if f"from {word} import" in source(file)
        }
        assert {f"{module}.py" for module in imported} <= {*workload.files}, file


def source(file: str) -> str:
    return (Path("workloads") / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.rglob("*.yml")), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_experiment_that_we_ship_names_its_claim_and_finds_what_it_needs(path: Path) -> None:
    wanted = load_experiment(path)
    assert wanted.claim
    assert needs(wanted, library_of(wanted)).keys() == {guest.name for guest in wanted.envelope().guests}


SIMULATED = ("e09-cache", "e09-hog", "e09-leak", "e09-night", "e09-ten", "e16-ablation", "e16-two-state")
"""What guests may have at most is more than a small machine has; their command is `ballast simulate`."""
IN_THE_LAB = [
    name
    for name in names()
    if name not in SIMULATED and len(load_experiment(name).envelope().guests) <= shape.MOST_GUESTS
]


@pytest.mark.parametrize("name", IN_THE_LAB)
def test_an_experiment_that_the_lab_has_room_for_fits_into_a_small_machine(name: str) -> None:
    wanted = load_experiment(name)
    # The first has every program and its files at once, the second four guests of up to 1000 MiB and a scan's files.
    room_mib = {"programs": 8704, "e09-on-xen-night": 7296}.get(name, 6656)
    assert shape.of(wanted, library_of(wanted)).taken_mib <= room_mib


def test_versions_are_read_with_what_a_package_stands_for() -> None:
    lines = ["postgresql\t15+248\tpostgresql-15", "apache2-bin\t2.4\tlibc6 (>= 2.36), perl:any | awk", "gone\t\t"]
    assert dpkg_packages(lines) == {
        "postgresql": ("15+248", ("postgresql-15",)),
        "apache2-bin": ("2.4", ("libc6", "perl", "awk")),
    }
