"""What cannot be stacked is refused by name, before the first step."""
import math
import re
from functools import partial

import numpy as np
import pytest
import torch
from cosine_lr import cosine, linear, position
from cosine_lr.lab.stacked import stack_models, stacked_optimizer
from torch import nn
from torch.optim import SGD, Adagrad, Adam

POS = position(np.arange(10), 10)


def hooked():
    layer = nn.Linear(2, 3)
    layer.weight.register_hook(lambda g: g.clamp(-1, 1))
    return layer


@pytest.mark.parametrize('models, said', [
    ([nn.Linear(2, 3), nn.Linear(2, 4)], "'weight' cannot be stacked: "),
    ([nn.LazyLinear(3)]*2, "'weight' cannot be stacked: "),
    ([nn.Linear(2, 3), nn.Sequential(nn.Linear(2, 3))],
     "models must be of one architecture, and '0.bias' is not in all"),
    ([hooked(), nn.Linear(2, 3)], "'weight' must have no hook of its own: stacked, it would not be called"),
], ids=lambda x: x if isinstance(x, str) else '')
def test_models_that_do_not_stack(models, said):
    with pytest.raises(ValueError, match='^' + re.escape(said)): stack_models(models, torch.arange(2))


def in_two_groups(params, lr): return SGD([dict(params=[p]) for p in params], lr=lr)
def the_first_alone(params, lr): return SGD(list(params)[:1], lr=lr)
def branching(pos): return .1 if pos < .5 else .01
def one_number(pos): return math.cos(pos)
def momentum(x): return dict(hyper=dict(momentum=x))
def betas(x): return dict(opt_func=Adam, hyper=dict(betas=x))


REFUSED = [
    (dict(opt_func=Adagrad), 'opt_func must make an SGD, Adam or AdamW of torch.optim, got Adagrad'),
    (dict(opt_func=partial(Adam, amsgrad=True)), 'Adam in a fleet has no amsgrad, got amsgrad=True'),
    (dict(opt_func=partial(SGD, maximize=True)), 'SGD in a fleet has no maximize, got maximize=True'),
    (dict(opt_func=the_first_alone), "opt_func must take all that the model trains, and leaves out 'bias'"),
    (dict(opt_func=in_two_groups), 'opt_func must make one param group, got 2'),
    (dict(scheds=dict(a=linear(1, -1))), 'lr must be at least 0 all the way, got -0.1'),
    (dict(scheds=dict(a=one_number)), "lr must take an array of progress, as schedules do; 'one_number'"),
    (dict(scheds=dict(a=branching)), "lr must take an array of progress, as schedules do; 'branching' does"),
    (dict(hyper=dict(mom=.9)), "'mom' is no field to schedule here; choose from ['lr', 'momentum', "),
    (dict(hyper=dict(weight_decay=-1.)), 'weight_decay must be at least 0 all the way, got -1.0'),
    (momentum(math.nan), 'momentum must be a finite number all the way, got [nan'),
    (momentum('high'), "momentum must be a number or a schedule, got 'high'"),
    (momentum((.9, .8)), 'momentum must be a number or a schedule, got (0.9, 0.8)'),
    (momentum(10**400), 'momentum must be a number or a schedule, got 1000'),
    (betas(.9), 'betas must be a pair of numbers or schedules, got 0.9'),
    (betas([.9, 1.5]), 'betas[1] must be at least 0 and below 1 all the way, got 1.5'),
]


@pytest.mark.parametrize('wrong, said', REFUSED, ids=lambda x: x if isinstance(x, str) else '')
def test_what_has_no_counterpart(wrong, said):
    right = dict(opt_func=SGD, model=nn.Linear(2, 2), scheds=dict(a=cosine()), hyper={}, pos=POS)
    with pytest.raises(ValueError, match='^' + re.escape(said)): stacked_optimizer(**right | wrong)
