"""What every test run says at its end."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the parity fixtures that nothing answers, so that none is skipped in silence."""
    from parity.counterparts import unanswered
    from parity.fixture import folder, load_all

    fixtures = load_all(folder())
    missing = unanswered(fixtures)
    if missing:
        terminalreporter.section("parity")
        terminalreporter.line(f"{len(missing)} of {len(fixtures)} fixtures have no counterpart:")
        terminalreporter.line(", ".join(missing))
