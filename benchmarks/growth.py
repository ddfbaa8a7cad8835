"""How cost grows: with the model, with callbacks, with the length of a run, with the size of a fleet."""
import io
from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from cosine_lr import Callback, DataLoaders, Learner, MetricsCB, ProgressCB, RecorderCB, ScheduleCB, TrainCB
from torch import nn

from .measure import PROCESSOR, WALL, measure
from .sweeps import fleet_step, hand_step, products
from .task import SCHED, SGD

WIDTHS = (8, 25, 80, 250, 790, 3162) # of a square layer: 64 to ten million parameters
CALLBACKS = (1, 2, 5, 10, 20, 50)
LENGTHS = (10**2, 10**3, 10**4, 10**5, 10**6)
FLEETS = (1, 4, 16, 64, 128, 256, 512, 1024)


class Same:
    "A loader that gives one batch `n` times"
    def __init__(self, batch, n): self.batch, self.n = batch, n
    def __len__(self): return self.n
    def __iter__(self): return repeat(self.batch, self.n)


def _timed(step):
    def timed(self, learn):
        start = WALL()
        step(self, learn)
        self.marks.append((start, WALL()))
    return timed


class Heavy(TrainCB):
    "Ordinary training that notes when its five parts began and ended: the rest of a step is the loop's own"
    predict = _timed(TrainCB.predict)
    get_loss = _timed(TrainCB.get_loss)
    zero_grad = _timed(TrainCB.zero_grad)
    backward = _timed(TrainCB.backward)
    step = _timed(TrainCB.step)
    def before_epoch(self, learn): self.marks = []
    @property
    def own(self): # the median step's seconds
        starts, ends = np.moveaxis(np.array(self.marks).reshape(-1, 5, 2), 2, 0)
        return float(np.median(np.diff(starts[:, 0]) - (ends - starts).sum(1)[:-1]))


class Stub(TrainCB):
    "No training at all, so that a million steps are soon done"
    loss = torch.tensor(1.)
    def before_epoch(self, learn): self.start = PROCESSOR()
    def after_epoch(self, learn): self.own = (PROCESSOR() - self.start)/len(learn.dl)
    def predict(self, learn): pass
    def get_loss(self, learn): learn.loss = self.loss
    def zero_grad(self, learn): pass
    def backward(self, learn): pass
    def step(self, learn): pass


class Busy(Callback):
    "One more that looks at each batch, before and after"
    def before_batch(self, learn): pass
    def after_batch(self, learn): pass


def own_cost(trainer, batch, steps, model, cbs=()):
    "The loop's own seconds for a step, with progress bar, metrics, recorder and schedule"
    watching = [RecorderCB(), MetricsCB(log=lambda line: None), ProgressCB(file=io.StringIO())]
    learn = Learner(model, DataLoaders(Same(batch, steps), None), F.mse_loss, opt_func=SGD,
                    cbs=[trainer, ScheduleCB(lr=.01*SCHED), *watching, *cbs])
    learn.fit(1, valid=False)
    return trainer.own


def square(width):
    model, batch = nn.Linear(width, width, bias=False), [torch.rand(64, width), torch.rand(64, width)]
    steps = 400 if width < 500 else 40 if width < 2000 else 15
    return lambda k: (own_cost(Heavy(), batch, steps, model), {})


def crowd(n):
    model, batch = nn.Linear(8, 8, bias=False), [torch.rand(64, 8), torch.rand(64, 8)]
    return lambda k: (own_cost(Stub(), batch, 2000, model, [Busy() for _ in range(n)]), {})


def long(steps):
    model, batch = nn.Linear(8, 8, bias=False), [torch.rand(64, 8), torch.rand(64, 8)]
    times = max(1, 10**4//steps)
    return lambda k: (sum(own_cost(Stub(), batch, steps, model) for _ in range(times))/times, {})


def curve(make, sizes, rounds, title):
    return measure({str(size): make(size) for size in sizes}, rounds, f'growth, {title}')


def run(rounds):
    torch.set_num_threads(1)
    widths = curve(square, WIDTHS, rounds, 'parameters')
    done = {'parameters': {str(int(width)**2): row for width, row in widths.items()},
            'callbacks': curve(crowd, (0, *CALLBACKS), rounds, 'callbacks'),
            'steps': curve(long, LENGTHS, max(3, rounds//6), 'steps')}
    torch.set_num_threads(2)
    contestants = {'by hand': hand_step()}
    for n in FLEETS:
        contestants[f'{n}'] = fleet_step(n, False, epochs=25)
        contestants[f'{n}, compiled'] = fleet_step(n, True, epochs=25)
    contestants |= {f'{n}, products': products(n) for n in FLEETS}
    return done | {'fleet': measure(contestants, max(5, rounds//3), 'growth, fleet')}
