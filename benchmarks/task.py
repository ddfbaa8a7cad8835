"""The work: digits, batch 64, SGD with momentum, a cosine for each step, validation after each epoch."""
from functools import cache, partial

import numpy as np
import torch
from cosine_lr import cosine, digits_dls, tensor_loader
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from .measure import PROCESSOR

BATCH, EPOCHS, PEAK = 64, 9, .1
SGD = partial(torch.optim.SGD, momentum=.9)
SCHED = PEAK*cosine()

digits = cache(digits_dls)


def mlp(): return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn():
    image = nn.Unflatten(1, (1, 8, 8))
    return nn.Sequential(image, nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))


class Rows(Sampler):
    "Row numbers, one by one or a batch at a time, in a new order each pass; `ticks`: when each pass began"
    def __init__(self, n, generator, batched, clock, bs=BATCH):
        self.n, self.generator, self.batched, self.clock = n, generator, batched, clock
        self.bs, self.ticks = bs, []
    def __len__(self): return -(-self.n//self.bs) if self.batched else self.n
    def __iter__(self):
        self.ticks.append(self.clock())
        order = torch.randperm(self.n, generator=self.generator)
        return iter(order.split(self.bs)) if self.batched else iter(order.tolist())


class Task:
    "A model, its optimizer's maker and its data; the same seed gives the same weights and the same batches"
    def __init__(
        self,
        make_model, # `mlp` or `cnn`
        seed,
        by_row=False, # loaders that fetch rows one by one, as a plain `DataLoader` does, or a batch at once
        epochs=EPOCHS,
        clock=PROCESSOR,
        validate=True, # False: on a single row, which is next to nothing
    ):
        torch.manual_seed(seed)
        self.model, self.epochs, self.opt_func, self.peak = make_model(), epochs, SGD, PEAK
        self.x, self.y = digits().train.dataset.tensors
        self.rows = Rows(len(self.x), torch.Generator().manual_seed(seed), not by_row, clock)
        loader = partial(DataLoader if by_row else type(digits().train), generator=torch.Generator())
        bs = BATCH if by_row else None
        self.train = loader(TensorDataset(self.x, self.y), sampler=self.rows, batch_size=bs)
        valid = digits().valid
        if not validate: valid = tensor_loader(*(t[:1] for t in valid.dataset.tensors))
        self.valid = DataLoader(valid.dataset, batch_size=256) if by_row else valid
        self.steps = len(self.train)
        self.total = epochs*self.steps

    def optimizer(self): return self.opt_func(self.model.parameters(), lr=self.peak)

    @property
    def seconds(self):
        "For a training step with its share of validation, in the median epoch; the first is left out"
        return float(np.median(np.diff(self.rows.ticks[1:]))) / self.steps
