"""What the README shows is there: commands with their options, files, figures, and the numbers of the experiment."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli import app
from harness.experiment.files import load_experiment

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text()
SHOWN = re.findall(r"`ballast ([a-z|]+)([^`]*)`", README)


@pytest.mark.parametrize(("command", "rest"), SHOWN)
def test_a_command_that_the_readme_shows_has_the_options_that_it_shows(command: str, rest: str) -> None:
    parts = [["lab", word] for word in re.findall(r"[a-z]+", rest)] if command == "lab" else [[command]]
    for words in parts:
        told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
        assert told.exit_code == 0, words
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in told.output, (words, option)


def test_every_file_that_the_readme_links_or_names_is_there() -> None:
    linked = re.findall(r"\]\(([^)#]+)\)", README)
    named = re.findall(r"`((?:scripts|inventory|harness|experiments|docs)/[a-z0-9_./-]+)`", README)
    assert len(linked) > 5
    assert len(named) > 3
    missing = [path for path in (*linked, *named) if not (PROJECT / path).exists()]
    assert missing == []


def test_the_readme_tells_the_quick_experiment_as_it_is() -> None:
    quick = load_experiment("quick")
    assert f"share {quick.pool_mib:,} MiB" in README
    assert f"grows to {quick.guests[0].parameters['high_mib']} MiB" in README
    assert f"claimed {quick.guests[2].parameters['committed_mib']} MiB" in README
    trials = quick.repetitions * (len(quick.policies) + quick.repeat_baseline)
    assert {6: "six"}[trials] + " trials: two policies, two blocks" in README
