from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import scipy.stats

from mimi_gui.analysis import ratings
from mimi_gui.analysis.rating_session import RatingSession
from mimi_gui.analysis.ratings import PreferenceSession, RatingPage


def test_preference_counts_takes_not_sides() -> None:
    session = PreferenceSession({}, 12)
    for i in range(12):
        at = {button: session.play(button) for button in ("A", "B")}  # type: ignore[arg-type]
        wanted = 1 if i < 8 else 0
        session.answer("tie" if i >= 10 else "A" if at["A"] == wanted else "B")
    result = session.result()
    assert (result.first, result.second, result.ties) == (2, 8, 2)
    assert result.p == pytest.approx(scipy.stats.binomtest(2, 10).pvalue)
    assert "No preference was shown" in result.text
    assert len(session.log()["trials"]) == 12


def test_preference_rules() -> None:
    session = PreferenceSession({}, 5)
    session.play("A")
    with pytest.raises(ValueError, match="play A and B"):
        session.answer("A")
    session.play("B")
    with pytest.raises(ValueError, match="hidden"):
        session.result()
    session.answer("B", underruns=3)
    assert session.num_answered == 0
    for _ in range(5):
        session.play("A")
        session.play("B")
        session.answer("tie")
    assert session.result().p == 1
    assert session.result().ties == 5
    with pytest.raises(ValueError, match="5 to 25"):
        PreferenceSession({}, 4)


def test_preference_errors_are_as_promised() -> None:
    """400 listeners without a preference: at most 5 % are told that they have one."""
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(400):
        session = PreferenceSession({}, 20)
        for vote in rng.integers(0, 2, 20):
            session.play("A")
            session.play("B")
            session.answer("AB"[vote])  # type: ignore[arg-type]
        told += session.result().p <= 0.05
    expected = 2 * scipy.stats.binom.cdf(5, 20, 0.5)
    assert abs(told - 400 * expected) <= 3 * np.sqrt(400 * expected * (1 - expected))


def test_a_page_hides_the_reference() -> None:
    seen: Counter[str] = Counter()
    for _ in range(600):
        page = RatingPage({}, ["K=4", "K=8"])
        assert len(page) == 4
        seen[page.play(0)] += 1
    assert set(seen) == {"K=4", "K=8", ratings.REFERENCE, ratings.ANCHOR}
    assert scipy.stats.chisquare(list(seen.values())).pvalue > 1e-6


def test_a_page_end_to_end() -> None:
    page = RatingPage({"item": "speech.wav"}, ["K=4", "K=8"])
    truth = {ratings.REFERENCE: 100, ratings.ANCHOR: 20, "K=4": 55, "K=8": 80}
    with pytest.raises(ValueError, match="listen"):
        page.rate(0, 50)
    for button in range(len(page)):
        assert not page.is_complete
        with pytest.raises(ValueError, match="hidden"):
            page.scores()
        page.rate(button, truth[page.play(button)])
    assert page.is_complete
    assert page.scores() == truth
    assert page.log()["result"]["scores"] == truth
    for score in (-1, 101):
        with pytest.raises(ValueError, match="0 to 100"):
            page.rate(0, score)


@pytest.mark.parametrize("takes", [[], ["a"] * 2, [ratings.REFERENCE], [str(i) for i in range(9)]])
def test_bad_pages(takes: list[str]) -> None:
    with pytest.raises(ValueError):
        RatingPage({}, takes)


def test_screening_is_bs1534s() -> None:
    assert not ratings.is_screened_out([])
    assert not ratings.is_screened_out([100] * 17 + [50] * 3)  # 15 %
    assert ratings.is_screened_out([100] * 16 + [89] * 4)  # 20 %
    assert not ratings.is_screened_out([90] * 20)


def test_mean_interval_is_scipys() -> None:
    scores = [70, 80, 85, 60, 90]
    mean, low, high = ratings.mean_interval(scores)
    expected = scipy.stats.ttest_1samp(scores, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((77, expected.low, expected.high))
    assert np.isnan(ratings.mean_interval([70])[1])


@pytest.mark.parametrize("rate", [24_000, 44_100, 48_000])
def test_the_anchor_keeps_to_the_mask(rate: int) -> None:
    """By sines: gain within 0.1 dB up to 3.5 kHz, -25 dB at 4 kHz, -50 dB from 4.5 kHz, and no delay."""
    t = np.arange(rate) / rate
    middle = slice(rate // 4, 3 * rate // 4)
    for hz in (100, 1000, 3000, 3500, 4000, 4500, 6000, 11_000):
        x = np.sin(2 * np.pi * hz * t)
        y = ratings.anchor(x, rate)
        assert y.shape == x.shape
        assert y.dtype == np.float32
        gain = 10 * np.log10(np.mean(y[middle].astype(float) ** 2) / np.mean(x[middle] ** 2) + 1e-20)
        if hz <= 3500:
            assert abs(gain) < 0.1
            np.testing.assert_allclose(y[middle], x[middle], atol=0.012)
        else:
            assert gain < (-25 if hz == 4000 else -50)
    with pytest.raises(ValueError, match="nothing above"):
        ratings.anchor(np.zeros(100), 8000)


def test_the_anchor_of_a_short_sound() -> None:
    for length in (0, 1, 10):
        assert ratings.anchor(np.ones(length), 24_000).shape == (length,)


def rated(session: RatingSession, scores: dict[str, int]) -> None:
    """One round, each stimulus given the score of its name."""
    for button in range(len(session.page)):
        session.page.rate(button, scores[session.page.play(button)])
    session.next_round()


def test_rounds_of_ratings_have_student_s_intervals() -> None:
    session = RatingSession({}, ["K=8"], 3)
    for k8, reference in ((70, 100), (80, 95), (75, 100)):
        with pytest.raises(ValueError, match="hidden"):
            session.result()
        rated(session, {"K=8": k8, ratings.REFERENCE: reference, ratings.ANCHOR: 20})
    found = session.result()
    row = next(row for row in found.rows if row.name == "K=8")
    low, high = scipy.stats.t.interval(0.95, 2, loc=75, scale=scipy.stats.sem([70, 80, 75]))
    assert (row.mean, row.low, row.high) == pytest.approx((75, low, high))
    assert [row.name for row in found.rows] == [ratings.REFERENCE, "K=8", ratings.ANCHOR]
    assert "leave these ratings out" not in found.text
    with pytest.raises(ValueError, match="finished"):
        session.next_round()


def test_rounds_screening_stopping_and_rules() -> None:
    session = RatingSession({}, ["K=8"], 3)
    rated(session, {"K=8": 70, ratings.REFERENCE: 60, ratings.ANCHOR: 0})
    with pytest.raises(ValueError, match="hidden until each is rated"):
        session.next_round()
    session.page.play(0)
    session.page.rate(0, 10)
    session.note_gap(0, 2)
    assert session.page.given[0] is None
    session.stop()
    found = session.result()
    assert "Stopped early" in found.text
    assert "1 of 1 rounds: BS.1534-3 would leave these ratings out" in found.text
    assert "(" not in found.text.split(".")[0]  # one round has no interval
    assert session.log()["result"]["intervals"]["K=8"] is None
    for rounds in (0, 11):
        with pytest.raises(ValueError, match="expected 1 to 10"):
            RatingSession({}, ["K=8"], rounds)
    nothing = RatingSession({}, ["K=8"])
    nothing.stop()
    assert "nothing can be said" in nothing.result().text


def test_a_stopped_preference_says_so() -> None:
    session = PreferenceSession({}, 10)
    session.play("A")
    session.void("the device was lost")
    assert (session.num_void, session.plays) == (1, {"A": 0, "B": 0})
    session.stop()
    assert "Stopped early" in session.result().text
    with pytest.raises(ValueError, match="finished"):
        session.play("A")
