import os

import pytest
import torch

from moco_dl.checkpoint import load, save
from moco_dl.errors import NrcorrectError
from moco_dl.network import NetworkConfig, PyramidFlowNet


def test_what_is_saved_is_loaded(tmp_path):
    torch.manual_seed(0)
    network = PyramidFlowNet(NetworkConfig(stem=8))
    save(tmp_path / "w.pt", network, {"seed": 3})
    loaded = load(tmp_path / "w.pt")
    assert loaded.provenance == {"seed": 3} and len(loaded.sha256) == 64 and loaded.training is None
    assert loaded.network.config == NetworkConfig(stem=8)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value)
    assert list(tmp_path.iterdir()) == [tmp_path / "w.pt"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "w.pt"
    with pytest.raises(NrcorrectError, match="cannot read weights: No such file"):
        load(path)
    path.write_text("hello")
    with pytest.raises(NrcorrectError, match="not a weights file; name a file that nrcorrect train wrote"):
        load(path)
    for content in ({"state_dict": {}}, [1], torch.zeros(3)):
        torch.save(content, path)
        with pytest.raises(
            NrcorrectError, match="not weights of this tool; name a file that nrcorrect train wrote"
        ):
            load(path)


class Runs:
    """Something that makes a folder when it is loaded."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_nothing_in_a_weights_file_is_run(tmp_path):
    save(tmp_path / "w.pt", PyramidFlowNet(NetworkConfig(stem=8)), {})
    content = torch.load(tmp_path / "w.pt", weights_only=True)
    torch.save(content | {"provenance": Runs(tmp_path / "made")}, tmp_path / "w.pt")
    with pytest.raises(NrcorrectError, match="not a weights file"):
        load(tmp_path / "w.pt")
    assert list(tmp_path.iterdir()) == [tmp_path / "w.pt"]


def test_unknown_architecture_and_damage_are_errors_not_fallbacks(tmp_path):
    path = tmp_path / "w.pt"
    save(path, PyramidFlowNet(), {})
    content = torch.load(path, weights_only=True)
    torch.save(content | {"architecture": "PyramidFlowNet-9"}, path)
    with pytest.raises(NrcorrectError, match="holds architecture 'PyramidFlowNet-9'; this version knows"):
        load(path)
    for config in ([64], content["config"] | {"state": []}):
        torch.save(content | {"config": config}, path)
        with pytest.raises(NrcorrectError, match="damaged weights"):
            load(path)
    name, values = content["state"].popitem()
    torch.save(content | {"state": content["state"] | {name: values * torch.nan}}, path)
    with pytest.raises(NrcorrectError, match="damaged weights"):
        load(path)
    torch.save(content, path)
    with pytest.raises(NrcorrectError, match="damaged weights"):
        load(path)
