"""Budgets of steps and of time: exact after any interruption, whatever the loader and the other callbacks."""
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from cosine_lr.callback import MetricsCB, RecorderCB, ScheduleCB
from cosine_lr.data import digits_dls
from cosine_lr.learner import Callback, CancelBatchException, CancelEpochException, Learner
from cosine_lr.run.checkpoint import CheckpointCB
from cosine_lr.run.scale import GradAccumCB
from cosine_lr.schedule import cosine
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset


class Clock:
    "Each look finds that 1/128 s has passed"
    seconds = 0.
    def __call__(self):
        self.seconds += 1/128
        return self.seconds


class Kill(Callback):
    order, not_state = -999, True
    def __init__(self, batches): self.left = batches
    def before_batch(self, learn):
        self.left -= learn.training
        if self.left < 0: raise KeyboardInterrupt


class Stream(IterableDataset):
    "A random choice of the rows, each with noise of its own; nobody knows how many there are"
    def __init__(self, x, y): self.x, self.y = x, y
    def __iter__(self):
        for i in torch.randperm(len(self.x))[:300].tolist(): yield self.x[i] + .1*torch.randn(64), self.y[i]


def loaders(kind):
    dls = digits_dls()
    x, y = dls.train.dataset[:]
    if kind == 'stream': train = DataLoader(Stream(x, y), batch_size=64)
    else: train = DataLoader(TensorDataset(x, y), 64, shuffle=True)
    return SimpleNamespace(train=train, valid=dls.valid)


def fit(folder, kind, budget, *cbs, kill=10**6, **saves):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 16), nn.Dropout(.3), nn.ReLU(), nn.Linear(16, 10))
    record, table = RecorderCB('lr', pos=lambda learn: learn.pos), MetricsCB(log=len)
    saver = CheckpointCB(folder, every=4, log=len, **saves)
    learn = Learner(model, loaders(kind), F.cross_entropy,
                    cbs=[record, table, ScheduleCB(lr=.1*cosine()), saver, Kill(kill), *cbs])
    try:
        with patch('cosine_lr.run.passes.perf_counter', Clock()): learn.fit(**budget)
    except KeyboardInterrupt: pass
    return learn, record, table


BUDGETS = [dict(steps=23), dict(steps=23, validate_every=10), dict(seconds=.25),
           dict(seconds=.25, validate_every=7)]


@pytest.mark.parametrize('every', [1, 3])
@pytest.mark.parametrize('budget', BUDGETS, ids=str)
@pytest.mark.parametrize('kind', ['rows', 'stream'])
def test_a_budget_ends_with_the_same_bits_after_interruptions(tmp_path, kind, budget, every):
    if kind == 'stream' and every > 1 and 'validate_every' not in budget: return
    cbs = [[GradAccumCB(every)] if every > 1 else [] for _ in range(6)]
    learn, record, table = fit(tmp_path/'whole', kind, budget, *cbs[0])
    for more, kill in zip(cbs[1:4], (2, 9, 14)): fit(tmp_path/'pieces', kind, budget, *more, kill=kill)
    other, again, rows = fit(tmp_path/'pieces', kind, budget, *cbs[4])
    for a, b in zip(learn.model.parameters(), other.model.parameters()): assert torch.equal(a, b)
    assert (record['pos'] == again['pos']).all() and (record['lr'] == again['lr']).all()
    assert table.rows == rows.rows and learn.pos == other.pos == 1
    done, _, rows = fit(tmp_path/'whole', kind, budget, *cbs[5]) # started again after its end
    assert torch.equal(done.model[0].weight, learn.model[0].weight) and rows.rows == table.rows


def test_steps_are_counted_not_batches():
    class EachSecond(Callback):
        def before_batch(self, learn):
            if learn.training and learn.iter % 2: raise CancelBatchException
    for cb, drawn in ((GradAccumCB(2), 40), (EachSecond(), 36)): # 9 batches have 5 with an even number
        learn = Learner(nn.Linear(64, 10), loaders('rows'), F.cross_entropy, cbs=[cb])
        learn.fit(steps=20, validate_every=5)
        assert learn.steps == learn.total == 20 and learn.limit.counts['drawn'] == drawn


def test_a_longer_budget_goes_on_by_the_policy(tmp_path):
    fit(tmp_path, 'rows', dict(steps=20))
    with pytest.raises(ValueError, match="total: 20 in the state, 40 here"):
        fit(tmp_path, 'rows', dict(steps=40))
    _, record, _ = fit(tmp_path, 'rows', dict(steps=40), on_resume='extend')
    wanted = [.1*cosine()(step/40) for step in range(20, 40)]
    assert record['lr'][20:].tolist() == pytest.approx(wanted)
    fit(tmp_path/'time', 'rows', dict(seconds=.25))
    _, record, _ = fit(tmp_path/'time', 'rows', dict(seconds=.5), on_resume='extend')
    assert record['pos'][-1] > .95 and (record['lr'] > 0).all()


@pytest.mark.parametrize('budget, said', [
    (dict(n_epochs=3), 'budget: steps with validate_every=5 there, n_epochs here'),
    (dict(seconds=3), 'steps with validate_every=5 there, seconds with validate_every=None here'),
    (dict(steps=30, validate_every=6), 'validate_every=5 there, steps with validate_every=6 here'),
    (dict(steps=10, validate_every=5), 'has used 12 steps, of 10 here')])
def test_a_checkpoint_of_another_budget_is_refused(tmp_path, budget, said):
    fit(tmp_path, 'rows', dict(steps=30, validate_every=5), kill=14)
    with pytest.raises(ValueError, match=said): fit(tmp_path, 'rows', budget, on_resume='extend')


def test_accumulation_needs_to_know_where_a_pass_ends():
    learn = Learner(nn.Linear(64, 10), loaders('stream'), F.cross_entropy, cbs=[GradAccumCB(2)])
    with pytest.raises(TypeError, match='dls.train must have a length'): learn.fit(steps=10)
    learn.fit(steps=10, validate_every=5)


class Leave(Callback):
    "Leaves each training batch out, or each pass before it begins"
    def __init__(self, how): self.how, self.passes = how, 0
    def before_epoch(self, learn):
        self.passes += learn.training
        if self.how is CancelEpochException and learn.training: raise self.how
    def before_batch(self, learn): raise CancelBatchException


@pytest.mark.parametrize('how', [CancelBatchException, CancelEpochException])
def test_a_thousand_passes_without_a_step_are_a_thousand(how):
    data = TensorDataset(torch.zeros(8, 64), torch.zeros(8, dtype=torch.long))
    learn = Learner(nn.Linear(64, 10), DataLoader(data, 8), F.cross_entropy, cbs=(leave := Leave(how)))
    with pytest.raises(RuntimeError, match='1000 passes in a row took no step'): learn.fit(steps=4)
    assert leave.passes == 1001


@pytest.mark.parametrize('rows', [40, 160])
@pytest.mark.parametrize('budget', [dict(steps=40), dict(steps=40, validate_every=8)])
def test_fewer_batches_after_an_interruption(tmp_path, rows, budget):
    def part(rows, *cbs):
        x, y = (each[:rows] for each in digits_dls().train.dataset[:])
        loaders = DataLoader(TensorDataset(x, y), 8), DataLoader(TensorDataset(x, y), 8)
        saver = CheckpointCB(tmp_path, every=5, log=len, accept=['data'])
        learn = Learner(nn.Linear(64, 10), loaders, F.cross_entropy, cbs=[saver, *cbs])
        try: learn.fit(**budget)
        except KeyboardInterrupt: pass
        return learn
    assert part(160, Kill(15)).steps == 15
    assert part(rows).steps == 40


@pytest.mark.parametrize('how, said', [
    (dict(train=False, valid=False), 'valid must be True, where train=False'),
    (dict(steps=4, validate_every=2, valid=False), 'validate_every must be None, without dls.valid or'),
    (dict(train=False, steps=10), 'steps must be None, where train=False, got steps=10'),
    (dict(steps=10, seconds=60), 'steps and seconds are budgets: give one of them'),
    (dict(n_epochs=3, steps=10), 'n_epochs and steps are budgets: give one of them'),
    (dict(validate_every=5), 'validate_every must be None, unless the budget is one of steps or seconds'),
    *((dict(steps=n), 'steps must be a whole number, at least 1') for n in (0, .5, True, '10')),
    *((dict(seconds=n), 'seconds must be a finite number from 0.001 to')
      for n in (0, -1, 1e306, float('inf'), float('nan'), True)),
])
def test_a_budget_that_is_none_and_a_fit_in_which_nothing_would_happen_are_refused(how, said):
    learn = Learner(nn.Linear(64, 10), loaders('rows'), F.cross_entropy)
    with pytest.raises(ValueError, match=said): learn.fit(**how)
    assert not learn.steps


def test_a_stream_needs_a_budget_and_batches_on_every_pass():
    learn = Learner(nn.Linear(64, 10), loaders('stream'), F.cross_entropy)
    said = 'dls.train must have a length, the number of its batches, got DataLoader'
    with pytest.raises(TypeError, match=said + r'; fit\(steps=…\) trains without one'): learn.fit(1)
    learn.dls = SimpleNamespace(train=iter(loaders('stream').train), valid=None)
    said = 'dls.train has no batches, or gives them once only'
    with pytest.raises(ValueError, match=said): learn.fit(steps=100)


def test_budgets_and_loaders_of_validation():
    dls = loaders('rows')
    learn = Learner(nn.Linear(64, 10), dls.train, F.cross_entropy)
    with pytest.raises(ValueError, match='validate_every must be None'): learn.fit(steps=4, validate_every=2)
    learn.dls = dls.train, []
    with pytest.raises(ValueError, match='dls.valid must have at least one batch'): learn.fit(steps=4)
    learn.fit(steps=4, valid=False)
    learn.dls = dls.train, loaders('stream').train # it has no length
    learn.fit(steps=4, validate_every=2)
    assert learn.steps == 4
