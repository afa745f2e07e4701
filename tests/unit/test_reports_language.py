"""A report speaks one language: every phrase of it has a translation, and what are names or data stay as they are."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import string
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import reports
from harness.cli import app
from harness.records import STATUSES
from reports import content, fonts, language, typeset
from reports.document import Document, Heading, Paragraph, Picture, Table
from reports.findings import Findings
from reports.special import KINDS, asked
from reports.study import studies
from tests.unit import synthetic_run as synthetic

SOURCES = sorted(Path(reports.__file__).parent.rglob("*.py"))
OTHERS = {"check.py", "crate.py", "replayed.py", "language.py", "__init__.py"}
"""Modules that say nothing in a report: what the command line prints, what archives read, figures of a replay."""
SETTINGS = re.compile(r"%\{.*|outside \w+ \w+|upper left|offset points|axes fraction|domain|x unified|"
                      r"Glyph .*|DejaVu .*|order statistics|signed rank|s ago\)|\\[a-z]+.*|"
                      r"point|again|at|GiB|Linux")  # fmt: skip
"""Words in a string with blanks that nobody reads as prose: settings of libraries, LaTeX, parts of names, units."""
RECORDED = ("the value is", "files:", "under trials/, each with its SHA-256, in manifest.json", "an undamped")
"""Parts of what is data: a reason as it stands in failures.csv, lines of the manifest, a key that is put together."""


FIGURES = [kind for kind in KINDS if kind != "scaling"]
"""Those that synthetic ticks can be drawn in: deciding takes them no time, which no logarithm can show."""


@pytest.fixture(scope="module")
def chinese() -> Iterator[None]:
    with language.applied("zh"):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that asks for every special figure, with a failure, and a label in Chinese."""
    levels = [{"at": 1.0}, {"at": 2.0}]
    experiment = synthetic.manifest()["experiment"] | {  # type: ignore[operator]
        "name": "every-figure", "claim": "价格 beats static", "figures": FIGURES, "loses_at_most":
        {"percent": 3, "guests": []}, "judged_by": [{"policies": "any", "at_least": 1.2}],
        "sweep": {"name": "load", "unit": "1/s", "levels": levels}, "period_s": 2.0, "repeat_baseline": True,
    }  # fmt: skip
    gains = {"static": (1.0, 1.0), "价格": (2.0, 0.96), "oracle": (2.1, 1.2), "unconstrained": (3.0, 1.3)}
    return synthetic.write_run(
        tmp_path_factory.mktemp("results") / "run", blocks=2, ticks=6, gains=gains, experiment=experiment,
        fails=lambda block, label: "g1" if (block, label) == (2, "价格") else "",
    ).path  # fmt: skip


def literals(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The phrases that an argument can be; none where that is known only when the report is made."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from chain(literals(body, constants), literals(orelse, constants))
        case ast.Name(id=name) if name in constants:
            yield constants[name]


def said() -> Iterator[tuple[str, str]]:
    """Yield where a phrase is said, and the phrase."""
    for path in SOURCES:
        tree = ast.parse(path.read_text())
        named = [node for node in tree.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)]
        constants = {ast.unparse(node.targets[0]): str(ast.literal_eval(node.value)) for node in named}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("phrase", "phrases"):
                for argument in node.args[: 1 if node.func.id == "phrase" else None]:
                    for text in literals(argument, constants):
                        yield f"{path.name}:{node.lineno}", text.strip()


def strings() -> set[str]:
    """Every string of the sources, those with braces for what is put into them too."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value.strip())
    return found


def test_every_phrase_has_a_translation() -> None:
    lacking = {text: where for where, text in said() if text not in language.catalogue("zh")}
    assert lacking == {}


def test_what_experiments_here_claim_and_vary_is_translated_and_nothing_else_is() -> None:
    folder = Path(__file__).parents[2] / "experiments"
    mine = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.rglob("*.yml")]
    kept = folder.parent / "reports" / "examples"
    mine += [json.loads(path.read_text(encoding="utf-8"))["experiment"] for path in kept.glob("*/*/manifest.json")]
    said = {one.get("claim") for one in mine} | {one.get("only_measured") for one in mine}
    said |= {(one.get("sweep") or {}).get("name") for one in mine}
    assert said - {None} == set(language.catalogue("zh", "experiments"))


def test_what_somebody_elses_experiment_says_stays_as_it_is(chinese: None) -> None:
    assert language.given("guests") == "客户机"
    assert language.given("my own claim.") == "my own claim."
    assert [language.sentence(text) for text in ("my own claim.", "客户机")] == ["my own claim.", "客户机。"]


def test_no_translation_is_of_a_phrase_that_nobody_says() -> None:
    known = strings() | set(STATUSES) | {"missing", "changed", "not sealed"}  # as records say it of a file
    made = re.compile(r"\{\} (\w+|\((higher|lower)\))|.*\b(un)?damped\b.*")
    assert [text for text in language.catalogue("zh") if text not in known and not made.fullmatch(text)] == []


def test_a_translation_takes_the_same_data_in_the_same_form() -> None:
    for english, chinese in language.catalogue("zh").items():
        assert sorted(fields(chinese)) == sorted(fields(english)), english


def fields(text: str) -> Iterator[tuple[str, str]]:
    """Each field's number and format."""
    count = 0
    for _, name, form, _ in string.Formatter().parse(text):
        if name is not None:
            yield name or str(count), form or ""
            count += 1


def test_no_prose_goes_round_the_catalogue() -> None:
    """Two words in a string are prose unless `phrase` or `say` says it, or it is a docstring, an error, a setting."""
    known = set(language.catalogue("zh"))
    loose = []
    for path in SOURCES:
        if path.name not in OTHERS:
            for line, text in prose(ast.parse(path.read_text())):
                if not (text.strip() in known or text.strip() in RECORDED or SETTINGS.fullmatch(text.strip())):
                    loose.append(f"{path.name}:{line}: {text}")
    assert loose == []


def prose(tree: ast.Module) -> Iterator[tuple[int, str]]:
    quiet = set()
    for node in ast.walk(tree):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Raise) or called in ("ReportError", "say"):
            quiet |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            quiet.add(id(node.value))  # a docstring
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "phrase":
            quiet |= {id(inner) for inner in ast.walk(node.args[0])}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in quiet:
            words = re.search(r"[A-Za-z]{2,}.* |^ .*[A-Za-z]{2,}", node.value)
            yield from [(node.lineno, node.value)] if words else []


def document_of(path: Path) -> Document:
    found = [Findings.of(study) for study in studies([path], None)]
    return content.document(found, [asked(one) for one in found])


def test_a_report_in_chinese_has_no_english_sentence(run: Path, chinese: None) -> None:
    document = document_of(run)
    texts = [text for block in document.blocks if not hasattr(block, "lines") for text in typeset.texts_of(block)]
    every = "\n".join(texts)
    parts = [part.strip(" .,:;()") for text in language.catalogue("zh") for part in re.split(r"\{[^}]*\}", text)]
    assert [part for part in parts if part.count(" ") > 1 and len(part) > 12 and part in every] == []
    for block in document.blocks:
        match block:
            case Paragraph(lead=lead) if lead:
                assert re.search(r"[\u4e00-\u9fff]", lead)
            case Table(caption=caption) | Picture(caption=caption):
                assert re.search(r"[\u4e00-\u9fff]", caption)
            case Heading(level=2, text=text):
                assert re.search(r"[\u4e00-\u9fff]", text)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    gains = {"static": (1.0, 1.0), "价格": (2.0, 0.96)}
    run = synthetic.write_run(folder / "run", blocks=2, ticks=6, gains=gains).path
    each = {"en": "en", "zh": "zh", "again": "zh"}
    return {name: reports.build([run], out=folder / name, speaking=tongue).parent for name, tongue in each.items()}


def test_the_same_run_gives_the_same_bytes_in_chinese_too(built: dict[str, Path]) -> None:
    assert digests(built["zh"]) == digests(built["again"])
    assert "report.pdf" in digests(built["zh"])


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_names_of_files_columns_and_macros_are_the_same_in_every_language(built: dict[str, Path]) -> None:
    english, chinese = digests(built["en"]), digests(built["zh"])
    assert english.keys() == chinese.keys()
    assert [name for name in english if name.endswith(".csv") and english[name] != chinese[name]] == []
    commands = [
        [line for line in (built[name] / "tables" / "macros.tex").read_text().splitlines() if line.startswith("\\")]
        for name in ("en", "zh")
    ]
    assert commands[0] == commands[1]


def test_a_table_for_latex_has_its_head_and_caption_in_chinese(built: dict[str, Path]) -> None:
    text = next((built["zh"] / "tables").glob("overall-*.tex")).read_text()
    assert text.startswith("% 相对 static 的加速比")
    assert "策略 & 加速比" in text


def test_a_label_in_any_script_is_on_the_page_and_in_the_fonts(built: dict[str, Path]) -> None:
    page = (built["en"] / "report.html").read_text()
    assert '<html lang="en">' in page
    assert "<td>价格</td>" in page
    assert '<html lang="zh">' in (built["zh"] / "report.html").read_text()
    if fonts.other() is not None:
        assert fonts.missing(["价格", *language.catalogue("zh").values()]) == ""


def test_a_blank_stands_between_chinese_and_latin_and_not_where_a_line_was_broken() -> None:
    assert language.unfolded("区组\N{FULLWIDTH COMMA} 中位数") == "区组\N{FULLWIDTH COMMA}中位数"
    assert language.unfolded("几何 平均") == "几何平均"
    assert language.unfolded("优于 static") == "优于 static"


def test_a_phrase_that_a_catalogue_lacks_is_an_error_and_no_english(chinese: None) -> None:
    with pytest.raises(reports.LanguageError, match=r"phrases\.zh\.yml lacks: no such phrase"):
        language.phrase("no such phrase")


def test_a_language_that_nobody_wrote_is_refused_with_those_that_there_are(run: Path) -> None:
    result = CliRunner().invoke(app, ["report", str(run), "--language", "de"])
    assert result.exit_code == 2
    assert "en, zh" in result.output


def test_two_meanings_cannot_share_a_phrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "phrases.xx.yml").write_text("- {en: claimed, xx: a}\n- {en: claimed, xx: b}\n")
    monkeypatch.setattr(language, "__file__", str(tmp_path / "language.py"))
    with pytest.raises(language.LanguageError, match=r"phrases\.xx\.yml has twice: claimed"):
        language.catalogue("xx")


def test_what_is_put_into_a_chinese_phrase_is_parted_from_latin_letters_only(chinese: None) -> None:
    assert language.phrase("{} under {}", "甲", "乙") == "乙下的甲"
    assert language.phrase("{} under {}", "g1", "price") == "price 下的 g1"
    assert language.phrase("{} under {}", "g 1", "价格 一").endswith("g 1"), "a name keeps its own"
