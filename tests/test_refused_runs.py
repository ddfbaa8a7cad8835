"""What guards, loggers and checkpoints refuse, by name; nothing in a checkpoint's folder is changed by it."""
import re
import sys
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from cosine_lr import (Accuracy, CheckpointCB, DataLoaders, Learner, MetricsCB, RecorderCB, ScheduleCB,
                       cosine, digits_dls)
from cosine_lr.run import CSVLoggerCB, EarlyStopCB, TensorBoardCB
from torch import nn


def silent(line): pass
def adam(decay): return partial(torch.optim.AdamW, weight_decay=decay)
def mlp(): return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
def other_rows(): return DataLoaders(digits_dls().train, digits_dls().train)


class Writer:
    "As TensorBoard's"
    def add_scalar(self, name, value, step): pass


def fit_guarded(*cbs): Learner(mlp(), digits_dls(bs=600), F.cross_entropy, cbs=cbs).fit(1)


GUARDS = {
    'EarlyStopCB needs a MetricsCB, whose columns it reads': lambda folder: fit_guarded(EarlyStopCB()),
    'CSVLoggerCB needs a MetricsCB, whose columns it reads':
        lambda folder: fit_guarded(CSVLoggerCB(folder/'x.csv')),
    'TensorBoardCB needs a MetricsCB, whose columns it reads':
        lambda folder: fit_guarded(TensorBoardCB(Writer())),
    "column must be one of ['epoch', 'train_loss', 'valid_loss', 'lr'], got column='acc'":
        lambda folder: fit_guarded(EarlyStopCB('acc'), MetricsCB(log=silent)),
    'every must be a whole number, at least 1, got every=0': lambda folder: TensorBoardCB(Writer(), every=0),
    "better must be min or max, got better='min'": lambda folder: EarlyStopCB(better='min'),
    'patience must be a whole number, at least 1, got patience=0': lambda folder: EarlyStopCB(patience=0),
}


@pytest.mark.parametrize('said', GUARDS)
def test_guards_and_loggers(said, tmp_path):
    with pytest.raises(ValueError, match='^' + re.escape(said)): GUARDS[said](tmp_path)
    assert not list(tmp_path.iterdir())


def test_tensorboard_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    with pytest.raises(ImportError, match='TensorBoardCB with a folder needs TensorBoard: pip install'):
        TensorBoardCB(tmp_path)


def fit(folder, *cbs, model=mlp, n=3, rate=.1, opt=adam(.01), dls=digits_dls, **kw):
    learn = Learner(model(), dls(), F.cross_entropy, opt_func=opt, lr=rate)
    schedules = [] if cbs else [ScheduleCB(lr=cosine())]
    keep = CheckpointCB(folder, **{'log': silent} | kw)
    learn.fit(n, cbs=[keep, RecorderCB('lr', 'weight_decay'), MetricsCB(Accuracy(), log=silent), *schedules,
                      *cbs])


@pytest.fixture(scope='module')
def begun(tmp_path_factory):
    "A folder with a run of three epochs"
    folder = tmp_path_factory.mktemp('run')
    fit(folder)
    return folder


CHECKPOINTS = {
    'the checkpoint is of another model: 0.weight is [8, 64] torch.float32 there and missing here':
        dict(model=lambda: nn.Linear(64, 10)),
    'the checkpoint is of another run, optimizer: AdamW there, SGD here': dict(opt=torch.optim.SGD),
    'the checkpoint is of another run, lr of param group 0: 0.1 there, 0.2 here. To go on with 0.2, make the '
    "CheckpointCB with accept=['lr']": dict(rate=.2),
    'the checkpoint is of another run, weight_decay of param group 0: 0.01 there, 0.1 here. To go on with '
    "0.1, make the CheckpointCB with accept=['weight_decay']": dict(opt=adam(.1)),
    'the checkpoint is of another run, batches an epoch: 17 there, 34 here. A fit that counts steps, '
    'fit(steps=…), may go on with another number':
        dict(dls=partial(digits_dls, bs=32)),
    'the checkpoint is of another run, data of dls.valid: 359 rows from ': dict(dls=other_rows),
    'the checkpoint is in epoch 2 (from 0), got n_epochs=2': dict(n=2),
    'resume must be True or False, got resume=': dict(resume='False'),
    "best must be a column and min or max, e.g. ('accuracy', max), got best='accuracy'":
        dict(best='accuracy'),
    "best must be a column of the MetricsCB, ['epoch', 'train_loss', 'valid_loss', 'accuracy', 'lr'], got":
        dict(best=('acc', max)),
    'every must be a whole number, at least 1, got every=0': dict(every=0),
    "accept must be a list of names, e.g. ['weight_decay'], got accept='data'": dict(accept='data'),
    "on_resume must be 'raise', 'keep', 'stretch', 'cooldown', 'extend' or 'restart', got on_resume='hope'":
        dict(on_resume='hope'),
}


@pytest.mark.parametrize('said', CHECKPOINTS)
def test_checkpoints(said, begun):
    before = {path.name for path in begun.iterdir()}
    with pytest.raises(ValueError, match='^' + re.escape(said)): fit(begun, **CHECKPOINTS[said])
    assert {path.name for path in begun.iterdir()} == before


def test_another_callback_that_keeps_or_schedules(begun):
    with pytest.raises(ValueError, match='CheckpointCB and CheckpointCB cannot be combined: leave out one'):
        fit(begun, CheckpointCB(begun))
    with pytest.raises(ValueError, match='ScheduleCB: 1 there, 2 here'):
        fit(begun, ScheduleCB(lr=cosine()), ScheduleCB(weight_decay=cosine()))
    with pytest.raises(ValueError, match='holds checkpoints of another run, and resume=False'):
        fit(begun, resume=False)


def test_a_file_where_the_folder_should_be(tmp_path):
    place = tmp_path/'a file'
    place.write_text('here')
    with pytest.raises(OSError, match="CheckpointCB cannot write to folder='.*a file'"): fit(place)
