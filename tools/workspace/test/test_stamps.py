"""Digests and stamps."""

from pathlib import Path

from mnssd_workspace.stamps import (
    digest_files,
    digest_texts,
    is_stamped,
    remove_stamp,
    write_stamp,
)


def test_no_two_series_share_a_digest() -> None:
    series = [[], [''], ['', ''], ['a', 'b'], ['ab'], ['ab', ''], ['b', 'a']]
    assert len({digest_texts(texts) for texts in series}) == len(series)


def test_a_file_counts_by_name_content_and_being_there(tmp_path: Path) -> None:
    digests = {digest_files(tmp_path, ['a', 'b'])}
    (tmp_path / 'a').write_text('')
    digests.add(digest_files(tmp_path, ['a', 'b']))
    (tmp_path / 'a').write_text('x')
    digests.add(digest_files(tmp_path, ['a', 'b']))
    (tmp_path / 'a').rename(tmp_path / 'b')
    digests.add(digest_files(tmp_path, ['a', 'b']))
    assert len(digests) == 4
    assert digest_files(tmp_path, ['b', 'a']) in digests


def test_a_stamp_holds_for_one_digest_until_it_is_taken_back(tmp_path: Path) -> None:
    state = tmp_path / 'state'
    remove_stamp(state, 'step')
    assert not is_stamped(state, 'step', 'x')
    write_stamp(state, 'step', 'x')
    assert is_stamped(state, 'step', 'x')
    assert not is_stamped(state, 'step', 'y')
    remove_stamp(state, 'step')
    assert not is_stamped(state, 'step', 'x')
