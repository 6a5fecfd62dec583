"""What the page after a listening test says."""

from __future__ import annotations

from mimi_gui.analysis.abx import ABXResult
from mimi_gui.analysis.listening import binomial_p, clopper_pearson
from mimi_gui.analysis.ratings import PreferenceResult
from mimi_gui.analysis.staircase import StaircaseResult
from mimi_gui.ui.result_page import abx_outcome, preference_outcome, staircase_outcome


def test_a_result_says_its_sentence_once() -> None:
    for correct in (10, 15):
        run = ABXResult(correct, 16, 16, binomial_p(correct, 16), clopper_pearson(correct, 16), False, False)
        outcome = abx_outcome(run)
        assert outcome.title not in outcome.text
        assert outcome.full == run.text
    votes = preference_outcome(PreferenceResult(2, 5, 3, 0.4531), ("First one", "Second one"))
    assert votes.title not in votes.text
    assert votes.title in votes.full


def test_a_staircase_claims_nothing_beyond_its_levels() -> None:
    def words(low: float, high: float) -> str:
        return staircase_outcome(StaircaseResult(low, (low, high), 2, 40), (1, 2, 4), 40).rows[0].words

    assert words(0.5, 0.8) == "below 1"
    assert words(0.5, 3.21) == "below 1 to 3.2"
    assert words(1.5, 3.21) == "1.5 to 3.2"
    assert words(1.5, 7.0) == "1.5 to above 4"
    assert words(6.0, 8.0) == "above 4"
