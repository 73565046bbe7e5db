import runpy
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_compare_movies(movie_file, capsys):
    runpy.run_path(str(EXAMPLES / "compare_movies.py"))["main"]([str(movie_file)])
    header, row = capsys.readouterr().out.splitlines()
    assert len(header.split("\t")) == len(row.split("\t")) == 6
    correlation, _, shift, flow = (list(map(float, part.split(", "))) for part in row.split("\t")[1:5])
    raw, rigid, corrected = correlation
    assert raw < rigid < corrected <= 1
    for raw, rigid, corrected in (shift, flow):
        assert max(rigid, corrected) < 0.3 * raw
    assert flow[2] < 0.5 * flow[1]  # shifts leave what is not rigid


def test_before_after_uses_what_there_is(tmp_path, monkeypatch):
    """The whole picture takes a while; the same script on a shorter movie."""
    script = runpy.run_path(str(EXAMPLES / "before_after.py"))
    options = script["movie_options"]
    monkeypatch.setitem(script["main"].__globals__, "movie_options", lambda **o: options(**o | {"frames": 12}))
    script["main"](str(tmp_path / "picture.png"))
    assert (tmp_path / "picture.png").stat().st_size > 20_000
