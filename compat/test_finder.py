"""What a range test costs at equal steps, snapshot and restore included: ours, written by hand and fastai on the in-memory loader, torch-lr-finder on a plain one."""
import contextlib
import copy
import io
import tempfile
import time
from functools import partial
from itertools import chain, islice, repeat

import torch
import torch.nn.functional as F
from cosine_lr import Learner, digits_dls, lr_find
from fastai.callback.schedule import valley  # gives the learner its lr_find
from fastai.data.core import DataLoaders as FastaiLoaders
from fastai.learner import Learner as FastaiLearner
from fastai.optimizer import OptimWrapper
from torch import nn
from torch.utils.data import DataLoader
from torch_lr_finder import LRFinder

START, STOP, STEPS = 1e-6, .5, 140  # no sweep diverges below .5


def mlp(): return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def by_hand(model, dls):
    saved, rng, losses, lrs, average, best = copy.deepcopy(model.state_dict()), torch.get_rng_state(), [], [], 0., float('inf')
    opt = torch.optim.SGD(model.parameters(), lr=START)
    model.train()
    for step, (x, y) in enumerate(islice(chain.from_iterable(repeat(dls.train)), STEPS)):
        for group in opt.param_groups: group['lr'] = START * (STOP/START)**(step/(STEPS-1))
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        lrs.append(opt.param_groups[0]['lr'])
        losses.append(loss.item())
        average = .8*average + .2*losses[-1]
        smooth = average / (1 - .8**(step+1))
        best = min(best, smooth)
        if not smooth <= 4*best: break
    model.load_state_dict(saved)
    torch.set_rng_state(rng)
    return losses


def ours(model, dls, sweeps=1): return lr_find(Learner(model, dls, F.cross_entropy), START, STOP, STEPS, sweeps=sweeps).losses[-1]


def torch_lr_finder(model, dls):
    "With the loader that its users have; on the in-memory loader it is about 1.5 times as fast"
    rows = DataLoader(dls.train.dataset, batch_size=64, shuffle=True)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=START), F.cross_entropy, device='cpu')
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder.range_test(rows, end_lr=STOP, num_iter=STEPS)
        finder.reset()
    return finder.history['loss']


def fastai(model, dls):
    with tempfile.TemporaryDirectory() as folder:
        learn = FastaiLearner(FastaiLoaders(dls.train, dls.valid), model, loss_func=F.cross_entropy, path=folder, opt_func=partial(OptimWrapper, opt=torch.optim.SGD))
        with learn.no_bar(): learn.lr_find(START, STOP, STEPS, show_plot=False, suggest_funcs=valley)
    return learn.recorder.losses


def seconds(find):
    "Processor time of a sweep, and its steps."
    torch.manual_seed(0)
    model, dls = mlp(), digits_dls()
    start = time.process_time()
    losses = find(model, dls)
    return time.process_time() - start, len(losses)


def test_what_a_sweep_costs():
    ways = [by_hand, ours, partial(ours, sweeps=5), torch_lr_finder, fastai]
    runs = [[seconds(way) for way in ways] for _ in range(9)]
    assert {steps for row in runs for _, steps in row} == {STEPS}
    hand, one, five, tlf, fast = map(min, zip(*([time for time, _ in row] for row in runs)))
    ratios = dict(by_hand=one/hand, torch_lr_finder=one/tlf, fastai=one/fast, five=five/one)
    print({name: round(ratio, 2) for name, ratio in ratios.items()})
    limits = dict(by_hand=1.7, torch_lr_finder=.8, fastai=.4, five=7.5) # generous: a busy machine moves a ratio by a quarter
    assert all(ratios[name] <= limit for name, limit in limits.items()), (ratios, limits)
