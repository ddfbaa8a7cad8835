"""What 07_post promises of the post's classes and formulas, over more cases than a reader wants to see."""
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cosine_lr import Accuracy, Learner, MetricsCB, RecorderCB, TrainCB, digits_dls
from cosine_lr.learner import Callback
from cosine_lr.post import CallbackList, MomentumCB, MomentumLearner, coded_factor, printed_factor
from cosine_lr.run.handy import Perplexity
from cosine_lr.view.plot import four_figures


def weights(make, **sgd):
    torch.manual_seed(0)
    opt_func = partial(torch.optim.SGD, **sgd)
    learn = make(torch.nn.Linear(64, 10), digits_dls(), F.cross_entropy, lr=.1, opt_func=opt_func)
    learn.fit(2)
    return learn.model.weight.detach()


def test_momentum_in_the_gradients_comes_after_any_train_cb():
    assert torch.equal(weights(partial(MomentumLearner, cbs=[TrainCB()])), weights(MomentumLearner))
    with pytest.raises(ValueError, match="mom must be a finite number from 0 to 1, got mom='0.9'"):
        MomentumCB('0.9')


def test_clipping_sees_the_accumulated_gradient():
    class Clip(Callback):
        def after_backward(self, learn): torch.nn.utils.clip_grad_norm_(learn.model.parameters(), 1.)
    by_hand, by_optimizer = (weights(partial(make, cbs=Clip()), **sgd) for make, sgd in
                             ((MomentumLearner, {}), (Learner, dict(momentum=.85))))
    assert (by_hand - by_optimizer).abs().max() > .01


def test_a_callback_list_takes_callbacks_and_metrics():
    cb_list = CallbackList([Accuracy(), RecorderCB()])
    cb_list.insert(Perplexity())  # into the same `MetricsCB`
    assert len(cb_list) == 2 and repr(cb_list) == "CallbackList(['MetricsCB', 'RecorderCB'])"
    assert [type(cb) for cb in cb_list] == [MetricsCB, RecorderCB]


@pytest.mark.parametrize('wrong', [Accuracy, 'accuracy', lambda learn: None])
def test_what_a_callback_list_refuses(wrong):
    with pytest.raises(TypeError, match='a metric is an object with reset, add, value or compute'):
        CallbackList().insert(wrong)


def test_the_factors_in_runs_of_any_length():
    for t_iter in range(1, 2001): assert (coded_factor(np.arange(t_iter)/t_iter) == 1).all()
    t = np.linspace(0, 1, 1001)
    assert (printed_factor(t[t <= .5]) < 1e-12).all() and (np.diff(printed_factor(t[t > .5])) > 0).all()


def test_the_four_figures_refuse_what_they_cannot_draw():
    run = {'plain': (np.ones(3), np.ones(3))}
    with pytest.raises(TypeError, match='constant must be a dictionary'): four_figures(run['plain'], run)
    with pytest.raises(ValueError, match='axes must be four, got 2'): four_figures(run, run, [None]*2)
