"""A report answers from the files of a run alone; winners and losers are said in words that the data hold."""

from __future__ import annotations

import ast
import csv
import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import reports
from harness.records import RecordsError, TrialRow, TrialWriter
from reports import content, figures, fonts, html, names, shadows, style, summary, tables, timeline, typeset, words
from reports.document import Contents, Document, Heading, Paragraph, Picture, Table
from reports.findings import Findings
from reports.special import asked
from reports.study import ReportError, Study, studies
from tests.unit import synthetic_run as synthetic


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight blocks in which g1 fails once under `proportional`."""
    path = tmp_path_factory.mktemp("results") / "run"
    synthetic.write_run(
        path, ticks=12, fails=lambda block, label: "g1" if (block, label) == (3, "proportional") else ""
    )
    return path


@pytest.fixture(scope="module")
def built(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reports.build([run], out=tmp_path_factory.mktemp("report")).parent


def study_of(path: Path, baseline: str = "static") -> Study:
    (found,) = studies([path], baseline)
    return found


def report_of(*paths: Path, baseline: str = "static") -> Document:
    found = [Findings.of(study) for study in studies(paths, baseline)]
    return content.document(found, [asked(one) for one in found])


def said(document: Document) -> dict[str, str]:
    return {block.lead: block.text for block in document.blocks if isinstance(block, Paragraph) and block.lead}


def table(document: Document, name: str) -> Table:
    return next(block for block in document.blocks if isinstance(block, Table) and block.name.startswith(name))


def written(path: Path, gains: Mapping[str, tuple[float, float]], **changes: object) -> Document:
    return report_of(synthetic.write_run(path, gains=gains, **changes).path)  # type: ignore[arg-type]


def test_a_report_is_made_of_pdf_html_tables_and_vector_figures(built: Path) -> None:
    assert (built / "report.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name for path in (built / "tables").iterdir()} >= {"speedup.csv", "counters.csv", "macros.tex"}
    names = {path.stem for path in (built / "figures").iterdir()}
    for kind in ("overall", "per-block", "timeline"):
        name = next(name for name in names if name.startswith(kind))
        assert (built / "figures" / f"{name}.pdf").stat().st_size > 1000
        assert (built / "figures" / f"{name}.png").stat().st_size > 1000


def test_without_a_folder_the_report_goes_into_the_run(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1).path
    assert reports.build([path]) == path / "report.pdf"


def test_the_same_run_gives_the_same_bytes(run: Path, built: Path, tmp_path: Path) -> None:
    again = reports.build([run], out=tmp_path / "again").parent
    files = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
    assert [path for path in files if digest(built / path) != digest(again / path)] == []


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_run_itself_is_not_changed_by_a_report(run: Path, built: Path) -> None:
    assert built.exists()
    assert study_of(run).runs[0].changed_files == {}


def test_page_one_names_winners_and_losers_with_interval_and_n(run: Path) -> None:
    answers = said(report_of(run))
    assert re.search(
        rf"Better than static: two-state 1\.4\d{words.TIMES} \[1\.\d+, 1\.\d+\] \(n = 8\)", answers["Who won."]
    )
    assert re.search(
        rf"worse than static: proportional 0\.8\d{words.TIMES} \[0\.\d+, 0\.\d+\] \(n = 7\)", answers["Who lost."]
    )
    assert re.search(rf"g1 \(mono\) under proportional 0\.7\d{words.TIMES}", answers["Who lost."])
    assert "two-state" not in answers["Who lost."], "0.96 with an interval around 1 is no loss"
    assert answers["What failed."].startswith("1 of 24 trials: proportional 1.")


def test_turning_the_data_round_turns_the_verdict_round(tmp_path: Path) -> None:
    document = written(tmp_path / "run", {"static": (1.0, 1.0), "two-state": (0.5, 0.9), "proportional": (3.0, 1.5)})
    answers = said(document)
    assert "Better than static: proportional" in answers["Who won."]
    assert "worse than static: two-state" in answers["Who lost."]
    assert answers["What failed."] == "None of 24 trials."


def test_no_difference_is_not_called_a_win(tmp_path: Path) -> None:
    answers = said(written(tmp_path / "run", {"static": (1.0, 1.0), "equal": (1.0, 1.0)}, seed=2))
    assert answers["Who won."].count("No policy is shown to be better. No difference from static shown: equal") == 1
    assert answers["Who lost."] == "No single guest is shown to be worse."


def test_fewer_than_six_blocks_are_an_observation_however_clear(tmp_path: Path) -> None:
    document = written(tmp_path / "run", {"static": (1.0, 1.0), "two-state": (9.0, 9.0)}, blocks=5)
    assert "No policy is shown to be better. Observed only" in said(document)["Who won."]
    assert "(n = 5, an observation)" in said(document)["Who won."]
    assert {row[-1] for row in table(document, "speedup").rows} == {"observation"}


def test_a_lower_time_is_a_speed_up(run: Path) -> None:
    rows = summary.speedups(study_of(run)).set_index(["label", "guest"])
    assert rows.loc[("proportional", "g2"), "better"] == "lower"
    assert rows.loc[("proportional", "g2"), "low"] > 1


def test_speed_ups_are_paired_by_block_so_that_a_slow_block_does_not_count(tmp_path: Path) -> None:
    study = study_of(
        synthetic.write_run(tmp_path / "run", gains={"static": (1, 1), "two-state": (2, 1)}, unsteady=0.5).path
    )
    raw = study.pairs.query("guest == 'g1' and label == 'two-state'")
    assert raw["value"].std() / raw["value"].mean() > 3 * raw["speedup"].std() / raw["speedup"].mean()
    np.testing.assert_allclose(raw["speedup"], raw["value"] / raw["base"])


def test_an_idle_guest_has_a_timeline_but_no_speed_up(run: Path) -> None:
    study = study_of(run)
    assert study.guests == ("g1", "g2", "g3")
    assert study.headline("g3") is None
    assert set(summary.speedups(study)["guest"]) == {"g1", "g2"}
    assert set(summary.counters(study, by_guest=True)["guest"]) == {"g1", "g2", "g3"}


def test_a_block_with_a_failed_guest_has_no_mean_over_the_survivors(run: Path) -> None:
    blocks = summary.per_block(study_of(run)).set_index(["place", "label"])
    assert np.isnan(blocks.loc[("r1/3", "proportional"), "geometric_mean"])
    assert blocks.loc[("r1/3", "two-state"), "geometric_mean"] > 1


def test_a_failed_trial_is_listed_with_its_reason(run: Path, built: Path) -> None:
    (row,) = table(report_of(run), "failures").rows
    assert [row[index] for index in (1, 3, 4, 5)] == ["3", "proportional", "g1", "oom"]
    assert "Out of memory, 50% of $x_1$" in row[-1]
    (line,) = csv.DictReader((built / "tables" / "failures.csv").read_text().splitlines(keepends=True))
    assert line["reason"] == "killed by the kernel:\nOut of memory, 50% of $x_1$"


def test_when_every_trial_of_a_policy_fails_it_is_said_and_still_reported(tmp_path: Path) -> None:
    gains = {"static": (1.0, 1.0), "two-state": (2.0, 1.0)}
    document = written(tmp_path / "run", gains, fails=lambda _, label: "g1" if label == "two-state" else "")
    assert "no block has a value under static and under another policy" in said(document)["Who won."]
    assert "8 of 16 trials: two-state 8." in said(document)["What failed."]
    reports.build([tmp_path / "run"])


def test_work_that_stopped_is_worse_and_can_be_drawn(tmp_path: Path) -> None:
    document = written(tmp_path / "run", {"static": (1.0, 1.0), "two-state": (0.0, 1.0)})
    assert f"g1 (mono) under two-state 0.00{words.TIMES}" in said(document)["Who lost."]
    with style.applied():
        for block in document.blocks:
            if isinstance(block, Picture):
                block.figure().canvas.draw()


def test_counters_that_nobody_could_read_are_unknown_not_zero(run: Path) -> None:
    counters = summary.counters(study_of(run), by_guest=False)
    assert counters["stall_full_s"].isna().all()
    assert counters["balloon_moved_mib"].tolist() == [3 * 12.5] * 3
    assert counters["swapped_in_mib"].tolist() == [3 * 2.0] * 3


def test_what_was_allocated_is_the_mean_over_the_samples_of_a_trial_and_unknown_without(run: Path) -> None:
    study = study_of(run)
    samples = study.runs[0].samples
    given = samples.groupby(["block", "label", "guest"])["current_kib"].mean() / 1024
    by_guest = summary.counters(study, by_guest=True).set_index(["label", "guest"])["allocated_mib"]
    np.testing.assert_allclose(by_guest, given.groupby(["label", "guest"]).median()[by_guest.index])
    summed = given.groupby(["block", "label"]).sum().groupby("label").median()
    together = summary.counters(study, by_guest=False).set_index("label")["allocated_mib"]
    np.testing.assert_allclose(together, summed[together.index])
    assert together.gt(0).all()
    without = replace(study, runs=[replace(study.runs[0], samples=samples[samples["guest"] != "g1"])])
    assert summary.counters(without, by_guest=False)["allocated_mib"].isna().all(), "not a sum over who is left"
    assert summary.counters(without, by_guest=True).set_index("guest")["allocated_mib"].isna().sum() == len(together)


def test_the_representative_block_has_no_failure(run: Path) -> None:
    assert summary.representative(study_of(run)) != "r1/3"


def test_the_timeline_shows_what_a_guest_used_and_swapped(run: Path) -> None:
    rows = study_of(run).samples("r1/1", "static").query("guest == 'g1'")
    demand = 150 + 200 * np.sin(np.arange(12) / 30 * np.pi) ** 2
    np.testing.assert_allclose(timeline.used_mib(rows) + timeline.swapped_mib(rows), demand, atol=0.01)


def test_another_baseline_turns_the_speed_ups_over(run: Path) -> None:
    over = summary.speedups(study_of(run, "two-state")).set_index(["label", "guest"])
    assert 0.45 < over.loc[("static", "g1"), "speedup"] < 0.55


def test_a_baseline_that_no_run_has_is_an_error_that_names_the_others(run: Path) -> None:
    with pytest.raises(ReportError, match="choose one of: proportional, static, two-state"):
        reports.build([run], baseline="statics")


def test_a_run_without_the_usual_baseline_is_reported_without_comparison(tmp_path: Path) -> None:
    document = written(tmp_path / "run", {"two-state": (1.0, 1.0), "equal": (1.0, 1.0)}, blocks=2)
    assert said(document)["Who won."].startswith("Nothing is compared")
    assert reports.build([tmp_path / "run"]).exists()


def test_measured_and_simulated_runs_are_never_put_together(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "a", blocks=2, run="a").path
    second = synthetic.write_run(tmp_path / "b", blocks=2, run="b", backend="xen").path
    assert [study.backend for study in studies([first, second], "static")] == ["simulator", "xen"]
    assert [row[1] for row in table(report_of(first, second), "overview").rows] == ["simulator", "xen"]
    pdf_path = reports.build([first, second], out=tmp_path / "both")
    with (pdf_path.parent / "tables" / "speedup.csv").open() as file:
        assert {row["backend"] for row in csv.DictReader(file)} == {"simulator", "xen"}


def test_page_one_of_several_experiments_has_their_ranking_their_figure_and_contents(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "a", blocks=2, run="a").path
    second = synthetic.write_run(tmp_path / "b", blocks=2, run="b", backend="xen").path
    blocks = list(report_of(first, second).blocks)
    page = blocks[: next(at for at, block in enumerate(blocks) if isinstance(block, Contents))]
    assert [block.name for block in page if isinstance(block, Table | Picture)] == ["standing", "overview", "overview"]
    leads = [block.lead for block in page if isinstance(block, Paragraph) and block.lead]
    asked = ["Where it lost.", "What it cost."]
    assert leads[:8] == [
        "Who won (simulator).", *asked, "Who won (measured on Xen).", *asked, "What others report.", "Repeatability.",
    ], "who won by how much, where it lost, what it cost, what others report, how well it repeats"  # fmt: skip
    ways = [block for block in blocks if isinstance(block, Paragraph) and block.text.startswith("A speed-up is")]
    assert len(ways) == 1, "how to read it stands once"


def test_one_value_near_zero_does_not_stretch_an_axis_over_decades() -> None:
    low, high = figures.ratio_axis(Figure().subplots(), "x", [1e-16, 0.0, 0.9, 1.2, math.inf])
    assert 1 / (2 * figures.FARTHEST) < low < 1 < high < 3
    assert figures.edge(1e-16, "o", (low, high)) == "<"
    assert figures.edge(0.9, "o", (low, high)) == "o"


def test_two_runs_of_one_experiment_are_one_study_with_all_their_blocks(tmp_path: Path) -> None:
    paths = [synthetic.write_run(tmp_path / name, blocks=3, run=name, seed=ord(name)).path for name in "ab"]
    (study,) = studies(paths, "static")
    assert study.blocks == 6
    assert set(summary.overall(study)["n"]) == {6}
    with pytest.raises(ReportError, match="given twice"):
        studies([paths[0], paths[0]], "static")


def test_a_run_without_an_ended_trial_says_what_to_do(tmp_path: Path) -> None:
    synthetic.write_run(tmp_path / "run", blocks=0)
    with pytest.raises(ReportError, match="resume the run"):
        reports.build([tmp_path / "run"])
    with pytest.raises(RecordsError, match=r"manifest.json is missing"):
        reports.build([tmp_path])


def test_shadows_are_reported_by_how_far_they_lay_from_the_acting_policy(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=2, ticks=3, shadows=["equal", "static"]).path
    found = shadows.distances(study_of(path)).set_index(["label", "shadow", "guest"])
    assert len(found) == 3 * 2 * 3
    assert set(found["ticks"]) == {2 * 3}
    # All start with 250 MiB of a pool of 750 MiB and what is free: static keeps that, equal gives out what is free too.
    free_mib = (100_000 - 65_536) / 1024
    assert found.loc[("static", "equal (shadow)", "g1"), "median_difference_mib"] == pytest.approx(
        free_mib / 3, abs=0.01
    )
    assert found.loc[("static", "static (shadow)", "g3"), "median_difference_mib"] == 0
    built = reports.build([path])
    assert "What the shadows wanted" in (built.parent / "report.html").read_text()
    assert len(list(csv.DictReader((built.parent / "tables" / "shadows.csv").read_text().splitlines()))) == 18


def test_a_run_without_shadows_has_no_section_about_them(run: Path, built: Path) -> None:
    assert not (built / "tables" / "shadows.csv").exists()
    assert "shadow" not in page_of(built)


def test_runs_with_and_without_shadows_are_one_study_since_a_shadow_changes_nothing(tmp_path: Path) -> None:
    first = synthetic.write_run(tmp_path / "a", blocks=1, run="a", shadows=["equal"]).path
    second = synthetic.write_run(tmp_path / "b", blocks=1, run="b").path
    (study,) = studies([first, second], "static")
    assert set(shadows.distances(study)["ticks"]) == {4}


def page_of(folder: Path) -> str:
    """The page in HTML, without the library that draws its charts."""
    return re.sub(r"(?s)<script>/\*\*\n\* plotly.*?</script>", "", (folder / "report.html").read_text())


HOSTILE = {"static": (1.0, 1.0), "<script>alert(1)</script>": (1.1, 1.0), r"50% $x^2$ \input{a} & b_c": (1.2, 1.0)}


def test_names_are_data_in_html_latex_and_pdf(tmp_path: Path) -> None:
    folder = reports.build([synthetic.write_run(tmp_path / "run", blocks=1, gains=HOSTILE).path]).parent
    page = page_of(folder)
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    latex = next((folder / "tables").glob("speedup-*.tex")).read_text()
    assert r"50\% \$x\textasciicircum{}2\$ \textbackslash{}input\{a\} \& b\_c" in latex


def test_the_html_needs_nothing_from_outside(built: Path) -> None:
    page = page_of(built)
    assert len(page) < 2_000_000
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert sources
    assert all(source.startswith(("data:", "#")) for source in sources)


@pytest.mark.parametrize(
    ("name", "macro"),
    [
        ("two-state", "TwoState"),
        ("tax 0.5", "TaxZeroPointFive"),
        ("g1", "GOne"),
        ("a_b", "AB"),
        ("selfBalloon", "SelfBalloon"),
        ("économe", "Econome"),
        ("价格", names.letters("价格")),
        ("价格 0.5", f"ZeroPointFive{names.letters('价格 0.5')}"),
        ("weight 0.6 smoothing 180 s", f"WeightZeroPointSixSmooth{names.letters('weight 0.6 smoothing 180 s')}"),
    ],
)
def test_a_macro_is_named_with_letters_only(name: str, macro: str) -> None:
    assert names.camel(name) == macro
    assert len(macro) <= names.NAME


def test_letters_stand_for_a_text_for_ever() -> None:
    assert names.letters("") == "Juhr"
    assert len({names.letters(str(number)) for number in range(100)}) == 100


def test_the_macros_hold_the_numbers_of_the_table(run: Path, built: Path) -> None:
    row, end = summary.overall(study_of(run)).set_index("label").loc["two-state"], study_of(run).letters
    macros = (built / "tables" / "macros.tex").read_text()
    assert rf"\newcommand{{\BallastSpeedupTwoStateQuickSimulator{end}}}{{{row['speedup']:.2f}}}" in macros
    assert rf"\newcommand{{\BallastSpeedupTwoStateLowQuickSimulator{end}}}{{{row['low']:.2f}}}" in macros
    assert rf"\newcommand{{\BallastSpeedupTwoStateNQuickSimulator{end}}}{{8}}" in macros
    assert rf"{{\BallastSpeedupTwoStateGOne}}{{\BallastSpeedupTwoStateGOneQuickSimulator{end}}}" in macros


def macros_of(paths: list[Path], folder: Path, baseline: str | None = None) -> dict[str, str]:
    """Every macro of a report by its name, the shorter ones resolved."""
    found = [Findings.of(study) for study in studies(paths, baseline)]
    tables.write_macros([(one.study, one.overall, one.guests) for one in found], folder)
    said = re.findall(r"\\newcommand\{\\(\w+)\}\{(.*)\}", (folder / "macros.tex").read_text())
    every = dict(said)
    assert len(every) == len(said), "TeX refuses a name that is defined twice"
    return {name: every.get(value.removeprefix("\\"), value) for name, value in said}


def test_a_macro_has_one_name_and_one_meaning_whatever_it_is_reported_with(tmp_path: Path) -> None:
    def written(name: str, gain: float, **changes: Any) -> Path:  # noqa: ANN401 - what write_run takes
        gains = {"static": (1, 1), "two-state": (gain, gain)}
        return synthetic.write_run(tmp_path / name, run=name, blocks=1, steady=True, gains=gains, **changes).path

    setting: Any = synthetic.manifest()["experiment"]
    one, xen = written("a", 1.3), written("b", 1.4, backend="xen")
    more = [written(f"m{pool}", pool / 1000, experiment=setting | {"pool_mib": pool}) for pool in (1500, 1600, 1700)]
    alone = macros_of([one], tmp_path / "1")
    (whole,) = (name for name in alone if re.fullmatch(r"BallastSpeedupTwoStateQuickSimulator[A-Z][a-z]{3}", name))
    assert alone[whole] == alone["BallastSpeedupTwoState"] == alone["BallastSpeedupTwoStateQuickSimulator"] == "1.30"
    beside = macros_of([one, xen], tmp_path / "2")
    assert beside[whole] == beside["BallastSpeedupTwoStateQuickSimulator"] == "1.30"
    assert "BallastSpeedupTwoState" not in beside, "of which of the two?"
    for number in (1, 2, 3):
        others = macros_of([one, *more[:number]], tmp_path / f"more{number}")
        assert "BallastSpeedupTwoStateQuickSimulator" not in others, "of which of the setups?"
        assert others[whole] == "1.30"
        by_itself = macros_of([more[number - 1]], tmp_path / f"by-itself{number}")
        named = {name: value for name, value in by_itself.items() if name in others}
        assert len(named) * 3 == len(by_itself), "each has its whole name there, and two shorter ones only alone"
        assert named.items() <= others.items()


def test_a_macro_against_another_baseline_says_so(tmp_path: Path) -> None:
    gains = {"static": (1, 1), "价格": (1.3, 1.3), "带余量的价格": (1.4, 1.4)}
    path = synthetic.write_run(tmp_path / "run", blocks=1, steady=True, gains=gains).path
    price = names.camel("价格")
    found = macros_of([path], tmp_path / "tables", "价格")
    assert all(f"Over{price}QuickSimulator" in name for name in found)
    assert max(map(len, found)) < 60
    text = (tmp_path / "tables" / "macros.tex").read_text()
    assert "% 带余量的价格 over 价格: geometric mean over the guests, quick (simulator)" in text


def test_labels_that_differ_in_signs_only_have_names_that_differ(tmp_path: Path) -> None:
    gains = {"static": (1, 1), "a-b": (1.3, 1.3), "a_b": (1.4, 1.4), "a b low": (1.5, 1.5)}
    path = synthetic.write_run(tmp_path / "run", blocks=1, steady=True, gains=gains).path
    found = macros_of([path], tmp_path / "tables")
    speedups = {value for name, value in found.items() if re.match("BallastSpeedupAB(Low)?[A-Z][a-z]{3}$", name)}
    assert speedups >= {"1.30", "1.40", "1.50"}


def test_a_long_table_breaks_over_pages_and_a_wide_one_is_turned(tmp_path: Path) -> None:
    rows = [["a", "1"]] * 41
    tables.write_latex(Table(name="long", caption="L", head=["x", "y"], rows=rows, aligns="lr"), tmp_path)
    text = (tmp_path / "long.tex").read_text()
    assert r"\begin{longtable}{lr}" in text
    assert text.index(r"\endhead") < text.index("a & 1")
    assert r"\usepackage{longtable}" in text
    wide = Table(name="wide", caption="W", head=["x" * 60, "y" * 60], rows=rows[:1], aligns="lr")
    tables.write_latex(wide, tmp_path)
    text = (tmp_path / "wide.tex").read_text()
    assert re.findall(r"\\(?:begin|end)\{(\w+)\}", text) == ["sideways", "tabular", "tabular", "sideways"]
    assert r"\usepackage{rotating}" in text
    assert "ctex" not in text
    chinese = Table(name="chinese", caption="W", head=["甲" * 30, "乙" * 30], rows=rows[:1], aligns="lr")
    tables.write_latex(chinese, tmp_path)
    text = (tmp_path / "chinese.tex").read_text()
    assert r"\begin{sideways}" in text, "a Chinese character is as wide as two of Latin"
    assert r"\usepackage{ctex}" in text


def test_a_table_in_latex_has_as_many_columns_in_every_row(built: Path) -> None:
    for path in set((built / "tables").glob("*-*.tex")) - {built / "tables" / "macros-whole.tex"}:
        lines = path.read_text().splitlines()
        begin = next(line for line in lines if line.startswith(r"\begin{tabular}"))
        columns = len(begin.removeprefix(r"\begin{tabular}{").removesuffix("}"))
        rows = [line for line in lines if line.endswith(r" \\")]
        assert rows
        assert {row.count(" & ") + 1 for row in rows} == {columns}, path.name


@pytest.mark.parametrize(
    "gains", [synthetic.GAINS, HOSTILE | {f"policy with a rather long name {n}": (1.0, 1.0) for n in range(9)}]
)
def test_no_title_label_or_legend_leaves_its_figure(tmp_path: Path, gains: Mapping[str, tuple[float, float]]) -> None:
    document = written(tmp_path / "run", gains, blocks=2, fails=lambda block, _: "g1" if block == 1 else "")
    with style.applied():
        for block in document.blocks:
            if isinstance(block, Picture):
                figure = block.figure()
                renderer = FigureCanvasAgg(figure).get_renderer()
                figure.draw(renderer)
                parts = [*figure.legends, *(legend for axes in figure.axes if (legend := axes.get_legend()))]
                parts += [
                    part
                    for axes in figure.axes
                    for part in (axes.title, axes.xaxis.label, axes.yaxis.label)
                    if part.get_text()
                    if part.get_text()
                ]
                for box in (part.get_window_extent(renderer) for part in parts):
                    assert figure.bbox.x0 - 1 <= box.x0, block.name
                    assert box.x1 <= figure.bbox.x1 + 1, block.name
                    assert figure.bbox.y0 - 1 <= box.y0, block.name
                    assert box.y1 <= figure.bbox.y1 + 1, block.name


def test_a_table_wider_and_longer_than_a_page_is_set_all_the_same(tmp_path: Path) -> None:
    head = [f"column_with_a_long_name_{n}" for n in range(14)]
    table = Table(name="wide", caption="W", head=head, rows=[["touched_mib_per_s (higher)"] * 14] * 90, aligns="l" * 14)
    document = Document(title="T", subtitle="", blocks=[Contents(title="Contents"), Heading(text="H", level=1), table])
    for name in ("a.pdf", "b.pdf"):
        typeset.write(document, tmp_path / name)
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    assert b"/Count 5/Kids" in (tmp_path / "a.pdf").read_bytes(), "pages"


def test_characters_that_no_font_here_has_are_told_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fonts.missing(["two-state 1.2\N{MULTIPLICATION SIGN}", "εταλ"]) == ""
    monkeypatch.setattr(fonts, "other", lambda: None)
    assert fonts.missing(["价格", "static"]) == "价格"
    path = synthetic.write_run(tmp_path / "run", blocks=1, gains={"static": (1, 1), "价格": (1.3, 1.3)}).path
    told: list[str] = []
    reports.build([path], say=told.append)
    remedy = "no font here has 价格, which figures and PDF lack; install fonts-droid-fallback, then report again"
    assert told.count(remedy) == 1
    assert "fonts-droid-fallback" in (Path(__file__).parents[2] / "scripts" / "packages.txt").read_text()


def test_a_legend_of_many_long_states_is_no_wider_than_its_figure() -> None:
    said = "no change worth making"
    states = [f"plenty, {said}", f"scarce, {said}", "soft", "hard", "low", "high", "grows"]
    figure = Figure(figsize=(6.3, 3), layout="constrained")
    legend = timeline._legend(figure, timeline._handles(style.states(states)))
    assert len(legend.get_texts()) == 3 + len(states)
    assert legend.get_window_extent().width <= figure.bbox.width
    few = timeline._legend(figure, timeline._handles(style.states(["scarce", "ample"])))
    heights = [legend.get_window_extent().height for legend in (few, legend)]
    assert heights[0] < heights[1] / 2, "what has room stands in one line"


def test_a_timeline_to_hover_over_has_what_the_samples_have(run: Path) -> None:
    study = study_of(run)
    (picture, *_) = timeline.timelines(study)
    assert picture.chart is not None
    traces, layout, _ = picture.chart()  # type: ignore[misc]
    rows = study.samples(summary.representative(study), "static").query("guest == 'g1'")
    allocated = next(trace for trace in traces if trace["name"] == "allocated")
    np.testing.assert_allclose(allocated["y"], rows["current_kib"] / 1024, atol=0.05)
    assert allocated["x"] == pytest.approx(rows["trial_s"].tolist())
    legend = [trace["name"] for trace in traces if trace["x"] == [None]]
    assert legend == ["ample", "scarce"], "what the colours of the strip stand for"
    assert len(traces) - len(legend) == 3 * 3 * 3, "lines, guests, policies"
    assert layout["xaxis"]["unifiedhovertitle"]["text"] == "g1, %{x} s", "whose it is, and when"
    assert {shape["name"] for shape in layout["shapes"]} <= {"ample", "scarce"}
    assert all(shape["y1"] < 0 for shape in layout["shapes"]), "under the panel: at its foot is what was used"
    assert html.inline({"a": "</script>"}) == '{"a":"\\u003c/script>"}'


def test_a_median_has_the_digits_of_its_interval() -> None:
    sign = words.TIMES
    assert words.within(1.0004, 1.0003, 1.0006) == f"1.0004{sign} [1.0003, 1.0006]"
    assert words.within(120.4, 99.0, 130.0) == f"120{sign} [99, 130]"
    assert words.within(2.0, math.nan, math.nan) == f"2.00{sign} {words.DASH}"


def test_an_interval_that_leaves_out_one_never_looks_as_if_it_touched_it() -> None:
    assert words.interval(1.003, 1.2) == "[1.003, 1.200]"
    assert words.interval(0.8, 0.9996) == "[0.8000, 0.9996]"
    assert words.interval(0.9, 1.1) == "[0.90, 1.10]"


def test_an_interval_does_not_seem_to_reach_what_it_is_held_against() -> None:
    sign = words.TIMES
    assert words.within(0.9684, 0.9675, 0.9714) == f"0.97{sign} [0.97, 0.97]"
    assert words.within(0.9684, 0.9675, 0.9714, [0.97]) == f"0.968{sign} [0.968, 0.971]"
    assert words.within(0.99, 0.97, 1.01, [0.97]) == f"0.99{sign} [0.97, 1.01]", "it does reach it"
    assert words.within(1.3, 1.2, 1.4004, [1.2, 1.4]) == f"1.3000{sign} [1.2000, 1.4004]"


def test_changed_raw_rows_are_said_in_the_report(tmp_path: Path) -> None:
    path = synthetic.write_run(tmp_path / "run", blocks=1).path
    text = (path / "samples.csv").read_text()
    (path / "samples.csv").write_text(text.replace("256000", "256001", 1))
    raw = [block.text for block in report_of(path).blocks if isinstance(block, Paragraph)][-1]
    assert "samples.csv changed" in raw


def test_reports_know_nothing_of_the_harness_but_its_records_and_what_a_run_computes_of_them_too() -> None:
    known = {"harness.records", "harness.statistics"}
    for path in Path(reports.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert {name for name in names if name.startswith("harness")} <= known, path.name


@pytest.mark.parametrize(
    ("values", "base", "impossible"),
    [
        ([1e308, 1e-308, -1.0, 0.0, 5e15, 1e200], None, 5),
        ([1e15, 1e-15, 0.0, 1e15, 1e-15, 1e15], 1e-15, 0),
        ([1e308] * 6, -1e308, 12),
    ],
)
def test_no_value_of_a_run_whatever_ends_its_report(
    values: list[float], base: float | None, impossible: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = synthetic.rows

    def rows(writer: TrialWriter, *given: Any, **more: Any) -> Iterator[TrialRow]:  # noqa: ANN401  # as they come
        changed = {"two-state": values[writer.key.block - 1], "static": base}.get(writer.key.label)
        for row in honest(writer, *given, **more):
            yield row if row.guest != "g1" or changed is None else replace(row, value=changed)

    monkeypatch.setattr(synthetic, "rows", rows)
    run = synthetic.write_run(tmp_path / "run", blocks=6).path
    folder = reports.build([run], out=tmp_path / "out").parent
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "tables" / "failures.csv").read_text().count("no result is") == impossible
