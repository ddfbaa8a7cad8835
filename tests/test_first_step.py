"""With two threads, the first step of a process is the same in every process: kernels are warmed up first.

Without the warm-up, torch's first square root with two threads has low accuracy in some processes, on
some machines (https://github.com/pytorch/pytorch/issues/188792). `COSINE_LR_STARTS=5000 pytest
tests/test_first_step.py` starts more.
"""
import collections
import hashlib
import os

import pytest
import torch
import torch._dynamo # torch.optim imports it at its first step, which would take most of a process's time
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cosine_lr import Learner, constant, digits_dls, run_fleet
from cosine_lr.learner import CancelFitException, Callback
from cosine_lr.torch_inside import warm_up

STARTS = int(os.environ.get('COSINE_LR_STARTS', 600))
needs_fork = pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork: no processes to start here')


class OneStep(Callback):
    def after_step(self, learn): raise CancelFitException


def learner():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 10))
    return Learner(model, digits_dls(), F.cross_entropy, .01, [OneStep()], torch.optim.AdamW)


def first_step(learn):
    "A digest of the weights after one step with two threads, in a process of its own"
    out, into = os.pipe()
    pid = os.fork()
    if not pid:
        torch.set_num_threads(2)
        learn.fit(1, valid=False)
        weights = b''.join(p.detach().numpy().tobytes() for p in learn.model.parameters())
        os.write(into, hashlib.sha256(weights).hexdigest().encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as file: digest = file.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return digest


@pytest.mark.slow
@needs_fork
def test_all_processes_take_the_same_first_step():
    warm_up.cache_clear()
    learn = learner()
    steps = collections.Counter(first_step(learn) for _ in range(STARTS))
    assert len(steps) == 1, sorted(steps.values())


class Calls(TorchDispatchMode):
    "The operations that torch is asked for, each with the number of elements that it is given"
    def __init__(self):
        super().__init__()
        self.seen = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        sizes = [x.numel() for x in args if isinstance(x, torch.Tensor)]
        self.seen.append((func.overloadpacket.__name__, sizes))
        return func(*args, **(kwargs or {}))


def fit_one(): learner().fit(1, valid=False)
def train_fleet():
    def model(): return nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    rates, opt = .01*constant(), torch.optim.AdamW
    run_fleet(model, digits_dls(), lr=rates, seeds=2, epochs=1, opt_func=opt, quiet=True)


@pytest.mark.parametrize('train', [fit_one, train_fleet])
@pytest.mark.parametrize('kernel', ['sqrt', 'exp', 'log', 'tanh'])
def test_each_kernel_is_first_called_with_one_number(kernel, train):
    "One number is not split between threads"
    warm_up.cache_clear()
    with Calls() as calls: train()
    assert next(sizes for name, sizes in calls.seen if name == kernel) == [1]
    assert (kernel, [1]) in calls.seen


def test_kernels_are_warmed_up_once():
    learner().fit(1, valid=False)
    with Calls() as calls: learner().fit(1, valid=False)
    assert not [name for name, _ in calls.seen if name in ('exp', 'log')]
