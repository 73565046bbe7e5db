import os

import pytest

from moco_dl.errors import NrcorrectError
from moco_dl.staging import part_of, refuse_existing, staged


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged([tmp_path / "a", tmp_path / "b"]) as parts:
        parts[0].write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_existing_files_are_refused(tmp_path):
    path = tmp_path / "m.tif"
    refuse_existing([path], overwrite=False)
    part_of(path).touch()
    with pytest.raises(NrcorrectError, match=r"m.tif.part: exists \(left by a run that was killed"):
        refuse_existing([path], overwrite=False)
    part_of(path).unlink()
    path.touch()
    with pytest.raises(NrcorrectError, match=r"m\.tif: exists; choose another output, or --overwrite"):
        refuse_existing([path], overwrite=False)
    refuse_existing([path], overwrite=True)
    with pytest.raises(NrcorrectError, match=r"no directory .*; make it first"):
        refuse_existing([tmp_path / "none" / "m.tif"], overwrite=False)
    with pytest.raises(NrcorrectError, match="is a directory; name a file"):
        refuse_existing([tmp_path], overwrite=True)


def test_names_that_cannot_be_written_are_told(tmp_path):
    with pytest.raises(NrcorrectError, match="cannot write: File name too long; choose another output"):
        refuse_existing([tmp_path / ("m" * 251 + ".tif")], overwrite=False)
    (tmp_path / "m.tif").write_text("a file")
    with pytest.raises(NrcorrectError, match="no directory"):
        refuse_existing([tmp_path / "m.tif" / "out.tif"], overwrite=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="all folders are open to root")
def test_a_folder_that_may_not_be_entered_is_told(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(NrcorrectError, match="cannot write: Permission denied"):
        refuse_existing([tmp_path / "closed" / "m.tif"], overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_two_runs_do_not_share_an_output(tmp_path, overwrite):
    out = tmp_path / "m.tif"
    with staged([out], overwrite=overwrite) as parts:
        parts[0].write_text("first")
        message = "another run writes it" if overwrite else "left by a run that was killed, or still goes on"
        with pytest.raises(NrcorrectError, match=message), staged([out], overwrite=overwrite):
            pytest.fail("the second run began")
        assert parts[0].read_text() == "first"
    assert out.read_text() == "first" and list(tmp_path.iterdir()) == [out]


def test_what_a_killed_run_left_is_replaced_if_that_is_said(tmp_path):
    out = tmp_path / "m.tif"
    part_of(out).write_text("left by a run that was killed")
    with staged([out], overwrite=True) as parts:
        parts[0].write_text("new")
    assert out.read_text() == "new" and list(tmp_path.iterdir()) == [out]


def test_what_appears_in_the_meantime_is_kept(tmp_path):
    out = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(NrcorrectError, match="b: exists, made by another program"), staged(out) as parts:
        for part in parts:
            part.write_text("ours")
        out[1].write_text("theirs")
    assert out[1].read_text() == "theirs" and list(tmp_path.iterdir()) == [out[1]]


def test_a_part_that_another_run_made_is_left_alone(tmp_path):
    out = tmp_path / "m.tif"
    with pytest.raises(NrcorrectError, match="was removed while it was written"), staged([out]) as parts:
        other = tmp_path / "other"
        other.write_text("theirs")
        other.replace(parts[0])
    assert part_of(out).read_text() == "theirs" and not out.exists()


def test_links_are_not_followed(tmp_path):
    out, kept = tmp_path / "m.tif", tmp_path / "kept"
    kept.write_text("data")
    out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(NrcorrectError, match=r"m\.tif: exists"), staged([out]):
        pytest.fail("a link would have been replaced")
    out.unlink()
    part_of(out).symlink_to(kept)
    with pytest.raises(NrcorrectError), staged([out], overwrite=True):
        pytest.fail("the file that a link leads to would have been overwritten")
    assert kept.read_text() == "data"


def test_all_outputs_get_their_names_even_if_a_signal_comes_in_between(tmp_path, monkeypatch):
    out = [tmp_path / "a", tmp_path / "b"]
    replace = type(out[0]).replace

    def interrupted(self, target):
        replace(self, target)
        if target == out[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(type(out[0]), "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), staged(out):
        pass
    assert sorted(tmp_path.iterdir()) == out
