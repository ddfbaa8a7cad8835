"""AdamW of the package `schedulefree` under ScheduleFreeCB: its two modes, and a resumed run."""
import pytest
import torch
import torch.nn.functional as F
from cosine_lr import CheckpointCB, Learner, MetricsCB, digits_dls
from cosine_lr.learner import Callback
from cosine_lr.run import ScheduleFreeCB
from schedulefree import AdamWScheduleFree
from torch import nn


class Stop(Exception): pass


class StopAfter(Callback):
    def __init__(self, steps): self.steps = steps
    def after_step(self, learn):
        if learn.steps == self.steps: raise Stop


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def fit(*cbs):
    metrics = MetricsCB(log=lambda line: None)
    cbs_of_all = [ScheduleFreeCB(), metrics]
    learn = Learner(model(), digits_dls(), F.cross_entropy, .01, cbs_of_all, AdamWScheduleFree)
    learn.fit(3, cbs=cbs)
    return [row['valid_loss'] for row in metrics.rows], [p.tolist() for p in learn.model.parameters()]


def test_both_modes_are_those_of_a_loop_by_hand():
    net, dls, losses = model(), digits_dls(), []
    opt = AdamWScheduleFree(net.parameters(), lr=.01)
    for _ in range(3):
        opt.train()
        for x, y in dls.train:
            opt.zero_grad()
            F.cross_entropy(net(x), y).backward()
            opt.step()
        opt.eval()
        with torch.no_grad():
            sums = [(F.cross_entropy(net(x), y)*len(y), len(y)) for x, y in dls.valid]
        losses.append(float(sum(loss for loss, _ in sums)/sum(n for _, n in sums)))
    theirs = [p.tolist() for p in net.parameters()]
    ours, weights = fit()
    assert ours == pytest.approx(losses, rel=1e-6) and weights == theirs


def test_a_resumed_run_ends_with_the_same_bits(tmp_path):
    def keep(name): return CheckpointCB(tmp_path/name, every=1, log=lambda line: None)
    straight = fit(keep('straight'))
    for at in (5, 17, 18, 30):  # 17 batches an epoch
        with pytest.raises(Stop): fit(keep(f'stopped {at}'), StopAfter(at))
        assert fit(keep(f'stopped {at}')) == straight, at
