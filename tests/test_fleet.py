"""A fleet's promises that are not for a notebook: compiled steps, memory, odd models, damaged files."""
import copy
import subprocess
import sys
import zipfile
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from cosine_lr import torch_inside
from cosine_lr.callback import MetricsCB, RecorderCB, ScheduleCB
from cosine_lr.data import DataLoaders, digits_dls, tensor_loader
from cosine_lr.lab import fleet, tracing
from cosine_lr.lab.fleet import run_fleet
from cosine_lr.lab.probe import lr_probe
from cosine_lr.lab.runs import Runs
from cosine_lr.learner import Learner
from cosine_lr.metric import Accuracy
from cosine_lr.schedule import constant, cosine, join, linear

pytestmark = pytest.mark.slow

SGD = partial(torch.optim.SGD, momentum=.9)
AS_IMAGE, AS_SEQUENCE = nn.Unflatten(1, (1, 8, 8)), nn.Unflatten(1, (8, 8))
CIRCULAR = nn.Conv2d(1, 4, 3, padding=1, padding_mode='circular')


def mlp(): return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def normed(): return nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def through(layers):
    "A function that makes a model: copies of the layers, and a linear one to ten classes"
    def flat(): return nn.Sequential(*copy.deepcopy(layers), nn.Flatten())
    with torch.no_grad(): features = flat()(torch.zeros(2, 64)).shape[1]
    return lambda: flat().append(nn.Linear(features, 10))


def name_of(layers): return str(layers[-1]).partition('(')[0]


def train(make_model=mlp, lr=.1*cosine(), seeds=2, bs=64, **kwargs):
    return run_fleet(make_model, digits_dls(bs=bs), lr, seeds=seeds, quiet=True, **kwargs)


def alone(make_model, dls, loss_func=F.cross_entropy, seed=0, epochs=1):
    "Losses and scores of a `Learner`"
    torch.manual_seed(seed)
    rec, scores = RecorderCB(), MetricsCB(log=lambda line: None)
    learn = Learner(make_model(), dls, loss_func, cbs=[ScheduleCB(lr=.1*cosine()), rec, scores])
    learn.fit(epochs, valid=dls.valid is not None)
    return rec['loss'], scores.rows


# --- compile=True ---

def test_a_compiled_step_is_one_graph_and_is_compiled_once():
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counters.clear()
    plain, compiled = train(normed, opt_func=SGD), train(normed, opt_func=SGD, compile=True)
    assert np.allclose(plain.losses, compiled.losses, rtol=1e-4)
    assert np.allclose(plain.values['valid_loss'], compiled.values['valid_loss'], rtol=1e-4)
    assert not counters['graph_break']
    assert counters['stats']['unique_graphs'] == 2  # one for the full batches, one for the last
    train(normed, opt_func=SGD, compile=True, lr=.05*constant(), epochs=2)  # nothing is new
    assert counters['stats']['unique_graphs'] == 2


def test_many_shapes_may_be_compiled():
    limit = torch._dynamo.config.cache_size_limit
    step = torch.compile(lambda x: x.sin(), backend='eager', dynamic=False, fullgraph=True)
    with torch_inside.many_variants():
        for n in range(2, 20): step(torch.zeros(n))
    assert torch._dynamo.config.cache_size_limit == limit


@pytest.mark.parametrize('compile', [False, True])
def test_each_run_draws_its_own_dropout(compile):
    twins = dict(a=.1*cosine(), twin=.1*cosine())
    model = lambda: nn.Sequential(nn.Dropout(.5), nn.Linear(64, 10))
    once, again = (train(model, twins, bs=539, compile=compile) for _ in range(2))
    assert np.abs(once['a'].losses - once['twin'].losses).max() > .01
    assert np.array_equal(once.losses, again.losses)


# --- divergence, schedules of other fields ---

def test_a_run_with_one_infinite_loss_stays_lost():
    def spike(preds, y):  # its gradients are finite
        return F.cross_entropy(preds, y) + torch.where(y[0] == 0, torch.inf, 0.)
    for losses in train(seeds=4, epochs=2, loss_func=spike).losses[0]:
        first = np.isinf(losses).argmax()
        assert np.isfinite(losses[:first]).all() and np.isnan(losses[first+1:]).all()


def test_fields_are_scheduled_like_the_learning_rate():
    fixed = train(opt_func=partial(torch.optim.AdamW, betas=(.9, .95), weight_decay=.05))
    scheduled = train(opt_func=torch.optim.AdamW, betas=(constant(.9), .95), weight_decay=constant(.05))
    moving = train(opt_func=torch.optim.AdamW, betas=(cosine(.95, .85), .95), weight_decay=linear(.1, 0))
    assert np.array_equal(fixed.losses, scheduled.losses)
    assert not np.allclose(fixed.losses, moving.losses, rtol=1e-3)


def test_a_compiled_step_transposes_no_numbers(monkeypatch):
    def compiled():  # batches with more rows than a layer has outputs
        return train(lr=[.1*cosine(), .1*constant()], bs=77, compile=True)
    def written():
        torch._dynamo.reset()
        with torch._inductor.utils.fresh_cache():
            return ''.join(torch._inductor.utils.run_and_get_code(compiled)[1])
    assert 'transpose_mxn' not in written()
    monkeypatch.setattr(torch_inside, 'pin_layouts', lambda graph: None)
    assert 'transpose_mxn' in written()  # which is what it would do by itself


def test_a_compiled_step_looks_at_numbers_only_where_it_has_been():
    given = {'times': 2}
    step = tracing.compiled(lambda x: given['times']*x, torch.device('cpu'))
    assert step(torch.ones(3)).sum() == 6
    given['times'] = 5
    assert step(torch.ones(3)).sum() == 6
    assert step(torch.ones(4)).sum() == 20  # a shape that is new: everything is checked


def test_compiled_models_that_differ_in_a_number_do_not_share_a_program():
    def leaky(slope): return lambda: nn.Sequential(nn.Linear(64, 16), nn.LeakyReLU(slope), nn.Linear(16, 10))
    for slope in (.01, .5, .01, .5):
        plain, compiled = (train(leaky(slope), bs=77, compile=compile) for compile in (False, True))
        assert np.allclose(plain.losses, compiled.losses, rtol=1e-4)


@pytest.mark.parametrize('layers', [
    [nn.Linear(64, 64), nn.BatchNorm1d(64), nn.GELU()], [nn.Linear(64, 99), nn.LayerNorm(99), nn.ReLU()],
    [AS_IMAGE, nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2)], [AS_SEQUENCE, nn.Linear(8, 8), nn.Tanh()],
], ids=['norm', 'wide', 'convolution', 'sequence'])
def test_compiled_rivals_train_as_they_do_uncompiled(layers):
    rivals = [.05*cosine(), .02*constant(), .01*cosine()]
    plain, compiled = (train(through(layers), rivals, seeds=[4, 2], bs=77, opt_func=SGD, compile=compile)
                       for compile in (False, True))
    assert np.allclose(plain.losses, compiled.losses, rtol=1e-3)


# --- rivals ---

def apart(monkeypatch, *args, **kwargs):
    "A fleet each of whose members trains alone"
    def one_by_one(schedules, seeds, at_once):
        return [[(k, seed)] for seed in seeds for k in range(schedules)]
    with monkeypatch.context() as patch:
        patch.setattr(fleet, '_parts', one_by_one)
        return run_fleet(*args, quiet=True, **kwargs).losses


@pytest.mark.parametrize('layers', [
    *([layer] for layer in (
        nn.Identity(), nn.PReLU(), nn.PReLU(64), nn.BatchNorm1d(64), nn.BatchNorm1d(64, affine=False),
        nn.LayerNorm(64), nn.RMSNorm(64), nn.GroupNorm(4, 64), nn.Softmax(1))),
    *([AS_IMAGE, layer] for layer in (
        nn.Conv2d(1, 4, 3), CIRCULAR, nn.ConvTranspose2d(1, 4, 3), nn.BatchNorm2d(1),
        nn.InstanceNorm2d(1, affine=True), nn.MaxPool2d(2))),
    *([AS_SEQUENCE, layer] for layer in (
        nn.Conv1d(8, 4, 3), nn.Linear(8, 3),
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True))),
], ids=name_of)
def test_layers_that_see_a_shared_batch_train_as_they_do_apart(monkeypatch, layers):
    rivals, seeds = [.05*cosine(), .02*constant()], [4, 2]  # as many of each: dimensions might be mixed up
    args = through(layers), digits_dls(bs=154), rivals, seeds
    assert np.allclose(run_fleet(*args, quiet=True).losses, apart(monkeypatch, *args), rtol=1e-4)


@pytest.mark.parametrize('name', [
    'cross_entropy', 'mse_loss', 'l1_loss', 'smooth_l1_loss', 'huber_loss',
    'binary_cross_entropy_with_logits', 'soft_margin_loss', 'multi_margin_loss',
    'nll_loss', 'poisson_nll_loss'])
@pytest.mark.parametrize('schedules', [2, 3])
def test_losses_of_rivals_that_share_a_batch_are_as_apart(monkeypatch, name, schedules):
    of_classes = name in ('cross_entropy', 'multi_margin_loss', 'nll_loss')
    x, y = torch.rand(96, 8), torch.randint(4, (96,)) if of_classes else torch.rand(96, 4).round()
    dls = DataLoaders(tensor_loader(x, y, bs=32, seed=0), [(x, y)])
    rivals = [.05*cosine(), .02*constant(), .01*cosine()]
    args, loss = (lambda: nn.Linear(8, 4), dls, rivals[:schedules], [4, 2]), getattr(F, name)
    together = run_fleet(*args, loss_func=loss, quiet=True).losses
    assert np.allclose(together, apart(monkeypatch, *args, loss_func=loss), rtol=1e-4)


@pytest.mark.parametrize('sizes', [[1]*6, [2, 2, 2], [3, 3], [4, 2], [1, 2, 3]], ids=str)
def test_rivals_in_blocks_of_any_size_train_the_same(monkeypatch, sizes):
    scheds, seeds = [.1*cosine(), .1*constant(), .03*cosine()], [5, 2]
    whole = train(normed, scheds, seeds, epochs=2, opt_func=SGD)
    pairs = iter([(k, seed) for seed in seeds for k in range(3)])
    blocks = [[next(pairs) for _ in range(n)] for n in sizes]
    monkeypatch.setattr(fleet, '_parts', lambda *args: blocks)
    monkeypatch.setattr(fleet, '_OFTEN', 1)  # traced: blocks with rows of one shape may differ in members
    assert np.allclose(train(normed, scheds, seeds, epochs=2, opt_func=SGD).losses, whole.losses, rtol=1e-5)


# --- layout ---

def test_linear_layers_lay_rows_side_by_side_and_compiled_blocks_fit_a_cache(monkeypatch):
    class Planned(Exception): pass
    def stop(task, todo, quiet): raise Planned(task.model, [len(members) for members in todo])
    monkeypatch.setattr(fleet, '_train_all', stop)
    sizes = {}
    for compile in (False, True):
        rivals = {str(k): k*cosine() for k in range(1, 9)}
        with pytest.raises(Planned) as planned: train(lr=rivals, seeds=64, compile=compile)
        model, sizes[compile] = planned.value.args
        assert model[0].forward.__func__ is model[2].forward.__func__ is fleet._linear
    assert sizes == {False: [512], True: [128]*4}


def test_a_layer_with_a_forward_of_its_own_keeps_it():
    def doubled():
        layer = nn.Linear(64, 10)
        layer.forward = lambda x: 2*F.linear(x, layer.weight, layer.bias)
        return layer
    losses, _ = alone(doubled, digits_dls(seed=0))
    assert np.allclose(train(doubled, seeds=[0]).losses[0, 0], losses, rtol=1e-4)


# --- tracing ---

def traced_and_plain(monkeypatch, make_model, *args, often=1, **kwargs):
    "A fleet that is traced where a size of batch comes so often, one that is not, and the shapes recorded"
    recorded, record = [], tracing.record
    def watched(step, args):
        recorded.append(tuple(args[-1].shape))
        return record(step, args)
    with monkeypatch.context() as patch:
        patch.setattr(tracing, 'record', watched)
        patch.setattr(fleet, '_OFTEN', often)
        traced = train(make_model, *args, **kwargs)
        patch.setattr(fleet, 'traced', lambda step, often: step)
        plain = train(make_model, *args, **kwargs)
    return traced, plain, recorded


def same(a, b):
    arrays = [(a.losses, b.losses), *((v, b.values[name]) for name, v in a.values.items())]
    return a.values.keys() == b.values.keys() and all(np.array_equal(v, w, equal_nan=True) for v, w in arrays)


@pytest.mark.parametrize('layers', [
    *([nn.Linear(64, 64), layer] for layer in (
        nn.ReLU(inplace=True), nn.GELU(), nn.SELU(), nn.PReLU(), nn.Tanh(), nn.Softplus(), nn.Hardswish(),
        nn.Softmax(1), nn.GLU(), nn.Threshold(.1, 0), nn.Dropout(.5), nn.AlphaDropout(.3), nn.BatchNorm1d(64),
        nn.BatchNorm1d(64, track_running_stats=False), nn.LayerNorm(64), nn.RMSNorm(64), nn.GroupNorm(4, 64),
        nn.Linear(64, 8, bias=False), nn.Identity())),
    *([AS_IMAGE, layer] for layer in (
        nn.Conv2d(1, 4, 3), CIRCULAR, nn.ConvTranspose2d(1, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(2),
        nn.AdaptiveMaxPool2d(2), nn.BatchNorm2d(1),
        nn.InstanceNorm2d(1, affine=True), nn.Dropout2d(.5), nn.Upsample(scale_factor=2), nn.Unfold(3))),
    [AS_SEQUENCE, nn.Conv1d(8, 4, 3)], [AS_SEQUENCE, nn.MaxPool1d(2)],
], ids=name_of)
def test_a_traced_fleet_is_the_same_to_the_last_bit(monkeypatch, layers):
    half_diverge, how = [.1*cosine(), 1e30*constant()], dict(epochs=2, opt_func=SGD)
    traced, plain, recorded = traced_and_plain(monkeypatch, through(layers), half_diverge, **how)
    assert same(traced, plain) and recorded == [(2, 64), (2, 54)]  # rivals share a batch


@pytest.mark.parametrize('loss_func', [
    nn.CrossEntropyLoss(weight=torch.rand(10)), partial(F.cross_entropy, label_smoothing=.1), F.nll_loss])
@pytest.mark.parametrize('opt_func', [
    partial(SGD, nesterov=True, weight_decay=1e-3), torch.optim.Adam, torch.optim.AdamW])
def test_losses_and_optimizers_are_traced(monkeypatch, loss_func, opt_func):
    how = dict(loss_func=loss_func, opt_func=opt_func, epochs=2)
    traced, plain, recorded = traced_and_plain(monkeypatch, normed, **how)
    assert same(traced, plain) and recorded == [(2, 64), (2, 54)]


def test_blocks_share_recordings(monkeypatch):
    traced, plain, recorded = traced_and_plain(monkeypatch, mlp, seeds=7, max_bytes=500_000, epochs=2)
    assert same(traced, plain) and len(recorded) == len(set(recorded))
    assert {shape[1] for shape in recorded} == {64, 54}


def test_what_is_not_torchs_own_runs_in_python_at_every_step(monkeypatch):
    class Counting(nn.Module):
        calls = 0
        def forward(self, x):
            Counting.calls += self.training
            return x
    def ce(preds, y):
        ce.calls += 1
        return F.cross_entropy(preds, y)
    ce.calls = 0
    def counting(): return nn.Sequential(Counting(), mlp())
    for made, loss_func in ((counting, F.cross_entropy), (mlp, ce)):
        traced, plain, recorded = traced_and_plain(monkeypatch, made, loss_func=loss_func, epochs=2)
        assert same(traced, plain) and not recorded
    assert Counting.calls >= 2*2*17 and ce.calls >= 2*2*17


def test_a_size_of_batch_is_recorded_where_it_comes_often(monkeypatch):
    *_, recorded = traced_and_plain(monkeypatch, mlp, often=200, epochs=12)  # 16 full batches an epoch
    assert not recorded
    *_, recorded = traced_and_plain(monkeypatch, mlp, often=200, epochs=13)
    assert recorded == [(2, 64)]


# --- models, data and losses as users write them ---

class Running(nn.Module):
    "A running mean, changed in place or replaced by another tensor"
    def __init__(self, replace):
        super().__init__()
        self.replace, self.layer = replace, nn.Linear(64, 10)
        self.register_buffer('mean', torch.zeros(64))

    def forward(self, x):
        if self.training:
            mean = .9*self.mean + x.detach().mean(0)
            if self.replace: self.mean = mean
            else: self.mean.copy_(mean)
        return self.layer(x - self.mean)


class Scaling(nn.Module):
    "Works on its input in place"
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
    def forward(self, x): return self.layer(x.mul_(2).sub_(1))


def as_alone(make_model, got, loss_func=F.cross_entropy):
    "Whether a fleet's runs with the seeds 0 and 1 are those of a `Learner`"
    each = [alone(make_model, digits_dls(seed=seed), loss_func, seed, epochs=2)[0] for seed in (0, 1)]
    return np.allclose(got.losses[0], each, rtol=1e-3)


@pytest.mark.parametrize('compile', [False, True])
@pytest.mark.parametrize('make_model', [
    partial(Running, True), partial(Running, False), Scaling, through([nn.ReLU(inplace=True)]),
], ids=['replaced', 'changed', 'in place', 'relu'])
def test_buffers_and_layers_that_work_in_place(make_model, compile):
    dls = digits_dls()
    tensors = [t for dl in (dls.train, dls.valid) for t in dl.dataset.tensors]
    before, rivals = [t.clone() for t in tensors], {'a': .1*cosine(), 'b': .2*cosine()}
    got = run_fleet(make_model, dls, rivals, seeds=2, epochs=2, quiet=True, compile=compile)
    assert all(map(torch.equal, before, tensors)) and as_alone(make_model, got)


def test_a_validation_batch_is_the_same_in_every_epoch():
    got = train(Scaling, lr=constant(0), epochs=3).values['valid_loss']
    assert np.allclose(got, got[..., :1])


def test_layers_that_make_model_shares_stay_as_they_were():
    shared = nn.Sequential(nn.Linear(64, 8), nn.BatchNorm1d(8)).requires_grad_(False)
    mean = shared[1].running_mean.clone()
    train(lambda: nn.Sequential(shared, nn.Linear(8, 10)))
    assert type(shared[0]) is nn.Linear and shared.training and torch.equal(shared[1].running_mean, mean)


def noisy(): return nn.Sequential(nn.Linear(64, 10), Noise())


class Noise(nn.Module):
    def forward(self, x): return x + .1*torch.randn_like(x)


class Pair(nn.Linear):
    def forward(self, x): return super().forward(x), x


def two_parts(preds, y): return F.cross_entropy(preds[0], y) + preds[1].mean()


def above_four(preds, y): return F.binary_cross_entropy_with_logits(preds[:, 0], (y > 4).float())


@pytest.mark.parametrize('make_model, loss_func', [
    (partial(Pair, 64, 10), two_parts), (partial(nn.Linear, 64, 1), above_four)], ids=['pair', 'one column'])
def test_predictions_that_are_no_scores_of_classes_train_as_alone_without_an_accuracy(make_model, loss_func):
    got = train(make_model, epochs=2, loss_func=loss_func)
    assert as_alone(make_model, got, loss_func)
    assert 'accuracy' not in got.values  # the only column would always be the highest


# --- what is scored, and how ---

class Columns(nn.Linear):
    "Some columns of a linear layer, `shape` of each row; as shares, if wanted"
    def __init__(self, columns, shape=(), act=None):
        super().__init__(8, columns)
        self.shape, self.act = shape, act or nn.Identity()
    def forward(self, x): return self.act(super().forward(x).view(len(x), *self.shape))


def flat_entropy(preds, y): return F.cross_entropy(preds.flatten(0, -2), y.flatten())
def of_logits(preds, y): return F.binary_cross_entropy_with_logits(preds.flatten(), y.flatten().float())
def of_shares(preds, y): return F.binary_cross_entropy(preds.flatten(), y.flatten().float())
def weighted(preds, y, weight): return (F.cross_entropy(preds, y, reduction='none')*weight).mean()


X = torch.randn(70, 8, generator=torch.Generator().manual_seed(0))
SIGN, THREE = (X[:, 0] > 0).long(), X[:, :3].argmax(1)
PIXELS = X.view(-1, 2, 4) > 0  # [n, 2, 4]
WORDS = PIXELS[:, :, 0].long()
THRICE, LOGITS, SHARES = torch.tensor(3.), F.binary_cross_entropy_with_logits, F.binary_cross_entropy
# name: a model, its targets, its loss, what a fleet is told, and what a `Learner` is told
SCORED = dict(
    classes=(lambda: Columns(3, [3]), [THREE], F.cross_entropy, None, {}),
    weighed=(lambda: Columns(3, [3]), [THREE], nn.CrossEntropyLoss(torch.tensor([1., 9., 30.])), None, {}),
    smoothed=(lambda: Columns(3, [3]), [THREE], nn.CrossEntropyLoss(label_smoothing=.1), None, {}),
    weight_of_rows=(lambda: Columns(3, [3]), [THREE, torch.rand(70)], weighted, None, {}),
    narrow=(lambda: Columns(3, [3]), [THREE.to(torch.uint8)], F.cross_entropy, None, {}),
    language=(lambda: Columns(10, [2, 5]), [WORDS], flat_entropy, None, {}),
    square_language=(lambda: Columns(4, [2, 2]), [WORDS], flat_entropy, dict(dim=-1), dict(dim=-1)),
    pixels=(lambda: Columns(24, [3, 2, 4]), [PIXELS.long()], F.cross_entropy, None, {}),
    logit=(lambda: Columns(1), [SIGN], of_logits, None, {}),
    wide_logit=(lambda: Columns(1, [1]), [SIGN], of_logits, None, {}),
    float_target=(lambda: Columns(1), [SIGN.float()], LOGITS, None, {}),
    float_targets=(lambda: Columns(1, [1]), [SIGN[:, None].float()], nn.BCEWithLogitsLoss(), None, {}),
    weighed_logit=(lambda: Columns(1), [SIGN.float()], partial(LOGITS, pos_weight=THRICE), None, {}),
    own_float_loss=(lambda: Columns(1), [SIGN.float()], of_logits, Accuracy(), {}),
    labels=(lambda: Columns(8, [2, 4]), [PIXELS.float()], LOGITS, None, dict(threshold=0)),
    share=(lambda: Columns(1, act=nn.Sigmoid()), [SIGN.float()], SHARES, None, dict(threshold=.5)),
    own_share=(lambda: Columns(1, act=nn.Sigmoid()), [SIGN], of_shares, Accuracy(threshold=.5),
               dict(threshold=.5)),
    soft=(lambda: Columns(3, [3]), [F.one_hot(THREE).float()], F.cross_entropy, dict(dim=1), dict(dim=1)),
)


def loaders_of(targets, seed=0):  # the last batch of both is shorter
    return DataLoaders(tensor_loader(X, *targets, bs=16, seed=seed), tensor_loader(X, *targets, bs=32))


def learners(make_model, targets, loss_func, seed, **told):
    "The rows of a `Learner`'s table"
    torch.manual_seed(seed)
    scores = MetricsCB(Accuracy(**told), log=lambda line: None)
    cbs = [ScheduleCB(lr=2*cosine()), scores]
    Learner(make_model(), loaders_of(targets, seed), loss_func, cbs=cbs).fit(3)
    return scores.rows


@pytest.mark.parametrize('name', SCORED)
def test_a_fleet_scores_as_a_learner_does(name):
    make_model, targets, loss_func, accuracy, told = SCORED[name]
    runs = run_fleet(make_model, loaders_of(targets), 2*cosine(), seeds=2, epochs=3, loss_func=loss_func,
                     accuracy=accuracy, quiet=True)
    for seed in runs.seeds:
        rows = learners(make_model, targets, loss_func, seed, **told)
        for column in ('train_loss', 'valid_loss', 'accuracy', 'lr'):
            assert np.allclose(runs.values[column][0, seed], [row[column] for row in rows], rtol=1e-4)
        assert rows[-1]['accuracy'] > .6


class Started(Exception): pass


def refuse_to_train(monkeypatch):
    def started(*args): raise Started
    monkeypatch.setattr(fleet, '_Block', started)


@pytest.mark.parametrize('make_model, targets, loss_func, accuracy, words', [
    (lambda: Columns(4, [2, 2]), [WORDS], flat_entropy, None, r'say which, e.g. dim=2'),
    (lambda: Columns(3, [3]), [THREE], F.cross_entropy, dict(dim=2), 'dim must be a dimension of classes'),
    (lambda: Columns(1, act=nn.Sigmoid()), [SIGN], of_shares, None, r'threshold=.5\) for probabilities'),
    (lambda: Columns(8, [2, 4]), [PIXELS.float()], LOGITS, Accuracy(), 'threshold=0 for labels'),
    (lambda: Columns(1), [], lambda preds: preds.mean(), Accuracy(), 'targs must be a tensor'),
    (lambda: Columns(3, [3]), [X], F.mse_loss, None, 'dls.valid must give batches that model and loss_func'),
    (lambda: Columns(3, [3]), [THREE], F.cross_entropy, Accuracy, 'accuracy must be an Accuracy or its'),
    (lambda: Columns(3, [3]), [THREE], F.cross_entropy, dict(dims=1), 'accuracy must be an Accuracy or its'),
])
def test_what_cannot_be_scored_is_refused_before_the_first_step(
        monkeypatch, make_model, targets, loss_func, accuracy, words):
    how = dict(seeds=2, loss_func=loss_func, accuracy=accuracy, quiet=True)
    refuse_to_train(monkeypatch)
    with pytest.raises(ValueError, match=words): run_fleet(make_model, loaders_of(targets), cosine(), **how)
    with pytest.raises(Started): train(mlp)


def test_a_validation_batch_of_another_shape_is_found_before_the_first_step(monkeypatch):
    refuse_to_train(monkeypatch)
    dls = DataLoaders(digits_dls().train, [(torch.rand(4, 63), torch.zeros(4).long())])
    with pytest.raises(ValueError, match='dls.valid must give batches that model'):
        run_fleet(mlp, dls, cosine())


@pytest.mark.parametrize('targets, loss_func', [([X[:, 0]], F.mse_loss), ([X[:, 0].round()], F.mse_loss)])
def test_a_regression_has_no_accuracy(targets, loss_func):
    how = dict(seeds=2, loss_func=loss_func, quiet=True)
    runs = run_fleet(lambda: Columns(1), loaders_of(targets), .1*cosine(), **how)
    assert 'accuracy' not in runs.values and np.isfinite(runs.losses).all()


@pytest.mark.parametrize('accuracy', [None, Accuracy(dim=-1)])
def test_a_probe_is_told_how_to_score_as_well(accuracy):
    def probe():
        return lr_probe(lambda: Columns(4, [2, 2]), loaders_of([WORDS]), [.1, 1., 10.], seeds=2,
                        loss_func=flat_entropy, accuracy=accuracy, quiet=True)
    if accuracy: assert np.isfinite(probe().losses).all()
    else:
        with pytest.raises(ValueError, match='say which'): probe()


def test_a_probe_trains_steps_and_no_epochs():
    with pytest.raises(ValueError, match='epochs must be left out: steps=… is how long'):
        lr_probe(lambda: Columns(4, [2, 2]), loaders_of([WORDS]), epochs=2)


def test_noise_is_no_obstacle(): assert np.isfinite(train(noisy).values['valid_loss']).all()


def test_data_without_targets_are_no_obstacle():
    pixels = torch.rand(64, 64)
    dls = DataLoaders(tensor_loader(pixels, bs=16, seed=0), tensor_loader(pixels, bs=32))
    def loss_func(preds): return preds.square().mean()
    runs = run_fleet(lambda: nn.Linear(64, 3), dls, .1*cosine(), seeds=2, loss_func=loss_func, quiet=True)
    assert np.isfinite(runs.losses).all()


def test_narrow_numbers_are_no_obstacle():
    def narrow(dl):
        x, y = dl.dataset.tensors
        return tensor_loader(x.bfloat16(), y.to(torch.uint8), bs=64, seed=0)
    dls = digits_dls()
    dls = DataLoaders(narrow(dls.train), narrow(dls.valid))
    runs = run_fleet(lambda: nn.Linear(64, 10).bfloat16(), dls, .1*cosine(), seeds=2, quiet=True)
    assert np.allclose(runs.losses, train(lambda: nn.Linear(64, 10)).losses, rtol=.05)


@pytest.mark.parametrize('bs', [1, 50, 359])
def test_a_validation_with_weighed_classes_is_a_learners(bs):
    weighed = nn.CrossEntropyLoss(weight=torch.linspace(1, 30, 10))
    valid = tensor_loader(*digits_dls().valid.dataset.tensors, bs=bs)
    def dls(seed): return DataLoaders(digits_dls(seed=seed).train, valid)
    runs = run_fleet(mlp, dls(0), .1*cosine(), seeds=2, epochs=2, loss_func=weighed, quiet=True)
    for seed in runs.seeds:
        rows = alone(mlp, dls(seed), weighed, seed, epochs=2)[1]
        assert np.allclose(runs.values['valid_loss'][0, seed], [row['valid_loss'] for row in rows], rtol=1e-5)


def test_a_large_validation_batch_is_seen_by_a_few_members_at_a_time(monkeypatch):
    chunks, vmap = [], fleet.vmap
    def watched(*args, **kwargs):
        if 'chunk_size' in kwargs: chunks.append(kwargs['chunk_size'])
        return vmap(*args, **kwargs)
    monkeypatch.setattr(fleet, 'vmap', watched)
    train(seeds=32)  # in training 64 rows for each of 32 members; in validation batches of 256 and 103 rows
    train(seeds=32, bs=256)
    assert chunks == [32*64//256, 32*64//103, None, None]


def test_a_small_model_starts_at_once():
    code = 'from cosine_lr.lab.fleet import _parts; part, = _parts(3, range(4), 10**15); assert part[11]'
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)


def test_runs_are_found_by_name_schedule_or_word():
    runs = train(lr=[.5*cosine(), .1*constant()])
    with pytest.raises(KeyError, match='no schedule is called'): runs[5*cosine()]
    with pytest.raises(KeyError): runs['']
    with pytest.raises(TypeError, match='by a name, or a schedule, got 0'): runs[0]
    assert list(runs['cosine']) == list(runs[.5*cosine()]) == ['0.5 * cosine(1, 0)']
    assert '0.5 * cosine(1, 0)' in runs and 'cosine' in runs and .5*cosine() in runs
    for other in ('sine', '', 5*cosine(), 0): assert other not in runs
    assert list(train(lr=dict(mine=.5*cosine()))[.5*cosine()]) == ['mine']


# --- wrong calls ---

class HalfUsed(nn.Linear):
    def __init__(self):
        super().__init__(64, 10)
        self.spare = nn.Linear(3, 3)


@pytest.mark.parametrize('wrong, says', [
    (dict(lr=.1), 'lr must be a schedule'), (dict(lr=cosine), r'cosine\(\) perhaps'),
    (dict(lr=[]), 'lr must hold at least'), (dict(lr=[cosine(), cosine()]), 'name of its own'),
    (dict(lr={1: cosine(), '1': linear()}), 'name of its own'),
    *((dict(seeds=count), 'seeds must be') for count in (0, 2., True, 'two', 10**400)),
    *((dict(seeds=seeds), 'seeds must be') for seeds in ([1, 1], [-1], [True], [2**63], [])),
    *((dict(epochs=epochs), 'epochs must be') for epochs in (0, 1.5, True, '1', None)),
    *((dict(max_bytes=room), 'max_bytes must be') for room in (0, '1G', float('inf'), 10**400)),
    (dict(momentun=.9), 'no field to schedule'), (dict(device='x'), 'device must be a device of torch'),
    (dict(compile='False'), 'compile must be True or False'), (dict(loss_func=None), 'loss_func must be'),
    (dict(loss_func=nn.CrossEntropyLoss), r'CrossEntropyLoss\(\) perhaps'),
    (dict(loss_func=lambda preds, y: preds), 'loss_func must return a 0-d tensor, got shape'),
    (dict(loss_func=lambda preds, y: 1.), 'loss_func must return a 0-d tensor, got 1.0'),
    (dict(make_model=HalfUsed), "'spare.weight' takes no part"),
])
def test_a_wrong_call_is_told_what_would_be_right(wrong, says):
    with pytest.raises(ValueError, match=says): train(**wrong)



class Reader(nn.Module):
    def forward(self, x): return x * x.mean().item()


class Brancher(nn.Module):
    def forward(self, x): return x if x.mean() > 0 else -x


def ending_with(*layers): return lambda: nn.Sequential(nn.Linear(64, 10), *layers)


def recurrent(): return nn.Sequential(AS_SEQUENCE, nn.LSTM(8, 10))


def of_any_size(): return nn.Linear(64, int(torch.randint(10, 99, ())))


def seeder():
    torch.manual_seed(0)
    return mlp()


@pytest.mark.parametrize('make_model, says', [
    (ending_with(Reader()), r"layer '1', Reader\(\), cannot be trained in a fleet"),
    (ending_with(Brancher()), r"layer '1', Brancher\(\), cannot be trained in a fleet"),
    (ending_with(nn.Linear(11, 10)), "layer '1', Linear.* cannot be trained in a fleet"),
    (recurrent, 'dls.valid must give batches that model and loss_func can take'),
    (of_any_size, "'weight' cannot be stacked"), (lambda: nn.LazyLinear(10), "'weight' cannot be stacked"),
    (lambda: 'model', "must return a torch.nn.Module, got 'model'"),
    (nn.Identity(), 'must be a function that makes a model, got a model, Identity'),
    (seeder, 'must not set a seed itself'),
])
def test_a_model_that_cannot_be_stacked_is_refused(make_model, says):
    state = torch.get_rng_state()
    with pytest.raises((ValueError, TypeError), match=says): train(make_model, cosine(), seeds=[1, 2])
    assert torch.equal(state, torch.get_rng_state())


NINE = TensorDataset(torch.arange(9.))


@pytest.mark.parametrize('loader, says', [
    ([1, 2], 'over a TensorDataset.*got list'),
    (DataLoader([1, 2]), 'over a TensorDataset.*got DataLoader over list'),
    (DataLoader(NINE, collate_fn=list, generator=torch.Generator()), 'collate_fn of its own'),
    (DataLoader(NINE, shuffle=True), 'must have a generator'),
    (DataLoader(NINE, sampler=torch.utils.data.RandomSampler(NINE), generator=torch.Generator()),
     'another one for the same seed'),
])
def test_a_loader_whose_batches_cannot_be_had_at_once_is_refused(loader, says):
    with pytest.raises(ValueError, match=says): fleet._check_train(loader)


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
    def failing(task, state, most):
        sizes.append(len(next(iter(state.values()))))
        if sizes[-1] > size: raise torch.cuda.OutOfMemoryError('simulated')
        return validate(task, state, most)
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
from cosine_lr import cosine, digits_dls, run_fleet
from cosine_lr.lab import fleet
kinds = dict(mlp=lambda: nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10)),
             conv=lambda: nn.Sequential(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(),
                                        nn.Flatten(), nn.Linear(512, 10)))
def mb(): return int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]) / 1e3
make, dls = kinds['{kind}'], digits_dls()
def train(seeds):
    how = dict(opt_func=torch.optim.Adam, quiet=True, max_bytes={limit}*1e6)
    run_fleet(make, dls, .1*cosine(), seeds=seeds, **how)
train(2)
before, each = mb(), fleet._member_bytes(make(), [dls.train.dataset.tensors[0][:64]], 2) / 1e6
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


# --- wrong calls ---

def test_momentum_that_rests_is_refused():  # torch leaves the buffer alone: a run would not be a `Learner`'s
    with pytest.raises(ValueError, match='momentum must be 0 at every step or at none'):
        train(opt_func=SGD, momentum=linear(0, .9))
    train(opt_func=torch.optim.SGD, momentum=constant(0))


def test_rows_to_ignore_are_ignored_as_by_torch():
    x, y = torch.rand(64, 64), torch.randint(10, (64,))
    y[::3] = -100
    dls = DataLoaders(tensor_loader(x, y, bs=32, seed=0), tensor_loader(x, y))
    together = run_fleet(mlp, dls, .1*cosine(), seeds=[0], quiet=True).losses
    losses, _ = alone(mlp, DataLoaders(tensor_loader(x, y, bs=32, seed=0), None))
    assert np.allclose(together[0, 0], losses, rtol=1e-5)


class Noisy(TensorDataset):
    def __getitem__(self, i): return [t + 1 for t in super().__getitem__(i)]


class Halving(DataLoader):
    def __iter__(self): return ([x/2, y] for x, y in super().__iter__())


class Naming(DataLoader):
    def __iter__(self): return (dict(x=x, y=y) for x, y in super().__iter__())


def loaders(kind, dataset):
    train = kind(dataset(*digits_dls().train.dataset.tensors), 64, shuffle=True, generator=torch.Generator())
    return DataLoaders(train, digits_dls().valid)


def empty():
    dls, how = digits_dls(), dict(shuffle=True, drop_last=True, generator=torch.Generator())
    return DataLoaders(DataLoader(dls.train.dataset, 2000, **how), dls.valid)


def valid_by_name(): return DataLoaders(digits_dls().train, [dict(x=torch.rand(4, 64))])


@pytest.mark.parametrize('make_dls, words', [
    (partial(loaders, DataLoader, Noisy), 'a DataLoader over a TensorDataset'),
    (partial(loaders, Halving, TensorDataset), 'Halving changes them.*tensor_loader'),
    (partial(loaders, Naming, TensorDataset), 'Naming changes them.*tensor_loader'),
    (empty, 'at least one batch'), (valid_by_name, 'as tensor_loader does, got dict'),
    (lambda: digits_dls().train, 'dls.valid must be a loader, got None')])
def test_data_that_a_fleet_would_not_see_are_refused(make_dls, words):
    with pytest.raises(ValueError, match=words): run_fleet(mlp, make_dls(), .1*cosine(), seeds=2, quiet=True)


def hooked():
    model = mlp()
    model[0].weight.register_hook(lambda g: g.clamp(-.01, .01))
    return model


def deeper(): return nn.Sequential(*[nn.Linear(64, 64) for _ in range(1 + torch.initial_seed())])


def of_the_last_layer(params, lr): return torch.optim.SGD(list(params)[2:], lr=lr)


def frozen(): return mlp().requires_grad_(False)


@pytest.mark.parametrize('wrong, words', [
    (dict(opt_func=of_the_last_layer), "leaves out '0.weight'"),
    (dict(make_model=hooked), "'0.weight' must have no hook"),
    (dict(make_model=deeper), "'1.bias' is not in all"),
    (dict(make_model=frozen), 'all of its parameters are frozen'),
    (dict(make_model=lambda model=mlp(): model), 'a new model at each call')])
def test_what_a_fleet_would_leave_out_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words): train(**wrong)


def test_an_optimizer_of_all_that_is_trained_will_do():
    def half():
        model = mlp()
        model[0].requires_grad_(False)
        return model
    def of_the_trained(params, lr): return torch.optim.SGD([p for p in params if p.requires_grad], lr=lr)
    train(half, opt_func=of_the_trained)


def test_without_a_valid_loader_a_fleet_says_so():
    with pytest.raises(ValueError, match='dls.valid must be a loader, got None'):
        run_fleet(mlp, DataLoaders(digits_dls().train, None), cosine(), quiet=True)


# --- files ---

NOT_OURS = 'no file that Runs.save wrote'


@pytest.fixture
def saved(tmp_path):
    "Runs, and the file that has them"
    runs, path = train(), tmp_path/'runs.npz'
    runs.save(path)
    return runs, path


@pytest.mark.parametrize('cut', [10, 100, .5, -30])
def test_a_damaged_file_is_no_record(saved, cut):
    whole = saved[1].read_bytes()
    saved[1].write_bytes(whole[:int(cut*len(whole)) if cut == .5 else cut])
    with pytest.raises(ValueError, match=NOT_OURS): Runs.load(saved[1])


def test_a_damaged_byte_is_found_or_does_not_matter(saved):
    runs, path = saved
    whole, found = path.read_bytes(), 0
    with zipfile.ZipFile(path) as file: places = range(0, file.start_dir, 13)  # the list has no check sum
    for k in places:
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 255]) + whole[k+1:])
        try: again = Runs.load(path)
        except ValueError as e: found += NOT_OURS in str(e)
        else: assert same(again, runs)
    assert found > len(places)/2


def as_npz(path, runs, **changed):
    "The file of runs, with other arrays for some; None leaves one out"
    names, formulas = list(runs.schedules), list(runs.schedules.values())
    arrays = dict(schedules=names, formulas=formulas, seeds=runs.seeds, losses=runs.losses)
    arrays |= runs.values | changed
    np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})


NEEDED = 'schedules', 'formulas', 'seeds', 'losses', 'train_loss', 'lr'


@pytest.mark.parametrize('changed, words', [
    *(({name: None}, f'it lacks {name}') for name in NEEDED),
    (dict(seeds=[0, 1, 2]), 'has shape'), (dict(seeds=[0., 1.]), 'seeds holds values of type float64'),
    (dict(seeds=[0, 0]), 'two of its seeds are the same'), (dict(seeds=[[0, 1]]), 'seeds has shape'),
    (dict(schedules=[0]), 'schedules holds values of type int64'), (dict(schedules=['a', 'b']), 'has shape'),
    *((dict(losses=np.zeros(shape)), 'losses has shape') for shape in ((1, 2), (2, 1, 17), (1, 2, 0), ())),
    *((dict(lr=np.zeros(shape)), 'has shape') for shape in ((1, 2), (2, 1, 1), (1, 2, 5), ())),
    (dict(accuracy=np.zeros((1, 2, 1), complex)), 'accuracy holds values of'),
    (dict(f1=np.zeros(9)), 'f1 has shape'),
])
def test_a_forged_file_is_refused_by_what_is_wrong(saved, changed, words):
    runs, path = saved
    as_npz(path, runs)
    assert same(Runs.load(path), runs)
    as_npz(path, runs, **changed)
    with pytest.raises(ValueError, match=f'{NOT_OURS}: .*{words}'): Runs.load(path)


@pytest.mark.filterwarnings('ignore:Duplicate name')
@pytest.mark.parametrize('copies, more, words', [
    (1, bytes(8), 'losses is not as long as it says'), (2, b'', 'it has losses twice')])
def test_an_array_that_is_longer_than_it_says_or_there_twice_is_refused(saved, copies, more, words):
    runs, path = saved
    with zipfile.ZipFile(path) as file: entries = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, 'w') as file:
        for name, content in entries.items():
            odd = name == 'losses.npy'
            for _ in range(copies if odd else 1): file.writestr(name, content + more if odd else content)
    with pytest.raises(ValueError, match=words): Runs.load(path)


def test_more_memory_than_allowed_is_refused(saved):
    runs, path = saved
    with pytest.raises(ValueError, match='give max_bytes='): Runs.load(path, max_bytes=1000)
    assert same(Runs.load(path, max_bytes=10**6), runs)
    with pytest.raises(ValueError, match='max_bytes must be'): Runs.load(path, max_bytes='all')


@pytest.mark.parametrize('path', [.3, 0, None])
def test_a_path_is_a_name(saved, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match='path must be'): saved[0].save(path)
    with pytest.raises(ValueError, match='path must be'): Runs.load(path)
    assert [file.name for file in tmp_path.iterdir()] == ['runs.npz']


def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(saved):
    runs, path = saved
    before = path.read_bytes()
    class Unwritable:
        def __array__(self, *args, **kwargs): raise OSError('no space left')
    broken = Runs(runs.schedules, runs.seeds, runs.values, Unwritable())
    with pytest.raises(OSError, match='no space left'): broken.save(path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_schedule_that_diverges_is_labelled_where_it_ends():
    lost = join([constant(.1), constant(1e30)], at=[.5])
    runs = train(lr=dict(fine=.1*constant(), lost=lost), opt_func=SGD, epochs=4)
    labels = {text.get_text(): text.get_position() for text in runs.plot('train_loss').texts}
    assert set(labels) == {'fine', 'lost'} and np.isfinite(list(labels.values())).all()
