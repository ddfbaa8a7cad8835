"""`ScheduleCB`, `RecorderCB` and `MetricsCB`: the cases that a reader of 05_callback does not want to see."""
import math
import warnings
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import Accuracy, Callback, CancelFitException, DataLoaders, Learner, MetricsCB, RecorderCB
from cosine_lr import ScheduleCB, SingleBatchCB, constant, cosine, digits_dls, join, linear, one_cycle
from cosine_lr import position, warmup_cosine


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def learner(*cbs, **kw): return Learner(mlp(), digits_dls(), F.cross_entropy, lr=.1, cbs=cbs, **kw)
def silent(line): pass


# --- ScheduleCB ---

def test_one_cycle_of_rate_and_momentum_is_what_was_asked_for():
    sched, dip = .2*one_cycle(), join([cosine(.95, .85), cosine(.85, .95)], at=[.3])
    rec, momentum = RecorderCB('lr', 'momentum'), partial(torch.optim.SGD, momentum=.9)
    learner(ScheduleCB(lr=sched, momentum=dip), rec, opt_func=momentum).fit(4)
    steps = [position(step, 68) for step in range(68)]
    assert np.array_equal(rec['lr'], list(map(sched, steps)))
    assert np.array_equal(rec['momentum'], list(map(dip, steps))) and len(rec['loss']) == 68


def test_numbers_of_their_time_are_recorded_and_not_the_tensor_of_today():
    def tensor_betas(params, lr):
        return torch.optim.Adam(params, lr=torch.tensor(lr), betas=(torch.tensor(.9), torch.tensor(.99)))
    rec = RecorderCB('betas')
    learner(ScheduleCB(betas=lambda pos: (linear(.9, .8)(pos), .99)), rec, opt_func=tensor_betas).fit(1)
    assert np.allclose(rec['betas'][[0, -1], 0], [.9, .9 - .1*16/17])


def test_the_last_step_of_a_closed_schedule_is_the_end():
    rec = RecorderCB()
    learner(ScheduleCB(lr=.1*cosine(), end='closed'), rec).fit(2)
    assert rec['lr'][-1] == 0


def test_a_rate_that_is_a_tensor_is_not_written_to():
    rate, rec = torch.tensor(.1), RecorderCB()
    def same(params, lr): return torch.optim.SGD(params, lr=rate)
    learn = learner(ScheduleCB(lr=.1*cosine()), rec, opt_func=same)
    learn.fit(1)
    assert rate == torch.tensor(.1)
    assert learn.opt.param_groups[0]['lr'] < .01 and rec['lr'][-1] < .01      # the plan's own is


def test_there_is_nothing_to_schedule_in_validation_and_numpys_numbers_will_do():
    learner(ScheduleCB(lr=.1*cosine())).fit(1, train=False)
    learner(ScheduleCB(lr=.1*cosine())).fit(np.int64(1))


def test_what_lint_calls_serious_is_said_once():
    with pytest.warns(UserWarning, match='ScheduleCB') as caught:
        learner(ScheduleCB(lr=.1*join([constant(0), cosine()], at=[.5]))).fit(1)
    assert len(caught) == 1


@pytest.mark.parametrize('scheds', [
    dict(momentum=lambda pos: math.nan), dict(lr=-.1*cosine()),
    dict(lr=[cosine(), cosine()]),
])
def test_a_schedule_that_does_not_fit_is_refused(scheds):
    learn = learner(ScheduleCB(**scheds))
    with pytest.raises(ValueError, match=next(iter(scheds))): learn.fit(1)
    assert learn.steps == 0


def test_a_misspelt_field_is_told_which_there_are():
    learn = learner(ScheduleCB(mom=cosine()))
    said = "^SGD has no 'mom' to schedule; choose from .*'lr', 'maximize', 'momentum', 'nesterov'"
    with pytest.raises(ValueError, match=said): learn.fit(1)
    assert learn.steps == 0


@pytest.mark.parametrize('scheds, said', [
    (dict(lr=.1), r'lr must be a schedule or a function .* constant\(…\)\), got lr=0.1'),
    (dict(lr=cosine), r'lr must be a schedule .*, cosine\(\) perhaps'),
    (dict(lr=[cosine(), None]), 'lr must be a schedule or a function'),
    (dict(lr=(cosine(), cosine())), 'lr must be a list where each param group has a schedule'),
    ({}, 'scheds must name at least one field'),
])
def test_what_is_no_schedule_is_refused_at_once(scheds, said):
    with pytest.raises(ValueError, match=said): ScheduleCB(**scheds)


@pytest.mark.parametrize('made', [torch.ones(3), [torch.ones(1), torch.ones(0)]])
def test_a_recorded_function_that_gives_many_numbers_is_named(made):
    learn = learner(RecorderCB(g=lambda learn: made))
    with pytest.raises(ValueError, match='g must be a function that gives numbers, got g=te'): learn.fit(1)


def test_two_schedules_for_a_field_and_a_field_of_tensors_are_refused():
    with pytest.raises(ValueError, match="each sets 'lr'"):
        learner(ScheduleCB(lr=cosine()), ScheduleCB(lr=linear())).fit(1)
    with pytest.raises(ValueError, match='field must be'): learner(RecorderCB('params')).fit(1)
    with pytest.raises(ValueError, match='a schedule needs a name'): ScheduleCB(.1*cosine())


class Growing(list):
    "A list of batches with two more than it says"
    def __iter__(self): return iter([*super().__iter__(), self[0], self[0]])


def test_more_batches_than_planned_hold_the_end_value_and_this_is_said_once():
    rec, dls = RecorderCB(), digits_dls()
    growing = DataLoaders(Growing(list(dls.train)[:5]), dls.valid)
    with pytest.warns(UserWarning, match='past the end of a plan for 5 steps') as caught:
        Learner(mlp(), growing, F.cross_entropy, cbs=[ScheduleCB(lr=.1*cosine()), rec]).fit(1)
    assert len(caught) == 1 and rec['lr'].tolist() == [.1*cosine()(step/5) for step in range(5)] + [0, 0]


class JoinCB(Callback):
    "Add the last layer's param group in the second epoch"
    def before_epoch(self, learn):
        if learn.epoch == 0 or not learn.training: return
        learn.opt.add_param_group(dict(params=learn.model[2].parameters()))


def first_layer(params, lr): return torch.optim.SGD(list(params)[:2], lr=lr)


def test_a_param_group_that_joins_later_follows_one_schedule_and_not_a_list():
    rec = RecorderCB()
    learner(ScheduleCB(lr=.1*cosine()), JoinCB(), rec, opt_func=first_layer).fit(2)
    assert rec['lr'].shape == (34, 2)
    assert np.isnan(rec['lr'][:17, 1]).all() and not np.isnan(rec['lr'][17:]).any()
    assert np.array_equal(rec['lr'][17:, 0], rec['lr'][17:, 1])
    with pytest.raises(ValueError, match='one schedule for each of 2 param groups'):
        learner(ScheduleCB(lr=[.1*cosine()]), JoinCB(), opt_func=first_layer).fit(2)


# --- RecorderCB ---

class OnDevice(torch.Tensor):
    "Stands in for a loss on an accelerator: it is kept as a tensor until the pass ends"
    is_cpu = False


class Far(Callback):
    order = -1
    def after_loss(self, learn): learn.loss = learn.loss.as_subclass(OnDevice)


class Kinds(Callback):
    "The kinds of the recorded losses, seen before a batch and after each pass"
    order = 1
    def __init__(self, rec): self.rec, self.left, self.after = rec, [], []
    def before_batch(self, learn):
        self.left.append(sum(isinstance(x, torch.Tensor) for x in self.rec.records['loss']))
    def cleanup_fit(self, learn): self.after += map(type, self.rec.records['loss'])


def test_losses_on_a_device_become_numbers_when_the_pass_ends():
    rec, plain = RecorderCB(), RecorderCB()
    kinds = Kinds(rec)
    learner(Far(), rec, kinds).fit(2, valid=False)
    learner(plain).fit(2, valid=False)
    assert kinds.left == [*range(17)]*2 and set(kinds.after) == {float}
    assert np.array_equal(rec['loss'], plain['loss'])


def test_an_accident_in_a_pass_leaves_a_record_that_can_be_read():
    class Broken(Callback):
        def after_step(self, learn):
            if learn.steps == 20: raise OSError
    rec = RecorderCB()
    with pytest.raises(OSError): learner(Far(), rec, Broken()).fit(2)
    assert set(map(type, rec.records['loss'])) == {float} and len(rec['loss']) == 20
    with pytest.raises(KeyError, match='choose from'): rec['norm']


def test_a_quick_look_takes_one_batch():
    rec = RecorderCB()
    learner(SingleBatchCB(), rec).fit(3)
    assert len(rec['loss']) == 1


# --- MetricsCB ---

def test_a_warmed_up_cosine_gets_over_nine_of_ten_right():
    scores = MetricsCB(Accuracy(), log=silent)
    learner(ScheduleCB(lr=.5*warmup_cosine(start=.1)), scores).fit(5)
    assert len(scores.rows) == 5 and scores.rows[-1]['accuracy'] > .9


class Hits:
    "A metric in the style of torcheval: `update` with scores, `compute` the result"
    def reset(self): self.right, self.n = 0, 0
    def update(self, input, target):
        self.right, self.n = self.right + (input.argmax(1) == target).sum(), self.n + len(target)
    def compute(self): return self.right/self.n


class Misfit(Hits):
    def update(self, input, target): super().update(input[0], target)


def test_metrics_of_other_libraries_and_functions_of_the_learner():
    scores, rec = MetricsCB(Accuracy(), log=silent, hits=Hits()), RecorderCB('lr', norm=norm)
    learner(scores, rec).fit(2)
    assert all(abs(row['accuracy'] - row['hits']) < 1e-6 for row in scores.rows)
    assert len(rec['norm']) == 34 and (rec['norm'] > 0).all()


def norm(learn): return learn.model[0].weight.grad.norm()


def test_the_norm_of_all_gradients_is_that_of_the_last_step():
    def all_of_them(learn):
        return torch.stack([p.grad.norm() for p in learn.model.parameters()]).norm()
    rec = RecorderCB(norm=all_of_them)
    learn = learner(rec)
    learn.fit(2)
    last = torch.cat([p.grad.ravel() for p in learn.model.parameters()]).norm()
    assert len(rec['norm']) == learn.steps and abs(rec['norm'][-1] - last) < 1e-5


def test_a_metric_that_does_not_fit_is_found_before_the_first_step():
    learn = learner(MetricsCB(Misfit(), log=silent))
    with pytest.raises(IndexError): learn.fit(2)
    assert learn.steps == 0


COLUMNS = ([Accuracy(), Accuracy()], {}), ([], dict(lr=Accuracy())), ([Accuracy], {})


@pytest.mark.parametrize('metrics, named', COLUMNS, ids=['twice', 'lr', 'class'])
def test_a_column_that_is_there_and_a_class_are_refused(metrics, named):
    with pytest.raises((ValueError, TypeError)): MetricsCB(*metrics, **named)


def test_a_class_of_metrics_is_told_from_a_metric():
    with pytest.raises(TypeError, match=r"compute, got <class .*, Accuracy\(\) perhaps"): MetricsCB(Accuracy)


def test_no_warning_is_given_where_all_is_well():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        learner(ScheduleCB(lr=.1*cosine()), MetricsCB(Accuracy(), log=silent)).fit(1)


def test_a_batch_without_rows_is_refused_by_name():
    empty = [(torch.zeros(0, 64), torch.zeros(0, dtype=torch.long))]
    learn = Learner(nn.Linear(64, 10), empty, lambda preds, targs: preds.sum(), cbs=MetricsCB())
    with pytest.raises(ValueError, match='n must be the number of rows, above 0'): learn.fit(1)


def test_a_clean_up_is_too_late_to_cancel():
    class Late(Callback):
        def cleanup_fit(self, learn): raise CancelFitException
    learn = Learner(mlp(), digits_dls(), F.cross_entropy, cbs=Late())
    with pytest.raises(CancelFitException): learn.fit(1)
