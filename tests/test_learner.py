"""What a `Learner` takes and what it refuses, with a cure."""
import traceback
from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import (Callback, CancelBatchException, CancelEpochException, CancelFitException,
                       CancelStepException, DataLoaders, Learner, MetricsCB, ScheduleCB, TrainCB, cosine,
                       digits_dls, lr_find, tensor_loader)
from cosine_lr.claims import STEPS
from cosine_lr.learner import _EVENTS
from cosine_lr.run import TimerCB


def layer():
    torch.manual_seed(0)
    return nn.Linear(64, 10)


def learner(dls=None, loss_func=F.cross_entropy, **kw):
    return Learner(layer(), digits_dls() if dls is None else dls, loss_func, **kw)


def trained(dls, **kw):
    learn = learner(dls, **kw)
    learn.fit(2)
    return learn.model.weight.detach()


# --- loaders ---

def as_pair(dls): return dls.train, dls.valid
def as_list(dls): return [dls.train, dls.valid]
def without_valid(dls): return dls.train, None
def bare(dls): return dls.train
def only_train(dls): return SimpleNamespace(train=dls.train)
def as_batches(dls): return list(dls.train)


@pytest.mark.parametrize('form, validated', [(as_pair, True), (as_list, True), (without_valid, False),
                                             (bare, False), (only_train, False)])
def test_forms_of_loaders(form, validated):
    scores = MetricsCB(log=lambda line: None)
    weights = trained(form(digits_dls()), cbs=scores)
    assert torch.equal(weights, trained(digits_dls()))
    assert ('valid_loss' in scores.rows[-1]) == validated


def test_a_list_of_two_batches_is_no_pair():
    batches = as_batches(digits_dls())[:2]
    learn = learner(batches)
    learn.fit(1)
    assert learn.steps == 2 and learn.dls.valid is None


def test_loaders_that_are_set_later():
    learn = learner()
    learn.dls = as_pair(digits_dls())
    learn.fit(1)
    assert learn.steps == 17
    learn.dls = digits_dls().train
    learn.fit(1)
    with pytest.raises(ValueError, match='train must be True, where there is no dls.valid'):
        learn.fit(train=False)


def test_a_range_test_needs_no_validation_set_unless_it_watches_it():
    learn = learner(bare(digits_dls()))
    assert lr_find(learn, sweeps=1).suggestion
    said = 'valid must be False, where there is no learn.dls.valid'
    with pytest.raises(ValueError, match=said): lr_find(learn, valid=True)


# --- what is refused, and what to do instead ---

def schedule(): return .1*cosine()


@pytest.mark.parametrize('wrong, message', [
    (dict(model=None), 'model must be a torch.nn.Module, got model=None'),
    (dict(model=nn.Linear), 'model must be a torch.nn.Module, got'),
    (dict(dls=(1, 2, 3)), 'dls must be an object with train and valid, a pair'),
    (dict(dls=(1, 2, 3)), 'a test loader has its place in dict'),
    (dict(dls=None), 'dls must be an object with train and valid'),
    (dict(loss_func=None), 'loss_func must be a function of .*, got loss_func=None'),
    (dict(loss_func=nn.CrossEntropyLoss), r'loss_func must be a function .*, CrossEntropyLoss\(\) perhaps'),
    (dict(opt_func=torch.optim.SGD([torch.ones(1)])), 'opt_func must be a class of optimizers, e.g.'),
    (dict(opt_func=lambda params, lr: None), 'opt_func must be a function that returns an optimizer'),
    (dict(opt_func=lambda: 3), 'opt_func must be a function that takes lr=…'),
    (dict(opt_func=torch.optim.LBFGS), 'opt_func must be an optimizer whose step needs no closure'),
    (dict(lr=cosine), r'lr must be a number; a schedule goes to a callback, ScheduleCB\(lr=…\)'),
    (dict(lr=schedule()), 'lr must be a number; a schedule goes to a callback'),
    (dict(cbs=ScheduleCB), 'cbs must hold Callback instances, got'),
    (dict(cbs=7), 'cbs must hold Callback instances, got 7'),
], ids=lambda x: '' if isinstance(x, str) else next(iter(x)))
def test_wrong_arguments(wrong, message):
    right = dict(model=layer(), dls=digits_dls(), loss_func=F.cross_entropy)
    with pytest.raises((ValueError, TypeError), match=message): Learner(**(right | wrong)).fit(1)


def test_a_schedule_for_one_fit():
    with pytest.raises(ValueError, match='lr must be a number; a schedule goes to a callback'):
        learner().fit(1, lr=schedule())


def test_a_loss_of_ones_own_needs_no_loss_func():
    class OwnLoss(Callback):
        def get_loss(self, learn): learn.loss = F.cross_entropy(learn.preds, learn.batch[1])
    assert torch.equal(trained(None, loss_func=None, cbs=OwnLoss()), trained(None))


def test_a_callback_can_give_a_closure():
    class WithClosure(Callback):
        def step(self, learn):
            x, y = learn.batch
            def closure():
                learn.opt.zero_grad()
                loss = F.cross_entropy(learn.model(x), y)
                loss.backward()
                return loss
            learn.opt.step(closure)
    learn = learner(cbs=WithClosure(), opt_func=torch.optim.LBFGS)
    learn.fit(1)
    assert learn.loss < 1.7


# --- gradients when a fit begins ---

class Unclear(Callback):
    "Clears gradients in a way that counts on there being some"
    def zero_grad(self, learn):
        for p in learn.model.parameters(): p.grad.zero_()


def test_frozen_parameters_get_no_gradient():
    learn = learner(opt_func=lambda params, lr: torch.optim.SGD(params, lr, weight_decay=.1))
    learn.model.bias.requires_grad_(False)
    before = learn.model.bias.clone()
    class ForWeights(Callback):
        def zero_grad(self, learn): learn.model.weight.grad.zero_()
    learn.fit(1, cbs=ForWeights())
    assert learn.model.bias.grad is None and torch.equal(learn.model.bias, before)


def test_validation_alone_leaves_no_gradients():
    learn = learner(cbs=Unclear())
    learn.fit(train=False)
    assert learn.model.weight.grad is None
    learn.fit(2)
    assert torch.equal(learn.model.weight, trained(None))


def test_a_batch_whose_step_was_cancelled_leaves_no_gradient():
    class First(Callback):
        def after_backward(self, learn):
            if learn.iter == 0: raise CancelStepException
    dls = digits_dls(seed=None)
    rest = [*dls.train][1:]
    learn = learner((list(dls.train), None), cbs=First())
    learn.fit(1)
    other = learner((rest, None))
    other.fit(1)
    assert torch.equal(learn.model.weight, other.model.weight)


# --- callbacks: which names they may have, who answers, in which order ---

WITHOUT_STEPS = [event for event in _EVENTS if event not in STEPS]


class Diary(Callback):
    "Writes down every event but the steps"
    def __init__(self): self.diary = []
    def count(self, *events): return [self.diary.count(event) for event in events]


for name in WITHOUT_STEPS: setattr(Diary, name, lambda self, learn, name=name: self.diary.append(name))


def tiny(*cbs, **kw):
    "Two training batches and one for validation"
    x = torch.randn(4, 64)
    dls = DataLoaders(tensor_loader(x, torch.arange(4), bs=2), tensor_loader(x, torch.arange(4), bs=4))
    return Learner(layer(), dls, F.cross_entropy, cbs=[*cbs], **kw)


def test_every_event_says_when_it_comes():
    assert len(_EVENTS) == 18 and all(getattr(Callback, event).__doc__ for event in _EVENTS)


def test_helpers_and_other_parents_are_fine():
    class Shy(Callback):
        steps = 5
        def whisper(self): return 'helper methods are fine'
        def on_train(self): return 'these too'
        def _step(self): return 'and these'
    class Tagged:
        def __init_subclass__(cls, tag=None, **kw):
            super().__init_subclass__(**kw)
            cls.tag = tag
    class Both(Callback, Tagged, tag='slow'): pass
    assert Shy().whisper() and Both.tag == 'slow'


@pytest.mark.parametrize('wrong', ['befor_batch', 'AfterBatch', 'setp', 'before_train', 'cleanup_fits',
                                   'zero_grads'])
def test_a_misspelt_event_is_refused(wrong):
    with pytest.raises(TypeError, match=f'Typo.{wrong} is no event; did you mean'):
        type('Typo', (Callback,), {wrong: lambda self, learn: None})


class Shy(Callback): pass


class Loud(Callback):
    order = 1
    def after_batch(self, learn): pass
    def step(self, learn): pass


def bound(*cbs):
    "For each event the methods that answer it"
    learn = learner(cbs=cbs)
    learn.timeline()
    return learn.hooks


def test_who_answers_an_event():
    shy, loud, plain = Shy(), Loud(), TrainCB()
    hooks = bound(plain, loud, shy)
    assert hooks['after_batch'] == [loud.after_batch]          # only those that override it
    assert hooks['step'] == [loud.step]                        # one does the step
    assert hooks['backward'] == [plain.backward]               # and TrainCB what is left


class Sets(Callback): sets = ['lr']


def test_what_only_one_can_do():
    shy = Shy()
    for wrong in ((Loud,), ('act',), (shy, 3)):
        with pytest.raises(TypeError, match='cbs must hold Callback instances'): bound(*wrong)
    with pytest.raises(ValueError, match="Loud and Loud cannot be combined: each does the step 'step'"):
        bound(Loud(), Loud())
    with pytest.raises(ValueError, match="Sets and Sets cannot be combined: each sets 'lr'"):
        bound(Sets(), Sets())
    with pytest.raises(ValueError, match="each sets 'inputs and targets'"): bound(TrainCB(), TrainCB(2))
    with pytest.raises(ValueError, match='Shy is given twice'): bound(shy, Loud(), shy)


def test_events_in_order():
    diary = Diary()
    tiny(diary).fit(1, valid=False)
    batch = [*WITHOUT_STEPS[2:8], 'cleanup_batch']
    assert diary.diary == ['before_fit', 'before_epoch', *batch, *batch, 'after_epoch', 'cleanup_epoch',
                           'after_fit', 'cleanup_fit']


def test_the_timeline():
    lines = tiny(Loud(), Shy()).timeline().splitlines()
    assert lines[-1].split() == ['after_batch', 'Loud']
    assert [line.split()[0] for line in lines] == [*STEPS, 'after_batch']


# --- leaving early, and cleaning up ---

class StopAfter(Callback):
    def __init__(self, n): self.n = n
    def after_step(self, learn):
        if learn.steps == self.n: raise CancelFitException


def test_a_fit_is_cancelled():
    diary = Diary()
    learn = tiny()
    learn.fit(3, cbs=[StopAfter(5), diary])
    assert learn.steps == 5 and diary.count('after_fit', 'cleanup_fit', 'after_batch') == [0, 1, 6]
    assert diary.diary[-3:] == ['cleanup_batch', 'cleanup_epoch', 'cleanup_fit']


def test_batches_passes_and_steps_are_cancelled():
    class Skip(Callback):
        def before_batch(self, learn):
            if learn.training and learn.iter == 1: raise CancelBatchException
        def before_epoch(self, learn):
            if not learn.training: raise CancelEpochException
    class Timid(Callback):
        def after_backward(self, learn):
            if learn.iter == 0: raise CancelStepException
    diary = Diary()
    tiny(Skip(), diary).fit(2)
    assert diary.count('after_batch', 'cleanup_batch') == [2, 4]       # one of two batches in each epoch
    assert diary.count('after_epoch', 'cleanup_epoch') == [2, 4]       # training ends, validation is skipped
    diary = Diary()
    learn = tiny(Timid(), diary)
    learn.fit(1, valid=False)
    assert [learn.steps, *diary.count('after_step', 'after_batch')] == [1, 1, 2] # two batches, one step


def test_all_clean_up_in_reverse_order_even_where_one_fails():
    class Clumsy(Callback):
        def cleanup_fit(self, learn): raise OSError('no room for the log')
    diary = Diary()
    with pytest.raises(OSError, match='no room'): tiny(Clumsy(), diary).fit(1)
    assert diary.diary[-1] == 'cleanup_fit'
    left = []
    class Leaves(Callback):
        def cleanup_fit(self, learn): left.append(type(self).__name__)
    class LeavesLast(Leaves): order = -1
    leaving = tiny(LeavesLast(), Leaves())
    leaving.fit(1)
    assert left == ['Leaves', 'LeavesLast']
    assert leaving.timeline().splitlines()[-1].split() == ['cleanup_fit', 'Leaves,', 'LeavesLast']


def test_progress_begins_with_training():
    learn = learner()
    learn.fit(train=False)
    assert learn.pos == 0
    learn.fit(1)
    assert learn.steps == learn.total == 17 and learn.pos == 1


# --- wrong calls, and losses that cannot be trained on ---

def unreduced(preds, targs): return F.cross_entropy(preds, targs, reduction='none')
def rows(*sizes): return [torch.randn(n, 64) for n in sizes]


@pytest.mark.parametrize('make, fit, message', [
    ({}, dict(n_epochs=0), 'n_epochs must be a whole number, at least 1'),
    ({}, dict(n_epochs=True), 'n_epochs must be a whole number, at least 1'),
    ({}, dict(train='False'), "train must be True or False, got train='False'"),
    ({}, dict(lr=-.1), 'lr must be a finite number, at least 0'),
    ({}, dict(lr=float('nan')), 'lr must be a finite number, at least 0'),
    ({}, dict(lr='fast'), 'lr must be a finite number, at least 0'),
    (dict(lr=-1), {}, 'lr must be a finite number, at least 0'),
    (dict(lr=torch.ones(2)), {}, 'lr must be a finite number, at least 0'),
    ({}, dict(cbs='progress'), 'cbs must hold Callback instances'),
    (dict(loss_func=unreduced), {}, 'loss_func must return a 0-d tensor'),
    (dict(dls=DataLoaders(tensor_loader(*rows(4)), [])), {}, 'dls.valid must have at least one batch'),
    (dict(dls=DataLoaders(iter([]), [])), {}, 'dls.valid must have at least one batch'),
    (dict(dls=DataLoaders(iter([]), rows(4))), {}, 'dls.train must have a length'),
    (dict(dls=DataLoaders(rows(4), rows(4))), {}, 'missing 1 required positional argument'),
], ids=lambda x: x if isinstance(x, str) else '')
def test_wrong_calls(make, fit, message):
    with pytest.raises((ValueError, TypeError), match=message): learner(**make).fit(**fit)


def test_a_loss_on_an_accelerator_is_looked_at_when_the_pass_ends():
    class OnDevice(torch.Tensor): is_cpu = False               # stands in for one
    class Lazy(Callback):
        def after_loss(self, learn): learn.loss = learn.loss.as_subclass(OnDevice)
    learn = learner(loss_func=lambda preds, targs: F.cross_entropy(preds, targs)*float('nan'), cbs=Lazy())
    with pytest.raises(FloatingPointError, match='loss is not finite in epoch 0, at lr=0.1'): learn.fit(1)
    assert learn.steps == 17


# --- steps in a subclass, optimizers of your own ---

class CourseLearner(Learner):
    "As in fast.ai's course: a step is a method of the learner"
    def zero_grad(self):
        for p in self.model.parameters():
            if p.grad is not None: p.grad.mul_(.85)


class Shrinks(Callback):
    def zero_grad(self, learn): CourseLearner.zero_grad(learn)


def trained_by(make, **sgd):
    learn = make(layer(), digits_dls(), F.cross_entropy, lr=.1, opt_func=partial(torch.optim.SGD, **sgd))
    learn.fit(2)
    return learn.model.weight.detach()


def test_a_step_in_a_subclass():
    "Gradients that are shrunk and not cleared are momentum"
    assert torch.equal(trained_by(CourseLearner), trained_by(partial(Learner, cbs=Shrinks())))
    assert (trained_by(CourseLearner) - trained_by(Learner, momentum=.85)).abs().max() < 1e-6
    assert not torch.allclose(trained_by(CourseLearner), trained_by(Learner))
    with pytest.raises(ValueError, match="CourseLearner and Shrinks cannot be combined: each does the step"):
        trained_by(partial(CourseLearner, cbs=Shrinks()))


@pytest.mark.parametrize('step', STEPS)
def test_each_step_of_a_subclass_is_called_and_may_call_the_ordinary_one(step):
    calls = []
    def own(self):
        calls.append(step)
        getattr(Learner, step)(self)
    learn = type('Own', (Learner,), {step: own})(layer(), digits_dls(), F.cross_entropy)
    learn.fit(1)
    assert len(calls) == 17 + 2*(step in ('predict', 'get_loss'))
    assert torch.equal(learn.model.weight, trained_for_one())


def trained_for_one():
    learn = learner()
    learn.fit(1)
    return learn.model.weight


class Downhill:
    "A minimal optimizer; its rate has a name of its own, and its `zero_grad` counts on gradients"
    def __init__(self, params, eta): self.params, self.eta = list(params), eta
    @torch.no_grad()
    def step(self):
        for p in self.params: p -= self.eta*p.grad
    def zero_grad(self):
        for p in self.params: p.grad.zero_()


def test_an_optimizer_of_ones_own():
    data = digits_dls()
    assert torch.allclose(trained((data.train, data.valid), opt_func=Downhill), trained(None), atol=1e-6)


def test_a_rate_that_is_a_tensor_goes_into_the_optimizer_as_a_copy():
    given = torch.tensor(.1)
    learn = learner(lr=given)
    learn.fit(1)
    learn.opt.param_groups[0]['lr'].fill_(.5)
    assert given == torch.tensor(.1)
    own = learner(lr=None)
    own.fit(1)
    assert own.opt.defaults['lr'] == torch.optim.SGD([torch.zeros(1)]).defaults['lr']


def test_a_callback_that_makes_lists_of_dictionaries():
    class Undict(Callback):
        order = -50
        def before_batch(self, learn): learn.batch = [*learn.batch.values()]
    pairs = [*digits_dls().train]
    named = [dict(pixels=x, label=y) for x, y in pairs]
    assert torch.equal(trained(named, cbs=Undict()), trained(pairs))


# --- an error says whose event it came from ---

class Breaks(Callback):
    "Fails in the validation pass of the first epoch, at its second batch"
    def after_batch(this, loop):  # any names will do
        if not loop.training and loop.iter: raise OSError('no room')


class BreaksToo(Breaks): pass


class WithoutGradients(Callback):
    @torch.no_grad()
    def after_loss(self, learn): [].pop()


class Helped(Callback):
    def after_step(self, learn): self._write(learn)
    def _write(self, learn): raise OSError('no room')


class Added(Callback):
    def before_fit(self, learn): learn.hooks['after_batch'].append(self._leave)
    def _leave(self, learn): raise OSError('no room')


class FailsLast(Callback):
    def cleanup_epoch(self, learn): raise OSError('no room')


class Inner(Callback):
    "A fit within a fit"
    def after_epoch(self, learn):
        if learn.training: learner(loss_func=None).fit(1)


class OwnStep(Learner):
    def backward(self): raise OSError('no room')


class Wrong(nn.Linear):
    def forward(self, x): raise OSError('no room')


@pytest.mark.parametrize('make, by', [
    (lambda: learner(cbs=Breaks()), 'Breaks.after_batch, epoch 0, batch 1 (validation)'),
    (lambda: learner(cbs=[Callback(), BreaksToo()]), 'BreaksToo.after_batch, epoch 0, batch 1 (validation)'),
    (lambda: learner(cbs=WithoutGradients()), 'WithoutGradients.after_loss, epoch 0, batch 0 (training)'),
    (lambda: learner(cbs=[TimerCB(), Breaks()]), 'Breaks.after_batch, epoch 0, batch 1 (validation)'),
    (lambda: learner(cbs=Helped()), 'Helped.after_step, epoch 0, batch 0 (training)'),
    (lambda: learner(cbs=Added()), 'Added._leave, epoch 0, batch 0 (training)'),
    (lambda: learner(cbs=FailsLast()), 'FailsLast.cleanup_epoch, epoch 0, batch 16 (training)'),
    (lambda: learner(cbs=Inner()), 'Inner.after_epoch, epoch 0, batch 16 (training)'),
    (lambda: OwnStep(layer(), digits_dls(), F.cross_entropy),
     'OwnStep.backward, epoch 0, batch 0 (training)'),
    (lambda: Learner(Wrong(64, 10), digits_dls(), F.cross_entropy),
     'TrainCB.predict, epoch 0, batch 0 (training)')])
def test_an_error_says_whose_event_it_came_from(make, by):
    with pytest.raises(Exception) as error: make().fit(1)
    text = ''.join(traceback.format_exception_only(error.value))
    assert text.splitlines()[-1] == f'raised by {by}' and text.count('raised by') == 1


def test_an_error_of_a_loader_is_nobodys():
    class Loader:
        def __len__(self): return 2
        def __iter__(self): raise OSError('no room')
    with pytest.raises(OSError) as error: learner(Loader()).fit(1)
    assert 'raised by' not in ''.join(traceback.format_exception_only(error.value))


def test_a_cancel_that_nobody_catches_arrives_as_it_is():
    class TooSoon(Callback):
        def before_fit(self, learn): raise CancelBatchException('what batch?')
    with pytest.raises(CancelBatchException) as error: learner(cbs=TooSoon()).fit(1)
    assert 'raised by' not in ''.join(traceback.format_exception_only(error.value))
