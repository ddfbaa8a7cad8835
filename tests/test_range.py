"""`LRFinderCB` and the options of `lr_find`: the cases that a reader of 06_finder does not want to see."""
import math
import os
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import Accuracy, Callback, CancelFitException, Learner, LRFinderCB, MetricsCB, RecorderCB
from cosine_lr import ScheduleCB, cosine, digits_dls, linear, lr_find


def mlp(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def learner(*cbs, **kw): return Learner(mlp(), digits_dls(), F.cross_entropy, cbs=cbs, **kw)


momentum = partial(torch.optim.SGD, momentum=.9)


# --- LRFinderCB ---

def test_the_posts_finder_climbs_until_the_loss_is_twice_its_lowest():
    finder = LRFinderCB(lr_mult=1.3)
    learner(finder, lr=1e-4).fit(50)
    assert finder.epochs == list(range(len(finder.lrs))) and finder.t_iter == 850
    assert np.allclose(finder.lrs, 1e-4 * 1.3**np.arange(len(finder.lrs)))
    assert finder.losses[-1] > 2*finder.min and len(finder.losses) < 60


def test_it_sets_every_param_group_and_a_nan_stops_it():
    def groups(params, lr):
        return torch.optim.SGD([dict(params=[p], lr=lr*k) for k, p in enumerate(params, 1)])
    def nan_after_5(preds, y): return F.cross_entropy(preds, y) * (math.nan if len(finder.losses) == 5 else 1)
    finder = LRFinderCB(lr_mult=2)
    learn = Learner(nn.Linear(64, 10), digits_dls(), nan_after_5, lr=1e-4, cbs=[finder], opt_func=groups)
    learn.fit(1)
    assert len(finder.losses) == 6 and math.isnan(finder.losses[-1])
    assert [g['lr'] for g in learn.opt.param_groups] == [1e-4*2**5, 2e-4*2**5]


def test_without_a_climb_the_cosine_alone_remains():
    annealed = LRFinderCB(lr_mult=1, anneal=True)
    learner(annealed, lr=.5).fit(5)
    assert len(annealed.lrs) == annealed.t_iter == 85
    assert np.allclose(annealed.lrs, .5*cosine()(np.arange(85)/85))
    assert (annealed.cosine_annealing(0), annealed.cosine_annealing(85)) == (1, 0)


@pytest.mark.parametrize('wrong', [0, -1, math.nan, True, '2'])
def test_a_growth_that_is_none_is_refused(wrong):
    with pytest.raises(ValueError, match='lr_mult'): LRFinderCB(wrong)


# --- lr_find ---

def test_a_linear_ladder_and_param_groups_with_rates_of_their_own():
    def two_rates(params, lr):
        return torch.optim.SGD([dict(params=[p], lr=lr*k) for k, p in zip((1, 1, 10, 10), params)], lr=lr)
    seen = []
    class Rates(Callback):
        def after_step(self, learn): seen.append([g['lr'] for g in learn.opt.param_groups])
    learn = learner(Rates(), opt_func=two_rates)
    straight = lr_find(learn, start=.01, stop=2, steps=50, sweeps=1, ladder=linear)
    ladder = np.linspace(.01, 2, 50)
    assert np.allclose(straight.lrs, ladder[:len(straight.lrs)]) and straight.ends == ['climbed']
    assert np.allclose(seen, np.outer(ladder, [.1, .1, 1, 1]))  # the fastest climbs, the others follow
    assert straight.own == [.1, .1, 1., 1.] and 'base' not in straight.reason


def test_the_validation_loss_has_no_noise_from_the_batches_and_is_not_worth_its_price_here():
    found = lr_find(learner(opt_func=momentum, lr=.1))
    valid = lr_find(learner(opt_func=momentum), sweeps=2, valid=True)
    noise = [np.nanstd(np.diff(sweeps.losses[:, :20])) for sweeps in (valid, found)]
    assert noise[0] < noise[1]/10
    assert 'disagree' in valid.reason
    assert np.median(valid.rules['valley']) < np.median(found.rules['valley'])/10
    assert np.allclose(found.lrs, np.geomspace(1e-6, 100, 140)[:len(found.lrs)])  # even in the logarithm
    assert .02 < found.suggestion < 1 and 'small data' not in found.reason


def test_the_posts_rule_stops_no_later_than_ours():
    found = lr_find(learner(opt_func=momentum))
    posts = [int(np.argmax(losses > 2*np.minimum.accumulate(losses))) for losses in found.losses]
    ours = np.isfinite(found.losses).sum(1) - 1
    assert all(0 < post <= our for post, our in zip(posts, ours))


def test_those_that_keep_score_take_no_part_in_a_sweep():
    rec, scores = RecorderCB(), MetricsCB(Accuracy(), log=lambda line: None)
    learn = learner(rec, scores, ScheduleCB(momentum=cosine(.9, .8)), opt_func=momentum)
    learn.fit(1)
    before = len(rec['loss']), list(scores.rows)
    lr_find(learn, sweeps=1, stop=1e-3)
    assert (len(rec['loss']), scores.rows) == before


class Enough(Callback):
    def after_step(self, learn):
        if learn.steps == 30: raise CancelFitException


class Log(Callback):
    def __init__(self, file): self.file = file


@pytest.mark.parametrize('wrong', [
    dict(start=1, stop=.1), dict(start=-1), dict(start='low'), dict(steps=3), dict(sweeps=0),
    dict(ladder=cosine), dict(diverged=.5), dict(smoothing=1)], ids=str)
def test_a_wrong_argument_is_named(wrong):
    name = 'stop' if 'stop' in wrong else next(iter(wrong))
    with pytest.raises(ValueError, match=name): lr_find(learner(), **wrong)


def test_what_is_no_learner_and_callbacks_in_the_way_are_named():
    with pytest.raises(TypeError, match='learn must be a Learner'): lr_find(mlp())
    with pytest.raises(ValueError, match="one of .'Enough'. ended it"): lr_find(learner(Enough()))
    with open(os.devnull) as file, pytest.raises(ValueError, match='cannot put back learn.cbs.0.file'):
        lr_find(learner(Log(file)))


def test_lazy_layers_are_refused_before_anything_changes():
    lazy = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(10))
    learn = Learner(lazy, digits_dls(), F.cross_entropy)
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match='model.0.weight has no values yet'): lr_find(learn)
    assert torch.equal(torch.get_rng_state(), state) and isinstance(lazy[0], nn.LazyLinear)
    learn.fit(1, cbs=RecorderCB())  # as if nobody had asked
    assert lr_find(learn, sweeps=1).suggestion
