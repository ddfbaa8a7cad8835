"""Schedules: seconds for one value, for a million of them, and for a scheduler's step."""
import numpy as np
import torch
from cosine_lr import ScheduleLR, cosine, join, linear
from torch import nn
from torch.optim import lr_scheduler

from .measure import PROCESSOR, measure

MILLION, FEW = 10**6, 2000


def repeated(f): # the function of a step
    "Seconds for one call"
    def turn(k):
        start = PROCESSOR()
        for step in range(FEW): f(step)
        return (PROCESSOR() - start)/FEW, {}
    return turn


def optimizer(): return torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=1.)


def torch_value():
    "torch has no function of the step in public: its scheduler takes the step, and is asked"
    opt = optimizer()
    opt.step()
    sched = lr_scheduler.CosineAnnealingLR(opt, FEW)
    def value(step):
        sched.step()
        return sched.get_last_lr()
    return value


def one_value():
    import optax
    from transformers.optimization import _get_cosine_schedule_with_warmup_lr_lambda
    ours, theirs = cosine(), optax.cosine_decay_schedule(1., FEW)
    settings = dict(num_warmup_steps=0, num_training_steps=FEW, num_cycles=.5)
    hf = lambda step: _get_cosine_schedule_with_warmup_lr_lambda(step, **settings)
    return {'torch': repeated(torch_value()), 'cosine_lr': repeated(lambda step: ours(step/FEW)),
            'transformers': repeated(hf), 'optax': repeated(theirs)}


def a_million():
    "At once where the library can; else 2000 of them one by one, times 500"
    import jax.numpy as jnp
    import optax
    pos, steps = torch.arange(MILLION)/MILLION, jnp.arange(MILLION)
    ours, theirs, one = cosine(), optax.cosine_decay_schedule(1., MILLION), one_value()
    def once(f): return lambda k: (_seconds(f), {})
    def each(turn): return lambda k: (turn(k)[0]*MILLION, {})
    return {'torch, written by hand': once(lambda: (1 + torch.cos(torch.pi*pos))/2),
            'cosine_lr, tensor': once(lambda: ours(pos)), 'cosine_lr, array': once(lambda: ours(pos.numpy())),
            'optax': once(lambda: theirs(steps).block_until_ready()),
            'torch, one by one': each(one['torch']), 'transformers, one by one': each(one['transformers'])}


def _seconds(f):
    times = []
    for _ in range(5):
        start = PROCESSOR()
        f()
        times.append(PROCESSOR() - start)
    return float(np.median(times))


def a_step():
    "A scheduler made anew each turn, and stepped to the end of its run"
    def stepped(make):
        def turn(k):
            opt = optimizer()
            opt.step()
            sched = make(opt)
            return repeated(lambda step: sched.step())(k)
        return turn
    def annealed(opt): return lr_scheduler.CosineAnnealingLR(opt, FEW)
    def sequential(opt):
        warm = FEW//10
        parts = [lr_scheduler.LinearLR(opt, .1, 1., warm), lr_scheduler.CosineAnnealingLR(opt, FEW - warm)]
        return lr_scheduler.SequentialLR(opt, parts, [warm])
    def one_cycle(opt): return lr_scheduler.OneCycleLR(opt, 1., FEW + 1, cycle_momentum=False)
    def huggingface(opt):
        from transformers import get_cosine_schedule_with_warmup
        return get_cosine_schedule_with_warmup(opt, FEW//10, FEW)
    def ours(sched): return lambda opt: ScheduleLR(opt, lr=sched, total_steps=FEW)
    return {'torch, CosineAnnealingLR': stepped(annealed), 'ScheduleLR, cosine': stepped(ours(cosine())),
            'torch, SequentialLR (warm-up, cosine)': stepped(sequential),
            'ScheduleLR, warm-up and cosine': stepped(ours(join([linear(.1, 1), cosine()], at=[.1]))),
            'transformers, warm-up and cosine': stepped(huggingface),
            'torch, OneCycleLR (rate and momentum)': stepped(one_cycle)}


KINDS = { # {kind: (its contestants, their base)}
    'value': (one_value, 'torch'), 'million': (a_million, 'torch, written by hand'),
    'step': (a_step, 'torch, CosineAnnealingLR'),
}


def run(rounds):
    torch.set_num_threads(1)
    return {name: measure(make(), rounds, f'schedules, {name}', base) for name, (make, base) in KINDS.items()}
