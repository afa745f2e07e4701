"""The sentences of page one: what was compared, on what, who won, who lost, what failed. All are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from reports import bounds, claims, noise, repeatability, sweep, words
from reports.findings import Findings
from reports.special.verdict import Claim, Special
from reports.statistics import ENOUGH, blocks_needed
from reports.study import Study
from reports.summary import records
from reports.words import Verdict


def verdicts(found: Findings, specials: Sequence[Special]) -> Iterator[str]:
    """Yield what the rows say of the claim, by just that by which the experiment says that it is judged."""
    study = found.study
    if study.simulated and (why := study.experiment("only_measured")):
        yield f"{Claim.OPEN}: this is simulated, and {str(why).rstrip('.')}."
        return
    yield from (special.verdict for special in specials)
    limit, entries = study.experiment("loses_at_most"), study.experiment("judged_by") or ()
    if study.baseline is not None:
        yield from (claims.verdict(found, claims.wanted(study, said)) for said in entries)
        if limit:
            yield claims.verdict(found, claims.loses_at_most(study, limit))
    if not (specials or limit or entries):
        yield f"{Claim.OPEN}: the experiment does not say by which rows its claim is judged. {_counted(found)}".rstrip()


def _counted(found: Findings) -> str:
    """How many policies are better and worse than the baseline over all guests, of which no claim was made."""
    frame = found.overall
    said = (
        [words.verdict(row) for row in records(frame[frame["label"].isin(found.study.contestants)])]
        if len(frame)
        else []
    )
    if not any(verdict not in words.NO_RESULT for verdict in said):
        return f"No comparison has the {words.COUNTS[ENOUGH]} blocks that a result needs."
    better, worse = said.count(Verdict.BETTER), said.count(Verdict.WORSE)
    of = f"{better} of {words.counted(len(said), 'comparison')}"
    return f"Over all guests {of} with {found.study.baseline} is better and {worse} worse."


def outcomes(found: Findings) -> Iterator[tuple[str, str]]:
    """Yield who won, who lost, what was possible, and what failed, each as a lead and a sentence or two."""
    study, base = found.study, found.study.baseline
    if base is None:
        labels = words.listed(study.labels)
        named = not (study.experiment("figures") and not study.experiment("baseline"))
        remedy = f" No trial ran under the baseline; name another one, of {labels}." if named else ""
        yield "Who won.", f"Nothing is compared.{remedy}"
    elif not len(found.overall) or not found.overall["n"].gt(0).any():
        yield "Who won.", f"Nothing can be said: no block has a value under {base} and under another policy."
    elif found.swept:
        yield from sweep.outcomes(found)
    else:
        yield "Who won.", won(found)
        yield "Who lost.", lost(found)
    if text := _family(found):
        yield "How sure.", text
    yield from bounds.sentences(found.performance, found.gaps, study)
    yield "What failed.", failed(found)
    yield "Repeatability.", repeatability.sentence(found)


def failed(found: Findings) -> str:
    """Say how many trials failed, the baseline's second ones among them, and under which policies."""
    study = found.study
    trials = sum(len(rows.drop_duplicates(["place", "label"])) for rows in (study.trials, study.again))
    each = found.failures.drop_duplicates(["place", "label"])["label"].value_counts()
    if not len(each):
        return f"None of {words.counted(trials, 'trial')}."
    parts = [f"{label} {each[label]}" for label in (*study.labels, *sorted(set(study.again["label"]))) if label in each]
    text = f"{each.sum()} of {words.counted(trials, 'trial')}: {words.listed(parts)}."
    return f"{text} A failed trial has no speed-up and lowers no median: read the two together."


def won(found: Findings) -> str:
    """Say which policies are better over all guests, and which are not shown to be."""
    overall = found.overall[found.overall["label"].isin(found.study.contestants)]
    rows = [(words.verdict(row), row) for row in records(overall.sort_values("speedup", ascending=False))]
    base = found.study.baseline
    parts = []
    for kind, say in (
        (Verdict.BETTER, f"Better than {base}"),
        (Verdict.NOISE, f"No difference beyond what {noise.repeated(found.study)} shows against itself"),
        (Verdict.CHANCE, "Different if asked alone, yet not among all comparisons"),
        (Verdict.OPEN, f"No difference from {base} shown"),
        (Verdict.OBSERVATION, "Observed only, in too few blocks for a result"),
        (Verdict.HELD, "Never decided, for it lacked what it needs, so what ran was no policy"),
    ):
        if mine := [f"{row['label']} {words.estimate(row)}" for verdict, row in rows if verdict == kind]:
            parts.append(f"{say}: {words.listed(mine)}.")
    if missing := [row["label"] for verdict, row in rows if verdict == Verdict.NOTHING]:
        parts.append(f"No whole block to judge by: {words.listed(missing)}.")
    if not any(verdict == Verdict.BETTER for verdict, _ in rows):
        parts.insert(0, "No policy is shown to be better.")
    guests = int(found.overall["guests"].max())
    over = f"Geometric mean over {words.counted(guests, 'guest')}" if guests > 1 else "One guest"
    return f"{over}, median over blocks. {' '.join(parts)}"


def lost(found: Findings) -> str:
    """Say which policies and which single guests are worse than under the baseline."""
    rivals = found.study.contestants
    guests, every = (frame[frame["label"].isin(rivals)] for frame in (found.guests, found.overall))
    heads = records(guests[guests["headline"]].sort_values("speedup"))
    losers = records(every.sort_values("speedup"))
    behind = [f"{row['label']} {words.estimate(row)}" for row in losers if words.verdict(row) == Verdict.WORSE]
    overall = f"Over all guests worse than {found.study.baseline}: {words.listed(behind)}. " if behind else ""
    worse = [row for row in heads if words.verdict(row) == Verdict.WORSE]
    seen = [row for row in heads if words.verdict(row) == Verdict.OBSERVATION and row["speedup"] < 1 / words.band(row)]
    parts = [f"{row['guest']} ({row['workload']}) under {row['label']} {words.estimate(row)}" for row in worse]
    text = overall + (f"Guests: {words.some(parts)}." if parts else "No single guest is shown to be worse.")
    if seen:
        about = [
            f"{row['guest']} ({row['workload']}) under {row['label']} {words.times(row['speedup'])}" for row in seen
        ]
        text += f" Observed below 1 in too few blocks for a result: {words.some(about)}."
    return text


def _family(found: Findings) -> str:
    """Say for how many comparisons the verdicts hold together, and how many blocks that takes."""
    frame = found.overall
    if not len(frame) or "comparisons" not in frame:
        return ""
    count, fewest = int(frame["comparisons"].max()), int(frame["observations"].min())
    same = frame[(frame["observations"] < frame["n"]) & frame["label"].isin(found.study.contestants)]
    needed = blocks_needed(count)
    text = "Intervals are exact at 95 %, whatever the distribution."
    if count > 1:
        text += f" The verdicts hold for all {count} comparisons over all guests of this report together (Holm)."
    if fewest < needed:
        text += f" To show a difference takes {needed} blocks that differ at least."
    if len(same):
        names = words.some(list(dict.fromkeys(f"{row['label']}" for row in records(same))))
        text += f" Simulated blocks that gave the same ratio are one observation: so with {names}."
    return text


def compared(study: Study) -> str:
    """Say which policies ran, against which, and in how many blocks."""
    count = f"{len(study.labels)} {'policy' if len(study.labels) == 1 else 'policies'}"
    at = f" Varied: {study.axis}, {len(study.levels)} levels; a block is one of them." if study.levels else ""
    base = f"; every other one is compared with {study.baseline}" if study.baseline and study.rivals else ""
    ran = study.trials.groupby("place")["label"].nunique()
    whole = int((ran == len(study.labels)).sum())
    every = "each with every policy once" if whole == len(ran) else f"of which {whole} have every policy"
    every += f", and with {noise.repeated(study)} a second time" if len(study.again) else ""
    return f"{count}: {words.listed(study.labels)}{base}. {words.counted(len(ran), 'block')}, {every}.{at}"


def ground(study: Study) -> str:
    """Say on what machine, and with which guests and work."""
    manifest = study.runs[0].manifest
    host, xen = manifest.get("host") or {}, manifest.get("xen") or {}
    machine = ", ".join(
        str(part)
        for part in (
            host.get("cpu"),
            host.get("cores") and f"{host['cores']} cores",
            host.get("memory_kib") and f"{host['memory_kib'] / 2**20:.1f} GiB",
            host.get("kernel") and f"Linux {host['kernel']}",
        )
        if part
    )
    if study.backend == "xen":
        accelerator = f" in QEMU ({xen['accelerator']})" if xen.get("accelerator") else ""
        version = xen.get("version", "(version unknown)")
        where = f"Measured on Xen {version}{accelerator}; controller: {machine or 'unknown'}."
    else:
        where = f"Computed by the {study.backend}, not measured on a machine."
    pool, period = _pool(study), study.experiment("period_s")
    guests = [f"{guest} ({study.workload(guest)})" for guest in study.guests[:12]]
    more = f" and {len(study.guests) - 12} more" if len(study.guests) > 12 else ""
    shared = f" sharing {pool} MiB" if pool else ""
    pace = f", one decision every {period} s" if period else ""
    return f"{where} {_guests(study)}{shared}{pace}: {', '.join(guests)}{more}."


def _guests(study: Study) -> str:
    """How many guests take part at once: where levels have different ones, from the fewest to the most."""
    counts = sorted({len(part.guests) for part in study.parts})
    return words.counted(counts[0], "guest") if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} guests"


def _pool(study: Study) -> str:
    """What they share, level by level; empty where that is not known."""
    pool = study.experiment("pool_mib")
    if not isinstance(pool, int | float):
        return ""
    levels = (study.experiment("sweep") or {}).get("levels") or ()
    pools = sorted({level.get("pool_mib") or pool for level in levels} or {pool})
    return f"{pools[0]:,}" if len(pools) == 1 else f"{pools[0]:,} to {pools[-1]:,}"
