"""What each venue's file of the conformance suite runs."""

import re
from pathlib import Path

import pytest

from adapters.conformance import EXAMS, SUBJECTS, examine
from engine.certified import CERTIFIED

ROOT = Path(__file__).resolve().parents[2]
marks = [pytest.mark.processes, pytest.mark.timeout(300)]
every_exam = pytest.mark.parametrize("exam", EXAMS, ids=lambda e: f"{e.number}-{e.title}")


def sit(exam, suite, score, record_property):
    """Run one examination, note its mark for the summary, and fail if it failed."""
    mark = examine(exam, suite, SUBJECTS[score.venue].exempt)
    score.marks.append(mark)
    record_property("conformance", [score.venue, mark.number, mark.passed])
    if mark.passed is None:
        pytest.skip(mark.text)
    assert mark.passed, mark.text


def holds(score):
    """Hold the README and the table of certified venues to what was measured."""
    if len(score.marks) < len(EXAMS):
        pytest.skip("only some of the examinations were run")
    readme = (ROOT / "README.md").read_text()
    said = re.findall(rf"^\|.*\b{score.venue} (\d+/\d+)", readme, re.MULTILINE)
    assert said == [str(score)], f"the README's table says {said} of {score.venue}"
    assert CERTIFIED.get(score.venue) == str(score)
