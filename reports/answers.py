"""The sentences of page one: what was compared, on what, who won, who lost, what failed. All are computed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.records import Run
from reports import bounds, claims, noise, repeatability, sweep, words
from reports.findings import Findings
from reports.language import given, joined, phrase
from reports.special.verdict import Claim, Special
from reports.statistics import ENOUGH, blocks_needed
from reports.study import Study
from reports.summary import records
from reports.words import Verdict

NAMED, LEVELS = 12, 6
"""Guests that a sentence names with their work, and levels, where work is what they vary."""


def verdicts(found: Findings, specials: Sequence[Special]) -> Iterator[str]:
    """Yield what the rows say of the claim, by just that by which the experiment says that it is judged."""
    study = found.study
    if study.simulated and (why := study.experiment("only_measured")):
        yield phrase("{}: this is simulated, and {}.", phrase(Claim.OPEN), given(str(why)).rstrip("."))
        return
    said = study.experiment("judged_by") or study.experiment("loses_at_most")
    if not said:  # else its figures answer questions of their own
        yield from (special.verdict for special in specials)
    yield from (claims.verdict(found, wanted) for wanted in claims.asked(study))
    if not (specials or said):
        yield phrase(
            "{}: the experiment does not say by which rows its claim is judged. {}", phrase(Claim.OPEN), _counted(found)
        ).rstrip()


def _counted(found: Findings) -> str:
    """How many policies are better and worse than the baseline over all guests, of which no claim was made."""
    frame = found.overall
    said = (
        [words.verdict(row) for row in records(frame[frame["label"].isin(found.study.contestants)])]
        if len(frame)
        else []
    )
    if not any(verdict not in words.NO_RESULT for verdict in said):
        return phrase("No comparison has the {} blocks that a result needs.", phrase(words.COUNTS[ENOUGH]))
    better, worse = said.count(Verdict.BETTER), said.count(Verdict.WORSE)
    asked = words.counted(len(said), "comparison")
    return phrase(
        "Over all guests {} of {} with {} is better and {} worse.", better, asked, found.study.baseline, worse
    )


def outcomes(found: Findings) -> Iterator[tuple[str, str]]:
    """Yield who won, who lost, what was possible, and what failed, each as a lead and a sentence or two."""
    study, base = found.study, found.study.baseline
    if base is None:
        labels = words.listed(study.labels)
        named = not (study.experiment("figures") and not study.experiment("baseline"))
        remedy = phrase(" No trial ran under the baseline; name another one, of {}.", labels) if named else ""
        yield phrase("Who won."), phrase("Nothing is compared.{}", remedy)
    elif not len(found.overall) or not found.overall["n"].gt(0).any():
        yield (
            phrase("Who won."),
            phrase("Nothing can be said: no block has a value under {} and under another policy.", base),
        )
    elif found.swept:
        yield from sweep.outcomes(found)
    else:
        yield phrase("Who won."), won(found)
        yield phrase("Who lost."), lost(found)
    if text := _family(found):
        yield phrase("How sure."), text
    yield from bounds.sentences(found.performance, found.gaps, study)
    yield phrase("What failed."), failed(found)
    yield phrase("Repeatability."), repeatability.sentence(found)


def failed(found: Findings) -> str:
    """Say how many trials failed, the baseline's second ones among them, and under which policies."""
    study = found.study
    trials = sum(len(rows.drop_duplicates(["place", "label"])) for rows in (study.trials, study.again))
    each = found.failures.drop_duplicates(["place", "label"])["label"].value_counts()
    if not len(each):
        return phrase("None of {}.", words.counted(trials, "trial"))
    parts = [f"{label} {each[label]}" for label in (*study.labels, *sorted(set(study.again["label"]))) if label in each]
    text = phrase("{} of {}: {}.", each.sum(), words.counted(trials, "trial"), words.listed(parts))
    return phrase("{} A failed trial has no speed-up and lowers no median: read the two together.", text)


def won(found: Findings) -> str:
    """Say which policies are better over all guests, and which are not shown to be."""
    overall = found.overall[found.overall["label"].isin(found.study.contestants)]
    rows = [(words.verdict(row), row) for row in records(overall.sort_values("speedup", ascending=False))]
    base = found.study.baseline
    parts = []
    for kind, say in (
        (Verdict.BETTER, phrase("Better than {}", base)),
        (Verdict.NOISE, phrase("No difference beyond what {} shows against itself", noise.repeated(found.study))),
        (Verdict.CHANCE, phrase("Different if asked alone, yet not among all comparisons")),
        (Verdict.OPEN, phrase("No difference from {} shown", base)),
        (Verdict.OBSERVATION, phrase("Observed only, in too few blocks for a result")),
        (Verdict.HELD, phrase("Never decided, for it lacked what it needs, so what ran was no policy")),
    ):
        if mine := [f"{row['label']} {words.estimate(row)}" for verdict, row in rows if verdict == kind]:
            parts.append(phrase("{}: {}.", say, words.listed(mine)))
    if missing := [row["label"] for verdict, row in rows if verdict == Verdict.NOTHING]:
        parts.append(phrase("No whole block to judge by: {}.", words.listed(missing)))
    if not any(verdict == Verdict.BETTER for verdict, _ in rows):
        chance = any(verdict == Verdict.CHANCE for verdict, _ in rows)
        among = phrase("No policy is shown to be better with all comparisons held together.")
        parts.insert(0, among if chance else phrase("No policy is shown to be better."))
    guests = int(found.overall["guests"].max())
    over = phrase("Geometric mean over {}", words.counted(guests, "guest")) if guests > 1 else phrase("One guest")
    return phrase("{}, median over blocks. {}", over, joined(parts))


def lost(found: Findings) -> str:
    """Say which policies and which single guests are worse than under the baseline."""
    rivals = found.study.contestants
    guests, every = (frame[frame["label"].isin(rivals)] for frame in (found.guests, found.overall))
    heads = records(guests[guests["headline"]].sort_values("speedup"))
    losers = records(every.sort_values("speedup"))
    behind = [f"{row['label']} {words.estimate(row)}" for row in losers if words.verdict(row) == Verdict.WORSE]
    overall = (
        phrase("Over all guests worse than {}: {}. ", found.study.baseline, words.listed(behind)) if behind else ""
    )
    worse = [row for row in heads if words.verdict(row) == Verdict.WORSE]
    seen = [row for row in heads if words.verdict(row) == Verdict.OBSERVATION and row["speedup"] < 1 / words.band(row)]
    parts = [
        phrase("{} ({}) under {} {}", row["guest"], row["workload"], row["label"], words.estimate(row)) for row in worse
    ]
    none = phrase("No single guest is shown to be worse.")
    text = overall + (phrase("Guests: {}.", words.some(parts, "speedup")) if parts else none)
    if seen:
        about = [
            phrase("{} ({}) under {} {}", row["guest"], row["workload"], row["label"], words.times(row["speedup"]))
            for row in seen
        ]
        text += phrase(" Observed below 1 in too few blocks for a result: {}.", words.some(about, "speedup"))
    return text


def _family(found: Findings) -> str:
    """Say for how many comparisons the verdicts hold together, and how many blocks that takes."""
    frame = found.overall
    if not len(frame) or "comparisons" not in frame:
        return ""
    count, fewest = int(frame["comparisons"].max()), int(frame["observations"].min())
    same = frame[(frame["observations"] < frame["n"]) & frame["label"].isin(found.study.contestants)]
    needed = blocks_needed(count)
    text = phrase("Intervals are exact at 95 %, whatever the distribution.")
    if count > 1:
        text += phrase(
            " The verdicts hold for all {} comparisons over all guests of this report together (Holm).", count
        )
    if found.study.experiment("repeat_until"):
        text += phrase(
            " How often it was repeated was decided by the width of the intervals, never by where they lie; so ended, "
            "they hold the truth nearly as often as they say, in 92 to 98 % of draws."
        )
    if fewest < needed:
        text += phrase(" To show a difference takes {} blocks that differ at least.", needed)
        heads = found.guests[found.guests["headline"]] if len(found.guests) else found.guests
        if len(heads) and (asked := int(heads["comparisons"].max())) > count:
            text += phrase(" Guest by guest, in {} comparisons, it takes {}.", asked, blocks_needed(asked))
        if count > 1 and any(said.get("policies") != "any" for said in found.study.experiment("judged_by") or ()):
            text += phrase(
                " The claim takes {}: it is one question, put before the first trial, and holds only if every part of "
                "it does, so each part may be held to 5 % alone (Berger 1982).",
                phrase(words.COUNTS[ENOUGH]),
            )
    if len(same):
        names = words.some(list(dict.fromkeys(f"{row['label']}" for row in records(same))), "overall")
        text += phrase(" Simulated blocks that gave the same ratio are one observation: so with {}.", names)
    return text


def compared(study: Study) -> str:
    """Say which policies ran, against which, and in how many blocks."""
    count = words.counted(len(study.labels), "policy", "policies")
    levels = words.counted(len(study.levels), "level")
    at = phrase(" Varied: {}, {}; a block is one of them.", study.axis, levels) if study.levels else ""
    base = phrase("; every other one is compared with {}", study.baseline) if study.baseline and study.rivals else ""
    ran = study.trials.groupby("place")["label"].nunique()
    whole = int((ran == len(study.labels)).sum())
    every = (
        phrase("each with every policy once") if whole == len(ran) else phrase("with every policy in {} of them", whole)
    )
    every += phrase(", and with {} a second time", noise.repeated(study)) if len(study.again) else ""
    at += "".join(map(_repeated, study.runs))
    return phrase(
        "{}: {}{}. {}, {}.{}", count, words.listed(study.labels), base, words.counted(len(ran), "block"), every, at
    )


def _repeated(run: Run) -> str:
    """How often a run was repeated, and why no more; empty where that was fixed before."""
    until, told = run.manifest["experiment"].get("repeat_until"), run.manifest.get("repeated")
    if not (until and told):
        return ""
    limit = phrase(" Repeated until intervals reach {:g} % from their middle", until["within_percent"])
    times = words.counted(told["repetitions"], "repetition")
    if told["narrow_enough"]:
        return phrase("{}: they did after {}.", limit, times)
    if (widest := told["widest_percent"]) is None:
        why = phrase("{} has none yet", told["widest"])
    else:
        why = phrase("that of {} reaches {}", told["widest"], f"{widest:.1f} %")
    return phrase("{}: not even after {}, the most allowed; {}.", limit, times, why)


def ground(study: Study) -> str:
    """Say on what machine, and with which guests and work."""
    manifest = study.runs[0].manifest
    host, xen = manifest.get("host") or {}, manifest.get("xen") or {}
    machine = ", ".join(
        str(part)
        for part in (
            host.get("cpu"),
            host.get("cores") and words.counted(host["cores"], "core"),
            host.get("memory_kib") and f"{host['memory_kib'] / 2**20:.1f} GiB",
            host.get("kernel") and f"Linux {host['kernel']}",
        )
        if part
    )
    if study.backend == "xen":
        accelerator = phrase(" in QEMU ({})", xen["accelerator"]) if xen.get("accelerator") else ""
        version = xen.get("version", phrase("(version unknown)"))
        where = phrase("Measured on Xen {}{}; controller: {}.", version, accelerator, machine or phrase("unknown"))
    else:
        where = phrase("Computed by the {}, not measured on a machine.", phrase(study.backend))
    pool, period = _pool(study), study.experiment("period_s")
    pace = phrase(", one decision every {} s", period) if period else ""
    if study.hosts:
        each = words.semicolon().join(_host(study, host, pool) for host in study.hosts)
        hosts = words.counted(len(study.hosts), "host")
        return phrase("{} {} on {}{}. {}.", where, _guests(study), hosts, pace, each)
    shared = phrase(" sharing {} MiB", pool) if pool else ""
    work = _work(study, study.guests)
    if study.trials.groupby("guest")["workload"].nunique().max() > 1:  # what is varied is the work
        told = [phrase("at {:g}: ", part.level) + _work(part, part.guests) for part in study.parts[:LEVELS]]
        work = words.semicolon().join([*told, *(["…"] if len(study.parts) > LEVELS else [])])
    return phrase("{} {}{}{}: {}.", where, _guests(study), shared, pace, work)


def _work(study: Study, names: Sequence[str]) -> str:
    """What runs in which guest."""
    more = phrase(" and {} more", len(names) - NAMED) if len(names) > NAMED else ""
    return words.comma().join(f"{guest} ({study.workload(guest)})" for guest in names[:NAMED]) + more


def _host(study: Study, host: str, pool: str) -> str:
    """One of several hosts: what its guests share, and which they are."""
    own = ((study.experiment("hosts") or {}).get(host) or {}).get("pool_mib")
    return phrase("{}, {} MiB: {}", host, f"{own:,}" if own else pool, _work(study, study.hosts[host]))


def _guests(study: Study) -> str:
    """How many guests take part at once: where levels have different ones, from the fewest to the most."""
    counts = sorted({len(part.guests) for part in study.parts})
    return (
        words.counted(counts[0], "guest") if len(counts) == 1 else phrase("{:,} to {:,} guests", counts[0], counts[-1])
    )


def _pool(study: Study) -> str:
    """What they share, level by level; empty where that is not known."""
    pool = study.experiment("pool_mib")
    if not isinstance(pool, int | float):
        return ""
    levels = (study.experiment("sweep") or {}).get("levels") or ()
    pools = sorted({level.get("pool_mib") or pool for level in levels} or {pool})
    return f"{pools[0]:,}" if len(pools) == 1 else phrase("{:,} to {:,}", pools[0], pools[-1])
