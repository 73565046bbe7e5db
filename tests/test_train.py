import csv
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import TO_STRIDE_4

from moco_dl.checkpoint import load, save
from moco_dl.dataset import Batches, PairFile, StoredBatches, write_pairs
from moco_dl.errors import NrcorrectError
from moco_dl.losses import end_point_error, mixed_loss, mse, ncc, robust_epe
from moco_dl.network import NetworkConfig, PyramidFlowNet
from moco_dl.pairs import PairOptions, ScenePool
from moco_dl.run import _load, train_into
from moco_dl.train import Trainer, TrainOptions, parse_loss
from moco_dl.warp import warp

SMALL = TrainOptions(steps=4, batch=2, pairs=PairOptions(size=64), curriculum=0, warmup=1)
CPU = torch.device("cpu")


def ignore(done, total):
    pass


def test_losses_by_hand():
    flow, truth = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    truth[:, 0], truth[:, 1] = 3.0, 4.0
    torch.testing.assert_close(end_point_error(flow, truth), torch.full((1, 4, 4), 5.0), atol=1e-3, rtol=0)
    assert robust_epe(flow, truth).item() == pytest.approx(5 / (1 + 0.3 * 5), rel=1e-3)
    image = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    still = torch.zeros(1, 2, 32, 32)
    assert mse(still, image + 2, image).item() == pytest.approx(4, rel=1e-4)
    assert ncc(still, 3 * image + 1, image) < 0.2 < 0.8 < ncc(still, image.flip(2), image)
    both = mixed_loss({"epe": 2.0, "mse": 1.0}, still, still, image + 2, image)
    assert both.item() == pytest.approx(2 * 1e-3 + 4, abs=1e-2)


@pytest.mark.parametrize("name", ["epe", "mse", "ncc"])
def test_every_loss_falls_when_the_flow_gets_better(name):
    random = torch.rand(1, 1, 52, 52, generator=torch.Generator().manual_seed(0))
    scene = torch.nn.functional.avg_pool2d(random, 5, 1)
    truth = torch.full((1, 2, 48, 48), 1.5)
    reference = warp(scene, truth)
    values = [mixed_loss({name: 1.0}, share * truth, truth, reference, scene).item() for share in (0, 0.5, 1)]
    assert values[0] > values[1] > values[2]


def test_random_numbers_of_others_are_left_as_they_are():
    """The same seed makes the same weights, whatever was drawn before."""
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = Trainer(SMALL, CPU)
    assert torch.equal(torch.rand(3), expected)
    second = Trainer(SMALL, CPU)
    for one, other in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_training_can_begin_with_weights(tmp_path):
    """The first step after --init is the step of the network that wrote them; the ancestor is remembered."""
    options = TrainOptions(steps=4, batch=2, warmup=1, pairs=PairOptions(size=32))
    first = train_into(tmp_path / "a", options, workers=0)
    again = train_into(tmp_path / "b", TrainOptions(**vars(options) | {"rate": 1e-12}), init=first)
    a, b = load(first), load(again)
    for one, other in zip(a.network.parameters(), b.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert b.provenance["ancestor"]["sha256"] == a.sha256 and a.provenance["ancestor"] is None
    with pytest.raises(NrcorrectError, match="another size"):
        Trainer(TrainOptions(network=NetworkConfig(stem=12)), CPU).begin_with(a)


def test_training_stops_in_time_and_can_go_on(tmp_path):
    train_into(tmp_path, SMALL, workers=0, hours=1e-9)
    assert len((tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()) == 2
    assert load(tmp_path / "last.pt").training["step"] == 1
    assert load(tmp_path / "weights.pt").provenance["steps_taken"] == 1
    train_into(tmp_path, SMALL, workers=0, resume=True)
    assert load(tmp_path / "last.pt").training["step"] == SMALL.steps


def test_a_few_steps_lower_the_loss():
    options = TrainOptions(
        steps=200,
        batch=8,
        rate=2e-3,
        warmup=5,
        pairs=PairOptions(size=64, photons=(50.0, 60.0), defects=0.0),
        network=TO_STRIDE_4,  # learns sooner than the default
    )
    trainer, batches = Trainer(options, CPU), Batches(options)
    losses = [trainer.learn(batches[step]) for step in range(100)]
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])


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


def test_training_that_diverges_stops(tmp_path):
    options = TrainOptions(**vars(SMALL) | {"rate": 1e30})
    with pytest.raises(NrcorrectError, match=r"the loss is nan at step \d; try a lower --rate"):
        train_into(tmp_path, options, workers=0)
    assert not (tmp_path / "weights.pt").exists()


def test_gradients_that_are_no_numbers_spoil_no_weights(tmp_path):
    trainer = Trainer(TrainOptions(**vars(SMALL) | {"loss": {"epe": 1e38}}), CPU)
    before = [values.clone() for values in trainer.network.parameters()]
    with pytest.raises(NrcorrectError, match=r"the gradient of the loss is .* at step 1; .* weights in --loss"):
        trainer.learn(Batches(SMALL)[0])
    assert all(map(torch.equal, before, trainer.network.parameters()))


def test_two_runs_in_one_folder(tmp_path, monkeypatch):
    def meanwhile(self, pairs):
        with pytest.raises(NrcorrectError, match="another run goes on here; choose another folder"):
            train_into(tmp_path, SMALL, workers=0)
        self.step += 1
        return 0.0

    pytest.importorskip("fcntl")
    monkeypatch.setattr("moco_dl.train.VALIDATION_BATCHES", 1)
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


@pytest.mark.parametrize(
    "change",
    [
        dict.clear,
        lambda state: state.pop("optimiser"),
        lambda state: state.update(optimiser={"state": {}, "param_groups": []}),
        lambda state: state.update(step=-5),
        lambda state: state.update(log=[{}]),
    ],
)
def test_a_damaged_state_of_training_is_told(tmp_path, change):
    trainer = Trainer(SMALL, CPU)
    state = trainer.state()
    change(state)
    save(tmp_path / "last.pt", trainer.network, {}, state)
    with pytest.raises(NrcorrectError, match="resume: the training state is damaged"):
        train_into(tmp_path, SMALL, workers=0, resume=True)


class TooLarge(Batches):
    def __getitem__(self, step):
        return np.empty(2**50)


def test_more_workers_than_processors_may_be_wanted():
    assert len(next(_load(Batches(SMALL), 0, 9)).frame) == 2


def test_workers_that_have_no_room_are_told(monkeypatch):
    def no_room(self):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("moco_dl.run.DataLoader.__iter__", no_room)
    with pytest.raises(NrcorrectError, match=r"Read-only file system; they need room .* --workers 0"):
        next(_load(Batches(SMALL), 0, 1))


def test_a_log_that_was_lost_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr("moco_dl.train.VALIDATION_BATCHES", 1)
    train_into(tmp_path, SMALL, workers=0)
    log = (tmp_path / "log.csv").read_bytes()
    (tmp_path / "log.csv").unlink()
    train_into(tmp_path, SMALL, workers=0, resume=True)
    assert (tmp_path / "log.csv").read_bytes() == log


def test_a_worker_that_is_out_of_memory_is_told():
    with pytest.raises(MemoryError):
        next(_load(TooLarge(SMALL), 0, 1))


def test_weights_for_which_no_room_is_left(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    network = PyramidFlowNet(NetworkConfig())
    with pytest.raises(NrcorrectError, match=r"weights.pt: cannot write weights: No space left on device$"):
        save(tmp_path / "weights.pt", network, {})
    assert not list(tmp_path.iterdir())


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
    with pytest.raises(NrcorrectError, match="resume: not as the run began: rate; repeat its options"):
        train_into(tmp_path, other, resume=True)


def test_stored_pairs_train_too(tmp_path):
    path, scenes = tmp_path / "pairs.h5", ScenePool(0, PairOptions(size=64).scene_size)
    write_pairs(path, 5, PairOptions(size=64), scenes, progress=ignore)
    write_pairs(tmp_path / "again.h5", 5, PairOptions(size=64), scenes, progress=ignore)
    assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()
    pairs = PairFile(path)
    taken = pairs.take(np.array([4, 0]))
    assert len(pairs) == 5 and taken.flow.shape == (2, 2, 64, 64) and taken.frame.shape == (2, 64, 64)
    weights = load(train_into(tmp_path / "run", SMALL, data=path, every=4, workers=0))
    assert weights.training is None
    assert weights.provenance["data"] == {"pairs": 5, "seed": 0} | {
        name: pairs.about[name] for name in ("options", "images", "sample_sha256")
    }
    with pytest.raises(NrcorrectError, match="resume: not as the run began: data; repeat its options"):
        train_into(tmp_path / "run", SMALL, resume=True)
    with pytest.raises(NrcorrectError, match="not a dataset of pairs; make one with nrcorrect synth"):
        PairFile(write_other(tmp_path / "other.h5"))


@pytest.mark.parametrize("workers", [0, 1])
def test_pairs_that_are_gone_while_they_are_read_are_told_in_one_line(tmp_path, workers):
    options = PairOptions(size=32)
    write_pairs(tmp_path / "p.h5", 2, options, ScenePool(0, options.scene_size), progress=ignore)
    batches = StoredBatches(PairFile(tmp_path / "p.h5"), SMALL)
    (tmp_path / "p.h5").unlink()
    with pytest.raises(NrcorrectError, match=r"\A.*p\.h5: cannot read: No such file.*\Z"):
        next(_load(batches, 0, workers))


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(NrcorrectError, match="cannot write: Not a directory"):
        train_into(tmp_path / "file" / "run", SMALL, workers=0)


def write_other(path):
    import h5py

    with h5py.File(path, "w") as file:
        file["mov"] = 1
    return path


def test_loss_option():
    assert parse_loss("epe") == {"epe": 1.0}
    assert parse_loss("epe:1, ncc:0.1") == {"epe": 1.0, "ncc": 0.1}
    with pytest.raises(NrcorrectError, match="wanted NAME:WEIGHT"):
        parse_loss("epe:much")
    with pytest.raises(NrcorrectError, match="wanted epe, mse, ncc"):
        TrainOptions(loss={"psnr": 1.0})
    with pytest.raises(NrcorrectError, match="wanted NAME:WEIGHT"):
        parse_loss("epe:1,epe:2")
    for weight in ("nan", "inf", "-1", "0"):
        with pytest.raises(NrcorrectError, match=f"loss: got epe:{weight}; wanted a weight above 0"):
            TrainOptions(loss=parse_loss(f"epe:{weight}"))
