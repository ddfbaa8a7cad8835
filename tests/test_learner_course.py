"""Code in the style of fast.ai's course (2022, part 2, notebooks 09 to 14), on this project's `Learner`.

The cells are our own. Losses are compared with those of a loop in the course's order, to the last bit.
"""
import math
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim import lr_scheduler

from cosine_lr import (Callback, CancelBatchException, CancelEpochException, CancelFitException, DeviceCB,
                       Learner, MetricsCB, MomentumCB, SingleBatchCB, TrainCB, TrainLearner, digits_dls)


def images(bs=128, seed=0):
    "The digits as 1×8×8 images"
    dls = digits_dls(bs=bs, seed=seed)
    rows = [[(x.view(-1, 1, 8, 8), y) for x, y in dl] for dl in (dls.train, dls.valid)]
    return SimpleNamespace(train=rows[0], valid=rows[1])


def conv(ni, nf, ks=3, stride=2, act=True):
    layers = [nn.Conv2d(ni, nf, stride=stride, kernel_size=ks, padding=ks//2)]
    if act: layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def small_cnn():
    torch.manual_seed(1)
    return nn.Sequential(conv(1, 4), conv(4, 8), conv(8, 16), conv(16, 10, act=False), nn.Flatten())


class LossesCB(Callback):
    def before_fit(self, learn): self.losses = []
    def after_batch(self, learn):
        if learn.training: self.losses.append(learn.loss.item())


def course_losses(opt_func, lr, epochs=2, zero_grad=None, after_batch=None):
    "Training losses of a loop in the course's order: predict, loss, backward, step, zero_grad"
    model, dls, losses = small_cnn(), images(), []
    opt = opt_func(model.parameters(), lr)
    after = after_batch(opt) if after_batch else lambda: None
    for _ in range(epochs):
        for xb, yb in dls.train:
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            if zero_grad: zero_grad(model)
            else: opt.zero_grad()
            losses.append(loss.item())
            after()
    return losses


def our_losses(opt_func=optim.SGD, lr=.2, epochs=2, make=Learner, cbs=()):
    rec = LossesCB()
    learn = make(small_cnn(), images(), F.cross_entropy, lr=lr, cbs=[rec, *cbs], opt_func=opt_func)
    learn.fit(epochs)
    return rec.losses


# --- 09, the learner: metrics, one callback in place of a list, a subclass that overrides steps ---

class CompletionCB(Callback):
    def before_fit(self, learn): self.count = 0
    def after_batch(self, learn): self._tick()
    def _tick(self): self.count += 1
    def on_report(self): return f'{self.count} batches'
    def begin_again(self): self.count = 0


def test_one_callback_where_a_list_is_meant():
    cb = CompletionCB()
    learn = Learner(small_cnn(), images(), F.cross_entropy, lr=.2, cbs=cb)
    learn.fit(1)
    whole = len(images().train) + len(images().valid)
    assert cb.on_report() == f'{whole} batches'
    cb.begin_again()
    learn.fit(1, cbs=SingleBatchCB())
    assert cb.count == 1
    TrainLearner(small_cnn(), images(), F.cross_entropy, cbs=DeviceCB()).fit(1)
    Learner(small_cnn(), images(), F.cross_entropy, cbs=None).fit(1, cbs=None, lr=None)


class OwnTrainLearner(Learner):
    "The five steps as methods of the learner"
    def predict(self): self.preds = self.model(self.batch[0])
    def get_loss(self): self.loss = self.loss_func(self.preds, self.batch[1])
    def backward(self): self.loss.backward()
    def step(self): self.opt.step()
    def zero_grad(self): self.opt.zero_grad()


class OwnMomentumLearner(OwnTrainLearner):
    "Its `zero_grad` counts on gradients"
    def __init__(self, model, dls, loss_func, lr=None, cbs=None, opt_func=optim.SGD, mom=.85):
        self.mom = mom
        super().__init__(model, dls, loss_func, lr, cbs, opt_func)
    def zero_grad(self):
        with torch.no_grad():
            for p in self.model.parameters(): p.grad *= self.mom


class OwnTrainCB(Callback):
    def __init__(self, n_inp=1): self.n_inp = n_inp
    def predict(self, learn): learn.preds = learn.model(*learn.batch[:self.n_inp])
    def get_loss(self, learn): learn.loss = learn.loss_func(learn.preds, *learn.batch[self.n_inp:])
    def backward(self, learn): learn.loss.backward()
    def step(self, learn): learn.opt.step()
    def zero_grad(self, learn): learn.opt.zero_grad()


def test_steps_of_a_subclass_and_of_a_callback_are_the_courses():
    theirs = course_losses(optim.SGD, .2)
    assert our_losses() == our_losses(make=OwnTrainLearner) == our_losses(cbs=[OwnTrainCB()]) == theirs


def shrink(model, mom=.85):
    for p in model.parameters(): p.grad *= mom


def test_a_momentum_learner_whose_zero_grad_counts_on_gradients():
    theirs = course_losses(optim.SGD, .1, zero_grad=shrink)
    assert our_losses(lr=.1, make=OwnMomentumLearner) == our_losses(lr=.1, cbs=[MomentumCB()]) == theirs
    assert our_losses(lr=.1) != theirs


def test_a_second_fit_goes_on_with_the_gradients_of_the_first():
    "As in the course, where they outlive the fit"
    model, dls, opt, rec = small_cnn(), images(), None, LossesCB()
    learn = OwnMomentumLearner(small_cnn(), images(), F.cross_entropy, .1, [rec])
    for _ in range(2):
        theirs, opt = [], optim.SGD(model.parameters(), .1)
        for xb, yb in dls.train:
            loss = F.cross_entropy(model(xb), yb)
            loss.backward()
            opt.step()
            shrink(model)
            theirs.append(loss.item())
        learn.fit(1)
        assert rec.losses == theirs


def test_a_finder_that_is_patched_in():
    class LRFinderCB(Callback):
        def __init__(self, gamma=1.3, max_mult=3): self.gamma, self.max_mult = gamma, max_mult
        def before_fit(self, learn):
            self.sched = lr_scheduler.ExponentialLR(learn.opt, self.gamma)
            self.lrs, self.losses, self.min = [], [], math.inf
        def after_batch(self, learn):
            if not learn.training: raise CancelEpochException()
            self.lrs.append(learn.opt.param_groups[0]['lr'])
            loss = learn.loss.item()
            self.losses.append(loss)
            self.min = min(self.min, loss)
            if math.isnan(loss) or loss > self.min*self.max_mult: raise CancelFitException()
            self.sched.step()
    class Patched(Learner):
        def lr_find(self, gamma=1.3, start_lr=1e-3, max_epochs=10):
            self.fit(max_epochs, lr=start_lr, cbs=(finder := LRFinderCB(gamma=gamma)))
            return finder
    found = Patched(small_cnn(), images(), F.cross_entropy).lr_find()
    assert found.lrs[1] == pytest.approx(1.3*found.lrs[0]) and found.losses[-1] > 3*found.min


# --- 10 and 11, activations and initialisation: hooks, a batch normalised by a callback ---

class Hook:
    def __init__(self, m, f): self.hook = m.register_forward_hook(partial(f, self))
    def remove(self): self.hook.remove()


class HooksCB(Callback):
    def __init__(self, hookfunc, mod_filter=lambda m: True, on_train=True, on_valid=False):
        self.hookfunc, self.mod_filter, self.learn = hookfunc, mod_filter, None
        self.on_train, self.on_valid = on_train, on_valid
    def before_fit(self, learn):
        self.learn = learn
        self.hooks = [Hook(m, self._hookfunc) for m in learn.model.modules() if self.mod_filter(m)]
    def _hookfunc(self, *args, **kwargs):
        training = self.learn.training
        if (self.on_train and training) or (self.on_valid and not training): self.hookfunc(*args, **kwargs)
    def after_fit(self, learn):
        for h in self.hooks: h.remove()
    def __iter__(self): return iter(self.hooks)
    def __len__(self): return len(self.hooks)


def append_stats(hook, mod, inp, outp):
    if not hasattr(hook, 'stats'): hook.stats = ([], [])
    hook.stats[0].append(outp.detach().mean().item())
    hook.stats[1].append(outp.detach().std().item())


def test_activations_are_watched_by_hooks():
    "The callback can be iterated over, and is one callback all the same"
    hooks = HooksCB(append_stats, mod_filter=lambda m: isinstance(m, nn.ReLU))
    Learner(small_cnn(), images(), F.cross_entropy, lr=.2, cbs=hooks).fit(1)
    steps = len(images().train)
    assert len(hooks) == 3 and [len(h.stats[0]) for h in hooks] == [steps]*3


class BatchTransformCB(Callback):
    def __init__(self, tfm, on_train=True, on_valid=True):
        self.tfm, self.on_train, self.on_valid = tfm, on_train, on_valid
    def before_batch(self, learn):
        if (self.on_train and learn.training) or (self.on_valid and not learn.training):
            learn.batch = self.tfm(learn.batch)


def test_a_batch_is_normalised_by_a_callback():
    seen = []
    def norm(batch): return (batch[0] - .3)/.35, batch[1]
    class Look(Callback):
        order = 1
        def before_batch(self, learn): seen.append(learn.batch[0].mean().item())
    Learner(small_cnn(), images(), F.cross_entropy, lr=.2, cbs=[BatchTransformCB(norm), Look()]).fit(1)
    assert all(abs(mean) < .2 for mean in seen)


def init_weights(m, leaky=0.):
    if isinstance(m, nn.Conv2d): nn.init.kaiming_normal_(m.weight, a=leaky)


def test_a_model_with_weights_of_ones_own_and_lazy_layers():
    model = small_cnn().apply(partial(init_weights, leaky=.1))
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
    for net in (model, lazy):
        for make in (TrainLearner, OwnTrainLearner): make(net, images(), F.cross_entropy, lr=.05).fit(1)


# --- 12, accelerated SGD: optimizers of one's own, schedulers of torch in callbacks ---

class SGD:
    def __init__(self, params, lr, wd=0.): self.params, self.lr, self.wd, self.i = list(params), lr, wd, 0
    def step(self):
        with torch.no_grad():
            for p in self.params:
                self.reg_step(p)
                self.opt_step(p)
        self.i += 1
    def opt_step(self, p): p -= p.grad*self.lr
    def reg_step(self, p):
        if self.wd != 0: p *= 1 - self.lr*self.wd
    def zero_grad(self):
        for p in self.params: p.grad.data.zero_()


class Momentum(SGD):
    def __init__(self, params, lr, wd=0., mom=.9):
        super().__init__(params, lr=lr, wd=wd)
        self.mom = mom
    def opt_step(self, p):
        if not hasattr(p, 'grad_avg'): p.grad_avg = torch.zeros_like(p.grad)
        p.grad_avg = p.grad_avg*self.mom + p.grad*(1 - self.mom)
        p -= self.lr*p.grad_avg


class RMSProp(SGD):
    def __init__(self, params, lr, wd=0., sqr_mom=.99, eps=1e-5):
        super().__init__(params, lr=lr, wd=wd)
        self.sqr_mom, self.eps = sqr_mom, eps
    def opt_step(self, p):
        if not hasattr(p, 'sqr_avg'): p.sqr_avg = p.grad**2
        p.sqr_avg = p.sqr_avg*self.sqr_mom + p.grad**2*(1 - self.sqr_mom)
        p -= self.lr*p.grad/(p.sqr_avg.sqrt() + self.eps)


class Adam(SGD):
    def __init__(self, params, lr, wd=0., beta1=.9, beta2=.99, eps=1e-5):
        super().__init__(params, lr=lr, wd=wd)
        self.beta1, self.beta2, self.eps = beta1, beta2, eps
    def opt_step(self, p):
        if not hasattr(p, 'avg'): p.avg, p.sqr_avg = torch.zeros_like(p.grad), torch.zeros_like(p.grad)
        p.avg = self.beta1*p.avg + (1 - self.beta1)*p.grad
        p.sqr_avg = self.beta2*p.sqr_avg + (1 - self.beta2)*p.grad**2
        unbias, sqr = p.avg/(1 - self.beta1**(self.i + 1)), p.sqr_avg/(1 - self.beta2**(self.i + 1))
        p -= self.lr*unbias/(sqr + self.eps).sqrt()


class Eta(SGD):
    "The rate has another name"
    def __init__(self, params, eta): super().__init__(params, eta)


@pytest.mark.parametrize('make', [SGD, partial(SGD, wd=.1), Momentum, RMSProp, Adam, Eta],
                         ids=['SGD', 'decay', 'Momentum', 'RMSProp', 'Adam', 'eta'])
def test_an_optimizer_of_ones_own(make):
    theirs = course_losses(make, .02)
    assert our_losses(make, .02) == our_losses(make, .02, make=OwnTrainLearner) == theirs
    scores = MetricsCB(log=lambda line: None)
    assert our_losses(make, .02, cbs=[scores]) == theirs
    assert {row['lr'] for row in scores.rows} == {.02} and theirs[-1] < theirs[0]


def test_an_optimizer_of_ones_own_with_a_momentum_learner():
    theirs = course_losses(SGD, .1, zero_grad=shrink)
    assert our_losses(SGD, .1, make=OwnMomentumLearner) == our_losses(SGD, .1, cbs=[MomentumCB()]) == theirs


def test_a_type_error_inside_an_optimizer_is_its_own():
    def broken(params, lr): return 'two' + lr
    with pytest.raises(TypeError, match='can only concatenate str'): our_losses(broken)
    with pytest.raises(ValueError, match='opt_func must be a function that takes lr=…, or lr as its'):
        our_losses(lambda params: optim.SGD(params, lr=.1))
    assert our_losses(lambda params: optim.SGD(params, lr=.2), lr=None) == our_losses()


class BaseSchedCB(Callback):
    def __init__(self, sched): self.sched = sched
    def before_fit(self, learn): self.schedo = self.sched(learn.opt)
    def _step(self, learn):
        if learn.training: self.schedo.step()


class BatchSchedCB(BaseSchedCB):
    def after_batch(self, learn): self._step(learn)


class EpochSchedCB(BaseSchedCB):
    def after_epoch(self, learn): self._step(learn)


class HasLearnCB(Callback):
    def before_fit(self, learn): self.learn = learn
    def after_fit(self, learn): self.learn = None


class RecordCB(Callback):
    def __init__(self, **d): self.d = d
    def before_fit(self, learn):
        self.recs, self.pg = {k: [] for k in self.d}, learn.opt.param_groups[0]
    def after_batch(self, learn):
        if not learn.training: return
        for k, v in self.d.items(): self.recs[k].append(v(self))


def _lr(cb): return cb.pg['lr']


@pytest.mark.parametrize('opt_func', [optim.SGD, optim.AdamW])
def test_torchs_schedulers_in_a_callback(opt_func):
    steps = 2*len(images().train)
    sched, rec = partial(lr_scheduler.CosineAnnealingLR, T_max=steps), RecordCB(lr=_lr)
    ours = our_losses(opt_func, .02, cbs=[BatchSchedCB(sched), rec, HasLearnCB()])
    assert ours == course_losses(opt_func, .02, after_batch=lambda opt: sched(opt).step)
    assert len(rec.recs['lr']) == steps and rec.recs['lr'][-1] < .001
    one = RecordCB(lr=_lr)
    our_losses(opt_func, .02, cbs=[EpochSchedCB(partial(lr_scheduler.StepLR, step_size=1, gamma=.5)), one])
    assert one.recs['lr'] == [.02]*(steps//2) + [.01]*(steps//2)


# --- 13 and 14, resnets and augmentation ---

class ResBlock(nn.Module):
    def __init__(self, ni, nf, stride=1):
        super().__init__()
        self.convs = nn.Sequential(conv(ni, nf, stride=1), conv(nf, nf, stride=stride, act=False))
        self.idconv = nn.Identity() if ni == nf else conv(ni, nf, ks=1, stride=1, act=False)
        self.pool = nn.Identity() if stride == 1 else nn.AvgPool2d(2, ceil_mode=True)
    def forward(self, x): return F.relu(self.convs(x) + self.idconv(self.pool(x)))


class CapturePreds(Callback):
    def before_fit(self, learn): self.all_inps, self.all_preds, self.all_targs = [], [], []
    def after_batch(self, learn):
        self.all_inps.append(learn.batch[0])
        self.all_preds.append(learn.preds)
        self.all_targs.append(learn.batch[1])
    def after_fit(self, learn):
        parts = self.all_preds, self.all_targs, self.all_inps
        self.all_preds, self.all_targs, self.all_inps = [torch.cat(o) for o in parts]


class Capturing(TrainLearner):
    def capture_preds(self, cbs=()):
        cp = CapturePreds()
        self.fit(1, train=False, cbs=[cp, *cbs])
        return cp.all_preds, cp.all_targs


def test_a_resnet_with_augmented_batches_and_captured_predictions():
    torch.manual_seed(0)
    model = nn.Sequential(ResBlock(1, 8, stride=2), ResBlock(8, 16, stride=2), nn.AdaptiveAvgPool2d(1),
                          nn.Flatten(), nn.Linear(16, 10))
    def shift(batch):
        x, y = batch
        return torch.stack([row.roll(int(torch.randint(-1, 2, ())), -1) for row in x]), y
    augment = BatchTransformCB(shift, on_valid=False)
    steps = 3*len(images().train)
    sched = BatchSchedCB(partial(lr_scheduler.OneCycleLR, max_lr=.02, total_steps=steps))
    learn = Capturing(model, images(), F.cross_entropy, lr=.02, cbs=[augment, sched, LossesCB()],
                      opt_func=optim.AdamW)
    learn.fit(3)
    learn.cbs.remove(sched) # a scheduler that saw all its steps
    preds, targs = learn.capture_preds()
    assert (preds.argmax(1) == targs).float().mean() > .3 and len(preds) == 359
    plain = learn.capture_preds(cbs=[BatchTransformCB(lambda b: (b[0].flip(-1), b[1]), on_train=False)])
    assert not torch.equal(preds, plain[0])


class MixedPrecision(TrainCB):
    order = 10
    def before_fit(self, learn): self.scaler = torch.amp.GradScaler('cpu', enabled=False)
    def before_batch(self, learn):
        self.autocast = torch.autocast('cpu', dtype=torch.bfloat16)
        self.autocast.__enter__()
    def after_loss(self, learn): self.autocast.__exit__(None, None, None)
    def backward(self, learn): self.scaler.scale(learn.loss).backward()
    def step(self, learn):
        self.scaler.step(learn.opt)
        self.scaler.update()


def test_mixed_precision_as_a_kind_of_train_callback():
    mixed = our_losses(cbs=[MixedPrecision()])
    assert mixed != our_losses() and mixed[-1] < mixed[0] and not torch.is_autocast_enabled('cpu')


def test_a_batch_is_left_out_and_another_done_again():
    class Skip(Callback):
        def before_batch(self, learn):
            if learn.iter == 0: raise CancelBatchException()
    rec = LossesCB()
    Learner(small_cnn(), images(), F.cross_entropy, cbs=[rec, Skip()], opt_func=SGD).fit(1)
    assert len(rec.losses) == len(images().train) - 1
