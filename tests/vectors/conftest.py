"""Makes one test of every case found, and says after the run what was replayed and what was not, and why."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.vectors.documents import Case, cases_of, documents, not_read
from tests.vectors.table import TABLE, NotRun

OWN_DATA = Path(__file__).parent / "data"
_RUN = pytest.StashKey[Counter[str]]()
_NOT_RUN = pytest.StashKey[Counter[tuple[str, str]]]()
_NOT_READ = pytest.StashKey[list[Path]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--vectors", action="append", metavar="DIR", help="replay the vectors below DIR instead of the project's own"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_RUN] = Counter()
    config.stash[_NOT_RUN] = Counter()
    config.stash[_NOT_READ] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "vector" not in metafunc.fixturenames:
        return
    given = metafunc.config.getoption("--vectors", default=None)
    folders = [Path(folder) for folder in given] if given else [OWN_DATA]
    try:
        cases = [case for path in documents(folders) for case in cases_of(path)]
    except (OSError, ValueError) as problem:
        raise pytest.UsageError(f"--vectors: {problem}") from None
    metafunc.config.stash[_NOT_READ] += not_read(folders)
    wanted: list[Case] = []
    for case in cases:
        runner = TABLE.get((case.stem, case.kind))
        if isinstance(runner, NotRun):
            metafunc.config.stash[_NOT_RUN][case.file, runner.reason] += 1
        else:
            wanted.append(case)
    metafunc.parametrize("vector", wanted, ids=[f"{case.file}:{case.name}" for case in wanted])


@pytest.fixture
def count_run(request: pytest.FixtureRequest) -> Counter[str]:
    return request.config.stash[_RUN]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    run, not_run = config.stash[_RUN], config.stash[_NOT_RUN]
    if not run and not not_run:
        return
    terminalreporter.section(f"vectors: {run.total()} cases replayed, {not_run.total()} not")
    for file, count in sorted(run.items()):
        terminalreporter.line(f"replayed {count:5} {file}")
    for (file, reason), count in sorted(not_run.items()):
        terminalreporter.line(f"not run  {count:5} {file}: {reason}")
    for path in config.stash[_NOT_READ]:
        terminalreporter.line(f"not read       {path.parent.name}/{path.name}: no .json")
