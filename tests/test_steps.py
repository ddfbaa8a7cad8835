"""What steps of another kind, fine-tuning and compiled steps refuse, by name and before the first step."""
import re
import shutil
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cosine_lr import Learner, ScheduleCB, cosine, digits_dls
from cosine_lr.run import (
    ClosureCB, CompileCB, EMACB, FreezeCB, GradAccumCB, GradClipCB, JoinedOptimizer, MixedPrecisionCB, SAMCB,
    ScheduleFreeCB, decay_groups, layer_groups, split_params)
from torch import nn
from torch.optim import LBFGS, SGD


class FreeSGD(SGD):
    "Has the two modes of schedule-free optimizers, and nothing else"
    def train(self): pass
    def eval(self): pass


def both(params, lr): return JoinedOptimizer(*(SGD([p], lr=lr) for p in params))
def mlp(): return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


def fit(*cbs, opt_func=SGD):
    learn = Learner(mlp(), digits_dls(bs=600), F.cross_entropy, cbs=cbs, opt_func=opt_func)
    learn.fit(1)


lbfgs = partial(LBFGS, max_iter=2)
def half_lbfgs(params, lr): return JoinedOptimizer(SGD([next(params)], lr=lr), LBFGS(params, lr=lr))
REFUSED = {
    'rho must be a finite number, above 0, got rho=0': lambda: SAMCB(0),
    "opt_func must be an optimizer with train(), as schedulefree has, got opt_func='SGD'":
        lambda: fit(ScheduleFreeCB()),
    'opts must be two optimizers or more, got opts=()': lambda: JoinedOptimizer(),
    'opts must be optimizers, got opts=1': lambda: JoinedOptimizer(1, 2),
    'opts must be optimizers whose step needs no closure (one that does trains a model alone, with ClosureCB'
    "), got opts=<class 'torch.optim.lbfgs.LBFGS'>": lambda: fit(opt_func=half_lbfgs),
    'SAMCB and GradAccumCB cannot be combined: SAMCB needs the gradient of one batch alone':
        lambda: fit(SAMCB(), GradAccumCB(2)),
    'ClosureCB and GradAccumCB cannot be combined: ClosureCB needs the gradient of one batch alone':
        lambda: fit(ClosureCB(), GradAccumCB(2), opt_func=lbfgs),
    "ClosureCB and SAMCB cannot be combined: each sets 'the gradient'":
        lambda: fit(ClosureCB(), SAMCB(), opt_func=lbfgs),
    "ScheduleFreeCB and EMACB cannot be combined: each sets 'weights in validation'":
        lambda: fit(ScheduleFreeCB(), EMACB(), opt_func=FreeSGD),
    'JoinedOptimizer takes no closure: each part takes its step': lambda: fit(ClosureCB(), opt_func=both),
    "no parameter is left for prefix 'layer1.'; there are ['0.weight', '0.bias', '2.weight', '2.bias']":
        lambda: split_params(mlp(), 'layer1.'),
    "no parameter is left for prefix '0.weight'": lambda: split_params(mlp(), '0.', '0.weight'),
    'prefixes must name all layers in order, and 2 parameters are in none':
        lambda: layer_groups(mlp(), '2', lr=1.),
    "no parameter is left for prefix 'body'": lambda: layer_groups(mlp(), 'body', lr=1.),
    'decay must be a finite number, above 0 and at most 1, got decay=0':
        lambda: layer_groups(mlp(), '0', lr=1., decay=0),
    'weight_decay must be a finite number, at least 0, got weight_decay=-1':
        lambda: decay_groups(mlp(), -1),
    'FreezeCB needs the name of at least one module or parameter': lambda: FreezeCB(),
    "prefix must be the name of a module or of a parameter, e.g. 'encoder', got prefix=''":
        lambda: FreezeCB(''),
    'until must be a whole number, at least 1, got until=0': lambda: FreezeCB('0.', until=0),
    "FreezeCB: no parameter to freeze in ('body.',); there are ['0.weight', '0.bias'":
        lambda: fit(FreezeCB('body.')),
    'CompileCB trains all parameters, and some are frozen: leave out one of the two':
        lambda: fit(CompileCB(), FreezeCB('0.', until=1)),
    'GradClipCB and CompileCB cannot be combined: it acts inside the step (after_backward), which is one':
        lambda: fit(CompileCB(), GradClipCB(1.)),
    "CompileCB and GradAccumCB cannot be combined: each does the step 'zero_grad'":
        lambda: fit(CompileCB(), GradAccumCB(2)),
    "CompileCB and MixedPrecisionCB cannot be combined: each does the step 'backward'":
        lambda: fit(CompileCB(), MixedPrecisionCB()),
    'ScheduleCB(lr, weight_decay=…) and CompileCB cannot be combined: only lr can change without compiling':
        lambda: fit(CompileCB(), ScheduleCB(lr=cosine(), weight_decay=cosine())),
}


@pytest.mark.parametrize('said', REFUSED)
def test_the_message_of_a_wrong_call(said):
    with pytest.raises(ValueError, match='^' + re.escape(said)): REFUSED[said]()


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    with pytest.raises(RuntimeError, match='CompileCB needs a C.* compiler, and finds none'): fit(CompileCB())


def test_both_passes_of_sam_are_in_16_bits_with_mixed_precision():
    seen, model = [], mlp()
    def loss_func(preds, y):
        seen.append((preds.dtype, torch.is_autocast_enabled('cpu')))
        return F.cross_entropy(preds, y)
    learn = Learner(model, digits_dls(bs=600), loss_func, cbs=[SAMCB(), MixedPrecisionCB()])
    learn.fit(1, valid=False)
    assert seen == 2*len(learn.dls.train)*[(torch.bfloat16, True)]
    assert not torch.is_autocast_enabled('cpu')
