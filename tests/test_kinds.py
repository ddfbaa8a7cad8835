"""A bool is no number, a word is no bool, an array is no word: each is refused with the parameter's name."""
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import (GPT, CheckpointCB, Learner, RecorderCB, anneal, classes, compare, cosine, digits_dls,
                       restarts, run_fleet)
from cosine_lr.lab import Annealer, LossLaw
from cosine_lr.run import CSVLoggerCB, EarlyStopCB, Perplexity, PlateauCB

WORDS = np.array(['lr', 'momentum'])
SCORES, TARGETS = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
TWO = {'a': {seed: float(seed) for seed in range(5)}, 'b': {seed: seed + 1. for seed in range(5)}}


def learner(): return Learner(nn.Linear(64, 10), digits_dls(bs=600), F.cross_entropy)
def fleet(**kw): run_fleet(lambda: nn.Linear(64, 10), digits_dls(bs=600), lr=.1*cosine(), seeds=1, **kw)
def step(x, rng): return x + rng.gauss(0, 1)


REFUSED = {
    "train must be True or False, got train='False'": lambda: learner().fit(1, train='False'),
    "resume must be True or False, got resume='False'": lambda: CheckpointCB('x', resume='False'),
    "quiet must be True or False, got quiet='no'": lambda: fleet(quiet='no'),
    "members must be True or False, got members='all'":
        lambda: LossLaw.final_losses(None, [cosine()], 10, members='all'),
    "cycles must be a whole number from 1 to 10,000, got cycles=True": lambda: restarts(cycles=True),
    "seed must be a whole number, got seed=True": lambda: anneal(abs, 1., step, steps=50, seed=True),
    "seed must be a whole number, got seed='one'": lambda: Annealer([1.], step, seed='one'),
    "dim must be a whole number, got dim=True": lambda: classes(SCORES, TARGETS, dim=True),
    "threshold must be a finite number, got threshold='0'":
        lambda: classes(torch.randn(4), TARGETS, threshold='0'),
    "dim must be a whole number, got dim=False": lambda: Perplexity(dim=False),
    "ignore_index must be a whole number, got ignore_index='pad'": lambda: Perplexity(ignore_index='pad'),
    "chars must be a whole number, at least 1, got chars=True": lambda: GPT(True, 8),
    "context must be a whole number, at least 1, got context=2.0": lambda: GPT(9, 2.),
    "blocks must be a whole number, got blocks=True": lambda: GPT(9, 8, blocks=True),
    "dropout must be a finite number, at least 0 and below 1, got dropout=True":
        lambda: GPT(9, 8, dropout=True),
    "field must be 'dampening', 'differentiable', ": lambda: learner().fit(1, cbs=[RecorderCB(WORDS)]),
    "column must be the name of a column, got column=array(['lr'": lambda: PlateauCB(WORDS),
    "column must be the name of a column, got column=5": lambda: EarlyStopCB(5),
    "there is no schedule called array(['lr'": lambda: compare(TWO, 'a', WORDS),
    "best must be a column and min or max, e.g. ('accuracy', max), got best=('accuracy', array":
        lambda: CheckpointCB('x', best=('accuracy', WORDS)),
    "accept must be a list of names, e.g. ['weight_decay'], got accept=True":
        lambda: CheckpointCB('x', accept=True),
    "folder must be a path, got folder=5": lambda: CheckpointCB(5),
    "path must be that of a file, got path=True": lambda: CSVLoggerCB(True),
}


@pytest.mark.parametrize('message', REFUSED)
def test_another_kind_is_refused_by_name(message):
    with pytest.raises(ValueError, match='^' + re.escape(message)): REFUSED[message]()


def test_arrays_of_words_are_lists_of_words():
    assert CheckpointCB('x', accept=np.array(['data', 'lr'])).accept == ('data', 'lr')
