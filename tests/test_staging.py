import os
import re
import shutil
from pathlib import Path

import pytest

from moco_dl.errors import NrcorrectError
from moco_dl.staging import leftovers, refuse_existing, refuse_inputs, staged


def test_failure_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged([tmp_path / "a", tmp_path / "b"]) as parts:
        parts[0].write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_is_told(tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    told = (
        "m: cannot write: No such file or directory; if .*results was removed in the meantime, make it and run"
    )
    with pytest.raises(NrcorrectError, match=told), staged([folder / "m"]) as parts:
        shutil.rmtree(folder)
        parts[0].write_text("late")


def test_existing_files_are_refused(tmp_path):
    path = tmp_path / "m.tif"
    refuse_existing([path], overwrite=False)
    left = tmp_path / "m.tif.1234abcd.part"
    left.touch()
    with pytest.raises(NrcorrectError, match=r"m.tif.1234abcd.part: exists \(left by a run that was killed"):
        refuse_existing([path], overwrite=False)
    left.unlink()
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


def test_a_second_run_does_not_begin(tmp_path):
    out = tmp_path / "m.tif"
    with staged([out]) as parts:
        parts[0].write_text("first")
        with pytest.raises(NrcorrectError, match="left by a run that was killed, or still goes on"):
            with staged([out]):
                pytest.fail("it began")
    assert out.read_text(encoding="utf-8") == "first" and list(tmp_path.iterdir()) == [out]


def test_two_runs_that_begin_at_once_do_not_share_an_output(tmp_path, monkeypatch):
    out = tmp_path / "m.tif"
    with staged([out]) as parts:
        parts[0].write_text("first")
        monkeypatch.setattr("moco_dl.staging.refuse_existing", lambda *_, **__: None)  # it was not there yet
        with pytest.raises(NrcorrectError, match="another run has begun to write it"), staged([out]):
            pytest.fail("the second began")
    assert out.read_text(encoding="utf-8") == "first" and list(tmp_path.iterdir()) == [out]


def test_of_two_runs_that_may_overwrite_the_second_goes_on(tmp_path):
    """The first one notices, and neither writes into what is the other's."""
    out = tmp_path / "m.tif"
    with pytest.raises(NrcorrectError, match="was removed while it was written; run it again"):
        with staged([out], overwrite=True) as first:
            with staged([out], overwrite=True) as second:
                assert first != second and not first[0].exists()
                second[0].write_text("second")
    assert out.read_text(encoding="utf-8") == "second" and list(tmp_path.iterdir()) == [out]


def test_what_a_killed_run_left_is_removed_if_that_is_said(tmp_path):
    out, other, notes = (tmp_path / name for name in ("m.tif", "m.tiff.12345678.part", "m.tif.part"))
    for name in ("m.tif.0123cdef.part", "m.tif.12345678.part"):
        (tmp_path / name).write_text("left by a run that was killed")
    other.write_text("of another output")
    notes.write_text("somebody's own, as what is being downloaded")
    assert len(leftovers(out)) == 2
    assert tmp_path / "m.tif.12345678.part" not in leftovers(tmp_path / "m")
    with staged([out], overwrite=True) as parts:
        parts[0].write_text("new")
    assert out.read_text(encoding="utf-8") == "new" and set(tmp_path.iterdir()) == {out, notes, other}


def test_what_appears_in_the_meantime_is_kept(tmp_path):
    out = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(NrcorrectError, match="b: exists, made by another program"), staged(out) as parts:
        for part in parts:
            part.write_text("ours")
        out[1].write_text("theirs")
    assert out[1].read_text(encoding="utf-8") == "theirs" and list(tmp_path.iterdir()) == [out[1]]


@pytest.mark.parametrize("overwrite", [False, True])
def test_links_pipes_and_devices_are_never_replaced(tmp_path, overwrite):
    link, pipe = tmp_path / "link.tif", tmp_path / "pipe.tif"
    link.symlink_to(tmp_path / "nowhere")
    os.mkfifo(pipe)
    for out, kind in ((link, "a link"), (pipe, "a device or pipe"), (Path(os.devnull), "a device or pipe")):
        with (
            pytest.raises(NrcorrectError, match=f"{re.escape(str(out))}: is {kind}"),
            staged([out], overwrite=overwrite),
        ):
            pytest.fail("it would have been replaced")
    assert link.is_symlink() and pipe.is_fifo()


def test_an_input_by_any_name_is_no_output(tmp_path):
    movie, linked, left = tmp_path / "m.tif", tmp_path / "linked.tif", tmp_path / "out.tif.12345678.part"
    movie.write_text("data")
    linked.hardlink_to(movie)
    left.symlink_to(movie)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refuse_inputs([tmp_path / "other.tif"], [movie, tmp_path / "loop"])
    for out in (movie, tmp_path / "." / "m.tif", linked, tmp_path / "out.tif"):
        with pytest.raises(NrcorrectError, match="is an input; choose another output"):
            refuse_inputs([out], [movie])


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


def test_what_cannot_be_replaced_leaves_the_result_beside_it(tmp_path, monkeypatch):
    """As on Windows, while another program has it open; the other outputs get their names."""
    out = [tmp_path / name for name in "abc"]
    replace = type(out[0]).replace

    def refused(self, target):
        if target in out[1:]:
            raise PermissionError(13, "The process cannot access the file")
        replace(self, target)

    monkeypatch.setattr(type(out[0]), "replace", refused)
    told = (
        r"b, .*c: cannot be replaced: The process cannot access the file; close what has it open, then rename"
    )
    with pytest.raises(NrcorrectError, match=told) as raised, staged(out) as parts:
        for path, part in zip(out, parts, strict=True):
            part.write_text(f"all of {path.name}")
    assert sorted(tmp_path.iterdir()) == sorted([out[0], *parts[1:]])
    assert [path.read_text(encoding="utf-8") for path in (out[0], *parts[1:])] == [
        "all of a",
        "all of b",
        "all of c",
    ]
    assert all(str(part) in str(raised.value) for part in parts[1:]) and "\n" not in str(raised.value)
