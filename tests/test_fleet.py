"""A fleet's promises that a notebook is no place to test: compiled steps, memory, progress, hostile losses and models."""
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from cosine_lr import constant, cosine, digits_dls, fleet, linear, run_fleet

pytestmark = pytest.mark.slow

SGD = partial(torch.optim.SGD, momentum=.9)


def mlp(): return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def normed(): return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def train(make_model=mlp, lr=.1*cosine(), seeds=2, **kwargs):
    return run_fleet(make_model, digits_dls(), lr, seeds=seeds, quiet=True, **kwargs)


# --- compile=True ---

def test_a_compiled_step_is_one_graph_and_is_compiled_once():
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counters.clear()
    plain, compiled = train(normed, opt_func=SGD), train(normed, opt_func=SGD, compile=True)
    assert np.allclose(plain.losses, compiled.losses, rtol=1e-4) and np.allclose(plain.values['valid_loss'], compiled.values['valid_loss'], rtol=1e-4)
    assert not counters['graph_break']
    assert counters['stats']['unique_graphs'] == 2  # one for the full batches, one for the last
    train(normed, opt_func=SGD, compile=True, lr=.05*constant(), epochs=2)  # other values, other steps: nothing new to compile
    assert counters['stats']['unique_graphs'] == 2


def test_many_shapes_may_be_compiled():
    limit = torch._dynamo.config.cache_size_limit
    step = torch.compile(lambda x: x.sin(), backend='eager', dynamic=False, fullgraph=True)
    with fleet._many_variants():
        for n in range(2, 20): step(torch.zeros(n))
    assert torch._dynamo.config.cache_size_limit == limit


@pytest.mark.parametrize('compile', [False, True])
def test_each_run_draws_its_own_dropout(compile):
    twins = dict(a=.1*cosine(), twin=.1*cosine())
    model = lambda: nn.Sequential(nn.Dropout(.5), nn.Linear(64, 10))
    once, again = (run_fleet(model, digits_dls(bs=539), twins, seeds=2, quiet=True, compile=compile) for _ in range(2))
    assert np.abs(once['a'].losses - once['twin'].losses).max() > .01
    assert np.array_equal(once.losses, again.losses)


# --- divergence, schedules of other fields ---

def test_a_run_with_one_infinite_loss_stays_lost():
    def spike(preds, y): return nn.functional.cross_entropy(preds, y) + torch.where(y[0] == 0, torch.inf, 0.)  # with finite gradients
    for losses in train(seeds=4, epochs=2, loss_func=spike).losses[0]:
        first = np.isinf(losses).argmax()
        assert np.isfinite(losses[:first]).all() and np.isnan(losses[first+1:]).all()


def test_fields_are_scheduled_like_the_learning_rate():
    fixed = train(opt_func=partial(torch.optim.AdamW, betas=(.9, .95), weight_decay=.05))
    scheduled = train(opt_func=torch.optim.AdamW, betas=(constant(.9), .95), weight_decay=constant(.05))
    moving = train(opt_func=torch.optim.AdamW, betas=(cosine(.95, .85), .95), weight_decay=linear(.1, 0))
    assert np.array_equal(fixed.losses, scheduled.losses) and not np.allclose(fixed.losses, moving.losses, rtol=1e-3)


# --- wrong calls ---

@pytest.mark.parametrize('wrong, says', [
    (dict(lr=.1), 'lr must hold schedules'), (dict(lr=[]), 'lr must hold at least one'), (dict(seeds=0), 'seeds must be'), (dict(seeds=[1, 1]), 'seeds must be'),
    (dict(seeds=2.), 'seeds must be'), (dict(seeds=[-1]), 'seeds must be'), (dict(epochs=0), 'epochs must be'), (dict(epochs=1.5), 'epochs must be'),
    (dict(max_bytes=0), 'max_bytes must be'), (dict(momentun=.9), 'no field to schedule'), (dict(loss_func=lambda p, y: p), 'loss_func must return a 0-d tensor'),
])
def test_a_wrong_call_is_told_what_would_be_right(wrong, says):
    with pytest.raises(ValueError, match=says): train(**wrong)


# --- progress ---

def test_the_progress_bar_counts_every_step_of_every_run(capsys):
    run_fleet(mlp, digits_dls(), [.1*cosine(), .1*constant()], seeds=3, epochs=2, max_bytes=500_000)
    shown = capsys.readouterr().err
    assert '100%' in shown and f'{6*2*17}/{6*2*17}' in shown.replace('.00', '')
    train()
    assert capsys.readouterr().err == ''


# --- memory ---

def out_of_memory_above(size, sizes, monkeypatch):
    "Let blocks of more than `size` members fail in the middle of training, as a full accelerator would"
    validate = fleet._validate
    def failing(model, loss_func, batches, state):
        sizes.append(len(next(iter(state.values()))))
        if sizes[-1] > size: raise torch.cuda.OutOfMemoryError('simulated')
        return validate(model, loss_func, batches, state)
    monkeypatch.setattr(fleet, '_validate', failing)


def test_a_block_that_runs_out_of_memory_is_halved(monkeypatch, capsys):
    whole, sizes = train(seeds=5, lr=[.1*cosine(), .1*constant()]), []
    out_of_memory_above(3, sizes, monkeypatch)
    parts = run_fleet(mlp, digits_dls(), [.1*cosine(), .1*constant()], seeds=5)
    assert sizes == [10, 5, 2, 3, 5, 2, 3]
    assert np.allclose(whole.losses, parts.losses, rtol=1e-4) and parts.seeds == whole.seeds
    assert '170/170' in capsys.readouterr().err


def test_memory_for_not_even_one_run_is_an_error(monkeypatch):
    out_of_memory_above(0, [], monkeypatch)
    with pytest.raises(torch.cuda.OutOfMemoryError): train()


PEAK = '''
import re, torch
from pathlib import Path
from torch import nn
from cosine_lr import cosine, digits_dls, fleet, run_fleet
kinds = dict(mlp=lambda: nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)),
             conv=lambda: nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)))
def mb(): return int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]) / 1e3
make, dls = kinds['{kind}'], digits_dls()
def train(seeds): return run_fleet(make, dls, .1*cosine(), seeds=seeds, opt_func=torch.optim.Adam, quiet=True, max_bytes={limit}*1e6)
train(2)
before, each = mb(), fleet._member_bytes(make(), dls.train.dataset.tensors[0][:64], 2) / 1e6
train({seeds})
print(mb() - before, each)
'''


def peak(**settings):
    "Megabytes that a fleet adds to the peak of a process of its own, and the estimate for one member"
    done = subprocess.run([sys.executable, '-c', PEAK.format(**settings)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return map(float, done.stdout.split())


@pytest.mark.skipif(sys.platform != 'linux', reason='the peak is read from /proc')
@pytest.mark.parametrize('kind', ['mlp', 'conv'])
def test_the_estimate_is_near_the_real_peak(kind):
    real, each = peak(kind=kind, seeds=200, limit=1e6)
    assert .5 < real/(200*each) < 2  # where nothing is said, half of the free memory is used


@pytest.mark.skipif(sys.platform != 'linux', reason='the peak is read from /proc')
def test_a_fleet_larger_than_its_memory_trains_in_parts():
    real, each = peak(kind='mlp', seeds=400, limit=60)
    assert 400*each > 4*60 and real < 2*60
