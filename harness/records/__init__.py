"""The files of a run: their columns, types and units; one writer and one reader, and nothing else knows the formats.

A run is a folder. The live loop writes a trial with `TrialWriter`; `RunFolder` makes the trials that have ended into
the run's files, crash safe; `read_run` gives them back as frames.
"""

from harness.records.again import again, is_again, without_again
from harness.records.chosen import chosen
from harness.records.columns import (
    BEYOND,
    EVENT_COLUMNS,
    LARGEST,
    REPLAY_COLUMNS,
    SAMPLE_COLUMNS,
    SMALLEST,
    STATUSES,
    TRIAL_COLUMNS,
    RecordsError,
    Stamp,
    TrialKey,
    TrialRow,
)
from harness.records.decision import decision_record, tick_record
from harness.records.doubts import NOT_SEALED, doubts
from harness.records.folder import RunFolder
from harness.records.hold import HeldError, choosing, held
from harness.records.manifest import MANIFEST, read_manifest
from harness.records.reader import Run, read_decisions, read_run, read_trials
from harness.records.replayed import REPLAY, read_first_block, replay_rows
from harness.records.storage import refused, stored, write_whole
from harness.records.ticks import TickWriter
from harness.records.trial import TrialWriter
from harness.records.whole import DONE, FORMAT

__all__ = [
    "BEYOND",
    "DONE",
    "EVENT_COLUMNS",
    "FORMAT",
    "LARGEST",
    "MANIFEST",
    "NOT_SEALED",
    "REPLAY",
    "REPLAY_COLUMNS",
    "SAMPLE_COLUMNS",
    "SMALLEST",
    "STATUSES",
    "TRIAL_COLUMNS",
    "HeldError",
    "RecordsError",
    "Run",
    "RunFolder",
    "Stamp",
    "TickWriter",
    "TrialKey",
    "TrialRow",
    "TrialWriter",
    "again",
    "choosing",
    "chosen",
    "decision_record",
    "doubts",
    "held",
    "is_again",
    "read_decisions",
    "read_first_block",
    "read_manifest",
    "read_run",
    "read_trials",
    "refused",
    "replay_rows",
    "stored",
    "tick_record",
    "without_again",
    "write_whole",
]
