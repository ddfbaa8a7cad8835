"""What a loop does with callbacks, data and schedules of somebody else's making."""
import io
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from cosine_lr import (Accuracy, Callback, DataLoaders, Learner, MetricsCB, ProgressCB, RecorderCB,
                       ScheduleCB, digits_dls)
from cosine_lr.learner import CancelEpochException
from cosine_lr.run import NaNGuardCB, predict


def learner(*cbs, **kw): return Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy, cbs=cbs, **kw)
def silent(line): pass


def a_spike(pos): return 50. if .3 < pos < .36 or pos > 1 else .1


def with_tensor(params, lr): return torch.optim.SGD(params, lr=torch.tensor(lr))


@pytest.mark.parametrize('opt_func', [torch.optim.SGD, with_tensor], ids=['number', 'tensor'])
def test_the_table_shows_the_rate_that_was_used(opt_func):
    scores, rec = MetricsCB(log=silent), RecorderCB()
    with pytest.warns(UserWarning): # the schedule shoots up again past its end, too
        guard, spike = NaNGuardCB(log=silent, limit=3., times=40), ScheduleCB(lr=a_spike)
        learner(guard, spike, scores, rec, opt_func=opt_func).fit(2)
    assert [row['lr'] for row in scores.rows] == [rec['lr'][-1]]*2 and rec['lr'][-1] < .06


def test_a_schedule_need_not_be_hashable():
    @dataclass
    class Falling:
        peak: float
        def __call__(self, pos): return self.peak*(1-pos)
    rec = RecorderCB()
    learner(ScheduleCB(lr=Falling(.1)), rec).fit(1)
    assert rec['lr'][0] == .1


class Long(list):
    "A loader that gives more batches than its len."
    def __len__(self): return 3


def test_progress_stays_at_1_where_a_loader_gives_more_batches_than_its_len():
    class See(Callback):
        def before_batch(self, learn): seen.append(learn.pos)
    seen, batch = [], next(iter(digits_dls().train))
    Learner(nn.Linear(64, 10), DataLoaders(Long([batch]*5), None), F.cross_entropy, cbs=[See()]).fit(1)
    assert seen == [0., 1/3, 2/3, 1., 1.]


def test_rows_without_targets_can_be_predicted_and_trained_on_by_a_loss_that_needs_none():
    x = torch.cat([x for x, _ in digits_dls().valid])
    bare, learn = DataLoader(x, batch_size=64), learner()
    preds, targs = predict(learn, bare)
    assert torch.allclose(preds, learn.model(x), atol=1e-6) and targs is None
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'target'"):
        Learner(learn.model, DataLoaders(bare, bare)).fit()


def test_a_model_with_two_outputs_has_no_accuracy():
    class Two(nn.Linear):
        def forward(self, x): return super().forward(x), x
    def loss_func(preds, targ): return F.cross_entropy(preds[0], targ)
    learn = Learner(Two(64, 10), digits_dls(), loss_func, cbs=[MetricsCB(Accuracy(), log=silent)])
    with pytest.raises(TypeError, match='preds must be a tensor .*, got tuple'): learn.fit()


def test_a_rate_that_is_a_tensor_stays_the_callers():
    "The next fit does not start where a schedule ended"
    rate, first, second = torch.tensor(.1), RecorderCB(), RecorderCB()
    learn = learner(opt_func=lambda params, lr: torch.optim.SGD(params, lr=rate))
    learn.fit(1, cbs=[ScheduleCB(lr=lambda pos: .05*(1 - pos)), first])
    learn.fit(1, cbs=[second])
    assert first['lr'][-1] < .01 and rate == torch.tensor(.1) and (second['lr'] == rate.item()).all()


def test_metrics_score_against_the_target_and_not_against_what_follows_it():
    rows = [[x, y, torch.ones(len(x))] for x, y in digits_dls().valid]
    scores, plain = MetricsCB(Accuracy(), log=silent), MetricsCB(Accuracy(), log=silent)
    learn = Learner(nn.Linear(64, 10), DataLoaders(rows, rows), lambda preds, y, w: F.cross_entropy(preds, y))
    learn.fit(cbs=[scores], train=False)
    learn.loss_func, learn.dls = F.cross_entropy, digits_dls()
    learn.fit(cbs=[plain], train=False)
    assert scores.rows[0]['accuracy'] == pytest.approx(plain.rows[0]['accuracy'])


def test_a_record_may_hold_tensors_and_numbers():
    "As where a run on an accelerator was stopped in mid-epoch and resumed"
    rec = RecorderCB('betas')
    learner(rec, opt_func=torch.optim.Adam).fit(1)
    rec.records['loss'] += [torch.tensor(.5), .25]
    rec.records['betas'] += [(torch.tensor(.5), .75), (.25, .5)]
    assert rec['loss'][-2:].tolist() == [.5, .25] and rec['betas'][-2:].tolist() == [[.5, .75], [.25, .5]]
    rec.records['loss'] += [0.]
    rec.records['betas'] += [[(.1, .2), (.3, .4)]]                     # a second group has come
    assert rec['betas'].shape == (20, 2, 2) and rec['betas'][-1].tolist() == [[.1, .2], [.3, .4]]
    assert rec['betas'][-2, 0].tolist() == [.25, .5] and np.isnan(rec['betas'][-2, 1]).all()


def test_the_progress_bar_counts_the_batches_of_a_pass_that_was_cancelled():
    class Stop(Callback):
        def after_step(self, learn):
            if learn.steps == 5: raise CancelEpochException
    bar = ProgressCB(every=1e9, file=io.StringIO())
    learner(bar, Stop()).fit(1, valid=False)
    assert bar.bar.n == 5
