"""Runs on disk: one directory a run, published whole; and the table of all of them.

Layout under a results folder::

    schema.json                      version of everything below
    runs/<run_id>/config.json        the RunSpec
    runs/<run_id>/env.json           versions, device, git commit
    runs/<run_id>/metrics.jsonl      training log, one JSON object a line
    runs/<run_id>/student/           final weights (orbax)
    runs/<run_id>/result.json        the outcome, with size and hash of the two above
    drafts/<run_id>.<number>/        a record that is being written, by one process alone
    logs/<run_id>.txt                errors and retries
    trunks/<trunk_id>/               checkpoints of a training in progress
    claims/<key>/                    leases of the workers
    superseded/                      damaged or repeated runs, moved aside
    <sweep name>/                    what the stages of a sweep write: plan, table, fit, recommendation, bundle

A record is built in a folder of its own and published by one rename, which never takes another record's place.
"""

from scaling.records.outcome import Outcome, RunRecord, Status
from scaling.records.store import ForeignRecord, RunStore, check_name
from scaling.records.table import load_runs, runs_table, with_rows_of_before, write_csv, write_parquet

__all__ = [
    "ForeignRecord",
    "Outcome",
    "RunRecord",
    "RunStore",
    "Status",
    "check_name",
    "load_runs",
    "runs_table",
    "with_rows_of_before",
    "write_csv",
    "write_parquet",
]
