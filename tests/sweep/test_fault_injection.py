"""A smaller storm than the script's own, often enough to notice when something gives way."""

import pytest
from fault_injection import inject


@pytest.mark.slow
def test_every_run_ends_once_and_alike_under_kills_torn_files_and_wrong_clocks():
    report = inject(trunks=12, workers=3, kills=15, torn=8, limit_s=120, seed=1)
    assert report.kills >= 15
    assert report.torn >= 8
    assert report.passed, report
