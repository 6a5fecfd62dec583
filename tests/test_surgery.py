from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mimi_gui import surgery
from mimi_gui.codes import CodecInfo, Codes, load_codes, save_codes
from mimi_gui.errors import CodesMismatch
from mimi_gui.surgery import History, Selection

INFO = CodecInfo(digest="sha256:1", model_name="one")


def make(seed: int, k: int = 8, t: int = 50, info: CodecInfo = INFO) -> Codes:
    array = np.random.default_rng(seed).integers(0, 2048, (k, t)).astype(np.int16)
    return Codes(array, t * info.frame_size - 100, info, {"source": f"{seed}.wav"})


@pytest.fixture
def codes() -> Codes:
    return make(0)


@pytest.fixture
def part() -> Selection:
    return Selection((1, 2, 5), 10, 30)


def outside_is_untouched(before: Codes, after: Codes, s: Selection) -> bool:
    mask = np.ones(before.array.shape, dtype=bool)
    mask[list(s.rows), s.start : s.stop] = False
    return bool((before.array[mask] == after.array[mask]).all())


def test_each_edit_keeps_to_the_selection_and_tells(codes: Codes, part: Selection) -> None:
    original = codes.array.copy()
    edited = {
        "swap": surgery.swap_rows(codes, make(1), part, donor_name="b.wav"),
        "shift": surgery.shift(codes, part, 3),
        "drop": surgery.drop(codes, part, 50, seed=4),
        "shuffle": surgery.shuffle(codes, part, seed=4),
        "paste": surgery.paste(codes, surgery.copy(make(1), part), 10),
    }
    for name, after in edited.items():
        assert outside_is_untouched(codes, after, part), name
        assert (after.array != codes.array).any(), name
        assert after.num_samples == codes.num_samples
        (edit,) = surgery.edits(after)
        assert edit["edit"] == name
        assert edit["rows"] == [1, 2, 5]
        assert edit["frames"] == [10, 30]
        json.dumps(dict(after.metadata))
    np.testing.assert_array_equal(codes.array, original)
    assert surgery.edits(codes) == ()


def test_swap_puts_one_text_into_another_voice(codes: Codes) -> None:
    donor = make(1, t=30)
    rows = surgery.semantic_rows(INFO)
    assert rows == (0,)
    assert surgery.acoustic_rows(INFO, 4) == (1, 2, 3)
    after = surgery.swap_rows(codes, donor, Selection(rows, 0, 50))
    np.testing.assert_array_equal(after.array[0, :30], donor.array[0])
    np.testing.assert_array_equal(after.array[0, 30:], codes.array[0, 30:])  # the donor ended
    np.testing.assert_array_equal(after.array[1:], codes.array[1:])
    later = surgery.swap_rows(codes, donor, Selection(rows, 5, 10), donor_start=20)
    np.testing.assert_array_equal(later.array[0, 5:10], donor.array[0, 20:25])
    assert surgery.edits(later)[0]["donor"] == "1.wav"


def test_paste_cuts_what_does_not_fit(codes: Codes) -> None:
    block = surgery.copy(codes, Selection((0, 7), 0, 20))
    late = surgery.paste(codes, block, 40)
    np.testing.assert_array_equal(late.array[[0, 7], 40:], codes.array[[0, 7], :10])
    early = surgery.paste(codes, block, -5)
    np.testing.assert_array_equal(early.array[[0, 7], :15], codes.array[[0, 7], 5:20])
    few = surgery.paste(make(3, k=4), block, 0)
    np.testing.assert_array_equal(few.array[0, :20], codes.array[0, :20])
    with pytest.raises(ValueError, match="no token"):
        surgery.paste(codes, block, 50)


def test_shift_turns_round(codes: Codes, part: Selection) -> None:
    after = surgery.shift(codes, part, 3)
    np.testing.assert_array_equal(after.array[1, 13:30], codes.array[1, 10:27])
    np.testing.assert_array_equal(after.array[1, 10:13], codes.array[1, 27:30])
    np.testing.assert_array_equal(surgery.shift(after, part, -3).array, codes.array)


@pytest.mark.parametrize("percent", [0, 10, 50, 100])
def test_drop_loses_so_many(codes: Codes, part: Selection, percent: float) -> None:
    after = surgery.drop(codes, part, percent, seed=1)
    lost = (after.array[1, 10:30] != codes.array[1, 10:30]).sum()
    assert lost == round(20 * percent / 100)  # no two neighbours are equal in this random row
    for t in range(10, 30):
        column = after.array[[1, 2, 5], t]
        kept = (column == codes.array[[1, 2, 5], t]).all()
        assert kept or (column == after.array[[1, 2, 5], t - 1]).all()
    again = surgery.drop(codes, part, percent, seed=1)
    np.testing.assert_array_equal(again.array, after.array)


def test_drop_at_the_very_beginning_and_at_random(codes: Codes) -> None:
    all_lost = surgery.drop(codes, Selection((0,), 0, 10), 100)
    assert (all_lost.array[0, :10] == codes.array[0, 0]).all()
    random = surgery.drop(codes, Selection((0,), 0, 50), 100, fill="random", seed=2)
    assert (random.array[0] != codes.array[0]).mean() > 0.9
    for percent in (-1, 101):
        with pytest.raises(ValueError, match="0 to 100"):
            surgery.drop(codes, Selection((0,), 0, 10), percent)


def test_shuffle_keeps_the_tokens(codes: Codes, part: Selection) -> None:
    together = surgery.shuffle(codes, part, seed=3)
    columns = {tuple(c) for c in codes.array[[1, 2, 5], 10:30].T}
    assert {tuple(c) for c in together.array[[1, 2, 5], 10:30].T} == columns
    apart = surgery.shuffle(codes, part, together=False, seed=3)
    for k in (1, 2, 5):
        assert sorted(apart.array[k, 10:30]) == sorted(codes.array[k, 10:30])
    assert {tuple(c) for c in apart.array[[1, 2, 5], 10:30].T} != columns


def test_selections_are_cut_to_what_is_there(codes: Codes) -> None:
    assert Selection((3, 3, 99, -1), -5, 500).inside(codes) == Selection((3,), 0, 50)
    assert Selection.everything(codes).inside(codes) == Selection(tuple(range(8)), 0, 50)
    for empty in (Selection((), 0, 5), Selection((0,), 5, 5), Selection((0,), 60, 70), Selection((9,), 0, 5)):
        with pytest.raises(ValueError, match="no token"):
            surgery.shift(codes, empty, 1)


def test_strangers_are_refused(codes: Codes, part: Selection) -> None:
    stranger = make(1, info=CodecInfo(digest="sha256:2", model_name="two"))
    with pytest.raises(CodesMismatch, match="two"):
        surgery.swap_rows(codes, stranger, part)
    with pytest.raises(CodesMismatch, match="two"):
        surgery.paste(codes, surgery.copy(stranger, part), 0)
    unknown = make(1, info=CodecInfo())
    surgery.swap_rows(codes, unknown, part)  # a bare file does not say: allowed
    other_codec = make(1, info=CodecInfo(frame_size=960))
    with pytest.raises(CodesMismatch, match="another codec"):
        surgery.swap_rows(codes, other_codec, part)
    with pytest.raises(CodesMismatch, match="4 codebooks"):
        surgery.swap_rows(codes, make(1, k=4), part)
    with pytest.raises(ValueError, match="no frame there"):
        surgery.swap_rows(codes, make(1), part, donor_start=50)


def test_the_file_tells_the_edits(codes: Codes, part: Selection, tmp_path: Path) -> None:
    after = surgery.shuffle(surgery.shift(codes, part, 2), part)
    back = load_codes(save_codes(tmp_path / "edited.npz", after))
    assert [edit["edit"] for edit in surgery.edits(back)] == ["shift", "shuffle"]
    np.testing.assert_array_equal(back.array, after.array)


def test_history_is_a_value(codes: Codes, part: Selection) -> None:
    start = History.of(codes)
    one = start.do(surgery.shift(codes, part, 1))
    two = one.do(surgery.shuffle(one.codes, part))
    assert two.undo_label == "shuffle"
    assert two.undo().codes is one.codes
    assert two.undo().undo_label == "shift"
    assert two.undo().undo().undo().codes is codes
    assert two.undo().redo().redo().codes is two.codes
    assert start.codes is codes
    assert not start.can_undo
    assert not two.can_redo
    other = two.undo().do(surgery.drop(one.codes, part, 10))
    assert not other.can_redo
    assert len(other.states) == 3
    for _ in range(150):
        other = other.do(codes)
    assert len(other.states) == 100
    assert other.codes is codes


def test_replace_says_another_code_inside_the_selection_only(codes: Codes, part: Selection) -> None:
    array = codes.array.copy()
    array[:, ::5] = 77
    before = Codes(array, codes.num_samples, INFO)
    after = surgery.replace_code(before, part, 77, 3)
    expected = [
        [3 if v == 77 and k in part.rows and part.start <= t < part.stop else v for t, v in enumerate(row)]
        for k, row in enumerate(array.tolist())
    ]
    np.testing.assert_array_equal(after.array, expected)
    (edit,) = surgery.edits(after)
    assert {key: edit[key] for key in ("edit", "old", "new", "count")} == {
        "edit": "replace", "old": 77, "new": 3, "count": 12,
    }  # fmt: skip
    for old, new, words in ((2047, 1, "no token 2047"), (77, 2048, "2048 does not exist")):
        with pytest.raises(ValueError, match=words):
            surgery.replace_code(Codes(np.full((8, 50), 77), 10, INFO), part, old, new)


def test_redo_tells_what_it_brings_back(codes: Codes, part: Selection) -> None:
    history = History.of(codes).do(surgery.shift(codes, part, 1))
    history = history.do(surgery.shuffle(history.codes, part))
    assert (history.undo_label, history.redo_label) == ("shuffle", "")
    history = history.undo()
    assert (history.undo_label, history.redo_label) == ("shift", "shuffle")
    assert (history.undo().undo_label, history.undo().redo_label) == ("", "shift")


def test_a_long_history_of_long_tokens_stays_small() -> None:
    codes = Codes(np.zeros((32, 135_000), np.int16), 0, INFO)  # three hours, 8.6 MB
    history = History.of(codes)
    for _ in range(40):
        history = history.do(codes)
    assert len(history.states) == 256 * 2**20 // codes.array.nbytes
