"""The number format of training: measured once, and kept with the study."""

from collections.abc import Iterator

import optuna
import pytest

from results.versions import device_name
from search import precision
from search.plan import Precision
from search.precision import images_per_second, measure_precision, precision_for

KEY = f"precision:{device_name('cpu')}"


def _rates(
    monkeypatch: pytest.MonkeyPatch, single: Iterator[float], half: Iterator[float]
) -> list[Precision]:
    asked: list[Precision] = []

    def rate(each: Precision) -> float:
        asked.append(each)
        return next(single if each == "float32" else half)

    monkeypatch.setattr(precision, "images_per_second", rate)
    return asked


@pytest.mark.parametrize(
    ("half", "chosen"), [(1500, "bfloat16"), (1050, "float32"), (300, "float32")]
)
def test_bfloat16_must_be_worth_it(
    monkeypatch: pytest.MonkeyPatch, half: float, chosen: Precision
) -> None:
    _rates(monkeypatch, iter([1000.0] * 99), iter([half] * 99))
    found = measure_precision("cpu")
    assert found.chosen == chosen
    assert found.images_per_second == {"float32": 1000, "bfloat16": half}


def test_a_few_disturbances_do_not_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed = [1500.0, 200, 1500, 1500, 300, 1500, 250]
    asked = _rates(monkeypatch, iter([1000.0] * 99), iter(disturbed))
    assert measure_precision("cpu").chosen == "bfloat16"
    assert asked == ["float32", "bfloat16"] * len(disturbed)  # in turn


def test_what_was_found_is_kept_with_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    _rates(monkeypatch, iter([1000.0] * 7), iter([1500.0] * 7))
    assert precision_for(study, "cpu") == "bfloat16"
    assert precision_for(study, "cpu") == "bfloat16"  # the rates are used up
    assert study.user_attrs[KEY]["images_per_second"] == {"float32": 1000, "bfloat16": 1500}


def test_a_gpu_trains_in_float32_without_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _rates(monkeypatch, iter(()), iter(()))
    assert measure_precision("cuda:0").chosen == "float32"
    assert asked == []


def test_both_formats_can_be_timed() -> None:
    assert images_per_second("float32") > 0
    assert images_per_second("bfloat16") > 0
