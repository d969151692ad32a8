"""The report of a study, whatever it is about."""

import datetime
from collections.abc import Mapping, Sequence

from results.ladder import furthest
from results.leaders import trained_again
from results.record import Confirmation, TrialRecord
from results.replayed import Replayed
from results.report.digits import TestDigits
from results.report.drilldown import make_drilldown_report
from results.report.findings import Findings
from results.report.leaders import make_leaders_report
from results.report.replayed import make_replay_report
from results.report.report import Report, make_report
from results.settings import StudySettings


def report_of(
    study: str,
    settings: StudySettings,
    records: list[TrialRecord],
    runs: Mapping[int, Sequence[Confirmation]],
    test: TestDigits | None,
    made: datetime.datetime,
    published: Sequence[Replayed] = (),
) -> Report:
    """Of a search, of published networks trained again, of a drill-down, or of a front.

    `runs`: confirmations by trial. `test`: the test images, for pictures of those taken for others.
    `published`: networks trained again elsewhere, which a front is held against. `made`: when.
    """
    if settings.about == "replay":
        return make_replay_report(study, records, settings, made)
    if settings.goal is not None:
        ladder = furthest(settings.goal, settings.max_params, records)
        return make_drilldown_report(settings.goal.title, ladder, settings, made)
    if settings.about == "front":
        return make_leaders_report(study, trained_again(records, runs), published, settings, made)
    confirmed = {number: list(each) for number, each in sorted(runs.items())}
    return make_report(Findings(study, settings, records, confirmed, test), made)
