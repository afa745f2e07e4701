"""What is wrong with an experiment beyond its form: each fault with its place and its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from harness import policies
from harness.experiment.config import Experiment, PolicyChoice
from harness.experiment.document import Key, Problem, instead, problems
from harness.experiment.signals import needed
from harness.experiment.sweep import Guest, Sweep
from harness.experiment.workloads import Workload, load_workload
from harness.records.again import AGAIN, is_again
from harness.simulator.machine import Machine, load_machine
from harness.statistics import BOUNDS

RESERVED = frozenset({
    "all", "controller", "dom0", "localhost", "provisioned", "ungrouped", "xen", "xen-guests", "xen-hosts",
    "xen_guests", "xen_hosts",
})  # fmt: skip
"""Names that Ansible, Xen or the inventory give to something else."""


def faults(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with the parts of an experiment taken together."""
    for key, entries in (("guests", experiment.guests), ("policies", experiment.policies)):
        if not entries:
            yield (key,), "is empty; give at least one"
    for index, guest in enumerate(experiment.guests):
        yield from (((("guests", index, *key)), said) for key, said in _bounds(guest))
    yield from _repeated("guests", "name", [guest.name for guest in experiment.guests])
    members = Counter(member.name for guest in experiment.guests for member in guest.members())
    if twice := [name for name, times in members.items() if times > 1]:
        yield ("guests",), f"{twice[0]} is the name of two guests once they are counted out; rename one kind"
    labels = [choice.label for choice in experiment.policies]
    yield from _repeated("policies", "label", labels)
    if experiment.baseline is not None and experiment.baseline not in labels:
        yield ("baseline",), f"no policy has the label {experiment.baseline}; {instead(experiment.baseline, labels)}"
    yield from _repeated("shadows", "label", [choice.label for choice in experiment.shadows])
    yield from _repeated("signals", "name", [signal.name for signal in experiment.signals])
    for host, part in experiment.parts().items():
        for what in ("min_mib", "initial_mib"):
            total = sum(getattr(guest, what) * guest.count for guest in part.guests)
            if total > part.pool_mib:
                on = f" on {host}" if host else ""
                said = f"is {part.pool_mib}, and the guests' {what}{on} add up to {total}; raise it or lower theirs"
                yield (("hosts", host) if host in experiment.hosts else ("pool_mib",)), said
    if experiment.period_s > experiment.duration_s:
        yield ("period_s",), f"is {experiment.period_s:g}, longer than duration_s {experiment.duration_s:g}; lower it"


def host_faults(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with the hosts over which the guests are spread."""
    named = {guest.host for guest in experiment.guests if guest.host is not None}
    levels = [experiment.guests, *(level.guests for level in experiment.levels())]
    members = {member.name for guests in levels for guest in guests for member in guest.members()}
    for index, guest in enumerate(experiment.guests):
        if named and guest.host is None:
            said = f"is missing, and other guests are on {', '.join(sorted(named))}; say it of each guest, or of none"
            yield ("guests", index, "host"), said
        elif guest.host is not None and (guest.host in members or guest.host in RESERVED - {"dom0"}):
            said = f"{guest.host} is the name of a guest, or means something else to Ansible; call the host otherwise"
            yield ("guests", index, "host"), said
    for host in experiment.hosts:
        if host not in named:
            yield ("hosts", host), f"no guest is on {host}; {instead(host, sorted(named))}"
    if len(named) > 1 and experiment.figures:
        said = "are of what one host's arbiter did; remove them, or write an experiment for each host"
        yield ("figures",), said
    for index, level in enumerate(experiment.sweep.levels if experiment.sweep else ()):
        for key in ("pool_mib", "reserve_mib"):
            if experiment.hosts and getattr(level, key) is not None:
                said = "is that of every host, and `hosts` gives one its own; vary something else, or remove that"
                yield ("sweep", "levels", index, key), said


def repeat_faults(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with how often an experiment is to be repeated."""
    until, base = experiment.repeat_until, experiment.compared_with()
    if until is None:
        return
    if until.at_most < experiment.repetitions:
        said = f"is {until.at_most}, fewer than repetitions {experiment.repetitions}; raise it, or lower those"
        yield ("repeat_until", "at_most"), said
    rivals = [one for one in experiment.policies if one.name not in BOUNDS and one != base]
    if base is None or not rivals:
        said = "needs a baseline and a policy that is compared with it; add them, such as static, or remove the key"
        yield ("repeat_until",), said


def machine_faults(machine: Mapping[str, float]) -> Iterator[Problem]:
    """What is wrong with the costs that an experiment gives the simulated machine."""
    try:
        load_machine().but(machine)
    except ValidationError as error:
        yield from ((("machine", *key), said) for key, said in problems(Machine, error))


def claim_faults(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with the guests, labels and levels that a claim is about."""
    names = [member.name for guest in experiment.guests for member in guest.members()]
    labels = [choice.label for choice in experiment.policies]
    levels = [f"{level.at:g}" for level in experiment.sweep.levels] if experiment.sweep else []

    def unknown(at: Key, what: str, said: Iterable[str], known: Sequence[str]) -> Iterator[Problem]:
        for index, name in enumerate(said):
            if name not in known:
                yield (*at, index), f"there is no {what} {name}; {instead(name, known)}"

    if experiment.loses_at_most:
        yield from unknown(("loses_at_most", "guests"), "guest", experiment.loses_at_most.guests, names)
    for place, one in enumerate(experiment.judged_by):
        at: Key = ("judged_by", place)
        yield from unknown((*at, "guests"), "guest", one.guests if one.guests != "each" else (), names)
        yield from unknown((*at, "over"), "policy with the label", one.over, labels)
        if one.levels != "any":
            yield from unknown((*at, "levels"), "level", [f"{level:g}" for level in one.levels], levels)
        elif not levels:
            yield (*at, "levels"), "nothing is varied; leave the key out, or add a `sweep`"
        if not isinstance(one.policies, str):
            yield from unknown((*at, "policies"), "policy with the label", one.policies, labels)
        if one.at_most is not None and one.at_most <= one.at_least:
            yield (*at, "at_most"), f"is {one.at_most:g}, no more than at_least {one.at_least:g}; raise it"
        if not one.over and experiment.compared_with() is None:
            yield (*at, "over"), "nothing is the baseline, which it stands for; name labels, or a `baseline`"


def reported_faults(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with the figures of others that an experiment names."""
    names = [member.name for guest in experiment.guests for member in guest.members()]
    labels = [choice.label for choice in experiment.policies]
    levels = [f"{level.at:g}" for level in experiment.sweep.levels] if experiment.sweep else []
    label = "policy with the label"
    for place, one in enumerate(experiment.reported):
        at: Key = ("reported", place)
        level = None if one.level is None else f"{one.level:g}"
        for key, what, name, known in (
            ("policy", label, one.policy, labels), ("over", label, one.over, labels), ("level", "level", level, levels),
            ("guest", "guest", one.guest, names), ("beside", "guest", one.beside, names),
        ):  # fmt: skip
            if name is not None and name not in known:
                yield (*at, key), f"there is no {what} {name}; {instead(name, known)}"
        if one.times[0] > one.times[1]:
            yield (*at, "times"), f"is {one.times[0]:g} to {one.times[1]:g}; give the smaller one first"
        if one.beside is not None and (one.guest in (None, one.beside) or one.over is not None):
            yield (*at, "beside"), "is the guest that another one, `guest`, is held against, and takes no `over`"
        if one.beside is None and one.over is None and experiment.compared_with() is None:
            yield (*at, "over"), "nothing is the baseline, which it stands for; name a label, or a `baseline`"


def _bounds(guest: Guest) -> Iterator[Problem]:
    if guest.name in RESERVED:
        yield ("name",), f"{guest.name} means something else to Xen or Ansible; choose another name"
    if guest.min_mib > guest.max_mib:
        yield ("min_mib",), f"is {guest.min_mib}, above max_mib {guest.max_mib}; swap or correct them"
    elif not guest.min_mib <= guest.initial_mib <= guest.max_mib:
        yield (
            ("initial_mib",),
            f"is {guest.initial_mib}; must be from min_mib {guest.min_mib} to max_mib {guest.max_mib}",
        )


def _repeated(key: str, what: str, values: list[str]) -> Iterator[Problem]:
    counts = Counter(values)
    for index, value in enumerate(values):
        if counts[value] > 1 and value in values[:index]:
            yield (key, index, what), f"{value} is the {what} of {key}[{values.index(value)}] too; give another"


def work_faults(guests: Iterable[Guest], folder: Path, library: dict[str, Workload]) -> Iterator[Problem]:
    """What is wrong with what the guests run; `library` takes in their workloads."""
    for index, guest in enumerate(guests):
        at: Key = ("guests", index)
        if guest.workload not in library:
            path = folder / f"{guest.workload}.yml"
            if not path.is_file():
                there = [file.stem for file in folder.glob("*.yml")]
                yield (*at, "workload"), f"there is no workload {guest.workload}; {instead(guest.workload, there)}"
                continue
            library[guest.workload] = load_workload(path)
        for key, said in library[guest.workload].problems(guest.parameters):
            yield (*at, "with", *key), said


def policy_faults(key: str, choices: Iterable[PolicyChoice], *, listed: bool = True) -> Iterator[Problem]:
    """What is wrong with the policies of a key; not `listed`, it has one."""
    known = (*policies.names(), *policies.SIMULATED)
    for index, choice in enumerate(choices):
        at: Key = (key, index) if listed else (key,)
        if is_again(choice.label):
            said = f"{choice.label!r} ends in {AGAIN!r}, which tells the second trial of a baseline; give another"
            yield (*at, "label"), said
        if choice.name not in known:
            yield (*at, "name"), f"there is no policy {choice.name}; {instead(choice.name, known)}"
            continue
        model = policies.params_of(choice.name)
        try:
            model.model_validate(choice.params)
        except ValidationError as error:
            yield from (((*at, *key), said) for key, said in problems(model, error))


def signal_faults(experiment: Experiment) -> Iterator[Problem]:
    """Which policies would hold every guest in every tick for want of a signal: that is no trial of theirs."""
    there = {signal.name for signal in experiment.signals}
    for key, choices in (("policies", experiment.policies), ("shadows", experiment.shadows)):
        for index, choice in enumerate(choices):
            if (signal := needed(choice.name, choice.params)) and signal not in there:
                said = f"{choice.label} can decide nothing without the signal {signal}; add `signals: [{signal}]`"
                yield (key, index), f"{said} (docs/signals.md)"


def sweep_faults(sweep: Sweep | None, guests: Sequence[str]) -> Iterator[Problem]:
    """What is wrong with the levels taken together."""
    if sweep is None:
        return
    at: Key = ("sweep", "levels")
    if not sweep.levels:
        yield at, "is empty; give at least one"
    places = [level.at for level in sweep.levels]
    for index, level in enumerate(sweep.levels):
        if level.at in places[:index]:
            yield (*at, index, "at"), f"{level.at:g} is the place of levels[{places.index(level.at)}] too; give another"
        for key in ("debian", "processor_mips"):
            if level.lab is not None and key in level.lab.model_fields_set:
                yield (*at, index, "lab", key), "one lab has one of these; say it for the whole experiment"
        for name in level.guests:
            if name not in guests:
                yield (*at, index, "guests", name), f"there is no guest {name}; {instead(name, guests)}"
