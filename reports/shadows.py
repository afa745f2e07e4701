"""How far the policies that only watched lay from the one that acted."""

from __future__ import annotations

from array import array
from statistics import median

import pandas as pd

from reports.study import Study

MIB = 1024.0
COLUMNS = ("experiment", "backend", "label", "shadow", "guest", "median_difference_mib", "ticks")


def distances(study: Study) -> pd.DataFrame:
    """Return one row a label, shadow and guest: the median over the ticks of how far their targets were apart.

    Ticks in which one of the two had no target for the guest do not count. No row where there were no shadows.
    """
    apart: dict[tuple[str, str, str], array[int]] = {}
    for run in study.runs:
        if not run.manifest["experiment"].get("shadows") or "decisions.jsonl" in run.unread:
            continue
        for line in run.decisions():
            acting = line["decision"]["targets_kib"]
            for shadow, decision in (line.get("shadow") or {}).items():
                for guest, kib in decision["targets_kib"].items():
                    if kib is not None and acting.get(guest) is not None:
                        key = (str(line["label"]), str(shadow), str(guest))
                        apart.setdefault(key, array("q")).append(abs(kib - acting[guest]))
    known = [key for key in apart if key[0] in study.labels and key[2] in study.guests]
    shadows = list(dict.fromkeys(shadow for _, shadow, _ in known))
    known.sort(key=lambda key: (study.labels.index(key[0]), shadows.index(key[1]), study.guests.index(key[2])))
    rows = [(study.name, study.backend, *key, median(apart[key]) / MIB, len(apart[key])) for key in known]
    return pd.DataFrame(rows, columns=list(COLUMNS))
