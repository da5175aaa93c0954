"""The conformance suite on Kraken's adapter and its simulated venue."""

from examining import every_exam, holds, marks, sit

VENUE = "kraken"
pytestmark = marks


@every_exam
def test_the_adapter_passes_the_examination(exam, suite, score, record_property):
    sit(exam, suite, score, record_property)


def test_the_readme_says_the_measured_score(score):
    holds(score)
