"""ScheduleLR as an ignite handler, plain and in ignite's own wrapper; ignite's schedulers as an oracle."""
import pytest
import torch
import torch.nn.functional as F
from common import momenta, net, plan, problem, rates, sgd, witness
from cosine_lr import constant, cosine, join, linear, position, restarts
from ignite.engine import Engine, Events
from ignite.handlers import ConcatScheduler, CosineAnnealingScheduler, LinearCyclicalScheduler
from ignite.handlers import LRScheduler, PiecewiseLinear
from torch.utils.data import DataLoader, TensorDataset


@pytest.mark.parametrize('wrapped', [False, True])
def test_handler(wrapped):
    model = net()
    opt = sgd(model)
    used, sched = witness(opt), plan(opt, 32)

    def step(engine, batch):
        opt.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        opt.step()
    engine = Engine(step)
    if wrapped: engine.add_event_handler(Events.ITERATION_STARTED, LRScheduler(sched))
    else: engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: sched.step())
    engine.run(DataLoader(TensorDataset(*problem()), 8), max_epochs=4)
    assert used == (rates(32), momenta(32))


def test_simulate_values():
    opt = sgd(net())
    values = LRScheduler.simulate_values(32, plan(opt, 32))
    assert [lr for _, lr in values] == rates(32)
    assert opt.param_groups[0]['lr'] == rates(32)[0]


def test_schedulers_agree():
    T, opt = 60, torch.optim.SGD(net().parameters(), lr=1.)
    def values(cls, **kw): return [v for _, v in cls.simulate_values(num_events=T, param_name='lr', **kw)]
    parts = [LinearCyclicalScheduler(opt, 'lr', .1, .3, cycle_size=40),
             CosineAnnealingScheduler(opt, 'lr', .3, .01, cycle_size=40)]
    concat = [v for _, v in ConcatScheduler.simulate_values(num_events=T, durations=[20], schedulers=parts)]
    milestones = [(0, .1), (15, .4), (45, .4), (60, 0.)]
    pairs = [
        (values(CosineAnnealingScheduler, start_value=.3, end_value=.01, cycle_size=T), cosine(.3, .01)),
        (values(CosineAnnealingScheduler, start_value=.3, end_value=0., cycle_size=20), .3*restarts(3)),
        (values(LinearCyclicalScheduler, start_value=.3, end_value=.1, cycle_size=T),
         join([linear(.3, .1), linear(.1, .3)], at=[.5])),
        (concat, join([linear(.1, .3), cosine(.3, .01)], at=[20/60])),
        (values(PiecewiseLinear, milestones_values=milestones),
         join([linear(.1, .4), constant(.4), linear(.4, 0)], at=[.25, .75]))]
    for theirs, ours in pairs:
        assert max(abs(t - ours(position(s, T))) for s, t in enumerate(theirs)) < 1e-12, ours
