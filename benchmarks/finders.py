"""Range tests: seconds for 140 steps from start to end, putting back what was changed included."""
import contextlib
import copy
import io
import tempfile
from functools import partial
from itertools import chain, islice, repeat

import torch
import torch.nn.functional as F
from cosine_lr import DataLoaders, Learner, lr_find

from .measure import PROCESSOR, check_equal_work, clocked, measure
from .task import SGD, Task, mlp

START, STOP, STEPS = 1e-6, .2, 140 # no sweep diverges below .2


def by_hand(task):
    saved, rng = copy.deepcopy(task.model.state_dict()), torch.get_rng_state()
    losses, lrs, average, best = [], [], 0., float('inf')
    opt = SGD(task.model.parameters(), lr=START)
    task.model.train()
    for step, (x, y) in enumerate(islice(chain.from_iterable(repeat(task.train)), STEPS)):
        for group in opt.param_groups: group['lr'] = START * (STOP/START)**(step/(STEPS-1))
        loss = F.cross_entropy(task.model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        lrs.append(opt.param_groups[0]['lr'])
        losses.append(loss.item())
        average = .8*average + .2*losses[-1]
        smooth = average / (1 - .8**(step+1))
        best = min(best, smooth)
        if not smooth <= 4*best: break
    task.model.load_state_dict(saved)
    torch.set_rng_state(rng)
    return len(losses)


def ours(task, sweeps=1):
    learn = Learner(task.model, DataLoaders(task.train, task.valid), F.cross_entropy, opt_func=SGD)
    return lr_find(learn, START, STOP, STEPS, sweeps=sweeps).losses.shape[1]


def torch_lr_finder(task):
    from torch_lr_finder import LRFinder
    finder = LRFinder(task.model, SGD(task.model.parameters(), lr=START), F.cross_entropy, device='cpu')
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder.range_test(task.train, end_lr=STOP, num_iter=STEPS)
        finder.reset()
    return len(finder.history['loss'])


def fastai(task):
    from fastai.callback.schedule import valley # gives the learner its lr_find
    from fastai.data.core import DataLoaders as FastaiLoaders
    from fastai.learner import Learner as FastaiLearner
    from fastai.optimizer import OptimWrapper
    with tempfile.TemporaryDirectory() as folder:
        learn = FastaiLearner(FastaiLoaders(task.train, task.valid), task.model, loss_func=F.cross_entropy,
                              path=folder, opt_func=partial(OptimWrapper, opt=SGD))
        with learn.no_bar(): learn.lr_find(START, STOP, STEPS, show_plot=False, suggest_funcs=valley)
    return len(learn.recorder.losses)


HAND = 'by hand'
CONTESTANTS = { # {name: (a range test of a task, does the loader fetch row by row?)}
    HAND: (by_hand, False), 'lr_find, one sweep': (ours, False),
    'lr_find, five sweeps (default)': (partial(ours, sweeps=5), False),
    'torch-lr-finder': (torch_lr_finder, True), 'fastai': (fastai, True),
    'torch-lr-finder, loader in memory': (torch_lr_finder, False),
    'fastai, loader in memory': (fastai, False),
}


def contestant(find, by_row): return clocked(lambda k: dict(steps=find(Task(mlp, k, by_row))), PROCESSOR)


def run(rounds):
    torch.set_num_threads(1)
    contestants = {name: contestant(*each) for name, each in CONTESTANTS.items()}
    return {'mlp': check_equal_work(measure(contestants, rounds, 'finders', HAND))}
