"""Training loops: seconds for a step, validation included; the first epoch, with the set-up, is left out."""
import contextlib
import io
import logging
import math
import tempfile
import warnings
from functools import partial

import torch
import torch.nn.functional as F
from cosine_lr import Accuracy, DataLoaders, Learner, MetricsCB, ProgressCB, RecorderCB, ScheduleCB, cosine
from cosine_lr.run import CompileCB
from torch.optim.lr_scheduler import CosineAnnealingLR

from .measure import PROCESSOR, check_equal_work, measure
from .task import BATCH, Task, cnn, mlp


def rate(step, total, peak): return peak*(1 + math.cos(math.pi*step/total))/2


def score(model, batches):
    "Mean loss and accuracy over all rows"
    model.eval()
    loss, right, n = 0., 0, 0
    with torch.no_grad():
        for x, y in batches:
            preds = model(x)
            loss += F.cross_entropy(preds, y).item()*len(y)
            right += (preds.argmax(1) == y).sum().item()
            n += len(y)
    return loss/n, right/n


def slices(task):
    "The batches of an epoch, cut from the tensors"
    for rows in task.rows: yield task.x[rows], task.y[rows]


def by_hand(task, batches=slices): # `batches`: (task) -> the batches of an epoch
    "The loop one writes: it keeps each step's rate and loss, and each epoch's scores"
    model, opt, step, lrs, losses, history = task.model, task.optimizer(), 0, [], [], []
    for _ in range(task.epochs):
        model.train()
        for x, y in batches(task):
            lr = rate(step, task.total, task.peak)
            for group in opt.param_groups: group['lr'] = lr
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            step += 1
            lrs.append(lr)
            losses.append(loss.item())
        history.append((sum(losses[-task.steps:])/task.steps, *score(model, task.valid)))
    return step, history[-1][-1]


def ours(task, *cbs):
    "`Learner`, with a progress bar, metrics, a recorder and a schedule"
    scores = MetricsCB(Accuracy(), log=lambda line: None)
    bar, schedule = ProgressCB(file=io.StringIO()), ScheduleCB(lr=task.peak*cosine())
    learn = Learner(task.model, DataLoaders(task.train, task.valid), F.cross_entropy, task.peak,
                    cbs=[schedule, RecorderCB(), scores, bar, *cbs], opt_func=task.opt_func)
    learn.fit(task.epochs)
    return learn.steps, scores.rows[-1]['accuracy']


def compiled(task): return ours(task, CompileCB())


# --- the peers, each as cheap as it can be: no progress bar, no logger, no checkpoints ---

def fastai(task):
    from fastai.callback.schedule import ParamScheduler, SchedCos
    from fastai.data.core import DataLoaders as FastaiLoaders
    from fastai.learner import Learner as FastaiLearner
    from fastai.optimizer import OptimWrapper
    def accuracy(preds, targs): return (preds.argmax(1) == targs).float().mean()
    learn = FastaiLearner(FastaiLoaders(task.train, task.valid), task.model, loss_func=F.cross_entropy,
                          opt_func=partial(OptimWrapper, opt=task.opt_func), lr=task.peak, metrics=accuracy,
                          train_bn=False)
    scheduler = ParamScheduler({'lr': SchedCos(task.peak, 0.)})
    with learn.no_bar(), learn.no_logging(): learn.fit(task.epochs, cbs=scheduler)
    return learn.train_iter, learn.recorder.values[-1][-1]


def lightning(task):
    import lightning as L

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = task.model
        def training_step(self, batch, _): return F.cross_entropy(self.net(batch[0]), batch[1])
        def validation_step(self, batch, _):
            x, y = batch
            preds = self.net(x)
            accuracy = (preds.argmax(1) == y).float().mean()
            self.log_dict(dict(loss=F.cross_entropy(preds, y), accuracy=accuracy), batch_size=len(y))
        def configure_optimizers(self):
            opt = task.opt_func(self.parameters(), lr=task.peak)
            return [opt], [dict(scheduler=CosineAnnealingLR(opt, task.total), interval='step')]

    logging.getLogger('lightning.pytorch').setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter('ignore') # advice on workers for its loaders
        trainer = L.Trainer(
            max_epochs=task.epochs, accelerator='cpu', default_root_dir=folder, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            num_sanity_val_steps=0)
        trainer.fit(Module(), task.train, task.valid)
    return trainer.global_step, trainer.callback_metrics['accuracy'].item()


def ignite(task):
    from ignite.engine import Events, create_supervised_evaluator, create_supervised_trainer
    from ignite.handlers import CosineAnnealingScheduler
    from ignite.metrics import Accuracy as IgniteAccuracy
    from ignite.metrics import Loss
    opt = task.optimizer()
    trainer = create_supervised_trainer(task.model, opt, F.cross_entropy)
    metrics = dict(loss=Loss(F.cross_entropy), accuracy=IgniteAccuracy())
    judge = create_supervised_evaluator(task.model, metrics)
    scheduler = CosineAnnealingScheduler(opt, 'lr', task.peak, 0., task.total)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: judge.run(task.valid))
    trainer.run(task.train, max_epochs=task.epochs)
    return trainer.state.iteration, judge.state.metrics['accuracy']


def skorch(task):
    from skorch import NeuralNet
    from skorch.callbacks import EpochScoring, LRScheduler
    from skorch.helper import predefined_split
    def accuracy(net, data, y=None):
        right = net.forward(data).argmax(1) == data.tensors[1]
        return float(right.float().mean())
    if task.train.batch_size is None: # a batch at once
        loaders = dict(iterator_train__batch_size=None,
                       iterator_valid__sampler=task.valid.sampler, iterator_valid__batch_size=None)
    else: loaders = dict(iterator_train__batch_size=BATCH, iterator_valid__batch_size=256)
    callbacks = [('rate', LRScheduler(CosineAnnealingLR, T_max=task.total, step_every='batch')),
                 ('accuracy', EpochScoring(accuracy, name='accuracy', lower_is_better=False))]
    net = NeuralNet(
        task.model, criterion=torch.nn.CrossEntropyLoss, optimizer=task.opt_func, lr=task.peak,
        max_epochs=task.epochs,
        train_split=predefined_split(task.valid.dataset), verbose=0, callbacks=callbacks,
        callbacks__print_log=None, iterator_train__sampler=task.rows, **loaders)
    net.fit(task.train.dataset)
    steps = sum('train_loss' in batch for row in net.history for batch in row['batches'])
    return steps, net.history[-1]['accuracy']


def accelerate(task):
    from accelerate import Accelerator
    accelerator = Accelerator(cpu=True)
    opt = task.optimizer()
    model, opt, sched = accelerator.prepare(task.model, opt, CosineAnnealingLR(opt, task.total))
    train, valid, step = task.train, task.valid, 0
    if train.batch_size: train, valid = accelerator.prepare(train, valid) # it cannot if rows are not collated
    for _ in range(task.epochs):
        model.train()
        for x, y in train:
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            accelerator.backward(loss)
            opt.step()
            sched.step()
            step += 1
        _, accuracy = score(model, valid)
    return step, accuracy


PEERS = dict(fastai=fastai, Lightning=lightning, ignite=ignite, skorch=skorch, Accelerate=accelerate)
HAND, CONVOLUTIONS = 'by hand, slices in memory', 'its convolution alone'
CONTESTANTS = { # {name: (a loop over a task, does the loader fetch row by row?)}
    HAND: (by_hand, False), 'by hand, DataLoader': (partial(by_hand, batches=lambda task: task.train), True),
    'Learner': (ours, False), 'Learner, compiled': (compiled, False),
    **{name: (peer, True) for name, peer in PEERS.items()},
    **{f'{name}, loader in memory': (peer, False) for name, peer in PEERS.items()},
}


def contestant(loop, by_row, make_task, facts=('steps', 'accuracy')):
    "A turn of a loop: the seconds of a step, and what must be equal for all"
    def turn(k):
        task = make_task(k, by_row)
        with contextlib.redirect_stdout(io.StringIO()): steps, accuracy = loop(task)
        done = dict(steps=int(steps), accuracy=float(accuracy))
        return task.seconds, {name: done[name] for name in facts}
    return turn


def convolutions(times=400):
    "Seconds that the small CNN's convolution takes in a training step, forward and its weights' gradient"
    conv, x = cnn()[1].requires_grad_(False), torch.rand(BATCH, 1, 8, 8)
    grad = torch.rand_like(conv(x))
    settings = [len(conv.bias)], conv.stride, conv.padding, conv.dilation, False, [0, 0], 1
    def turn(k):
        start = PROCESSOR()
        for _ in range(times):
            conv(x)
            torch.ops.aten.convolution_backward(grad, x, conv.weight, *settings, [False, True, True])
        return (PROCESSOR() - start)/times, {}
    return turn


def run(rounds):
    torch.set_num_threads(1)
    done = {}
    for model in (mlp, cnn):
        task = partial(Task, model)
        contestants = {name: contestant(*each, task) for name, each in CONTESTANTS.items()}
        if model is cnn: contestants[CONVOLUTIONS] = convolutions()
        name = model.__name__
        done[name] = check_equal_work(measure(contestants, rounds, f'loops, {name}', HAND))
    return done
