"""Range tests take the same steps: ours, by hand and fastai's on the in-memory loader, torch-lr-finder's on a
plain one. What they cost is measured by `make bench`."""
import contextlib
import copy
import io
import tempfile
from functools import partial
from itertools import chain, islice, repeat

import pytest
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
    saved, rng = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    losses, lrs, average, best = [], [], 0., float('inf')
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


def ours(model, dls, sweeps=1):
    "The losses of the last sweep."
    found = lr_find(Learner(model, dls, F.cross_entropy), START, STOP, STEPS, sweeps=sweeps)
    assert len(found.losses) == sweeps
    return found.losses[-1]


def torch_lr_finder(model, dls):
    "With the loader that its users have; on the in-memory loader it is about 1.5 times as fast"
    rows = DataLoader(dls.train.dataset, batch_size=64, shuffle=True)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=START), F.cross_entropy, device='cpu')
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder.range_test(rows, end_lr=STOP, num_iter=STEPS)
        finder.reset()
    return finder.history['loss']


def fastai(model, dls):
    opt_func = partial(OptimWrapper, opt=torch.optim.SGD)
    with tempfile.TemporaryDirectory() as folder:
        learn = FastaiLearner(FastaiLoaders(dls.train, dls.valid), model, loss_func=F.cross_entropy,
                              path=folder, opt_func=opt_func)
        with learn.no_bar(): learn.lr_find(START, STOP, STEPS, show_plot=False, suggest_funcs=valley)
    return learn.recorder.losses


@pytest.mark.parametrize('find, sweeps', [
    (by_hand, 1), (ours, 1), (partial(ours, sweeps=5), 5), (torch_lr_finder, 1), (fastai, 1)])
def test_finders_train_on_as_many_batches_as_they_record(find, sweeps):
    torch.manual_seed(0)
    model, batches = mlp(), []
    def count(model, batch): batches.append(model.training)
    model.register_forward_pre_hook(count)
    losses = find(model, digits_dls())
    assert len(losses) == STEPS and sum(batches) == sweeps*STEPS
