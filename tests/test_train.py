import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import TO_STRIDE_4

from moco_dl.checkpoint import load, save
from moco_dl.errors import NrcorrectError
from moco_dl.learning.dataset import Batches, PairFile, write_pairs
from moco_dl.learning.losses import end_point_error, mixed_loss, mse, ncc, robust_epe
from moco_dl.learning.pairs import PairOptions, ScenePool
from moco_dl.learning.run import train_into
from moco_dl.learning.train import VALIDATION_SEED, Trainer, TrainOptions, parse_loss
from moco_dl.network import NetworkConfig, PyramidFlowNet
from moco_dl.warp import warp

SMALL = TrainOptions(steps=4, batch=2, pairs=PairOptions(size=64), curriculum=0, warmup=1)
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("validated_on_few")


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


def test_steps_grow_at_first_and_end_at_nothing():
    (share,) = Trainer(TrainOptions(steps=100, warmup=10), CPU).schedule.lr_lambdas
    shares = np.array([share(step) for step in range(101)])
    assert shares[0] == pytest.approx(0.1) and shares[-1] == 0 and 0.9 < shares[9] < 1
    assert (np.diff(shares[:10]) > 0.05).all() and (np.diff(shares[9:]) < 0).all()


def test_training_can_begin_with_weights(tmp_path):
    """The first step after --init is the step of the network that wrote them; the ancestor is remembered."""
    options = TrainOptions(steps=4, batch=2, warmup=1, pairs=PairOptions(size=32))
    first = train_into(tmp_path / "a", options, workers=0)
    again = train_into(tmp_path / "b", TrainOptions(**vars(options) | {"rate": 1e-12}), init=first)
    a, b = load(first), load(again)
    for one, other in zip(a.network.parameters(), b.network.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert b.provenance["ancestor"]["sha256"] == a.sha256 and a.provenance["ancestor"] is None
    with pytest.raises(NrcorrectError, match=r"weights\.pt: weights of a network of another size"):
        train_into(tmp_path / "c", TrainOptions(network=NetworkConfig(stem=12)), init=first)


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
    losses = [trainer.learn(batches[step]) for step in range(80)]
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])


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


def test_weights_for_which_no_room_is_left(tmp_path, monkeypatch):
    def full(path, content):
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    network = PyramidFlowNet(NetworkConfig())
    with pytest.raises(
        NrcorrectError, match=r"weights.pt: cannot write: No space left on device; free some space"
    ):
        save(tmp_path / "weights.pt", network, {})
    assert not list(tmp_path.iterdir())


def test_stored_pairs_train_too(tmp_path):
    path, scenes = tmp_path / "pairs.h5", ScenePool(0, PairOptions(size=64).scene_size)
    write_pairs([path], 5, PairOptions(size=64), scenes, progress=ignore)
    write_pairs([tmp_path / "again.h5"], 5, PairOptions(size=64), scenes, progress=ignore)
    assert path.read_bytes() == (tmp_path / "again.h5").read_bytes()
    pairs = PairFile(path)
    taken = pairs.take(np.array([4, 0]))
    assert len(pairs) == 5 and taken.flow.shape == (2, 2, 64, 64) and taken.frame.shape == (2, 64, 64)
    weights = load(train_into(tmp_path / "run", SMALL, data=path, every=4, workers=0))
    assert weights.training is None
    assert weights.provenance["data"] == {"pairs": 5, "seed": 0} | {
        name: pairs.about[name] for name in ("options", "images", "sample_sha256")
    }
    with pytest.raises(
        NrcorrectError,
        match=r"last.pt: not as the run began: data \(got pairs drawn on the fly, began with 5 pairs of seed 0",
    ):
        train_into(tmp_path / "run", SMALL, resume=True)
    with pytest.raises(NrcorrectError, match="not a dataset of pairs; make one with nrcorrect synth"):
        PairFile(write_other(tmp_path / "other.h5"))


def test_what_training_is_judged_by_is_not_trained_with(tmp_path):
    with pytest.raises(NrcorrectError, match="are those that validation draws"):
        TrainOptions(seed=VALIDATION_SEED)
    scenes = ScenePool(VALIDATION_SEED, PairOptions(size=32).scene_size)
    write_pairs([tmp_path / "p.h5"], 1, PairOptions(size=32), scenes, progress=ignore)
    with pytest.raises(NrcorrectError, match=r"p\.h5: pairs of seed 1000003 are those that validation draws"):
        train_into(tmp_path / "run", SMALL, data=tmp_path / "p.h5")
    assert not (tmp_path / "run").exists()


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
    with pytest.raises(NrcorrectError, match="wanted NAME:WEIGHT"):
        parse_loss("epe:")
    with pytest.raises(NrcorrectError, match="wanted epe, mse, ncc"):
        TrainOptions(loss={"psnr": 1.0})
    with pytest.raises(NrcorrectError, match="wanted NAME:WEIGHT"):
        parse_loss("epe:1,epe:2")
    for weight in ("nan", "inf", "-1", "0"):
        with pytest.raises(NrcorrectError, match=f"loss: got epe:{weight}; wanted a finite weight above 0"):
            TrainOptions(loss=parse_loss(f"epe:{weight}"))
