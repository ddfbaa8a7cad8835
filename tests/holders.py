"""Small runs that remember something outside their weights, and depend on it: each memory in each place.

    run = Run('loss', 'counter')          # a loss function that counts its calls
    run.learn                             # a new `Learner`; the same words give the same run, to the last bit
    run.memories()                        # what is remembered now, as bytes and texts
    run.fit(2, cbs=[...])                 # the losses of all batches
"""
import math
import random
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, Sampler

from cosine_lr import Callback, DataLoaders, Learner, RecorderCB

ROWS, BATCH = 48, 8


class Counter:
    "An object of a class that nobody knows."
    def __init__(self): self.n = 0


def count(holder):
    holder.memory += 1
    return math.sin(holder.memory)


def count_inside(holder):
    holder.memory.n += 1
    return math.sin(holder.memory.n)


def add_in_place(holder):
    holder.memory += 1
    return math.sin(float(holder.memory))


def replace(holder):
    holder.memory = holder.memory + 1
    return math.sin(float(holder.memory))


def append(holder):
    holder.memory.append(len(holder.memory))
    return math.sin(len(holder.memory))


def record(holder):
    holder.memory['n'] = holder.memory.get('n', 0) + 1
    return math.sin(holder.memory['n'])


# {kind of memory: (how it begins, how it is used: a number that is another each time)}
KINDS = {
    'torch generator': (lambda: torch.Generator().manual_seed(1),
                        lambda h: torch.rand(1, generator=h.memory).item()),
    'numpy generator': (lambda: np.random.default_rng(1), lambda h: h.memory.random()),
    'numpy random state': (lambda: np.random.RandomState(1), lambda h: h.memory.rand()),
    'python random': (lambda: random.Random(1), lambda h: h.memory.gauss(0, 1)),
    'counter': (lambda: 0, count),
    'namespace': (lambda: SimpleNamespace(n=0), count_inside),
    'object': (Counter, count_inside),
    'tensor': (lambda: torch.zeros(()), add_in_place),
    'new tensor': (lambda: torch.zeros(()), replace),
    'array': (lambda: np.zeros(()), add_in_place),
    'list': (list, append),
    'dictionary': (dict, record),
}
PLACES = ('module', 'module inside', 'loss', 'callback', 'data set', 'transform', 'sampler', 'learner')
HOLDERS = [(place, kind) for place in PLACES for kind in KINDS]


class Holder:
    "Remembers something, and depends on it."
    def hold(self, kind):
        start, self.use = KINDS[kind]
        self.memory = start()
        return self


class Net(nn.Module, Holder):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Dropout(.2), nn.Linear(6, 3))
    def forward(self, x):
        if hasattr(self, 'use'): x = x + self.use(self)
        return self.body(x)


class Noise(nn.Module, Holder):
    def forward(self, x): return x*(1 + self.use(self))


class Loss(Holder):
    def __call__(self, preds, y):
        factor = 1 + .5*self.use(self) if hasattr(self, 'use') else 1.
        return F.cross_entropy(preds, y)*factor


class Mix(Callback, Holder):
    "Changes each batch."
    def before_batch(self, learn):
        x, y = learn.batch
        learn.batch = [x + self.use(self), y]


class UseLearner(Callback):
    "Changes each batch by what the learner remembers."
    def before_batch(self, learn):
        x, y = learn.batch
        learn.batch = [x + learn.use(learn), y]


class Shift(Holder):
    "A transform."
    def __call__(self, x): return x + self.use(self)


class Rows(Dataset, Holder):
    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.x, self.transform = torch.randn(ROWS, 5, generator=generator), None
        self.y = self.x[:, :3].argmax(1)
    def __len__(self): return ROWS
    def __getitem__(self, i):
        x = self.x[i]
        if hasattr(self, 'use'): x = x + self.use(self)
        if self.transform: x = self.transform(x)
        return x, self.y[i]


class Order(Sampler, Holder):
    "Another order in each epoch, from what it remembers."
    def __init__(self): pass
    def __len__(self): return ROWS
    def __iter__(self):
        seed = int(1e6*abs(self.use(self)))
        return iter(torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed)).tolist())


def shown(x):
    "A memory as bytes or text."
    if isinstance(x, torch.Generator): return x.get_state().numpy().tobytes()
    if isinstance(x, np.random.Generator): return repr(x.bit_generator.state)
    if isinstance(x, np.random.RandomState): return repr(x.get_state())
    if isinstance(x, random.Random): return repr(x.getstate())
    if isinstance(x, torch.Tensor): return repr(x.dtype), x.detach().numpy().tobytes()
    if isinstance(x, Counter): return repr(vars(x))
    return repr(x)


class Run:
    "A small run that remembers `kind` in `place`, and depends on it; an ordinary one where `place` is None."
    def __init__(self, place=None, kind=None, opt_func=torch.optim.Adam, lr=.01, cbs=(), seed=0):
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        self.model, self.loss, self.rows = Net(), Loss(), Rows()
        sampler = Order().hold(kind) if place == 'sampler' else None
        generator = torch.Generator().manual_seed(seed)
        dl = DataLoader(self.rows, BATCH, shuffle=sampler is None, sampler=sampler, generator=generator)
        valid = DataLoader(Rows(), ROWS)
        self.learn = Learner(self.model, DataLoaders(dl, valid), self.loss, lr, list(cbs), opt_func)
        self.holder = None
        if place: self.holder = self._place(place, kind, sampler)

    def _place(self, place, kind, sampler):
        if place == 'module': return self.model.hold(kind)
        if place == 'loss': return self.loss.hold(kind)
        if place == 'data set': return self.rows.hold(kind)
        if place == 'sampler': return sampler
        if place == 'module inside':
            self.model.body.add_module('inside', Noise().hold(kind))
            return self.model.body.inside
        if place == 'transform':
            self.rows.transform = Shift().hold(kind)
            return self.rows.transform
        if place == 'callback':
            self.learn.cbs.append(Mix().hold(kind))
            return self.learn.cbs[-1]
        self.learn.use, self.learn.memory = KINDS[kind][1], KINDS[kind][0]()
        self.learn.cbs.append(UseLearner())
        return self.learn

    def memories(self):
        "Everything that is remembered, by name."
        tensors = {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}
        own = {} if self.holder is None else {'memory': shown(self.holder.memory)}
        streams = dict(python=repr(random.getstate()), numpy=repr(np.random.get_state()),
                       torch=shown(torch.get_rng_state()), loader=shown(self.learn.dls.train.generator))
        return {**{name: shown(t) for name, t in tensors.items()}, **own, **streams}

    def fit(self, epochs, cbs=(), **kw):
        "The losses of all batches; with an error, of those until then"
        recorder = RecorderCB()
        try: self.learn.fit(epochs, cbs=[*cbs, recorder], **kw)
        finally: self.losses = recorder['loss'].tolist()
        return self.losses
