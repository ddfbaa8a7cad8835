"""A batch of a fleet is what a `TrainCB` says it is, and then a fleet trains as a `Learner` does."""
from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from cosine_lr.callback import MetricsCB, ScheduleCB
from cosine_lr.data import DataLoaders, tensor_loader
from cosine_lr.lab.fleet import run_fleet
from cosine_lr.lab.probe import lr_probe
from cosine_lr.learner import Learner, TrainCB
from cosine_lr.metric import Accuracy
from cosine_lr.schedule import constant, cosine

N = 70
G = torch.Generator().manual_seed(0)
X, Z = torch.randn(N, 8, generator=G), torch.randn(N, 2, generator=G)
Y, WEIGHT = X[:, :3].argmax(1), torch.rand(N, generator=G)


class Two(nn.Linear):
    "A model of two inputs"
    def __init__(self): super().__init__(10, 3)
    def forward(self, x, z): return super().forward(torch.cat([x, z], 1))


class Swapped(Two):
    def forward(self, *, z, x): return super().forward(x, z)


def bilinear(): return nn.Bilinear(8, 2, 3)
def one(): return nn.Linear(8, 3)
def weighted(preds, y, weight): return (F.cross_entropy(preds, y, reduction='none')*weight).mean()
def by_name(preds, *, weight, y): return weighted(preds, y, weight)
def small(preds): return preds.square().mean()


class Rows(Dataset):
    "A data set of rows, each made by a function of its parts"
    def __init__(self, make): self.make = make
    def __len__(self): return N
    def __getitem__(self, i): return self.make(X[i], Z[i], Y[i], WEIGHT[i])


def named(x, z, y, weight): return dict(weight=weight, y=y, x=x, z=z)


@dataclass
class Data:
    weight: torch.Tensor
    y: torch.Tensor
    x: torch.Tensor
    z: torch.Tensor


Named = namedtuple('Named', 'weight y x z')


def of_rows(make):
    "Loaders of a data set whose rows are collated one by one"
    def loaders(seed):
        generator = torch.Generator().manual_seed(seed)
        train = DataLoader(Rows(make), 16, shuffle=True, generator=generator)
        return DataLoaders(train, DataLoader(Rows(make), 32))
    return loaders


def of_tensors(make=None):
    "Loaders of batches cut from tensors, each put into a form of its own"
    def loaders(seed):
        plain = tensor_loader(X, Z, Y, WEIGHT, bs=16, seed=seed)
        if make is None: return DataLoaders(plain, tensor_loader(X, Z, Y, WEIGHT, bs=32))
        def form(batch): return make(**named(*batch))
        train = DataLoader(plain.dataset, sampler=plain.sampler, batch_size=None, collate_fn=form,
                           generator=plain.generator)
        return DataLoaders(train, [form(batch) for batch in tensor_loader(X, Z, Y, WEIGHT, bs=32)])
    return loaders


class OneForAll(TrainCB):
    "Scores against a target of its own"
    def inputs(self, batch): return [batch['x'], batch['z']]
    def targets(self, batch): return dict(y=batch['y'], weight=batch['weight'])
    def target(self, batch): return batch['y'] % 2


def both(batch): return dict(x=batch['x'], z=batch['z'])
def goals(batch): return dict(y=batch['y'], weight=batch['weight'])  # scored against the first
def of_x(batch): return batch['x']


XZ, YW = ['x', 'z'], ['y', 'weight']
# name: loaders, model, loss, what `TrainCB` is told
TOLD = dict(
    count=(of_tensors(), Two, weighted, dict(n_inp=2)),
    torchs_own=(of_tensors(), bilinear, weighted, dict(n_inp=2)),
    positions=(of_tensors(), Two, F.cross_entropy, dict(inputs=[0, 1], targets=2)),
    names=(of_rows(named), Two, weighted, dict(inputs=XZ, targets=YW)),
    of_other_names=(of_tensors(UserDict), Two, weighted, dict(inputs=XZ, targets=YW)),
    one_name=(of_rows(named), one, F.cross_entropy, dict(inputs='x', targets='y')),
    attributes=(of_tensors(SimpleNamespace), Two, weighted, dict(inputs=XZ, targets=YW)),
    data_class=(of_tensors(Data), Two, weighted, dict(inputs=XZ, targets=YW)),
    named_tuple=(of_tensors(Named), Two, weighted, dict(inputs=XZ, targets=YW)),
    named_places=(of_tensors(Named), one, F.cross_entropy, dict(inputs=2, targets=1)),
    keywords=(of_rows(named), Swapped, by_name, dict(inputs=both, targets=goals)),
    function=(of_tensors(dict), one, F.cross_entropy, dict(inputs=of_x, targets='y')),
    no_targets=(of_rows(named), Two, small, dict(inputs=XZ, targets=[])),
)


def fleet_and_learner(loaders, make_model, loss_func, told, **scored):
    "The table of a fleet and of a `Learner`, each [seeds, columns, epochs]"
    columns = ['train_loss', 'valid_loss', 'lr'] + ['accuracy']*bool(scored)
    runs = run_fleet(make_model, loaders(0), cosine(), seeds=2, epochs=3, loss_func=loss_func, cbs=told,
                     quiet=True)
    tables = []
    for seed in runs.seeds:
        torch.manual_seed(seed)
        scores = MetricsCB(**scored, log=lambda line: None)
        cbs = [told, ScheduleCB(lr=cosine()), scores]
        Learner(make_model(), loaders(seed), loss_func, cbs=cbs).fit(3)
        tables.append([[row[name] for row in scores.rows] for name in columns])
    return [[runs.values[name][0, seed] for name in columns] for seed in runs.seeds], tables


@pytest.mark.parametrize('name', TOLD)
def test_a_fleet_asks_what_a_batch_is(name):
    loaders, make_model, loss_func, told = TOLD[name]
    scored = {} if told.get('targets') == [] else dict(accuracy=Accuracy())
    fleet, learner = fleet_and_learner(loaders, make_model, loss_func, TrainCB(**told), **scored)
    assert np.allclose(fleet, learner, rtol=1e-4)
    assert np.min(np.ptp(np.array(fleet)[:, :2], axis=-1)) > 1e-3  # it learns


def test_a_subclass_says_what_is_scored():
    loaders, told = of_rows(named), OneForAll()
    fleet, learner = fleet_and_learner(loaders, Two, weighted, told, accuracy=Accuracy())
    assert np.allclose(fleet, learner, rtol=1e-4)
    told.target = of_x  # one that no accuracy fits
    runs = run_fleet(Two, loaders(0), cosine(), seeds=1, loss_func=weighted, cbs=told, quiet=True)
    assert 'accuracy' not in runs.values


@pytest.mark.slow
def test_a_compiled_fleet_asks_as_well():
    loaders, make_model, loss_func, told = TOLD['keywords']
    how = dict(seeds=2, epochs=2, loss_func=loss_func, cbs=TrainCB(**told), quiet=True)
    plain, compiled = (run_fleet(make_model, loaders(0), cosine(), compile=on, **how) for on in (False, True))
    assert np.allclose(plain.losses, compiled.losses, rtol=1e-4)


def test_a_probe_is_told_as_well():
    told = TrainCB(inputs=XZ, targets=YW)
    found = lr_probe(Two, of_rows(named)(0), steps=5, loss_func=weighted, seeds=2, quiet=True, cbs=told)
    assert found is not None


def test_asking_leaves_no_trace():
    dls = of_rows(named)(0)
    before, rng = dls.train.generator.get_state(), torch.get_rng_state()
    run_fleet(Two, dls, cosine(), seeds=1, loss_func=weighted, cbs=TrainCB(inputs=XZ, targets=YW), quiet=True)
    assert torch.equal(dls.train.generator.get_state(), before) and torch.equal(torch.get_rng_state(), rng)


# --- what is refused, by name and before the first step ---

def noisy(x, z, y, weight): return named(x + .1*torch.randn(8), z, y, weight)
def rarely_noisy(x, z, y, weight): return named(x + (torch.rand(()) < .1), z, y, weight)
def worded(x, z, y, weight): return dict(x=x, z=z, y=str(int(y)), weight=weight)
def centred(batch): return [batch['x'] - batch['x'].mean(0), batch['z']]
def flattened(batch): return batch['x'].flatten()


class Endless(IterableDataset):
    def __iter__(self): return map(named, X, Z, Y, WEIGHT)


def stream(seed):
    return DataLoaders(DataLoader(Endless(), 16, generator=torch.Generator()), of_rows(named)(0).valid)


class Naming(DataLoader):
    def __iter__(self): return (dict(x=x, y=y) for x, y in super().__iter__())


def renamed(seed):
    train = Naming(TensorDataset(X, Y), 16, shuffle=True, generator=torch.Generator())
    return DataLoaders(train, [dict(x=X, y=Y)])


class OwnPredict(TrainCB):
    def predict(self, learn): learn.preds = learn.model(learn.batch['x'])


class Halving(TrainCB):
    def rows(self, batch): return 1


NAMED = TrainCB(inputs=XZ, targets=YW)


SAID = r'cbs=TrainCB\(inputs=…, targets=…\)'

@pytest.mark.parametrize('loaders, cbs, says', [
    (of_rows(named), (), rf'over Rows; or say what its batches are, with {SAID}'),
    (of_tensors(dict), (), rf'collate_fn of its own.*{SAID}'),
    (of_rows(noisy), NAMED, 'the same numbers in each batch and epoch.*tensor_loader'),
    (of_rows(rarely_noisy), NAMED, 'the same numbers in each batch and epoch'),
    (of_rows(named), TrainCB(inputs=centred, targets=YW), 'the TrainCB changes them'),
    (of_rows(named), TrainCB(inputs=flattened, targets=[]), r'counts the 70 rows of dls.train, got \[560\]'),
    (of_rows(worded), TrainCB(inputs=XZ, targets='y'), 'counts the 70 rows of dls.train, got list'),
    (of_rows(named), TrainCB(inputs='pixels', targets='y'), "no part 'pixels' in the batch, a dict"),
    (of_rows(named), TrainCB(), "cbs=TrainCB\\(inputs='x', targets='y'\\)"),
    (stream, NAMED, 'over a data set with a length, got DataLoader over Endless'),
    (renamed, TrainCB(inputs='x', targets='y'), "no part 'x' in the batch"),
    (of_rows(named), Halving(inputs=XZ, targets=YW), 'the TrainCB changes them'),
    (of_rows(named), OwnPredict(), 'OwnPredict.predict would be left out.*into the model or loss_func'),
    (of_rows(named), [NAMED, TrainCB()], 'one TrainCB, got 2'),
    (of_rows(named), ScheduleCB(lr=cosine()), 'a TrainCB alone, got ScheduleCB.*lr=… takes'),
    (of_rows(named), TrainCB, 'cbs must hold Callback instances'),
])
def test_what_a_fleet_cannot_know_is_refused(loaders, cbs, says):
    with pytest.raises((ValueError, TypeError, KeyError), match=says):
        run_fleet(Two, loaders(0), constant(.1), seeds=1, loss_func=weighted, cbs=cbs, quiet=True)


def test_a_step_put_into_a_callback_is_found():
    told = TrainCB(inputs=XZ, targets=YW)
    told.predict = print
    with pytest.raises(ValueError, match='TrainCB.predict would be left out'):
        run_fleet(Two, of_rows(named)(0), constant(.1), seeds=1, cbs=told, quiet=True)


def test_a_validation_batch_that_is_told_wrongly_is_refused_before_the_first_step():
    dls = of_rows(named)(0)
    for valid, says in (([dict(x=X)], "no part 'z'"), ([dict(named(X, Z, Y, WEIGHT), x='words')], 'tensors')):
        with pytest.raises((ValueError, KeyError), match=says):
            told = DataLoaders(dls.train, valid)
            run_fleet(Two, told, constant(.1), seeds=1, loss_func=weighted, cbs=NAMED, quiet=True)
