"""`lr_find` leaves no trace, however it ends: model, optimizer and random streams have the same bits."""
import csv
import random
import re
import signal
import warnings
from collections import deque
from functools import partial
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from cosine_lr import Callback, CancelBatchException, CancelEpochException, CancelFitException
from cosine_lr import CancelStepException
from cosine_lr import DataLoaders, Learner, LRFinderCB, RecorderCB, digits_dls, lr_find
from cosine_lr.run import GradAccumCB, MixedPrecisionCB

pytestmark = pytest.mark.slow

ERRORS = (ZeroDivisionError, KeyboardInterrupt)  # the second is what Ctrl-C raises
PLACES = ('model', 'loss', 'data', 'callback', 'optimizer', 'scaler')
EXITS = ['climbed', 'diverged', 'not finite', *((place, error) for place in PLACES for error in ERRORS)]


class Trap:
    "At every 25th visit of `place`: raises `error`, if there is one, or says so."
    def __init__(self): self.place, self.error, self.visits = None, None, 0
    def __call__(self, place):
        if place != self.place: return False
        self.visits += 1
        if self.visits % 25 == 0 and self.error: raise self.error('trap')
        return self.visits % 25 == 0


class Rows(Dataset):
    "Rows with noise from a generator of the data set's own, from NumPy's and from Python's."
    def __init__(self, trap):
        g = torch.Generator().manual_seed(0)
        self.x, self.trap, self.noise = torch.randn(96, 6, generator=g), trap, np.random.default_rng(0)
        self.y = self.x[:, :3].argmax(1)
    def __len__(self): return len(self.x)
    def __getitem__(self, i):
        self.trap('data')
        return self.x[i] + .1*float(self.noise.normal() + np.random.normal() + random.gauss(0, 1)), self.y[i]


class Net(nn.Module):
    def __init__(self, trap):
        super().__init__()
        self.trap, self.calls, self.scale, self.noise = trap, 0, 1., torch.Generator().manual_seed(1)
        self.body = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(.3),
                                  nn.Linear(12, 3))
        self.frozen = nn.BatchNorm1d(6)
        self.register_buffer('seen', torch.zeros(2), persistent=False)
    def forward(self, x):
        self.trap('model')
        self.calls += 1
        self.seen += 1
        return self.body(self.frozen(x) + .1*torch.randn(6, generator=self.noise)) * self.scale


class ScalerCB(Callback):
    "Mixed precision with the learner's gradient scaler; gradients shrink or are dropped."
    def __init__(self, trap): self.trap, self.log = trap, []
    def predict(self, learn):
        with torch.autocast('cpu', torch.bfloat16): learn.preds = learn.model(learn.batch[0])
    def get_loss(self, learn): learn.loss = learn.loss_func(learn.preds.float(), learn.batch[1])
    def zero_grad(self, learn):
        if learn.steps % 3 == 2: learn.opt.zero_grad() # drops them
        for p in learn.model.parameters():
            if p.grad is not None: p.grad.mul_(.5*learn.dice.random())
    def backward(self, learn): learn.scaler.scale(learn.loss).backward()
    def step(self, learn):
        self.trap('scaler')
        learn.scaler.step(learn.opt)
        learn.scaler.update()
    def after_step(self, learn):
        self.trap('callback')
        self.log.append(learn.steps)
        learn.history.append(learn.steps)


class World:
    "A learner with everything in it that remembers or draws random numbers."
    def __init__(self, loader, optimizer):
        torch.manual_seed(0), np.random.seed(0), random.seed(0)
        self.trap = Trap()
        generator, self.valid_generator = torch.Generator().manual_seed(3), torch.Generator().manual_seed(4)
        rows = Rows(self.trap)
        sampler = BatchSampler(RandomSampler(rows, generator=generator), 16, False)
        kinds = dict(own=dict(batch_size=16, shuffle=True, generator=generator),
                     shared=dict(batch_size=16, shuffle=True), sampler=dict(batch_sampler=sampler))
        self.rows, self.model, self.cb = rows, Net(self.trap), ScalerCB(self.trap)
        self.model.frozen.eval()
        self.model(torch.randn(8, 6)).sum().backward()  # gradients from before
        self.opt = torch.optim.Adam(self.model.parameters(), lr=.01)
        self.opt.step()
        self.opt.register_step_pre_hook(lambda *_: [self.trap('optimizer')].clear())
        make = (lambda params, lr: self.opt) if optimizer == 'old' else self.new
        valid = DataLoader(rows, 48, shuffle=True, generator=self.valid_generator)
        dls = DataLoaders(DataLoader(rows, **kinds[loader]), valid)
        self.learn = Learner(self.model, dls, self.loss, lr=.01, cbs=[self.cb], opt_func=make)
        self.learn.scaler = torch.amp.GradScaler('cpu', init_scale=64., growth_interval=5)
        self.learn.history, self.learn.note = [], 'mine'
        self.learn.dice, self.generator = random.Random(0), generator
        if optimizer == 'used': self.learn.fit(1)

    def new(self, params, lr):
        opt = torch.optim.AdamW(params, lr=lr)
        opt.register_step_pre_hook(lambda *_: [self.trap('optimizer')].clear())
        return opt

    def loss(self, preds, y):
        self.trap('loss')
        return F.cross_entropy(preds, y) * (np.nan if self.trap('nan') else 1)

    def state(self):
        "Everything, as bytes and identities."
        def raw(t): return None if t is None else (str(t.dtype), t.detach().numpy().tobytes())
        tensors = [*self.model.parameters(), *self.model.buffers()]
        generators = self.generator, self.valid_generator, self.model.noise
        hooks = [len(m._forward_hooks) for m in self.model.modules()]
        moments = [item for state in self.opt.state.values() for item in state.items()]
        return dict(weights=[raw(t) for t in tensors], places=[(id(t), t.data_ptr()) for t in tensors],
                    grads=[(id(p.grad), raw(p.grad)) for p in self.model.parameters()],
                    optimizer=[(id(g), [(k, repr(v)) for k, v in g.items()]) for g in self.opt.param_groups],
                    moments=[(name, raw(t), t.data_ptr()) for name, t in moments],
                    scaler=(repr(self.learn.scaler.state_dict()), repr(vars(self.learn.scaler))),
                    modes=[m.training for m in self.model.modules()], calls=self.model.calls,
                    random=(repr(random.getstate()), repr(np.random.get_state()), self.learn.dice.getstate(),
                            repr(self.rows.noise.bit_generator.state), raw(torch.get_rng_state()),
                            *(raw(g.get_state()) for g in generators)),
                    learner={k: id(v) for k, v in vars(self.learn).items()},
                    cbs=list(map(id, self.learn.cbs)),
                    lists=(list(self.cb.log), list(self.learn.history)),
                    hooks=[len(self.opt._optimizer_step_pre_hooks), *hooks])

    def leave(self, exit, **kw):
        "Run `lr_find` into that exit."
        kw = dict(steps=40, sweeps=2, start=1e-5, stop=.1) | kw
        if isinstance(exit, tuple):
            self.trap.place, self.trap.error = exit
            with pytest.raises(exit[1], match='trap'): lr_find(self.learn, **kw)
            self.trap.place, self.trap.visits = None, 0
            return
        if exit == 'not finite': self.trap.place, self.trap.error = 'nan', None
        if exit == 'diverged': kw |= dict(stop=1e4, diverged=1.5)
        assert lr_find(self.learn, **kw).ends == [exit]*2
        self.trap.place, self.trap.visits = None, 0


def differences(before, after): return [name for name in before if before[name] != after[name]]


@pytest.mark.parametrize('optimizer', ('new', 'old', 'used')) # 'used': a learner that has fitted before
@pytest.mark.parametrize('loader', ('own', 'shared', 'sampler'))
@pytest.mark.parametrize('exit', EXITS, ids=str)
def test_nothing_changes(exit, loader, optimizer):
    world = World(loader, optimizer)
    before = world.state()
    world.leave(exit)
    assert differences(before, world.state()) == []


@pytest.mark.parametrize('loader', ('own', 'shared', 'sampler'))
@pytest.mark.parametrize('exit', [None, *EXITS], ids=str)
def test_later_training_is_the_same(exit, loader):
    def train(exit):
        world, rec = World(loader, 'new'), RecorderCB()
        if exit: world.leave(exit)
        world.learn.fit(3, cbs=[rec])
        return rec['loss'], world.state()['weights']
    (losses, weights), (theirs, after) = train(None), train(exit)
    assert np.array_equal(losses, theirs) and weights == after and len(losses) == 18


@pytest.mark.parametrize('exit', ['climbed', ('loss', KeyboardInterrupt)], ids=str)
def test_nothing_changes_when_the_validation_loss_is_watched(exit):
    world = World('own', 'old')
    before = world.state()
    world.leave(exit, valid=True)
    assert differences(before, world.state()) == []


def test_an_interrupt_while_putting_back_waits_until_all_is_back(monkeypatch):
    from cosine_lr import state
    world, hit, put = World('own', 'old'), [], state._put_tensor
    before = world.state()

    def interrupted(*args):
        if world.trap.visits >= 25 and len(hit) < 3:
            hit.append(True)
            signal.raise_signal(signal.SIGINT)  # Ctrl-C
        put(*args)
    monkeypatch.setattr(state, '_put_tensor', interrupted)
    world.trap.place, world.trap.error = 'loss', ZeroDivisionError
    with pytest.raises(KeyboardInterrupt): lr_find(world.learn)
    assert len(hit) == 3 and differences(before, world.state()) == []


class Hold(Callback):
    "Leaves a hook behind, changes a buffer, freezes a layer, moves the weights."
    def before_fit(self, learn):
        model = learn.model
        model.body[0].register_forward_hook(lambda *_: None)
        model.seen = torch.ones(3)
        model.body[0].weight.requires_grad_(False)
        model.body[4].weight.data = model.body[4].weight.data.clone()
        model.extra = 'left behind'


def test_what_untidy_callbacks_do_is_put_back():
    world = World('own', 'new')
    world.learn.cbs.append(Hold())
    before, seen, attributes = world.state(), world.model.seen, set(vars(world.model))
    world.leave('climbed')
    assert differences(before, world.state()) == []
    assert world.model.seen is seen and set(vars(world.model)) == attributes
    assert world.model.body[0].weight.requires_grad


def test_a_sweep_reaches_high_rates_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert lr_find(World('own', 'new').learn, stop=1000.).lrs[-1] > 0


def test_an_optimizer_that_cannot_be_made_leaves_no_trace():
    world = World('own', 'new')
    def fails(params, lr):
        torch.rand(1)
        world.model.scale = 2.
        raise ZeroDivisionError('no optimizer')
    world.learn.opt_func = fails
    before = world.state()
    with pytest.raises(ZeroDivisionError, match='no optimizer'): lr_find(world.learn)
    assert differences(before, world.state()) == [] and world.model.scale == 1.


class Jitter(Dataset):
    def __len__(self): return 96
    def __getitem__(self, i): return torch.randn(6), i % 3


@pytest.mark.parametrize('warm', (False, True))
def test_workers_that_wait_for_the_next_epoch_are_not_disturbed(warm):
    def train(find):
        torch.manual_seed(0)
        loader = DataLoader(Jitter(), 16, shuffle=True, num_workers=1, persistent_workers=True)
        learn, rec = Learner(nn.Linear(6, 3), DataLoaders(loader, loader), F.cross_entropy), RecorderCB()
        if warm: learn.fit(1, valid=False)
        workers = loader._iterator
        if find: lr_find(learn, steps=12, sweeps=1)
        assert loader._iterator is workers
        learn.fit(1, valid=False, cbs=[rec])
        return rec['loss']
    assert np.array_equal(train(False), train(True))


class Accumulate(Callback):
    "One update for every four batches."
    def backward(self, learn): (learn.loss/4).backward()
    def zero_grad(self, learn):
        if learn.iter % 4 == 0: learn.opt.zero_grad()
    def step(self, learn):
        if learn.iter % 4 == 3: learn.opt.step()


def toy(cbs=(), bs=16, shuffle=True, **kw):
    torch.manual_seed(0)
    x = torch.randn(96, 6)
    rows = torch.utils.data.TensorDataset(x, x[:, :3].argmax(1))
    dls = DataLoaders(DataLoader(rows, bs, shuffle=shuffle), DataLoader(rows, 40))
    return Learner(nn.Linear(6, 3), dls, F.cross_entropy, cbs=cbs, **kw)


def test_an_accumulated_update_is_one_point():
    found = lr_find(toy([Accumulate()], bs=4, shuffle=False), steps=120, sweeps=1, stop=1.)
    whole = lr_find(toy(shuffle=False), steps=120, sweeps=1, stop=1.)
    assert found.losses.shape == (1, 30) and np.allclose(found.lrs, np.geomspace(1e-6, 1, 120)[3::4])
    assert np.isclose(found.losses[0, 0], whole.losses[0, 0])
    assert np.isclose(found.losses[0, 5], whole.losses[0, 5], atol=1e-4)


def test_a_callback_that_never_updates_is_found_out():
    class Idle(Callback):
        def step(self, learn): pass
    with pytest.raises(ValueError, match='140 batches gave 0'): lr_find(toy([Idle()]))


def test_autocast_is_used():
    seen = []
    class Cast(Callback):
        def predict(self, learn):
            with torch.autocast('cpu', torch.bfloat16): learn.preds = learn.model(learn.batch[0])
            seen.append(learn.preds.dtype)
        def get_loss(self, learn): learn.loss = F.cross_entropy(learn.preds.float(), learn.batch[1])
    lr_find(toy([Cast()]), sweeps=1)
    assert set(seen) == {torch.bfloat16}


def test_the_validation_loss_is_that_of_all_rows_after_the_update():
    learn = toy(shuffle=False)
    found = lr_find(learn, steps=10, sweeps=1, valid=True, stop=1.)
    model, opt, batches = learn.model, torch.optim.SGD(learn.model.parameters(), lr=1.), list(learn.dls.train)
    x, y = map(torch.cat, zip(*learn.dls.valid))
    for k, (lr, loss) in enumerate(zip(found.lrs, found.losses[0])):
        opt.param_groups[0]['lr'] = lr
        opt.zero_grad()
        F.cross_entropy(model(batches[k % 6][0]), batches[k % 6][1]).backward()
        opt.step()
        with torch.no_grad(): assert np.isclose(F.cross_entropy(model(x), y).item(), loss, atol=1e-6)


def test_sweeps_go_on_where_the_last_one_stopped():
    seen = []
    class Watch(Callback):
        def before_batch(self, learn): seen.append(learn.batch[0][0, 0].item())
    learn = toy([Watch()], shuffle=False)
    firsts = [x[0, 0].item() for x, _ in learn.dls.train]
    lr_find(learn, steps=16, sweeps=2, stop=1e-3)
    assert seen == (firsts*6)[:32]


def test_every_sweep_sees_batches_of_its_own():
    seen = []
    class Watch(Callback):
        def before_batch(self, learn): seen.append(learn.batch[0][0, 0].item())
    lr_find(toy([Watch()]), steps=12, sweeps=2, stop=1e-3)
    assert seen[:12] != seen[12:]


def test_a_callback_that_ends_the_sweep_is_named():
    class Enough(Callback):
        def after_step(self, learn):
            if learn.steps == 30: raise CancelFitException
    said = r"one of \['Enough'\] ended it after 30 of 140 batches"
    with pytest.raises(ValueError, match=said): lr_find(toy([Enough()]))


def test_every_sweep_starts_from_the_same_weights():
    found = lr_find(toy(bs=96, shuffle=False), sweeps=3, stop=1.)  # one batch holds all rows
    for losses in found.losses[1:]: assert np.array_equal(found.losses[0], losses)


def test_callbacks_see_the_learners_model():
    seen = []
    class Watch(Callback):
        def __init__(self, model): self.model = model
        def before_fit(self, learn):
            seen.append(self.model is learn.model and self.model.weight is learn.model.weight)
    learn = toy()
    learn.cbs.append(Watch(learn.model))
    lr_find(learn, steps=10, sweeps=2)
    assert seen == [True, True]


def test_a_sweep_without_a_finite_loss_is_left_out():
    calls = []
    def loss(preds, y):
        calls.append(1)
        return F.cross_entropy(preds, y) * (np.nan if len(calls) == 141 else 1)
    learn = toy()
    learn.loss_func = loss
    found = lr_find(learn, stop=.1, sweeps=3)
    assert found.ends == ['climbed', 'not finite', 'climbed'] and found.reason
    assert not np.isfinite(found.losses[1]).any()
    found.plot()


# --- the true reason ---

class Hard(nn.Module):
    "A loss of 1 for each row, and more for hard ones; an update takes hardly anything from it"
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(()))
    def forward(self, hardness): return 1 + hardness + (self.w - 1e-3)**2


def hard(hardness, **kw):
    "A learner of batches of one row, in order, each as hard as it is told"
    return Learner(Hard(), [torch.tensor([h]) for h in hardness], lambda preds: preds.mean(), **kw)


@pytest.mark.parametrize('every, by', [(7, 50.), (40, 1000.), (3, 9.)])
def test_a_hard_batch_is_no_divergence(every, by):
    hardness = [by*(k % every == every - 1) for k in range(60)]
    found = lr_find(hard(hardness), stop=1e-4, sweeps=3)
    assert found.ends == ['climbed']*3 and found.suggestion is None
    assert 'flat' in found.reason and 'larger batches or valid=True help' in found.reason


def test_a_rate_that_is_too_high_is_found_after_hard_batches():
    found = lr_find(hard([9.*(k % 7 == 6) for k in range(60)]), stop=1e4, sweeps=3)
    assert found.ends == ['diverged']*3 and (found.lrs[-1] > 1)


def test_after_training_noise_is_not_called_divergence():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    learn = Learner(model, digits_dls(bs=16), F.cross_entropy, lr=.5)
    learn.fit(20, valid=False)
    found = lr_find(learn, stop=1e-4)
    assert found.ends == ['climbed']*5 and found.reason.startswith('flat') and 'valid=True' in found.reason
    whole = lr_find(learn)  # up to rates at which the weights are lost
    assert set(whole.ends) <= {'diverged', 'not finite'} and whole.lrs[-1] > .1
    assert 'diverged at once' not in whole.reason


def test_at_once_is_said_where_it_is_so():
    found = lr_find(toy(), start=1e3, stop=1e6)
    assert set(found.ends) <= {'diverged', 'not finite'} and 'start lower' in found.reason


@pytest.mark.parametrize('valid', [False, True])
@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_row_that_is_no_number_is_named_as_data(value, valid):
    learn = toy(shuffle=False)
    learn.dls.train.dataset.tensors[0][40] = value  # of batch 2 in training, of batch 1 in validation
    found = lr_find(learn, valid=valid)
    said = r'a loss was not finite at \S+ while others were fine: batch 2 has it without any update too'
    if valid: said = 'the first loss is not finite'
    assert found.suggestion is None and re.match(said, found.reason)
    if not valid: assert 'look for nan or inf in the data' in found.reason
    found.plot()


def test_a_rate_that_makes_the_loss_no_number_is_to_blame():
    def steep(preds, y): return F.cross_entropy(preds, y) + preds.square().mean().exp()
    learn = toy(lr=.1)
    learn.loss_func = steep
    found = lr_find(learn, diverged=1e30)
    assert set(found.ends) == {'not finite'} and 'the data' not in found.reason


def test_a_group_with_a_rate_of_0_is_left_alone():
    def one_rests(params, lr):
        weight, bias = params
        return torch.optim.SGD([dict(params=[weight], lr=lr), dict(params=[bias], lr=0.)], lr=lr)
    seen = []
    class Watch(Callback):
        def after_step(self, learn): seen.append((learn.opt.param_groups[1]['lr'], learn.model.bias.tolist()))
    learn = toy([Watch()], opt_func=one_rests)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        found = lr_find(learn)
    assert found.suggestion and all(lr == 0 and bias == learn.model.bias.tolist() for lr, bias in seen)


@pytest.mark.parametrize('loader', ('own', 'shared', 'sampler'))
def test_looking_again_leaves_no_trace(loader):
    def train(find):
        world, rec = World(loader, 'new'), RecorderCB()
        before = world.state()
        if find: lr_find(world.learn, start=1e-9, stop=1e-7, diverged=1.001, steps=40, sweeps=2)
        assert differences(before, world.state()) == []
        world.learn.fit(2, cbs=[rec])
        return rec['loss']
    assert np.array_equal(train(False), train(True))


def test_a_sweep_that_looks_again_goes_on_as_if_it_had_not(monkeypatch):
    from cosine_lr import ladder
    def sweep(): return lr_find(toy(bs=4), stop=1e-3, sweeps=2, steps=60, diverged=1.2)
    looked, real = [], ladder.losses_at
    def watched(*args):
        looked.append(real(*args))
        return looked[-1]
    monkeypatch.setattr(ladder, 'losses_at', watched)
    seen = sweep()
    monkeypatch.setattr(ladder.Watch, '_is_noise', lambda self, learn: True)
    assert len(looked) > 20 and seen.ends == ['climbed']*2 and np.array_equal(seen.losses, sweep().losses)


# --- odd calls ---

def test_a_callback_that_fails_early_is_the_one_that_is_named():
    class Early(Callback):
        def before_fit(self, learn): raise RuntimeError('mine')
    learn = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy, cbs=[Early()])
    with pytest.raises(RuntimeError, match='mine'): lr_find(learn, sweeps=1)


def test_numbers_of_numpy_and_loaders_without_validation_will_do():
    learn = Learner(nn.Linear(64, 10), SimpleNamespace(train=digits_dls().train), F.cross_entropy)
    found = lr_find(learn, steps=np.int64(20), sweeps=np.int64(1))
    assert found.losses.shape[0] == 1 and 'LRFind' in repr(found)


class Skip(Callback):
    "Leaves out one step, or one batch"
    def __init__(self, event, error): self.event, self.error, self.visits = event, error, 0
    def visit(self, event):
        self.visits += event == self.event
        if event == self.event and self.visits == 3: raise self.error
    def before_batch(self, learn): self.visit('before_batch')
    def after_backward(self, learn): self.visit('after_backward')


SKIPS = {
    'step': lambda: Skip('after_backward', CancelStepException),
    'batch': lambda: Skip('before_batch', CancelBatchException),
    'fp16': lambda: MixedPrecisionCB('fp16'), 'finder': LRFinderCB,
}


@pytest.mark.parametrize('valid', [False, True])
@pytest.mark.parametrize('name', SKIPS)
def test_a_sweep_goes_on_where_a_step_is_left_out(name, valid):
    learn = toy([SKIPS[name]()])
    # in half precision, the first scales are too large
    learn.loss_func = lambda preds, y: 100*F.cross_entropy(preds.float(), y)
    found = lr_find(learn, steps=30, sweeps=2, stop=1e-4, valid=valid)
    assert found.ends == ['climbed']*2 and found.losses.shape[1] > 20


def test_callbacks_see_the_learners_layers_and_loaders():
    seen = []
    class Watch(Callback):
        def __init__(self, learn):
            self.layer, self.loader, self.mean = learn.model[1], learn.dls.train, learn.model[1].running_mean
        def before_batch(self, learn):
            layer = learn.model[1]
            seen.append(self.layer is layer and self.mean is layer.running_mean and self.loader is train)
    learn = toy()
    learn.model = nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))
    train = learn.dls.train
    learn.cbs.append(Watch(learn))
    lr_find(learn, steps=10, sweeps=1)
    assert seen == [True]*10


class Diary(nn.Linear):
    "Keeps a record in all kinds of containers"
    def __init__(self):
        super().__init__(6, 3)
        self.count, self.last = np.zeros(2), deque([0], maxlen=3)
        self.sizes, self.notes = {1}, dict(seen=[np.ones(1)])
        self.fixed = np.broadcast_to(1., 3)  # may not be written to
    def forward(self, x):
        self.count += 1
        self.last.append(len(x))
        self.sizes.add(len(x))
        self.notes['seen'][0] *= 2
        return super().forward(x)


class ByEpoch(torch.utils.data.Sampler):
    epoch = 0
    def __len__(self): return 96
    def __iter__(self):
        self.epoch += 1
        return iter(torch.randperm(96, generator=torch.Generator().manual_seed(self.epoch)).tolist())


def test_what_layers_and_samplers_count_is_put_back():
    learn = toy()
    learn.model = Diary()
    learn.dls.train = DataLoader(learn.dls.train.dataset, 16, sampler=ByEpoch())
    lr_find(learn, steps=20, sweeps=2)
    model = learn.model
    assert learn.dls.train.sampler.epoch == 0
    assert (model.count == 0).all() and model.sizes == {1} and model.notes['seen'][0] == 1
    assert list(model.last) == [0] and model.last.maxlen == 3


def test_the_numbers_behind_the_figure_go_to_a_file(tmp_path):
    learn = toy(bs=32)
    found = lr_find(learn)
    found.to_csv(tmp_path/'found.csv')
    with open(tmp_path/'found.csv', newline='') as file: lines = list(csv.DictReader(file))
    assert len(lines) == len(found.lrs)
    assert list(lines[0])[:5] == ['lr', 'median', 'lowest', 'highest', 'loss_0']
    assert [float(line['lr']) for line in lines] == found.lrs.tolist()
    assert float(lines[3]['loss_4']) == found.losses[4, 3]
    assert all(float(line['lowest']) <= float(line['median']) <= float(line['highest']) for line in lines)


# --- steps that are left out, by the dozen ---

class Fourth(Callback):
    "One update for every four batches, by a callback of one's own"
    order = -60
    def before_fit(self, learn): self.k = 0
    def zero_grad(self, learn):
        if self.k % 4 == 0: learn.opt.zero_grad()
    def after_backward(self, learn):
        self.k += 1
        if self.k % 4: raise CancelStepException


class Second(Callback):
    "Cancels every second training batch"
    def before_fit(self, learn): self.k = 0
    def before_batch(self, learn):
        self.k += learn.training
        if learn.training and self.k % 2: raise CancelBatchException


@pytest.mark.parametrize('valid', [False, True])
@pytest.mark.parametrize('make, every', [(Fourth, 4), (Second, 2), (partial(GradAccumCB, 4), 4)])
def test_the_rate_gets_to_its_top_where_steps_are_left_out(make, every, valid):
    found = lr_find(toy([make()], bs=4), sweeps=2, valid=valid, stop=.1)
    assert found.ends == ['climbed']*2
    assert np.allclose(found.lrs, np.geomspace(1e-6, .1, 140)[every - 1::every])


@pytest.mark.parametrize('make', [Fourth, Second, lambda: GradAccumCB(4)])
def test_the_suggestion_is_that_of_the_rates_that_were_tried(make):
    def find(*cbs):
        torch.manual_seed(0)
        return lr_find(Learner(nn.Linear(64, 10), digits_dls(16), F.cross_entropy, cbs=cbs), sweeps=2)
    found, plain = find(make()), find()
    assert found.ends == ['diverged']*2 and plain.suggestion/5 < found.suggestion < plain.suggestion*5


@pytest.mark.parametrize('valid', [False, True])
def test_no_suggestion_where_the_top_was_not_tried(valid):
    class Half(Callback):
        order = -60
        def before_fit(self, learn): self.k = 0
        def after_backward(self, learn):
            self.k += 1
            if self.k > 70: raise CancelStepException
    found = lr_find(toy([Half()]), stop=1., sweeps=2, valid=valid)
    said = r'took 70 steps in 140 batches, and none in the last 70, at rates above 0\.00095'
    assert found.suggestion is None and re.match(said, found.reason)
    found.plot()


def test_sweeps_that_leave_out_batches_by_chance_get_to_the_top():
    class Chance(Callback):
        def before_batch(self, learn):
            if learn.training and random.random() < .5: raise CancelBatchException
    random.seed(0)
    found = lr_find(toy([Chance()], bs=4), stop=1., sweeps=3, diverged=1e6)
    counted = np.isfinite(found.losses).sum(1)
    last = [found.lrs[n - 1] for n in counted]
    assert found.ends == ['climbed']*3 and min(last) > .3 and found.lrs[-1] > .8


@pytest.mark.parametrize('every', [2, 4])
def test_with_valid_an_accumulated_update_is_that_of_the_training_loss(every):
    def updates(valid):
        weights = []
        class Note(Callback):
            def after_step(self, learn): weights.append(learn.model.weight.detach().clone())
        lr_find(toy([GradAccumCB(every), Note()], bs=4, shuffle=False), stop=.1, sweeps=1, valid=valid)
        return torch.stack(weights)
    assert torch.equal(updates(True), updates(False))


def test_callbacks_see_how_far_a_sweep_is():
    class Far(Callback):
        def before_batch(self, learn):
            if learn.training: seen.append((learn.total, learn.pos))
    for valid in (False, True):
        for cbs, total in (([], 20), ([GradAccumCB(2)], 10)):
            seen = []
            lr_find(toy([*cbs, Far()], bs=4), stop=.1, steps=20, sweeps=1, valid=valid)
            assert seen[0] == (total, 0) and seen[-1] == (total, 1 - 1/total) and len(seen) == 20


# --- what gives no loss ---

@pytest.mark.parametrize('event', ['before_batch', 'before_epoch'])
def test_a_validation_that_is_cancelled_is_named(event):
    class Never(Callback):
        def visit(self, learn, name):
            if name == event and not learn.training:
                raise CancelBatchException if name == 'before_batch' else CancelEpochException
        def before_batch(self, learn): self.visit(learn, 'before_batch')
        def before_epoch(self, learn): self.visit(learn, 'before_epoch')
    said = 'learn.dls.valid must give rows for each update, and gave none'
    with pytest.raises(ValueError, match=said): lr_find(toy([Never()]), valid=True)


@pytest.mark.parametrize('valid', [False, True])
def test_batches_without_rows_are_named(valid):
    learn = toy()
    learn.loss_func = lambda preds, y: F.cross_entropy(preds, y, reduction='sum')
    empty, name = [(torch.zeros(0, 6), torch.zeros(0, dtype=torch.long))], 'valid' if valid else 'train'
    setattr(learn.dls, name, empty)
    with pytest.raises(ValueError, match=f'learn.dls.{name} must give rows'): lr_find(learn, valid=valid)


def test_loaders_that_will_not_do_are_refused_with_a_cure():
    learn, train = toy(), toy().dls.train
    stream = DataLoader(Stream(), 16)
    for dls, valid, said in (
        (None, False, 'learn.dls must be an object with train and valid'),
        (train, True, 'valid must be False, where there is no learn.dls.valid'),
        (stream, False, r'learn.dls.train must have a length.*lr_find takes a list, '),
        ((train, stream), True, r'learn.dls.valid must have a length.*lr_find takes a list'),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            lr_find(Learner(learn.model, dls, F.cross_entropy), valid=valid)
    assert lr_find(Learner(learn.model, [*islice(stream, 8)], F.cross_entropy), sweeps=1).losses.shape[1] > 10


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        for k in range(160): yield torch.randn(6), k % 3


class Composite:
    "An optimizer of one's own: one of torch's for weights, one for the rest, and no hooks"
    def __init__(self, params, lr):
        self.parts = [torch.optim.SGD([p], lr=lr) for p in params]
        self.param_groups = [group for opt in self.parts for group in opt.param_groups]
    def zero_grad(self):
        for opt in self.parts: opt.zero_grad()
    def step(self):
        for opt in self.parts: opt.step()


@pytest.mark.parametrize('cbs', [list, lambda: [Accumulate()], lambda: [GradAccumCB(4)]])
def test_an_optimizer_without_hooks_climbs_too(cbs):
    own, plain = (lr_find(toy(cbs(), bs=4, shuffle=False, **kw), sweeps=2)
                  for kw in (dict(opt_func=Composite), {}))
    assert np.array_equal(own.losses, plain.losses, equal_nan=True) and own.ends == plain.ends


def test_an_optimizer_without_hooks_is_left_as_it_was():
    learn = toy()
    opt = Composite(learn.model.parameters(), .1)
    learn.opt_func, before = lambda params, lr: opt, vars(opt).copy()
    lr_find(learn, sweeps=2)
    assert vars(opt) == before
