"""`pytest tests/parity` ends with the largest error that each test found, beside the verdict."""

from typing import Any

import pytest

from tests import golden

PROPERTY = "relative errors"


@pytest.fixture(autouse=True)
def recorded_errors(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, record_property: Any
) -> list[float]:
    """Put every result of `golden.relative_error` into the report of the test."""
    errors: list[float] = []
    measure = golden.relative_error

    def measured(ours: Any, theirs: Any) -> float:
        errors.append(measure(ours, theirs))
        return errors[-1]

    for module in (golden, request.module):
        if hasattr(module, measure.__name__):
            monkeypatch.setattr(module, measure.__name__, measured)
    record_property(PROPERTY, errors)  # filled while the test runs
    return errors


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the largest error of each test over its cases."""
    largest: dict[str, float] = {}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        test = report.nodeid.rsplit("/", 1)[-1].split("[")[0]
        for name, errors in report.user_properties:
            if name == PROPERTY and errors:
                largest[test] = max(largest.get(test, 0.0), *errors)
    if largest:
        terminalreporter.section("largest relative error of each test")
        for test, error in sorted(largest.items()):
            terminalreporter.line(f"{error:.1e}  {test}")
