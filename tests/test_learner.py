"""What a `Learner` takes and what it refuses, with a cure."""
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import (Callback, CancelStepException, Learner, MetricsCB, ScheduleCB, cosine, digits_dls,
                       lr_find)


def layer():
    torch.manual_seed(0)
    return nn.Linear(64, 10)


def learner(dls=None, loss_func=F.cross_entropy, **kw):
    return Learner(layer(), digits_dls() if dls is None else dls, loss_func, **kw)


def trained(dls, **kw):
    learn = learner(dls, **kw)
    learn.fit(2)
    return learn.model.weight.detach()


# --- loaders ---

def as_pair(dls): return dls.train, dls.valid
def as_list(dls): return [dls.train, dls.valid]
def without_valid(dls): return dls.train, None
def bare(dls): return dls.train
def only_train(dls): return SimpleNamespace(train=dls.train)
def as_batches(dls): return list(dls.train)


@pytest.mark.parametrize('form, validated', [(as_pair, True), (as_list, True), (without_valid, False),
                                             (bare, False), (only_train, False)])
def test_forms_of_loaders(form, validated):
    scores = MetricsCB(log=lambda line: None)
    weights = trained(form(digits_dls()), cbs=scores)
    assert torch.equal(weights, trained(digits_dls()))
    assert ('valid_loss' in scores.rows[-1]) == validated


def test_a_list_of_two_batches_is_no_pair():
    batches = as_batches(digits_dls())[:2]
    learn = learner(batches)
    learn.fit(1)
    assert learn.steps == 2 and learn.dls.valid is None


def test_loaders_that_are_set_later():
    learn = learner()
    learn.dls = as_pair(digits_dls())
    learn.fit(1)
    assert learn.steps == 17
    learn.dls = digits_dls().train
    learn.fit(1)
    with pytest.raises(ValueError, match='train must be True, where there is no dls.valid'):
        learn.fit(train=False)


def test_a_range_test_needs_no_validation_set_unless_it_watches_it():
    learn = learner(bare(digits_dls()))
    assert lr_find(learn, sweeps=1).suggestion
    with pytest.raises(TypeError, match='learn.dls.valid must have a length'): lr_find(learn, valid=True)


# --- what is refused, and what to do instead ---

def schedule(): return .1*cosine()


@pytest.mark.parametrize('wrong, message', [
    (dict(model=None), 'model must be a torch.nn.Module, got model=None'),
    (dict(model=nn.Linear), 'model must be a torch.nn.Module, got'),
    (dict(dls=(1, 2, 3)), 'dls must be an object with train and valid, a pair'),
    (dict(dls=None), 'dls must be an object with train and valid'),
    (dict(loss_func=None), 'loss_func must be a function of .*, got loss_func=None'),
    (dict(loss_func=nn.CrossEntropyLoss), r'loss_func must be a function .*, CrossEntropyLoss\(\) perhaps'),
    (dict(opt_func=torch.optim.SGD([torch.ones(1)])), 'opt_func must be a class of optimizers, such as'),
    (dict(opt_func=torch.optim.LBFGS), 'opt_func must be an optimizer whose step needs no closure'),
    (dict(lr=cosine), r'lr must be a number; a schedule goes to a callback, ScheduleCB\(lr=…\)'),
    (dict(lr=schedule()), 'lr must be a number; a schedule goes to a callback'),
    (dict(cbs=ScheduleCB), 'cbs must hold Callback instances, got'),
    (dict(cbs=7), 'cbs must hold Callback instances, got 7'),
], ids=lambda x: '' if isinstance(x, str) else next(iter(x)))
def test_wrong_arguments(wrong, message):
    right = dict(model=layer(), dls=digits_dls(), loss_func=F.cross_entropy)
    with pytest.raises((ValueError, TypeError), match=message): Learner(**(right | wrong)).fit(1)


def test_a_schedule_for_one_fit():
    with pytest.raises(ValueError, match='lr must be a number; a schedule goes to a callback'):
        learner().fit(1, lr=schedule())


def test_a_loss_of_ones_own_needs_no_loss_func():
    class OwnLoss(Callback):
        def get_loss(self, learn): learn.loss = F.cross_entropy(learn.preds, learn.batch[1])
    assert torch.equal(trained(None, loss_func=None, cbs=OwnLoss()), trained(None))


def test_a_callback_can_give_a_closure():
    class WithClosure(Callback):
        def step(self, learn):
            x, y = learn.batch
            def closure():
                learn.opt.zero_grad()
                loss = F.cross_entropy(learn.model(x), y)
                loss.backward()
                return loss
            learn.opt.step(closure)
    learn = learner(cbs=WithClosure(), opt_func=torch.optim.LBFGS)
    learn.fit(1)
    assert learn.loss < 1.7


# --- gradients when a fit begins ---

class Unclear(Callback):
    "Clears gradients in a way that counts on there being some"
    def zero_grad(self, learn):
        for p in learn.model.parameters(): p.grad.zero_()


def test_frozen_parameters_get_no_gradient():
    learn = learner(opt_func=lambda params, lr: torch.optim.SGD(params, lr, weight_decay=.1))
    learn.model.bias.requires_grad_(False)
    before = learn.model.bias.clone()
    class ForWeights(Callback):
        def zero_grad(self, learn): learn.model.weight.grad.zero_()
    learn.fit(1, cbs=ForWeights())
    assert learn.model.bias.grad is None and torch.equal(learn.model.bias, before)


def test_validation_alone_leaves_no_gradients():
    learn = learner(cbs=Unclear())
    learn.fit(train=False)
    assert learn.model.weight.grad is None
    learn.fit(2)
    assert torch.equal(learn.model.weight, trained(None))


def test_a_batch_whose_step_was_cancelled_leaves_no_gradient():
    class First(Callback):
        def after_backward(self, learn):
            if learn.iter == 0: raise CancelStepException
    dls = digits_dls(seed=None)
    rest = [*dls.train][1:]
    learn = learner((list(dls.train), None), cbs=First())
    learn.fit(1)
    other = learner((rest, None))
    other.fit(1)
    assert torch.equal(learn.model.weight, other.model.weight)
