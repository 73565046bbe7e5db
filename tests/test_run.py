"""Runs of training, each in a folder."""

import csv
import itertools
from types import SimpleNamespace

import pytest
import torch

from moco_dl.checkpoint import load, save
from moco_dl.errors import NrcorrectError
from moco_dl.learning.dataset import Batches
from moco_dl.learning.pairs import PairOptions
from moco_dl.learning.run import train_into
from moco_dl.learning.train import Trainer, TrainOptions

SMALL = TrainOptions(steps=4, batch=2, pairs=PairOptions(size=64), curriculum=0, warmup=1)
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("validated_on_few")


def test_training_stops_in_time_and_can_go_on(tmp_path):
    train_into(tmp_path, SMALL, workers=0, hours=1e-9)
    assert len((tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()) == 2
    assert load(tmp_path / "last.pt").training["step"] == 1
    assert load(tmp_path / "weights.pt").provenance["steps_taken"] == 1
    train_into(tmp_path, SMALL, workers=0, resume=True)
    assert load(tmp_path / "last.pt").training["step"] == SMALL.steps


def test_the_time_of_a_resumed_run_goes_on(tmp_path, monkeypatch):
    clock = itertools.count(0, 100)
    monkeypatch.setattr("moco_dl.learning.run.time", SimpleNamespace(monotonic=lambda: next(clock)))
    train_into(tmp_path, SMALL, every=2, workers=0, hours=1e-9)
    train_into(tmp_path, SMALL, resume=True, every=2, workers=0)
    with (tmp_path / "log.csv").open() as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    assert len(seconds) > 1 and seconds == sorted(set(seconds))


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = train_into(tmp_path / "a", SMALL, every=2, workers=0)
    train_into(tmp_path / "b", SMALL, every=2, workers=0, hours=1e-9)
    (tmp_path / "b" / "log.csv").write_text("step,sec")  # as a full disk may leave it
    resumed = train_into(tmp_path / "b", SMALL, resume=True, every=2, workers=0)
    assert resumed.read_bytes() == whole.read_bytes()
    rows = []
    for folder in ("a", "b"):
        with (tmp_path / folder / "log.csv").open() as file:
            rows.append(list(csv.reader(file)))
    assert rows[0][0] == rows[1][0] == ["step", "seconds", "loss", "epe_0.5", "epe_2", "epe_10"]
    assert [row[0] for row in rows[0][1:]] == ["2", "4"] and [row[0] for row in rows[1][1:]] == ["1", "2", "4"]
    assert rows[0][-1][3:] == rows[1][-1][3:]
    assert sorted(path.name for path in (tmp_path / "b").iterdir() if path.name != "loss.png") == [
        "last.pt",
        "log.csv",
        "weights.pt",
    ]


def test_two_runs_in_one_folder(tmp_path, monkeypatch):
    def meanwhile(self, pairs):
        with pytest.raises(NrcorrectError, match="another run goes on here; choose another folder"):
            train_into(tmp_path, SMALL, workers=0)
        self.step += 1
        return 0.0

    pytest.importorskip("fcntl")
    monkeypatch.setattr(Trainer, "learn", meanwhile)
    assert train_into(tmp_path, SMALL, workers=0).exists()


def test_names_that_cannot_be_written_are_told_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "learn", lambda self, pairs: pytest.fail("learned"))
    (tmp_path / "last.pt").symlink_to("/nonexistent/place")
    with pytest.raises(NrcorrectError, match="a run began here"):
        train_into(tmp_path, SMALL, workers=0)
    (tmp_path / "last.pt").unlink()
    with pytest.raises(NrcorrectError, match=r"last\.pt: no such file; begin a run without --resume"):
        train_into(tmp_path, SMALL, workers=0, resume=True)
    trainer = Trainer(SMALL, CPU)
    save(tmp_path / "last.pt", trainer.network, {}, trainer.state())
    (tmp_path / "weights.pt").symlink_to("/nonexistent/place")
    with pytest.raises(NrcorrectError, match=r"weights\.pt: is a link"):
        train_into(tmp_path, SMALL, workers=0, resume=True)


@pytest.mark.parametrize(
    "change",
    [
        dict.clear,
        lambda state: state.pop("optimiser"),
        lambda state: state.update(optimiser={"state": {}, "param_groups": []}),
        lambda state: state.update(step=-5),
        lambda state: state.update(log=[{}]),
        lambda state: state.update(log=[{"step": 1, "seconds": "long", "loss": 1.0}]),
        lambda state: state["schedule"].update(last_epoch="x"),
        lambda state: state["optimiser"]["state"][0].pop("exp_avg"),
        lambda state: state["optimiser"]["state"][0].update(exp_avg_sq=torch.zeros(3)),
        lambda state: state["optimiser"]["state"][0].update(exp_avg="none"),
        lambda state: state["optimiser"]["state"][0]["exp_avg"].fill_(torch.nan),
        lambda state: state["optimiser"]["state"].clear(),
        lambda state: state.update(log={}),
        lambda state: state.update(step=1.0),
    ],
)
def test_a_damaged_state_of_training_is_told(tmp_path, change):
    trainer = Trainer(SMALL, CPU)
    trainer.learn(Batches(SMALL)[0])
    state = trainer.state()
    change(state)
    save(tmp_path / "last.pt", trainer.network, {}, state)
    with pytest.raises(NrcorrectError, match=r"last\.pt: the training state is damaged"):
        train_into(tmp_path, SMALL, workers=0, resume=True)


def test_a_gpu_that_is_full_is_no_damage(tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    trainer = Trainer(SMALL, CPU)
    save(tmp_path / "last.pt", trainer.network, {}, trainer.state())
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", full)
    with pytest.raises(torch.OutOfMemoryError):
        train_into(tmp_path, SMALL, workers=0, resume=True)


def test_weights_are_nothing_to_resume_from(tmp_path):
    save(tmp_path / "last.pt", Trainer(SMALL, CPU).network, {})
    with pytest.raises(NrcorrectError, match=r"last\.pt: no training state in it; wanted the last.pt of a run"):
        train_into(tmp_path, SMALL, workers=0, resume=True)


def test_a_log_that_was_lost_is_written_again(tmp_path):
    train_into(tmp_path, SMALL, workers=0)
    log = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "log.csv").unlink()
    train_into(tmp_path, SMALL, workers=0, resume=True)
    assert (tmp_path / "log.csv").read_bytes() == log


def test_a_worker_that_is_ended_while_weights_are_saved(tmp_path, monkeypatch):
    def ended(*_):
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    monkeypatch.setattr("torch.save", ended)
    told = r"run: DataLoader worker \(pid 7\) is killed by signal: Killed; if memory is short, take fewer"
    with pytest.raises(NrcorrectError, match=told):
        train_into(tmp_path / "run", SMALL, workers=0)


def test_runs_are_not_mixed_up(tmp_path):
    train_into(tmp_path, SMALL, every=4, workers=0)
    with pytest.raises(NrcorrectError, match="a run began here; go on with --resume"):
        train_into(tmp_path, SMALL)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "weights.pt").write_text("of somebody else")
    with pytest.raises(NrcorrectError, match=r"weights\.pt: a run began here"):
        train_into(tmp_path / "other", SMALL)
    other = TrainOptions(**{**vars(SMALL), "rate": 0.5})
    with pytest.raises(NrcorrectError, match=r"rate \(got 0.5, began with .*\); repeat its options"):
        train_into(tmp_path, other, resume=True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NrcorrectError, match="cannot write: Not a directory"):
        train_into(tmp_path / "file" / "run", SMALL, workers=0)
