"""The documents' tables are made from the results file and from nothing else."""

from dataclasses import asdict

from bench import p10_growth
from bench.report import Beside, Result, not_available, slope
from bench.tables import DOCUMENTS, rewrite

RESULTS = {
    "P2": asdict(
        Result(
            98.44,
            "us p50",
            "floor",
            64.0,
            1.54,
            "<= 1.4 x",
            False,
            [Beside("ours", 154.0, "us p99")],
        )
    ),
    "P10": asdict(
        Result(0.7, "exponent", "its limit", 1.0, None, "linear", True, notes=["a note"])
    ),
    "P4 process": asdict(not_available("us p99", "no processes yet")),
}


def test_only_what_is_marked_is_rewritten():
    text = "before\n<!-- bench:table -->\nold\n<!-- /bench -->\nafter\n"
    made = rewrite(text, RESULTS)
    assert made.startswith("before\n<!-- bench:table -->\n| # |")
    assert made.endswith("<!-- /bench -->\nafter\n")
    assert "old" not in made
    rows = made.splitlines()[4:-2]
    assert [row.split(" | ")[0] for row in rows] == ["| P2", "| P4 process", "| P10"]
    assert "98.4 us p50" in rows[0]
    assert "| no |" in rows[0]
    assert "not available: no processes yet" in rows[1]
    assert rewrite(made, RESULTS) == made


def test_the_details_name_what_was_measured_beside_each_line():
    made = rewrite("<!-- bench:details -->\n<!-- /bench -->", RESULTS)
    assert "- P2: ours: 154.0 us p99" in made
    assert "- P10: a note" in made


def test_the_documents_have_the_places_for_the_tables():
    for path in DOCUMENTS:
        assert "<!-- bench:table -->\n" in path.read_text()


def test_a_curve_knows_its_exponent_and_its_knee():
    linear = p10_growth.Curve("a", "us", "", 1.0, [(1, 2.0), (10, 20.0), (100, 200.0)])
    bent = p10_growth.Curve("b", "us", "", 1.0, [(1, 2.0), (10, 20.0), (100, 2000.0)])
    assert round(linear.exponent, 6) == 1.0
    assert linear.knee == "none up to 100"
    assert bent.knee == "between 10 and 100"
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == 2.0
    assert slope([(1.0, 1.0)]) == 0.0
