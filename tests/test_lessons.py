"""A search begins with what the trials of another tell."""

import json
import math
import shutil
from pathlib import Path

import optuna
import pytest

from results.errors import NasSearchError
from results.ledger import refresh, with_ledger
from results.lessons import Lesson, keep_lessons, lessons_from, lessons_of
from results.record import records
from results.settings import StudySettings
from results.storage import default_url, load_study, open_storage, settings_of
from search.forest import Experience
from search.plan import Plan
from search.strategy import make_sampler
from search.study import load, make_or_resume
from space import Footprint, SearchSpace, configuration, footprint
from tests.conftest import CommandLine
from tests.plans import make_plan

LARGE = StudySettings(dataset="mnist", space=SearchSpace.for_budget(3_000), epochs=2, sustain=1)
SMALL = LARGE.model_copy(update={"space": SearchSpace.for_budget(1_500)})


def _accuracy(drawn: dict[str, object], cost: Footprint) -> float:
    """Percent, at the end. Two choices decide, and the size a little."""
    error = 0.5 * (2_000 / cost.params) ** 0.2
    error *= 1 if drawn["optimizer"] == "muon" else 2
    return 100 - error * (1 if drawn["order"] == "norm-relu" else 2)


def _taught() -> tuple[Lesson, ...]:
    """Forty trials of a search with a budget of 3,000, a few of them pruned."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    found: list[Lesson] = []
    while len(found) < 40:
        drawn = LARGE.space.draw(study.ask())
        cost = footprint(configuration(drawn).architecture)
        if cost.params < LARGE.max_params:
            complete = len(found) % 5 > 0
            last = _accuracy(drawn, cost)
            accuracies = (last - 1, last) if complete else (last - 1,)
            found.append(
                Lesson(study="large", drawn=drawn, accuracies=accuracies, complete=complete)
            )
    return tuple(found)


def test_lessons_are_learnt_before_the_first_trial() -> None:
    lessons = _taught()
    study = optuna.create_study(direction="maximize")
    keep_lessons(study, lessons)
    assert lessons_of(study) == lessons
    experience = Experience(SMALL)
    assert experience.look(study) == experience.look(study) == len(lessons)
    table, errors, scores, drawn = experience.learnt()
    assert len(table) == len(lessons)
    for lesson, error, score, near in zip(lessons, errors, scores, drawn, strict=True):
        cost = footprint(configuration(lesson.drawn).architecture)
        last = 100 - lesson.accuracies[-1]
        # That of a pruned one would have fallen.
        assert math.exp(error) == pytest.approx(last) if lesson.complete else math.exp(error) < last
        feasible = lesson.complete and cost.params < SMALL.max_params
        assert score == (lesson.accuracies[-1] if feasible else -math.inf)
        assert SMALL.space.contains(near)
    assert sum(score > 0 for score in scores) > 5
    assert any(near != lesson.drawn for lesson, near in zip(lessons, drawn, strict=True))


def test_what_holds_the_target_beyond_the_budget_is_no_failure() -> None:
    smallest = SMALL.model_copy(update={"objective": "smallest", "target": 99.0})
    study = optuna.create_study(direction="maximize")
    lessons = _taught()
    keep_lessons(study, lessons)
    experience = Experience(smallest)
    experience.look(study)
    _, errors, _, _ = experience.learnt()
    holding = 0
    for lesson, error in zip(lessons, errors, strict=True):
        if lesson.complete:
            accuracy = min(lesson.accuracies[-1], 99.0)
            holding += accuracy == 99.0
            assert 0 < math.exp(error) <= 100 - accuracy + 1e-9
    assert holding > 3


def test_what_diverged_is_a_lesson_of_its_own(finished: CommandLine, tmp_path: Path) -> None:
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    storage = open_storage(default_url(tmp_path / "runs"), create=False)
    study = load_study(storage, None)
    trial = next(each for each in study.get_trials(deepcopy=False) if each.value is not None)
    history = [dict(each) for each in trial.user_attrs["history"]]
    history[-1] |= {"loss": None, "accuracy": 0.0}
    with storage.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE trial_user_attributes SET value_json = ? "
            "WHERE trial_id = ? AND key = 'history'",
            (json.dumps(history), trial._trial_id),
        )
    lessons = lessons_from(storage, [study.study_name], settings_of(study))
    found = next(each for each in lessons if each.drawn == trial.params)
    assert found.accuracies == (*[each["accuracy"] for each in history[:-1]], 0.0)


def test_the_first_trials_are_good_already() -> None:
    def first_trials(lessons: tuple[Lesson, ...], seed: int) -> float:
        sampler = make_sampler("forest", seed, SMALL)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        keep_lessons(study, lessons)
        accuracies = []
        while len(accuracies) < 6:
            trial = study.ask()
            drawn = SMALL.space.draw(trial)
            cost = footprint(configuration(drawn).architecture)
            if cost.params < SMALL.max_params:
                accuracies.append(_accuracy(drawn, cost))
                study.tell(trial, accuracies[-1])
            else:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return 100 - sum(accuracies) / len(accuracies)

    taught, untaught = (
        [first_trials(lessons, seed) for seed in range(2)] for lessons in (_taught(), ())
    )
    assert sum(taught) < 0.6 * sum(untaught)


def test_a_study_keeps_what_it_learnt_when_it_was_made(
    finished: CommandLine, tmp_path: Path
) -> None:
    shutil.copytree(finished.folder / "runs", tmp_path / "runs")
    storage = open_storage(default_url(tmp_path / "runs"), create=False)
    earlier = with_ledger(load_study(storage, None))
    refresh(earlier)
    trained = [each for each in records(earlier) if each.was_trained]
    settings = settings_of(earlier).model_copy(update={"space": SearchSpace.for_budget(5_000)})

    def plan(*teachers: str, study: str = "later", epochs: int = settings.epochs) -> Plan:
        return make_plan(
            Plan,
            study=study,
            storage=default_url(tmp_path / "runs"),
            settings=settings.model_copy(update={"epochs": epochs}),
            out=tmp_path / "runs",
            sampler="forest",
            learn_from=teachers,
        )

    name = earlier.study_name
    make_or_resume(storage, plan(name), baselines=False)
    make_or_resume(storage, plan(name), baselines=False)
    make_or_resume(storage, plan(), baselines=False)
    kept = lessons_of(load(storage, plan()))
    assert [each.drawn for each in kept] == [each.parameters for each in trained]
    assert [each.complete for each in kept] == [each.state == "complete" for each in trained]
    assert {len(each.accuracies) for each in kept} == {len(each.history) for each in trained}
    for refused, why in (
        (plan("another"), "was made with --learn-from"),
        (plan("nobody", study="new"), "nobody"),
        (plan(name, study="new", epochs=settings.epochs + 1), "it was made with --epochs"),
        (plan("later", study="new"), "no trial of it is trained yet"),
        (plan("new", study="new"), "is the study itself"),
    ):
        with pytest.raises(NasSearchError, match=why):
            make_or_resume(storage, refused, baselines=False)
    assert "new" not in {each.study_name for each in storage.get_all_studies()}


def test_only_the_sampler_that_learns_takes_lessons(nas_search: CommandLine) -> None:
    done = nas_search("--learn-from", "earlier", "--sampler", "tpe")
    assert done.returncode == 2
    assert "--learn-from needs --sampler forest" in done.stderr
