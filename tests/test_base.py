"""`base`: schedules that are a factor on an optimizer's own values."""
import copy
import json
import pickle
import warnings

import numpy as np
import pytest
import torch

from cosine_lr import (
    Callback, CheckpointCB, Learner, RecorderCB, Schedule, ScheduleCB, ScheduleLR, TrainCB, cosine,
    digits_dls, join, linear, restarts, warmup_cosine)
from cosine_lr.run.guards import Plateau
from cosine_lr.run.resume import POLICIES
from cosine_lr.shapes import base

OWN = [.001, .1]
FACTORS = [base*warmup_cosine(start=.1), 2*base, base + .01*cosine(), base*cosine() + base*linear(), 1 - base,
           join([base*linear(0, 1), base*cosine()], at=[.1]), restarts(3, shape=base*cosine())]


def optimizer(own=OWN):
    groups = [dict(params=[torch.zeros(1, requires_grad=True)], lr=lr) for lr in own]
    return torch.optim.AdamW(groups, weight_decay=.01)


@pytest.mark.parametrize('factor', FACTORS, ids=repr)
def test_base_is_part_of_the_algebra(factor):
    text = factor.to_json()
    for again in (eval(repr(factor)), Schedule.from_json(text), pickle.loads(pickle.dumps(factor)),
                  copy.deepcopy(factor)):
        assert again == factor and hash(again) == hash(factor) and again.relative
    for t in (0., .05, .5, 1.):
        with pytest.raises(ValueError, match="give the schedule to ScheduleCB or ScheduleLR"): factor(t)
    assert factor._repr_png_()[:4] == b'\x89PNG' and factor.lint(100) == factor.bound(1).lint(100)
    sched = ScheduleLR(optimizer(), lr=factor, total_steps=50)
    for step in range(50): assert sched.at(step)['lr'] == [factor.bound(lr)(step/50) for lr in OWN]


@pytest.mark.parametrize('policy', POLICIES)
def test_a_factor_resumes_by_every_policy(policy):
    first = ScheduleLR(optimizer(), lr=base*cosine(), weight_decay=base*linear(), total_steps=30)
    for _ in range(10): first.step()
    state, opt_state = json.loads(json.dumps(first.state_dict())), first.optimizer.state_dict()
    opt = optimizer()
    opt.load_state_dict(opt_state) # before the scheduler is made: the rates are those of step 10
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        then = ScheduleLR(opt, lr=base*cosine(), weight_decay=base*linear(), total_steps=60, on_resume=policy)
        then.load_state_dict(state)
        alone = ScheduleLR(optimizer([.1]), lr=base*cosine(), total_steps=60, on_resume=policy)
        plain = ScheduleLR(optimizer([.1]), lr=base*cosine(), total_steps=30)
        for _ in range(10): plain.step()
        alone.load_state_dict(plain.state_dict())
    for step in range(10, 60):
        assert np.allclose(then.at(step)['lr'], [.01*alone.at(step)['lr'][0], alone.at(step)['lr'][0]])


def test_another_rate_of_the_optimizers_own_is_another_plan():
    state = ScheduleLR(optimizer(), lr=base*cosine(), total_steps=30).state_dict()
    other = ScheduleLR(optimizer([.001, .2]), lr=base*cosine(), total_steps=30)
    with pytest.raises(ValueError, match=r'initial_lr: \[0.001, 0.1\] in the state, \[0.001, 0.2\] here'):
        other.load_state_dict(state)


@pytest.mark.parametrize('lr, said', [(.1*cosine(), 'where their own are 0.001, 0.1'),
                                      (warmup_cosine(), "1,000 times the optimizer's own 0.001"),
                                      (base*cosine(), None), ([.001*cosine(), .1*cosine()], None)], ids=repr)
def test_what_a_plan_does_to_the_optimizers_own_rates_is_said_once(lr, said):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        sched = ScheduleLR(optimizer(), lr=lr, total_steps=50)
        for _ in range(10): sched.step()
    texts = [str(w.message) for w in caught if 'base*' in str(w.message)]
    if said is None: assert not texts
    else: assert sum(said in text for text in texts) == 1


def test_a_factor_in_a_learner():
    def opt_func(params, lr):
        weight, bias = params
        return torch.optim.SGD([dict(params=[weight], lr=lr), dict(params=[bias], lr=lr/10)])
    rec = RecorderCB('lr')
    model, loss = torch.nn.Linear(64, 10), torch.nn.functional.cross_entropy
    learn = Learner(model, digits_dls(bs=600), loss, opt_func=opt_func, lr=.5)
    learn.fit(2, cbs=[TrainCB(), ScheduleCB(lr=base*cosine()), rec])
    assert np.allclose(rec['lr'][:, 0], .5*cosine()(np.arange(len(rec['lr']))/len(rec['lr'])))
    assert np.allclose(rec['lr'][:, 1], rec['lr'][:, 0]/10)


def test_a_field_that_is_no_number_has_no_base():
    with pytest.raises(ValueError, match='betas: base stands for a number, and the optimizer has .0.9'):
        ScheduleLR(optimizer(), betas=base*cosine(), total_steps=5)


class Later(Callback):
    "A second param group from epoch 1 on, where there is one"
    def before_epoch(self, learn):
        if learn.epoch and len(learn.opt.param_groups) == 1:
            learn.opt.add_param_group(dict(params=[learn.model.bias], lr=.03))


class Stop(Callback):
    def __init__(self, at): self.at = at
    def after_step(self, learn):
        if learn.steps == self.at: raise KeyboardInterrupt


@pytest.mark.parametrize('at', [5, 17, 18, 40]) # the second epoch begins at step 17
@pytest.mark.parametrize('lr', [[.1*cosine(), base*cosine()], base*cosine()], ids=repr)
def test_a_factor_for_some_groups_or_for_a_later_one_goes_on_after_a_stop(tmp_path, lr, at):
    def fit(*cbs):
        torch.manual_seed(0)
        def opt_func(params, **kw):
            groups = [dict(params=[p], lr=own) for p, own in zip(params, (.2, .03))]
            return torch.optim.SGD(groups if isinstance(lr, list) else groups[:1], momentum=.9, **kw)
        learn = Learner(torch.nn.Linear(64, 10), digits_dls(), torch.nn.functional.cross_entropy,
                        cbs=[ScheduleCB(lr=lr), Later(), *cbs], opt_func=opt_func)
        try: learn.fit(3, valid=False)
        except KeyboardInterrupt: pass
        return [p.tolist() for p in learn.model.parameters()]
    def saver(): return CheckpointCB(tmp_path, every=1, log=len)
    fit(saver(), Stop(at))
    assert fit(saver()) == fit()


def test_a_plateau_on_a_factor():
    rule = Plateau(factor=.5, patience=0)
    sched = ScheduleLR(optimizer(), lr=rule.on(base*linear()), total_steps=10)
    for loss in (1., 2., 3.): rule.add(loss)
    sched.step(5)
    assert [group['lr'] for group in sched.optimizer.param_groups] == [.5*.25*lr for lr in OWN]
    state = json.loads(json.dumps(sched.state_dict()))
    assert state['plan']['initial_lr'] == OWN and 'base' in state['plan']['lr']
    with pytest.raises(ValueError, match='sched must be a schedule or a function of progress'): rule.on(.1)
    with pytest.raises(ValueError, match="what a Plateau's state_dict gives"): rule.load_state_dict({})
