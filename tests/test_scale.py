"""Long runs, and what else a notebook cannot try."""
import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from torch import nn

from cosine_lr.run import (
    AccelerateCB, CompileCB, CSVLoggerCB, EarlyStopCB, EMACB, FreezeCB, GradAccumCB, GradClipCB,
    MixedPrecisionCB, NaNGuardCB, PlateauCB, TensorBoardCB, predict, split_params)
from cosine_lr import (
    Accuracy, Callback, CheckpointCB, Learner, MetricsCB, RecorderCB, ScheduleCB, TrainCB, cosine, digits_dls,
    lr_find)
from cosine_lr.data import DataLoaders, tensor_loader
from cosine_lr.metric import Metric
from cosine_lr.learner import CancelBatchException, CancelEpochException

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tools'))
from soak import soak

pytestmark = pytest.mark.slow

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(),
                               reason='no CUDA device: float16 and CUDA graphs cannot be tested here')


def test_a_short_soak():
    """Memory only: a second of a busy machine says nothing about time; `python tools/soak.py` measures both.

    Some 25 kB are kept once, 50 bytes a batch here.
    """
    got = soak(600, trace=True)
    assert got['batches'] == 510 and got['resident'] < 1.05
    assert 50 < got['history'] < 80 and abs(got['rest']) < 100


@pytest.mark.parametrize('thing', [lambda: bytes(1000), lambda: [torch.zeros(250), torch.zeros(250)]])
def test_a_soak_finds_a_leak(thing):
    "Of tensors, it is Python's part that is found; their numbers are not Python's to count"
    class Leak(Callback):
        def before_fit(self, learn): self.kept = []
        def after_batch(self, learn): self.kept.append(thing())
    assert soak(600, Leak(), trace=True)['rest'] > 150


def test_accelerate_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, 'accelerate', None)
    with pytest.raises(ImportError, match='pip install accelerate'): AccelerateCB()


@needs_gpu
@pytest.mark.parametrize('cb', [MixedPrecisionCB('fp16'), CompileCB(mode='reduce-overhead')])
def test_on_a_gpu(cb):
    from cosine_lr import Accuracy, DeviceCB, MetricsCB
    torch.manual_seed(0)
    model, scores = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)), MetricsCB(Accuracy())
    cbs = [DeviceCB('cuda'), cb, scores, ScheduleCB(lr=.5*cosine())]
    Learner(model, digits_dls(), F.cross_entropy, cbs=cbs).fit(5)
    assert scores.rows[-1]['accuracy'] > .85


def silent(line): pass


def learner(*cbs, momentum=.9):
    torch.manual_seed(0)
    def opt_func(params, lr): return torch.optim.SGD(params, lr=lr, momentum=momentum, weight_decay=.01)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    return Learner(model, digits_dls(), F.cross_entropy, lr=.1, cbs=cbs, opt_func=opt_func)


def state(learn):
    "Weights and the optimizer's memory"
    buffers = [s['momentum_buffer'].tolist() for s in learn.opt.state.values()]
    return [p.tolist() for p in learn.model.parameters()], buffers


class Spoil(Callback):
    "In epoch 0 the loss of batch `at` is no number; keeps the states before each training batch"
    def __init__(self, at, training=True): self.at, self.training, self.states = at, training, []
    def before_batch(self, learn): self.states.append(state(learn))
    def after_loss(self, learn):
        here = learn.epoch, learn.iter, learn.training
        if here == (0, self.at, self.training): learn.loss = learn.loss*float('nan')


def test_the_guard_gives_back_weights_and_momentum():
    spoil, rec = Spoil(10), RecorderCB()
    learner(NaNGuardCB(every=4, log=silent), spoil, rec).fit(1, valid=False)
    assert spoil.states[11] == spoil.states[8] != spoil.states[10]     # the copy is of batch 7, the fourth
    assert rec['lr'].tolist() == pytest.approx([.1]*10 + [.05]*6)      # the factor is applied once


def test_the_guard_keeps_no_copy_of_lost_weights():
    class Lose(Callback):
        def after_step(self, learn):
            if learn.iter == 7: learn.model[0].weight.data.fill_(float('inf'))     # a copy is due next
    learn = learner(NaNGuardCB(every=4, log=silent), Lose())
    learn.fit(1, valid=False)
    assert all(p.isfinite().all() for p in learn.model.parameters()) and learn.steps == 16


def test_the_guard_says_what_it_cannot_put_back():
    said, learn = [], learner(NaNGuardCB(log=lambda line: said.append(line)))
    learn.model.lines = iter([1])
    learn.fit(2)
    assert said == ['NaNGuardCB: model.lines cannot be put back (list_iterator)']


def test_the_guard_leaves_validation_to_the_learner():
    learn = learner(NaNGuardCB(log=silent), Spoil(0, training=False))
    with pytest.raises(FloatingPointError, match='validation'): learn.fit(1)


class Killed(Exception): pass


class KillAt(Callback):
    order = 100
    def __init__(self, epoch, batch): self.at = epoch, batch
    def after_batch(self, learn):
        if learn.training and (learn.epoch, learn.iter) == self.at: raise Killed


def killed_and_resumed(folder, n_epochs, make, at):
    "What a run leaves behind that is killed after batch `at` and resumed, and one that is not"
    def run(*cbs):
        learn = learner(MetricsCB(log=silent), *make(), *cbs)
        try: learn.fit(n_epochs)
        except Killed: pass
        return state(learn), learn.cbs[0].rows
    keep = lambda: CheckpointCB(folder, every=1, log=silent)
    run(keep(), KillAt(*at))
    return run(keep()), run()


@pytest.mark.parametrize('bad', [5, 10])
def test_the_guard_is_in_the_checkpoint(tmp_path, bad):
    "Its good copy, where the bad batch is ahead; where it is behind, the rate without the guard's factor"
    def make(): return [NaNGuardCB(every=4, log=silent), Spoil(bad)]
    resumed, whole = killed_and_resumed(tmp_path, 1, make, (0, 9))
    assert resumed == whole


def test_the_times_that_are_left_are_in_the_checkpoint(tmp_path):
    class SpoilTwo(Spoil):
        def after_loss(self, learn):
            if learn.iter in (5, 12): learn.loss = learn.loss*float('nan')
    def guarded(*cbs):
        keep = CheckpointCB(tmp_path, every=1, log=silent)
        learner(NaNGuardCB(times=1, log=silent), SpoilTwo(None), keep, *cbs).fit(1)
    with pytest.raises(Killed): guarded(KillAt(0, 9))
    with pytest.raises(FloatingPointError, match='batch 12'): guarded()


def test_a_rate_that_is_changed_between_passes_stays():
    class Halve(Callback):
        def cleanup_epoch(self, learn):
            if learn.training: learn.opt.param_groups[0]['lr'] /= 2
    rec = RecorderCB()
    learner(NaNGuardCB(log=silent), Halve(), rec).fit(3)
    assert rec['lr'].tolist() == [.1]*17 + [.05]*17 + [.025]*17


def test_early_stop_counts_on_after_a_resume(tmp_path):
    def make(): return [EarlyStopCB('epoch', min, patience=3, log=silent)]
    resumed, whole = killed_and_resumed(tmp_path, 9, make, (2, 5))
    assert resumed == whole and len(whole[1]) == 4


def test_no_better_is_no_improvement():
    scores = MetricsCB(log=silent)
    learner(scores, EarlyStopCB('lr', min, patience=2, log=silent)).fit(9)     # a constant column
    assert len(scores.rows) == 3


def test_frozen_layers_do_not_drift_on_old_gradients():
    learn = learner()
    learn.fit(1, valid=False)
    before = learn.model[0].weight.detach().clone()
    learn.fit(1, valid=False, cbs=[FreezeCB('0.')])
    assert torch.equal(learn.model[0].weight, before)
    assert all(p.requires_grad for p in learn.model.parameters())
    learn.model[0].bias.requires_grad_(False)                                   # frozen by hand: it stays so
    learn.fit(1, valid=False, cbs=[FreezeCB('0.')])
    assert not learn.model[0].bias.requires_grad and learn.model[0].weight.requires_grad


def test_predict_goes_through_the_callbacks_that_place_and_feed():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(3.))
        def forward(self, x, scale): return self.factor*x*scale
    x = torch.randn(6, 3)
    batches = [[part, torch.tensor(2.), part] for part in (x[:4], x[4:])]
    preds, targs = predict(Learner(Two(), None, cbs=[TrainCB(n_inp=2)]), batches)
    assert torch.allclose(preds, 6*x) and torch.equal(targs, x)


def test_an_average_is_for_validation_and_for_the_end():
    "Training goes on from the raw weights: with the average, or without, they are the same"
    class Raw(Callback):
        order = 100
        def before_fit(self, learn): self.seen = []
        def after_step(self, learn): self.seen.append(learn.model[0].weight.tolist())
    alone, beside = Raw(), Raw()
    learner(alone).fit(2)
    learner(beside, EMACB(.9)).fit(2)
    assert alone.seen == beside.seen


def test_accumulation_is_for_training():
    learn = learner(GradAccumCB(4), MetricsCB(log=silent))
    learn.fit(1, train=False)
    assert learn.total == 0


def test_the_average_is_in_place_after_a_fit_without_validation():
    seen = []
    class Look(Callback):
        def after_step(self, learn): seen.append(learn.model[0].weight.detach().clone())
    learn, average = learner(EMACB(.9), Look()), None
    learn.fit(1, valid=False)
    for weight in seen: average = weight if average is None else .9*average + .1*weight
    assert torch.allclose(learn.model[0].weight, average, atol=1e-6)
    assert not torch.allclose(seen[-1], average, atol=1e-3)


def test_autocast_ends_with_the_loss_and_with_a_batch_that_is_left():
    seen = []
    class Look(Callback):
        def after_predict(self, learn):
            if learn.iter == 3: raise CancelBatchException
        def before_batch(self, learn): seen.append(torch.is_autocast_enabled('cpu'))
        def after_backward(self, learn): seen.append(torch.is_autocast_enabled('cpu'))
        order = -10                                                    # before autocast begins
    learner(Look(), MixedPrecisionCB()).fit(1, valid=False)
    assert not any(seen) and not torch.is_autocast_enabled('cpu')


def test_the_scale_of_float16_is_in_the_checkpoint(tmp_path):
    def run(*cbs):
        half = MixedPrecisionCB('fp16')
        class TooLarge(Callback):
            def before_epoch(self, learn):
                start = half.scaler.state_dict() | dict(scale=2.**24)
                if learn.epoch == 0: half.scaler.load_state_dict(start)
        try: learner(half, TooLarge(), *cbs).fit(2, valid=False)
        except Killed: pass
        return half.scaler.state_dict()
    keep = lambda: CheckpointCB(tmp_path, every=1, log=silent)
    run(keep(), KillAt(1, 5))
    assert run(keep()) == run()


class Left(Callback):
    "Leaves the last training batch of each epoch"
    def after_loss(self, learn):
        if learn.training and learn.iter + 1 == len(learn.dl): raise CancelBatchException


def test_a_group_of_batches_ends_with_its_epoch():
    "A group whose last batch was cancelled has a step of its own, with the others: not with the next epoch's"
    steps = []
    class Steps(Callback):
        def after_step(self, learn): steps.append((learn.epoch, learn.iter))
    learn = learner(GradAccumCB(3), Left(), Steps())
    learn.fit(2, valid=False)
    assert steps == [(epoch, i) for epoch in (0, 1) for i in (2, 5, 8, 11, 14, 16)]    # 17 batches
    assert learn.steps == learn.total == 12


def accumulated(batches, *cbs, **kw):
    learn = learner(*cbs)
    learn.dls = DataLoaders(batches, None)
    learn.fit(1, valid=False, **kw)
    return learn


class LeaveOut(Callback):
    "Leaves some batches, at one event or another, or the rest of the pass"
    def __init__(self, *at, event='after_loss', error=CancelBatchException):
        self.at, self.event, self.error = at, event, error
    def before_fit(self, learn): learn.hooks[self.event].append(self._leave)
    def _leave(self, learn):
        if learn.iter in self.at: raise self.error


@pytest.mark.parametrize('event', ['before_batch', 'after_predict', 'after_loss'])
@pytest.mark.parametrize('error', [CancelBatchException, CancelEpochException])
def test_a_group_is_stepped_whichever_of_its_last_batches_is_left(event, error):
    "As a run whose loader has only the batches that count, all that follows a step included"
    batches = list(digits_dls().train)[:6]
    def made():
        return [GradAccumCB(4), NaNGuardCB(log=silent), EMACB(.9), RecorderCB(), ScheduleCB(lr=.1*cosine())]
    left, cbs = LeaveOut(5, event=event, error=error), made()
    got, whole = accumulated(batches, *cbs, left), accumulated(batches[:5], *made())
    assert got.steps == 2 and state(got) == state(whole) and len(cbs[3]['loss']) == 2
    assert cbs[3]['loss'].tolist() == whole.cbs[3]['loss'].tolist()


def test_a_group_that_a_guard_rejects_is_not_mixed_with_the_next():
    "The guard goes back to older weights: the gradients of the newer ones are gone, and are not counted"
    batches, spoil = list(digits_dls().train)[:6], Spoil(2)
    learn = accumulated(batches, GradAccumCB(4), NaNGuardCB(every=1, log=silent, factor=1/2), spoil)
    alone = accumulated(batches[3:], GradAccumCB(4), lr=.05)
    assert learn.steps == 1 and state(learn) == state(alone)


def test_an_error_is_no_reason_for_a_step():
    class Fail(Callback):
        def after_loss(self, learn):
            if learn.iter == 5: raise RuntimeError('failed')
    learn = learner(GradAccumCB(4), Fail())
    learn.dls = DataLoaders(list(digits_dls().train)[:6], None)
    with pytest.raises(RuntimeError, match='failed'): learn.fit(1, valid=False)
    assert learn.steps == 1


@pytest.mark.parametrize('at', [(0, 14), (0, 16), (1, 15)])
def test_a_group_without_its_last_batch_is_resumed(tmp_path, at):
    def make(): return [GradAccumCB(3), Left(), NaNGuardCB(log=silent)]
    resumed, whole = killed_and_resumed(tmp_path, 2, make, at)
    assert resumed == whole


def test_sparse_gradients_are_clipped():
    def fit(sparse):
        torch.manual_seed(0)
        x, y = torch.randint(0, 10, (20, 2)), torch.randint(0, 2, (20,))
        model = nn.Sequential(nn.Embedding(10, 3, sparse=sparse), nn.Flatten(), nn.Linear(6, 2))
        clip, dls = GradClipCB(.1), DataLoaders(tensor_loader(x, y, bs=5), None)
        Learner(model, dls, F.cross_entropy, cbs=[clip, GradAccumCB(2)]).fit(2, valid=False)
        return model[0].weight, clip.norm
    (dense, norm), (sparse, same) = fit(False), fit(True)
    assert torch.allclose(dense, sparse) and torch.allclose(norm, same) and norm > .1


def test_a_guard_copies_by_the_batches_of_the_fit():
    "In epochs that are shorter than `every`, too: or each return would begin the run anew"
    class SpoilLate(Spoil):
        def after_loss(self, learn):
            if learn.epoch == 2 and learn.iter == 5: learn.loss = learn.loss*float('nan')
    spoil = SpoilLate(None)
    learner(NaNGuardCB(every=20, log=silent), spoil).fit(3, valid=False)
    assert spoil.states[40] == spoil.states[20] != spoil.states[0]


class NaNRow(Callback):
    "One batch of each epoch is not finite"
    order = -1
    def before_batch(self, learn):
        if learn.training and learn.iter == 3: learn.batch = [learn.batch[0]*float('nan'), learn.batch[1]]


def test_a_bad_batch_is_left_out_and_nothing_else_changes():
    "Batch norm's averages included; the rate stays, for as many epochs as there are"
    def fit(*cbs, batches=None):
        learn = learner(*cbs)
        learn.model = nn.Sequential(nn.BatchNorm1d(64), learn.model)
        if batches: learn.dls = DataLoaders(batches, None)
        learn.fit(6, valid=False)
        return learn.model.state_dict()
    guarded = fit(NaNRow(), NaNGuardCB(factor=1, log=silent))
    batches = list(digits_dls().train)
    bad = [batches[3][0]*float('nan'), batches[3][1]]
    spoilt = fit(NaNGuardCB(factor=1, log=silent), batches=[*batches[:3], bad, *batches[4:]])
    clean = fit(batches=[*batches[:3], *batches[4:]])
    assert guarded.keys() == clean.keys() and all(torch.equal(spoilt[name], clean[name]) for name in clean)
    assert all(x.isfinite().all() for x in guarded.values())


def test_bad_batches_in_a_row_end_the_run():
    class Lost(Callback):
        def after_loss(self, learn):
            if learn.iter >= 5: learn.loss = learn.loss*float('inf')
    learn = learner(NaNGuardCB(factor=1, times=4, log=silent), Lost())
    with pytest.raises(FloatingPointError, match='batch 9, after 4 batches in a row'): learn.fit(1)


def test_a_limit_holds_to_the_end():
    class Jump(Callback):
        def after_loss(self, learn):
            if learn.iter in (5, 9): learn.loss = learn.loss + 100
    learn = learner(NaNGuardCB(limit=50, times=1, log=silent), Jump())
    with pytest.raises(FloatingPointError, match='batch 9, and .* has gone back so often'): learn.fit(1)


@pytest.mark.parametrize('make', [
    lambda: [NaNGuardCB(factor=1, log=silent), NaNRow()],
    lambda: [EarlyStopCB(patience=2, min_delta=10, restore=True, log=silent)],
    lambda: [PlateauCB(factor=.5, patience=0, threshold=10, threshold_mode='abs', cooldown=1, log=silent)]])
@pytest.mark.parametrize('at', [(0, 9), (1, 16), (2, 2)])
def test_what_watches_goes_on_after_a_resume(tmp_path, make, at):
    resumed, whole = killed_and_resumed(tmp_path, 4, make, at)
    assert resumed == whole


def test_the_best_model_is_put_back_buffers_and_average_included():
    class Worse(Callback):
        order = 1
        def before_epoch(self, learn):
            if learn.training and learn.epoch == 3: learn.opt.param_groups[0]['lr'] = .6
    def fit(*cbs, epochs):
        learn, scores = learner(Worse(), *cbs), MetricsCB(log=silent)
        learn.model = nn.Sequential(nn.BatchNorm1d(64), learn.model)
        learn.fit(epochs, cbs=[scores])
        return learn.model.state_dict(), scores.rows
    for average in ([], [EMACB(.5)]):
        stop = EarlyStopCB(patience=5, restore=True, log=silent)
        got, rows = fit(stop, *average, epochs=5)
        best, _ = fit(*[EMACB(.5) for _ in average], epochs=3)
        assert len(rows) == 5 and stop.best_epoch == 2
        assert all(torch.equal(got[name], best[name]) for name in best)


def test_a_column_that_never_comes_is_said():
    said = []
    learn = learner(MetricsCB(log=silent), EarlyStopCB(patience=2, log=said.append))
    with pytest.raises(ValueError, match=r"column must be one of .*2 epochs without a validation"):
        learn.fit(5, valid=False)
    learn.fit(1, valid=False)
    assert said == ['EarlyStopCB: there was no valid_loss in this fit, so nothing was done']
    learn.fit(5)                                                              # no word, where there is one
    assert len(said) == 1


def test_training_losses_are_judged_without_a_validation():
    scores = MetricsCB(log=silent)
    learner(scores, EarlyStopCB('lr', patience=2, log=silent)).fit(9, valid=False)
    assert len(scores.rows) == 3


def test_two_who_scale_the_rate_both_do():
    rec = RecorderCB()
    plateau = PlateauCB('epoch', factor=.5, patience=0, log=silent)
    learner(MetricsCB(log=silent), plateau, NaNGuardCB(every=4, log=silent), Spoil(10), rec,
            ScheduleCB(lr=.1*cosine())).fit(3)
    planned = [.1*cosine()(step/51) for step in range(50)]
    assert np.allclose(rec['lr'][:10], planned[:10]) and np.allclose(rec['lr'][10], planned[10]/2)
    assert plateau.rule.scale == .25 and np.allclose(rec['lr'][-1], planned[-1]/2*.5)


def test_the_diary_keeps_the_rows_of_earlier_fits(tmp_path):
    path = tmp_path/'log.csv'
    def rows():
        with open(path, newline='', encoding='utf-8') as file: return list(csv.DictReader(file))
    diary = CSVLoggerCB(path)
    learn = learner(MetricsCB(log=silent), diary)
    learn.fit(2)
    learn.fit(1, valid=False)                                                 # the same object
    learner(MetricsCB(log=silent, twice=Accuracy()), CSVLoggerCB(path)).fit(1)   # another, another column
    assert [row['epoch'] for row in rows()] == ['0', '1', '0', '0']
    assert [bool(row['valid_loss']) for row in rows()] == [True, True, False, True] and rows()[3]['twice']
    path.write_text('a,b\n1,2,3\n')
    with pytest.raises(ValueError, match='path must be a new file, or a table'):
        learner(MetricsCB(log=silent), CSVLoggerCB(path)).fit(1)


def test_a_resumed_diary_keeps_earlier_fits_and_writes_no_row_twice(tmp_path):
    path = tmp_path/'log.csv'
    def run(name, *cbs):
        try: learner(MetricsCB(log=silent), CSVLoggerCB(path), *cbs).fit(3)
        except Killed: pass
        return [line[:2] for line in path.read_text().splitlines()]
    run('first')
    run('second', CheckpointCB(tmp_path/'run', every=5, log=silent), KillAt(2, 4))
    assert run('second', CheckpointCB(tmp_path/'run', every=5, log=silent)) == ['ep', *['0,', '1,', '2,']*2]


def test_a_name_is_a_whole_name():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(12)))
    groups = split_params(model, '1', '0.weight')
    assert [len(group['params']) for group in groups] == [2, 1, 21]
    with pytest.raises(ValueError, match="is left for prefix '0.wei'"): split_params(model, '0.wei')


def test_batches_with_names_are_accumulated():
    class Named(Callback):
        def predict(self, learn): learn.preds = learn.model(learn.batch['x'])
        def get_loss(self, learn): learn.loss = F.cross_entropy(learn.preds, learn.batch['y'])
    def fit(*cbs):
        learn = learner(*cbs)
        learn.fit(1, valid=False)
        return learn
    class Name(Callback):
        order = -1000
        def before_batch(self, learn): learn.batch = dict(zip('xy', learn.batch))
    assert state(fit(Name(), Named(), GradAccumCB(3))) == state(fit(GradAccumCB(3)))


def test_a_second_fit_has_an_average_of_its_own():
    learn, seen = learner(EMACB(.9)), []
    class Look(Callback):
        order = 100
        def after_step(self, learn): seen.append(learn.model[0].weight.tolist())
    learn.fit(1, valid=False)
    learn.cbs[0].decay = 0.                            # the average is the newest: did the first step count?
    learn.fit(1, valid=False, cbs=[Look()])
    assert learn.model[0].weight.tolist() == seen[-1] and learn.cbs[0].updates == 17


def test_two_bad_batches_go_back_to_the_same_place():
    class SpoilTwo(Spoil):
        def after_loss(self, learn):
            if learn.iter in (10, 12): learn.loss = learn.loss*float('nan')
    spoil = SpoilTwo(None)
    learner(NaNGuardCB(every=8, log=silent), spoil).fit(1, valid=False)
    assert spoil.states[11] == spoil.states[13] == spoil.states[8]


def test_thawed_layers_train_as_if_never_frozen():
    norm = nn.BatchNorm1d(64)
    learn = learner()
    learn.model = nn.Sequential(norm, nn.Dropout(.5), learn.model)
    seen = []
    class Look(Callback):
        def after_epoch(self, learn):
            seen.append((norm.num_batches_tracked.item(), norm.training, learn.model[1].training))
    learn.fit(2, valid=False, cbs=[FreezeCB('0.', '1.', until=1), Look()])
    assert seen == [(0, False, False), (17, True, True)]


def test_freezing_everything_is_refused():
    learn = learner(FreezeCB('0.'), FreezeCB('2.'))
    with pytest.raises(ValueError, match='nothing is left to train'): learn.fit(1)
    with pytest.raises(TypeError, match=r"got \['0.'\]"): FreezeCB(['0.'])


def test_freezing_is_refused_where_processes_exchange_gradients():
    learn, wrapped = learner(FreezeCB('0.')), object.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module, learn.model = learn.model, wrapped
    with pytest.raises(ValueError, match='FreezeCB and AccelerateCB cannot be combined'): learn.fit(1)


def test_predict_keeps_precision_and_modes():
    model = nn.Sequential(nn.Dropout(.5), nn.Linear(4, 2), nn.Dropout(.5))
    model[2].eval()
    for dtype, out in ((torch.float64, torch.float64), (torch.bfloat16, torch.float32)):
        preds, _ = predict(Learner(model.to(dtype), None), [[torch.ones(3, 4, dtype=dtype)]])
        assert preds.dtype == out and torch.equal(preds[0], preds[1])
    assert [m.training for m in model] == [True, True, False]
    learn = Learner(nn.LSTM(4, 2), None)
    with pytest.raises(TypeError, match='one tensor, got tuple'): predict(learn, [[torch.ones(3, 4)]])


def test_predict_places_batches_where_the_model_is():
    "A meta tensor has a shape and no numbers: the model's answers cannot be brought to the CPU"
    model, seen = nn.Linear(4, 2, device='meta'), []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].device.type))
    learn, batches = Learner(model, None), [[torch.ones(3, 4)]]
    with pytest.raises(NotImplementedError, match='out of meta tensor'): predict(learn, batches)
    assert seen == ['meta']


def test_predict_needs_no_loss():
    class Own(TrainCB):
        def get_loss(self, learn): raise AssertionError('there are no targets')
    assert predict(learner(Own()), [[torch.zeros(3, 64)]])[0].shape == (3, 10)


def test_predict_takes_batches_with_names():
    class Named(TrainCB):
        def predict(self, learn): learn.preds = learn.model(learn.batch['x'])
    x, y = torch.randn(6, 64), torch.arange(6)
    learn = learner(Named(inputs='x', targets='y'))
    preds, targs = predict(learn, [dict(x=x[:4], y=y[:4]), dict(x=x[4:], y=y[4:])])
    same = torch.cat([learn.model(x[:4]), learn.model(x[4:])])  # in one batch the last bits may differ
    assert torch.equal(preds, same) and torch.equal(targs, y)
    assert predict(learn, [dict(x=x)])[1] is None


def test_the_diary_of_a_fit_without_validation_is_whole(tmp_path):
    learner(CSVLoggerCB(tmp_path/'log.csv'), MetricsCB(log=silent)).fit(3, valid=False)
    assert [line[:2] for line in (tmp_path/'log.csv').read_text().splitlines()] == ['ep', '0,', '1,', '2,']


def test_the_diary_is_written_once_and_then_grows(tmp_path, monkeypatch):
    "To write the whole table after each epoch would make a long run slower and slower"
    path, whole, lines = tmp_path/'log.csv', [], []
    write, epochs = CSVLoggerCB._write, [True, False, True, True, True]        # with a validation or without
    def counted(self, rows):
        whole.append(len(rows))
        write(self, rows)
    monkeypatch.setattr(CSVLoggerCB, '_write', counted)
    class Skip(Callback):
        order = -1
        def before_epoch(self, learn):
            if not learn.training and not epochs[learn.epoch]: raise CancelEpochException
            if learn.training and path.exists(): lines.append(len(path.read_text().splitlines()))
            if learn.training and learn.epoch == 4: path.unlink()
    path.write_text('of an older run')
    scores = MetricsCB(log=silent)
    learner(Skip(), scores, CSVLoggerCB(path)).fit(5)
    assert whole == [1, 5] and lines == [1, 2, 2, 4, 5]                       # written anew when it was gone
    with open(path, newline='', encoding='utf-8') as file: table = list(csv.DictReader(file))
    assert [{k: float(v) for k, v in row.items() if v} for row in table] == scores.rows


def test_a_new_column_is_a_new_table(tmp_path):
    class Skip(Callback):
        def before_epoch(self, learn):
            if not learn.training and learn.epoch < 2: raise CancelEpochException
    learner(Skip(), MetricsCB(log=silent), CSVLoggerCB(tmp_path/'log.csv')).fit(4)
    assert [line.count(',') for line in (tmp_path/'log.csv').read_text().splitlines()] == [3]*5


def test_the_diarys_place_is_a_file(tmp_path):
    learn = learner(CSVLoggerCB(tmp_path), MetricsCB(log=silent))
    with pytest.raises(IsADirectoryError, match='is a folder'): learn.fit(1)


@pytest.mark.parametrize('wrong', [lambda: CheckpointCB('x', log=None), lambda: NaNGuardCB(log=None),
                                   lambda: EarlyStopCB(log='x'), lambda: TensorBoardCB(None)])
def test_what_would_fail_in_the_night_is_refused_at_once(wrong):
    with pytest.raises(ValueError, match="(log|writer) must be"): wrong()


@pytest.mark.parametrize('limit', [0, -1., True, 'high', float('nan')])
def test_a_limit_is_a_number_above_0(limit):
    with pytest.raises(ValueError, match='limit must be a finite number, above 0, got limit='):
        NaNGuardCB(limit=limit)


class Two(nn.Module):
    "A model of two inputs, apart or in a tuple"
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 10)
    def forward(self, a, b=None): return self.layer(a + b if b is not None else a[0] + a[1])


def test_predict_of_batches_that_are_bare_tensors():
    x, _ = digits_dls().valid.dataset.tensors
    learn = learner()
    same = torch.cat([learn.model(b) for b in x.split(64)])  # in one batch the last bits may differ
    for batches in (x.split(64), [[b] for b in x.split(64)]):
        preds, targs = predict(learn, batches)
        assert torch.equal(preds, same) and targs is None
    class Bare(TrainCB):
        def predict(self, learn): learn.preds = learn.model(learn.batch)
    assert torch.equal(predict(Learner(learn.model, None, cbs=[Bare()]), x.split(64))[0], preds)


def test_an_input_is_no_target():
    x, y = digits_dls().valid.dataset.tensors
    learn = Learner(Two(), None, cbs=[TrainCB(n_inp=2)])
    assert predict(learn, [[x, x]])[1] is None and torch.equal(predict(learn, [[x, x, y]])[1], y)


def test_predict_names_its_loader():
    said = '^dl must have a length, the number of its batches, got generator'
    with pytest.raises(TypeError, match=said): predict(learner(), (b for b in digits_dls().valid))
    with pytest.raises(ValueError, match='^dl must have at least one batch'): predict(learner(), [])


def test_plain_sgd_is_compiled():
    compiled, rec, eager = CompileCB(backend='eager'), RecorderCB(), RecorderCB()
    learner(compiled, rec, momentum=0).fit(2)
    learner(eager, momentum=0).fit(2)
    assert len(compiled.compiled) == 2 and abs(rec['loss'] - eager['loss']).max() < 1e-5


@pytest.mark.parametrize('momentum', [0, .9])
def test_a_compiled_run_is_resumed_with_the_same_bits(tmp_path, momentum):
    def run(*cbs):
        learn, rec = learner(CompileCB(), MetricsCB(log=silent), momentum=momentum), RecorderCB()
        try: learn.fit(2, cbs=[ScheduleCB(lr=.5*cosine()), rec, *cbs])
        except Killed: pass
        return [p.tolist() for p in learn.model.parameters()], rec['loss'].tolist(), learn.cbs[1].rows
    keep = lambda: CheckpointCB(tmp_path, every=1, log=silent)
    run(keep(), KillAt(0, 9))
    assert run(keep()) == run()


def test_an_average_goes_back_with_the_weights():
    average, seen = EMACB(.9), []
    class Look(Callback):
        def before_batch(self, learn): seen.append(([a.tolist() for a in average.average], average.updates))
    class SpoilTwo(Spoil):
        def after_loss(self, learn):
            if learn.iter in (9, 11): learn.loss = learn.loss*float('nan')
    learner(NaNGuardCB(every=4, log=silent), SpoilTwo(None), average, Look()).fit(1, valid=False)
    assert seen[12] == seen[10] == seen[8] != seen[11]                 # both times to the copy of batch 7


def test_an_average_goes_back_after_a_resume(tmp_path):
    def make(): return [NaNGuardCB(every=4, log=silent), EMACB(.9), Spoil(10)]
    resumed, whole = killed_and_resumed(tmp_path, 1, make, (0, 9))
    assert resumed == whole


def test_batches_of_tuples_are_weighed_by_their_rows():
    x, y = digits_dls().train.dataset.tensors
    pairs = lambda *ends: [((x[a:b], x[a+60:b+60]), y[a:b]) for a, b in zip(ends, ends[1:])]
    def fit(batches, *cbs):
        learn = Learner(Two(), DataLoaders(batches, None), F.cross_entropy, cbs=cbs)
        learn.fit(1, valid=False)
        return learn.model.layer.weight
    assert torch.allclose(fit(pairs(0, 40, 60), GradAccumCB(2)), fit(pairs(0, 60)), atol=1e-6)
    said = r"CompileCB needs batches that are lists of tensors, got tuple of \['tuple', 'Tensor'\]"
    with pytest.raises(TypeError, match=said): fit(pairs(0, 40, 60), CompileCB())


def test_a_range_test_leaves_the_guard_out():
    assert lr_find(learner(NaNGuardCB(limit=3., log=silent))).suggestion == lr_find(learner()).suggestion > 0


def numpys_guard(): return NaNGuardCB(factor=np.float32(.5), times=np.int64(2), every=np.int64(4), log=silent)


@pytest.mark.parametrize('make', [lambda: [GradAccumCB(np.int64(2))], lambda: [Spoil(5), numpys_guard()]])
def test_numbers_of_numpy_go_into_a_checkpoint(tmp_path, make):
    resumed, whole = killed_and_resumed(tmp_path, 1, lambda: [*make(), ScheduleCB(lr=.1*cosine())], (0, 9))
    assert resumed == whole


def test_an_epoch_whose_batches_were_all_cancelled_has_no_row():
    class Skip(Callback):
        def before_batch(self, learn):
            if learn.epoch in (0, 2): raise CancelBatchException
    points, scores = [], MetricsCB(log=silent)
    class Writer:
        def add_scalar(self, name, value, step): points.append((name, value))
    learner(Skip(), scores, EarlyStopCB('epoch', max, patience=1, log=silent), TensorBoardCB(Writer())).fit(4)
    logged = [value for name, value in points if name == 'epoch/epoch']
    assert [row['epoch'] for row in scores.rows] == [1, 3] == logged


@pytest.mark.parametrize('cancelled, steps', [((), [5, 10, 15]), ((4,), [9, 14]), ((14,), [5, 10]),
                                              ((4, 9, 14), [14]), (range(17), [])])
def test_a_pass_that_sent_no_point_sends_one_at_its_end(cancelled, steps):
    class Skip(Callback):
        def before_batch(self, learn):
            if learn.iter in cancelled: raise CancelBatchException
    sent = []
    class Writer:
        def add_scalar(self, name, value, step): sent.append((name, step))
    learner(Skip(), MetricsCB(log=silent), TensorBoardCB(Writer(), every=5)).fit(1, valid=False)
    assert [step for name, step in sent if name == 'loss'] == steps


def test_a_prefix_has_one_group():
    model = learner().model
    for twice in (('0.', '0.'), ('0.', '2.', '0.')):
        said = "no parameter is left for prefix '0.'"
        with pytest.raises(ValueError, match=said): split_params(model, *twice)


class Table(nn.Module):
    "Batch norm, dropout, and buffers that are no averages: a mask with -inf in it, and a count"
    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.layer = nn.BatchNorm1d(64), nn.Dropout(.2), nn.Linear(64, 10)
        self.register_buffer('mask', torch.full((2, 2), -torch.inf).triu(1))
        self.register_buffer('seen', torch.tensor(0))
    def forward(self, x):
        self.seen += self.training
        return self.layer(self.drop(self.norm(x)))


def averaged(*cbs, epochs=2, **kw):
    torch.manual_seed(0)
    learn = Learner(Table(), digits_dls(), F.cross_entropy, lr=.5, cbs=cbs)
    learn.fit(epochs, **kw)
    return learn


class RawTable(Callback):
    "The model that each step left behind"
    def __init__(self): self.seen = []
    def after_step(self, learn):
        self.seen.append({name: x.tolist() for name, x in learn.model.state_dict().items()})


@pytest.mark.parametrize('buffers', ['own', 'average', 5])
def test_an_average_with_its_buffers_leaves_training_alone(buffers):
    "Random orders, dropout and counts included"
    alone, beside = RawTable(), RawTable()
    averaged(alone)
    learn = averaged(beside, EMACB(.9, buffers=buffers))
    assert alone.seen == beside.seen and len(alone.seen) == 34
    assert learn.model.mask.tolist() == [[0, -np.inf], [0, 0]] and learn.model.seen == 34
    assert learn.model.norm.momentum == .1


@pytest.mark.parametrize('valid', [True, False])
@pytest.mark.parametrize('n', [1, 5, 1000])
def test_batch_norms_statistics_are_estimated_as_torch_does(n, valid):
    class Listed:
        "Batches that are the same in each pass"
        def __init__(self): self.batches, self.taken = list(digits_dls().train), 0
        def __len__(self): return len(self.batches)
        def __iter__(self):
            for batch in self.batches:
                self.taken += 1
                yield batch
    def fit(*cbs):
        torch.manual_seed(0)
        learn = Learner(Table(), DataLoaders(Listed(), digits_dls().valid), F.cross_entropy, lr=.5, cbs=cbs)
        learn.fit(2, valid=valid)
        return learn
    scores = MetricsCB(log=silent)
    learn = fit(EMACB(.9, buffers=n), scores)
    got, batches = [b.clone() for b in learn.model.norm.buffers()], learn.dls.train.batches
    torch.optim.swa_utils.update_bn(batches[:n], learn.model)
    for b, torchs in zip(got, learn.model.norm.buffers(), strict=True): torch.testing.assert_close(b, torchs)
    if not valid: return
    learn.fit(1, train=False, cbs=[again := MetricsCB(log=silent)])
    assert again.rows[0]['valid_loss'] == pytest.approx(scores.rows[-1]['valid_loss'], abs=1e-6)


@pytest.mark.parametrize('buffers', ['average', 5])
@pytest.mark.parametrize('at', [(0, 9), (0, 16), (1, 5)])
def test_an_average_with_its_buffers_is_resumed(tmp_path, buffers, at):
    def run(*cbs):
        scores = MetricsCB(log=silent)
        try: learn = averaged(EMACB(.9, buffers=buffers), scores, *cbs, epochs=3)
        except Killed: return None
        return {name: x.tolist() for name, x in learn.model.state_dict().items()}, scores.rows
    assert run(CheckpointCB(tmp_path, every=1, log=silent), KillAt(*at)) is None
    said = []
    assert run(CheckpointCB(tmp_path, every=1, log=said.append)) == run()
    assert len(said) == 2 and said[1].startswith('KillAt of the checkpoint')


def test_frozen_statistics_are_not_estimated():
    class Trained(Callback):
        def before_fit(self, learn): learn.model.norm.running_mean.fill_(3.)
    norm = averaged(Trained(), EMACB(.9, buffers=5), FreezeCB('norm')).model.norm
    assert norm.num_batches_tracked == 0 and (norm.running_mean == 3).all()


def test_statistics_are_of_the_batches_that_the_model_sees():
    "A callback that changes the inputs changes them here too, and a batch it leaves out is left out"
    class Shift(Callback):
        def before_batch(self, learn):
            if learn.iter == 2: raise CancelBatchException
            learn.batch = [learn.batch[0] + 100, learn.batch[1]]
    norm = averaged(EMACB(.9, buffers=5), Shift()).model.norm
    assert norm.num_batches_tracked == 4 and (norm.running_mean >= 100).all()


def test_a_fit_that_fails_is_not_followed_by_a_pass():
    class Fail(Callback):
        def after_step(self, learn):
            if learn.iter == 5: raise RuntimeError('failed')
    seen = []
    class Look(Callback):
        def before_batch(self, learn): seen.append(learn.training)
    with pytest.raises(RuntimeError, match='failed'): averaged(Fail(), Look(), EMACB(.9, buffers=5))
    assert seen == [True]*6


@pytest.mark.parametrize('buffers', ['mean', 0, True, None, 2.5])
def test_buffers_are_a_word_or_a_number_of_batches(buffers):
    with pytest.raises(ValueError, match="buffers must be 'average', 'own' or a number of training batches"):
        EMACB(buffers=buffers)


def test_an_estimate_needs_batch_norm_and_whole_epochs():
    with pytest.raises(ValueError, match="buffers=5: the model has no batch norm"):
        learner(EMACB(buffers=5)).fit(1)
    learn = learner(EMACB(buffers=5))
    learn.model = Table()
    with pytest.raises(ValueError, match="buffers=5 needs whole epochs"): learn.fit(steps=10)


class TwoParts:
    "A loss with a penalty, its parts by name"
    def __init__(self): self.parts = {name: torch.zeros(()) for name in ('data', 'penalty')}
    def __call__(self, preds, targets):
        parts = F.cross_entropy(preds, targets), .1*preds.square().mean()
        self.parts = {name: part.detach() for name, part in zip(self.parts, parts)}
        return sum(parts)


class Part(Metric):
    def __init__(self, loss, name):
        self.loss, self.name = loss, name
        super().__init__()
    def add(self, inp, targ=None, n=1): super().add(self.loss.parts[self.name], n=n)


@pytest.mark.parametrize('more', [lambda: [], lambda: [GradAccumCB(3)], lambda: [EMACB(.9)]])
def test_the_parts_of_a_loss_are_recorded_by_name_and_resumed(tmp_path, more):
    def run(*cbs):
        loss, learn = TwoParts(), learner()
        def part(name): return lambda learn: learn.loss_func.parts[name]
        rec = RecorderCB(data=part('data'), penalty=part('penalty'))
        scores = MetricsCB(log=silent, **{name: Part(loss, name) for name in loss.parts})
        learn.loss_func = loss
        try: learn.fit(2, cbs=[rec, scores, *more(), *cbs])
        except Killed: pass
        return {name: rec[name].tolist() for name in ('loss', 'data', 'penalty')}, scores.rows
    keep = lambda: CheckpointCB(tmp_path, every=1, log=silent)
    records, rows = whole = run()
    assert np.allclose(np.add(records['data'], records['penalty']), records['loss']) and len(rows) == 2
    for row in rows: assert row['data'] + row['penalty'] == pytest.approx(row['valid_loss'], abs=1e-6)
    assert len(run(keep(), KillAt(1, 5))[1]) < 2
    assert run(keep()) == whole


def test_a_range_test_leaves_the_parts_of_a_loss_alone():
    learn = learner()
    learn.loss_func = TwoParts()
    learn.fit(1)
    before = {name: part.item() for name, part in learn.loss_func.parts.items()}
    lr_find(learn)
    assert {name: part.item() for name, part in learn.loss_func.parts.items()} == before


def test_a_guard_that_gives_up_names_the_cure_of_a_bad_row():
    x, y = torch.rand(64, 64), torch.arange(64) % 10
    x[3] = torch.nan
    dls = DataLoaders(tensor_loader(x, y, bs=16, seed=0), None)
    learn = Learner(nn.Linear(64, 10), dls, F.cross_entropy, cbs=NaNGuardCB(times=2, log=lambda line: None))
    with pytest.raises(FloatingPointError, match='factor=1 leave out batches'): learn.fit(9)
    learn.cbs = [NaNGuardCB(factor=1, log=lambda line: None)]
    learn.fit(9)
    assert learn.steps == 27


@pytest.mark.parametrize('make, says', [
    (lambda: GradAccumCB(0), 'every must be'), (lambda: GradAccumCB(1.5), 'every must be'),
    (lambda: GradClipCB(0), 'max_norm must be'), (lambda: MixedPrecisionCB('fp8'), 'dtype must be'),
    (lambda: EMACB(1), 'decay must be'), (lambda: EMACB(buffers='mean'), 'buffers must be'),
    (lambda: EMACB(buffers=0), 'buffers must be'),
])
def test_a_wrong_argument_is_named(make, says):
    with pytest.raises(ValueError, match=says): make()


@pytest.mark.parametrize('pair', [
    (GradAccumCB(2), GradAccumCB(4)), (MixedPrecisionCB(), MixedPrecisionCB('fp16')),
])
def test_two_that_do_one_step_are_refused(pair):
    learn = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy, cbs=pair)
    with pytest.raises(ValueError, match='cannot be combined'): learn.fit(1)
