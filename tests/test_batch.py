"""A batch is what you say it is: in a fit, its scores, predictions, range test and compiled steps."""
import re
from collections import UserDict, namedtuple
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import Accuracy, Callback, DataLoaders, Learner, MetricsCB, TrainCB, lr_find
from cosine_lr.batch import Layout, batches_in, class_dim, count_rows, hit_rate, loaders, meant
from cosine_lr.batch import ordered, pick
from cosine_lr.run import CompileCB, DeviceCB, GradAccumCB, map_tensors, predict

SIZES = 12, 12, 12, 5 # the last batch is shorter: whoever counts rows wrongly gives it a wrong weight


def silent(line): pass


class Plain(nn.Linear):
    def __init__(self):
        torch.manual_seed(0)
        super().__init__(8, 3)


class ByName(Plain):
    "Takes its input by keyword, as the models of transformers do"
    def forward(self, *, pixels, mask=None): return super().forward(pixels)


class Whole(Plain):
    "Takes a mapping as one argument"
    def forward(self, batch): return super().forward(batch['x'])


class Texts(Plain):
    "Takes a list of words"
    def forward(self, words): return super().forward(torch.stack([torch.full((8,), float(w)) for w in words]))


Named = namedtuple('Named', 'y x')


@dataclass
class Data:
    y: torch.Tensor
    x: torch.Tensor


def rows():
    "Batches (x, y)"
    g = torch.Generator().manual_seed(3)
    return [(torch.randn(n, 8, generator=g), torch.randint(3, (n,), generator=g)) for n in SIZES]


def words(x): return [str(float(value)) for value in x[:, 0]]
def in_words(x, y): return torch.stack([torch.full((8,), float(w)) for w in words(x)]), y
def of_words(preds, labels): return F.cross_entropy(preds, torch.tensor([int(label) for label in labels]))
def two(preds, y, z): return F.cross_entropy(preds, y) + F.cross_entropy(preds, z)
def twice(preds, y): return two(preds, y, y)
def paired(preds, pair): return two(preds, *pair)
def weighted(preds, y, weight): return (F.cross_entropy(preds, y, reduction='none')*weight).mean()
def half(preds, y): return F.cross_entropy(preds, y)/2
def alone(preds): return preds.square().mean()
def no_matter_which(preds, y): return alone(preds)
def by_keyword(preds, *, y): return F.cross_entropy(preds, y)


XY, CE = dict(inputs='x', targets='y'), F.cross_entropy
# name: a batch, what the TrainCB is told, the model, the loss, and that of plain pairs (x, y)
CASES = dict(
    tuple=(lambda x, y: (x, y), {}, Plain, CE, CE),
    list=(lambda x, y: [x, y], {}, Plain, CE, CE),
    labels_first=(lambda x, y: (y, x), dict(inputs=1, targets=0), Plain, CE, CE),
    from_the_end=(lambda x, y: (x, 7, y), dict(targets=-1), Plain, CE, CE),
    dict=(lambda x, y: dict(x=x, y=y), XY, Plain, CE, CE),
    dict_labels_first=(lambda x, y: dict(scale=torch.ones(1), y=y, x=x), XY, Plain, CE,
                       CE),
    userdict_labels_inside=(lambda x, y: UserDict(id=7, y=y, x=x), XY, Plain, CE, CE),
    frozen=(lambda x, y: MappingProxyType(dict(y=y, x=x)), XY, Plain, CE, CE),
    named_tuple=(lambda x, y: Named(y, x), XY, Plain, CE, CE),
    named_tuple_by_position=(lambda x, y: Named(x, y), {}, Plain, CE, CE),
    dataclass=(lambda x, y: Data(y, x), XY, Plain, CE, CE),
    object=(lambda x, y: SimpleNamespace(y=y, x=x), XY, Plain, CE, CE),
    function=(lambda x, y: dict(both=(x, y)), dict(inputs=lambda b: b['both'][0],
              targets=lambda b: b['both'][1]), Plain, CE, CE),
    by_keyword=(lambda x, y: dict(labels=y, pixels=x), dict(inputs=lambda b: {'pixels': b['pixels']},
                targets=lambda b: {'y': b['labels']}), ByName, by_keyword, F.cross_entropy),
    whole=(lambda x, y: dict(y=y, x=x), dict(inputs=lambda b: [b], targets='y'), Whole, F.cross_entropy,
           F.cross_entropy),
    nested=(lambda x, y: (dict(x=x), y), {}, Whole, F.cross_entropy, F.cross_entropy),
    weighted=(lambda x, y: (x, y, torch.full((len(y),), .5)), {}, Plain, weighted, half),
    two_targets=(lambda x, y: (x, y, y), {}, Plain, two, twice),
    tuple_of_targets=(lambda x, y: (x, (y, y)), {}, Plain, paired, twice),
    text_labels=(lambda x, y: (x, [str(int(label)) for label in y]), {}, Plain, of_words, F.cross_entropy),
    texts=(lambda x, y: (words(x), y), {}, Texts, F.cross_entropy, F.cross_entropy),
    all_texts=(lambda x, y: (words(x), [str(int(label)) for label in y]), {}, Texts, of_words, CE),
    one=(lambda x, y: (x,), {}, Plain, alone, no_matter_which),
    bare=(lambda x, y: x, {}, Plain, alone, no_matter_which),
    no_targets=(lambda x, y: dict(x=x, y=y), dict(inputs='x', targets=[]), Plain, alone, no_matter_which),
)
SCORED = set(CASES) - {'tuple_of_targets', 'text_labels', 'all_texts', 'one', 'bare', 'no_targets'}


def pair(name):
    "A learner of the case, one that sees plain pairs, and the plain pairs"
    make, told, model, loss_func, plain_loss = CASES[name]
    plain = [in_words(x, y) for x, y in rows()] if model is Texts else rows()
    batches = [make(x, y) for x, y in rows()]
    one = Learner(model(), DataLoaders(batches, batches), loss_func, cbs=[TrainCB(**told)])
    return one, Learner(Plain(), DataLoaders(plain, plain), plain_loss), plain


def same_weights(one, other):
    return all(torch.allclose(a, b, atol=1e-6) for a, b in zip(one.parameters(), other.parameters()))


def table(learn, *metrics):
    scores = MetricsCB(*metrics, log=silent)
    learn.fit(2, cbs=[scores])
    return scores.rows


@pytest.mark.parametrize('name', CASES)
class TestEachBatch:
    def test_fit(self, name):
        one, other, _ = pair(name)
        for learn in (one, other): learn.fit(2, cbs=[DeviceCB('cpu')])
        assert same_weights(one.model, other.model) and not same_weights(one.model, Plain())

    def test_scores(self, name):
        one, other, _ = pair(name)
        metrics = [Accuracy()] if name in SCORED else []
        for row, plain in zip(table(one, *metrics), table(other, *metrics), strict=True):
            assert row == pytest.approx(plain, rel=1e-5)

    def test_predictions(self, name):
        one, other, plain = pair(name)
        preds, targs = predict(one, one.dls.valid)
        x, y = map(torch.cat, zip(*plain))
        assert torch.allclose(preds, other.model(x), atol=1e-6)
        if name in ('one', 'bare', 'no_targets'): assert targs is None
        elif 'text' in name and name != 'texts': assert targs == [str(int(label)) for label in y]
        elif name == 'tuple_of_targets': assert [targ.tolist() for targ in targs] == [y.tolist()]*2
        else: assert torch.equal(targs, y)

    @pytest.mark.parametrize('valid', [False, True])
    def test_range_test(self, name, valid):
        one, other, _ = pair(name)
        found, plain = (lr_find(learn, steps=12, sweeps=1, valid=valid) for learn in (one, other))
        assert np.allclose(found.losses, plain.losses, rtol=1e-4, equal_nan=True)

    def test_accumulation(self, name):
        one, other, _ = pair(name)
        for learn in (one, other): learn.fit(2, cbs=[GradAccumCB(2)])
        assert one.steps == 4 and same_weights(one.model, other.model)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['dict_labels_first', 'by_keyword', 'weighted', 'bare'])
def test_compiled_steps(name):
    one, other, _ = pair(name)
    one.fit(2, cbs=[CompileCB()])
    other.fit(2)
    assert same_weights(one.model, other.model)


@pytest.mark.parametrize('name', ['text_labels', 'texts', 'all_texts', 'nested', 'whole', 'tuple_of_targets'])
def test_what_is_no_tensor_is_not_compiled(name):
    one, _, _ = pair(name)
    with pytest.raises(TypeError, match='CompileCB needs batches that are lists of tensors'):
        one.fit(1, cbs=[CompileCB()])


class OwnLoss(TrainCB):
    def get_loss(self, learn): learn.loss = F.cross_entropy(learn.preds, learn.batch[1])


class OwnModel(TrainCB):
    def predict(self, learn): learn.preds = learn.model(learn.batch[0])


CURES = [(OwnLoss, 'loss_func could do it'), (OwnModel, 'the model could do it')]


@pytest.mark.parametrize('cb, cure', CURES)
def test_a_step_of_ones_own_is_no_part_of_a_compiled_one(cb, cure):
    learn = Learner(Plain(), DataLoaders(rows(), rows()), CE, cbs=[cb()])
    learn.fit(1)
    with pytest.raises(ValueError, match=f'{cb.__name__} and CompileCB cannot be combined: .*; {cure}'):
        learn.fit(1, cbs=[CompileCB()])


class Trail(Callback):
    "Counts updates"
    done = 0
    def after_step(self, learn): self.done += 1


@pytest.mark.parametrize('make', [lambda x, y: dict(x=x, y=y), lambda x, y: UserDict(y=y, x=x), Data])
def test_what_is_not_told_is_asked_for_by_name(make):
    batches, trail = [make(x, y) for x, y in rows()], Trail()
    learn = Learner(Plain(), DataLoaders(batches, batches), F.cross_entropy, cbs=[trail])
    for act in (learn.fit, lambda: predict(learn, batches), lambda: lr_find(learn)):
        with pytest.raises(TypeError, match=r"TrainCB\(inputs='x', targets='y'\).*\['[xy]', '[xy]'\]"): act()
    assert not trail.done


def test_a_part_that_is_not_there_is_named_with_those_that_are():
    batches = [dict(x=x, y=y) for x, y in rows()]
    learn = Learner(Plain(), DataLoaders(batches, batches), CE, cbs=TrainCB(inputs='x', targets='z'))
    with pytest.raises(KeyError, match=r"no part 'z' in the batch, a dict \['x', 'y'\]"): learn.fit()
    with pytest.raises(KeyError, match="no part 'x' in the batch, a list"):
        Learner(Plain(), DataLoaders([[1]], [[1]]), cbs=[TrainCB(inputs='x', targets='y')]).fit()


@pytest.mark.parametrize('told', [dict(inputs='x'), dict(inputs=None, targets=1.5), dict(targets=[True]),
                                  dict(inputs={'x': 0}, targets=[]), dict(targets=['x', None])])
def test_parts_are_told_by_name_position_or_function(told):
    with pytest.raises(ValueError, match='^(inputs|targets) must be'): TrainCB(**told)


def data(): return Data(y=torch.zeros(4).long(), x=torch.zeros(4, 8))


REFUSED = {
    'dls.train must have at least one batch, it is empty': lambda: batches_in('dls.train', []),
    'dls.train must have a length, the number of its batches, got list_iterator; fit(steps=…) trains':
        lambda: batches_in('dls.train', iter([1, 2, 3])),
    "it is a dict ['y', 'x']": lambda: ordered(dict(y=data().y, x=data().x)),
    "no part 'mask' in the batch, a Data ['y', 'x']": lambda: pick(data(), ['mask']),
    'targets must be a name, a position': lambda: meant('targets', True),
    'targets must be a name, a position, a list': lambda: Layout(targets=True),
    'targets must be given too, [] for none, got targets=None': lambda: Layout(inputs='pixels'),
    'n_inp must be a whole number, at least 1': lambda: Layout(0),
    'dim must be a dimension of classes': lambda: class_dim(torch.zeros(4, 10), data().y, 2),
    'threshold=0 for labels': lambda: hit_rate(torch.zeros(4, 3), torch.zeros(4, 3)),
}


@pytest.mark.parametrize('message', REFUSED)
def test_the_message_of_a_wrong_call(message):
    with pytest.raises((KeyError, TypeError, ValueError), match=re.escape(message)): REFUSED[message]()


@pytest.mark.parametrize('wrong', [None, 3, 'digits', ([1], [2], [3]), dict(x=[1])], ids=str)
def test_what_holds_no_loaders(wrong):
    with pytest.raises(ValueError, match='dls must be an object with train and valid, a pair'):
        loaders('dls', wrong)


def test_predict_needs_no_labels():
    learn = Learner(Plain(), DataLoaders(rows(), None), cbs=[TrainCB(**XY)])
    for batch in (dict(x=rows()[0][0]), SimpleNamespace(x=rows()[0][0])):
        preds, targs = predict(learn, [batch])
        assert preds.shape == (12, 3) and targs is None


def test_one_subclass_says_it_for_all():
    "Each method that is overridden is asked"
    class Own(TrainCB):
        def inputs(self, batch): return [batch.split(8, 1)[0]]
        def targets(self, batch): return [batch[:, 8].long()]
        def rows(self, batch): return 2*len(batch)
    batches = [torch.cat([x, y[:, None].float()], 1) for x, y in rows()]
    one = Learner(Plain(), DataLoaders(batches, batches), F.cross_entropy, cbs=[Own()])
    _, other, _ = pair('tuple')
    for row, plain in zip(table(one, Accuracy()), table(other, Accuracy())):
        assert row == pytest.approx(plain)
    assert torch.equal(predict(one, batches)[1], torch.cat([y for _, y in rows()]))
    assert one.train_cb.rows(batches[0]) == 24


def test_each_tensor_goes_to_the_device():
    "Wherever it is in a batch"
    x = torch.zeros(2)
    nested = Data(y=(x, [x]), x=UserDict(a=x, b=Named(x, 'text')))
    seen = []
    map_tensors(lambda t: seen.append(t.shape), nested)
    moved = map_tensors(lambda t: t.to('meta'), nested)
    assert len(seen) == 4 and type(moved) is Data and type(moved.x['b']) is Named
    assert moved.y[1][0].device.type == moved.x['a'].device.type == moved.x['b'].y.device.type == 'meta'


@pytest.mark.filterwarnings('ignore:The PyTorch API of nested tensors:UserWarning')
@pytest.mark.parametrize('layout', [torch.strided, torch.jagged])
def test_a_nested_tensor_has_rows(layout):
    "Of sequences of unequal lengths"
    x = torch.nested.nested_tensor([torch.ones(2, 4), torch.ones(3, 4), torch.ones(1, 4)], layout=layout)
    assert TrainCB().rows((x, torch.zeros(3))) == TrainCB().rows((x,)) == 3
    moved = map_tensors(lambda t: t.to('cpu'), dict(x=x))['x']
    assert moved.is_nested and moved.size(0) == 3


class Counting:
    "A metric in the style of torcheval, that counts its calls"
    calls = 0
    def reset(self): self.n, self.right = 0, 0
    def compute(self): return self.right/max(self.n, 1)
    def update(self, input, target):
        self.calls, self.n = self.calls + 1, self.n + len(target)
        self.right += int((input.argmax(1) == target).sum())


def test_metrics_are_tried_on_the_first_training_batch_and_keep_no_trace_of_it():
    _, learn, _ = pair('tuple')
    counting, scores = Counting(), MetricsCB(Accuracy(), log=silent)
    scores.add(counting)
    seen = []
    class Look(Callback):
        order = 1
        def after_predict(self, learn): seen.append((learn.training, len(scores.metrics['accuracy'].ns)))
    learn.fit(1, cbs=[scores, Look()])
    assert seen == [(True, 0)]*4 + [(False, n) for n in range(4)] and counting.calls == 4
    assert scores.rows[0]['accuracy'] == pytest.approx(scores.rows[0]['counting'])


class Language(nn.Module):
    "Scores [n, T, V] for words [n, T]"
    def __init__(self, vocabulary):
        super().__init__()
        self.table = nn.Embedding(vocabulary, vocabulary)
    def forward(self, words): return self.table(words)


def of_language(preds, targs): return F.cross_entropy(preds.flatten(0, 1), targs.flatten())


@pytest.mark.parametrize('dim', [None, -1])
def test_a_language_model_is_scored_or_refused_before_its_first_step(dim):
    words, trail = torch.arange(20).reshape(4, 5) % 5, Trail()
    def fit(vocabulary):
        batches, scores = [(words, words)], MetricsCB(Accuracy(dim=dim), log=silent)
        learn = Learner(Language(vocabulary), DataLoaders(batches, batches), of_language, lr=9., cbs=[trail])
        learn.fit(30, cbs=[scores])
        return scores.rows[-1]['accuracy']
    assert fit(7) == 1                                             # T = 5, V = 7
    trail.done = 0
    if dim: assert fit(5) == 1
    else:
        with pytest.raises(ValueError, match='classes in dimension 1 or 2: say which, e.g. dim=2'): fit(5)
        assert not trail.done


@pytest.mark.parametrize('wide', [False, True], ids=['[n]', '[n, 1]'])
@pytest.mark.parametrize('as_float', [False, True], ids=['whole', 'float'])
def test_one_logit_is_right_or_wrong(wide, as_float):
    x = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    class One(nn.Linear):
        def forward(self, x): return super().forward(x) if wide else super().forward(x)[:, 0]
    def loss_func(preds, targ): return F.binary_cross_entropy_with_logits(preds.flatten(), targ.float())
    rows = [(x, y.float() if as_float else y)]
    scores = MetricsCB(Accuracy(), log=silent)
    learn = Learner(One(8, 1), DataLoaders(rows, rows), loss_func, lr=5., cbs=[scores])
    learn.fit(20)
    preds, _ = predict(learn, rows)
    truth = ((preds.flatten() > 0) == y.bool()).float().mean().item()
    assert scores.rows[-1]['accuracy'] == pytest.approx(truth) and truth > .9


@dataclass(slots=True)
class Slotted:
    words: str
    x: torch.Tensor


def test_rows_of_data_classes_with_slots_and_of_no_parts():
    batch = Slotted('none', torch.zeros(4, 2))
    assert count_rows([batch]) == 4
    assert Layout(inputs='x', targets=[]).rows(batch) == 4
    with pytest.raises(KeyError, match=r"no part 'y' in the batch, a Slotted \['words', 'x'\]"):
        Layout(inputs='y', targets=[]).rows(batch)
    with pytest.raises(ValueError, match='inputs and targets must name a part of the batch'):
        Layout(inputs=[], targets=[]).rows(batch)


def test_a_mapping_of_loaders():
    rows = [(torch.zeros(2, 8), torch.zeros(2).long())]
    scores = MetricsCB(Accuracy(), log=silent)
    learn = Learner(Plain(), dict(train=2*rows, valid=rows), F.cross_entropy, cbs=scores)
    learn.fit(1)
    assert learn.steps == 2 and 'accuracy' in scores.rows[0]
    with pytest.raises(ValueError, match='dls must be an object with train and valid'):
        Learner(Plain(), dict(training=rows), F.cross_entropy)


@pytest.mark.parametrize('target', [torch.tensor(3.), 'text', None])
def test_what_cannot_be_scored_is_named(target):
    batches = [(torch.zeros(2, 8), target)]
    class Post(Accuracy): wants_scores = False
    said = r'(metrics need targets that are|targs must be) a tensor \[n'
    for metric, error in ((Post(), TypeError), (Accuracy(), ValueError)):
        scores = MetricsCB(metric, log=silent)
        learn = Learner(Plain(), DataLoaders(batches, batches), lambda preds, y: preds.mean(), cbs=scores)
        with pytest.raises(error, match=said): learn.fit()
    assert not learn.steps
