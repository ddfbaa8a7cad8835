"""Long runs, and what else a notebook cannot try."""
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from cosine_lr import AccelerateCB, CompileCB, Learner, MixedPrecisionCB, ScheduleCB, cosine, digits_dls

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
from soak import soak

pytestmark = pytest.mark.slow

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA device: float16 and CUDA graphs cannot be tested on a GPU here')


def test_a_short_soak():
    "Memory only: a second of a busy machine says nothing about time; `python tools/soak.py` measures both"
    _, larger, n = soak(600)
    assert n == 595 and larger < 1.05


def test_accelerate_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(ImportError, match='pip install accelerate'): AccelerateCB()


@needs_gpu
@pytest.mark.parametrize('cb', [MixedPrecisionCB('fp16'), CompileCB(mode='reduce-overhead')])
def test_on_a_gpu(cb):
    from cosine_lr import Accuracy, DeviceCB, MetricsCB
    torch.manual_seed(0)
    model, scores = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)), MetricsCB(Accuracy())
    Learner(model, digits_dls(), F.cross_entropy, cbs=[DeviceCB('cuda'), cb, scores, ScheduleCB(lr=.5*cosine())]).fit(5)
    assert scores.rows[-1]['accuracy'] > .85
