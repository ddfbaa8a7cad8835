"""Training a small language model: seconds for a step, without validation; the first epoch is left out. And
whether eight runs of it are cheaper in a fleet or one by one."""
import logging
import tempfile
from functools import partial

import torch
import torch.nn.functional as F
from cosine_lr import Learner, ScheduleCB, cosine, run_fleet, tensor_loader
from cosine_lr.lab.language import GPT, next_char_loss, text_dls
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from . import loops
from .measure import PROCESSOR, check_equal_work, measure
from .task import Rows, Task

CONTEXT, WIDTH, BS, STEPS, EPOCHS = 32, 32, 16, 50, 4
WIDTHS, MEMBERS = (8, 16, 32, 64, 128), 8 # of the models that a fleet trains, and how many at once
HAND, COMPILED = 'by hand', 'by hand, compiled'


class Turned(nn.Module):
    "Scores with the characters in the second dimension, where `F.cross_entropy` expects classes"
    def __init__(self, chars):
        super().__init__()
        self.gpt = GPT(chars, CONTEXT, WIDTH)
    def forward(self, x): return self.gpt(x).mT


class TextTask(Task):
    "A GPT, AdamW and characters of Python's reference; the same seed gives the same weights and batches"
    def __init__(self, seed, by_row=False):
        dls = text_dls(CONTEXT, BS, source='python', size=STEPS*BS*CONTEXT*10//8 + 20*CONTEXT)
        torch.manual_seed(seed)
        self.model, self.epochs, self.peak = Turned(len(dls.vocab)), EPOCHS, .004
        self.opt_func = partial(torch.optim.AdamW, weight_decay=.1)
        self.x, self.y = (t[:STEPS*BS] for t in dls.train.dataset.tensors)
        self.rows = Rows(len(self.x), torch.Generator().manual_seed(seed), not by_row, PROCESSOR, BS)
        loader = partial(DataLoader if by_row else type(dls.train), generator=torch.Generator())
        bs = BS if by_row else None
        self.train = loader(TensorDataset(self.x, self.y), sampler=self.rows, batch_size=bs)
        few = self.x[:1], self.y[:1]  # validation costs next to nothing
        self.valid = DataLoader(TensorDataset(*few), batch_size=1) if by_row else tensor_loader(*few)
        self.steps, self.total = STEPS, STEPS*EPOCHS


def compiled_by_hand(task):
    "The loop one writes, with the model and the optimizer's step compiled; the rate is a tensor"
    torch.compiler.reset() # or the limit of recompilations turns the later rounds into eager ones
    opt, step, losses = task.optimizer(), 0, []
    for group in opt.param_groups: group['lr'] = torch.tensor(task.peak)
    model, take_step = torch.compile(task.model), torch.compile(opt.step)
    for _ in range(task.epochs):
        model.train()
        for x, y in loops.slices(task):
            for group in opt.param_groups: group['lr'].fill_(loops.rate(step, task.total, task.peak))
            loss = F.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            take_step()
            losses.append(loss.item())
            step += 1
    return step, 0.


def trainer(task):
    "Hugging Face's `Trainer`"
    from transformers import Trainer, TrainingArguments

    class WithLoss(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = task.model
        def forward(self, x, labels): return dict(loss=F.cross_entropy(self.net(x), labels))

    class Loaded(Trainer):
        def get_train_dataloader(self): return task.train

    def as_dict(rows): return dict(zip(('x', 'labels'), map(torch.stack, zip(*rows))))
    if task.train.batch_size: task.train.collate_fn = as_dict
    else:
        cut = task.train
        class AsDict:
            dataset, batch_size = cut.dataset, BS
            def __len__(self): return STEPS
            def __iter__(self): return (dict(x=x, labels=y) for x, y in cut)
        task.train = AsDict()
    opt = task.optimizer()
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder, num_train_epochs=EPOCHS, per_device_train_batch_size=BS, use_cpu=True, max_grad_norm=0.,
            report_to=[], save_strategy='no', disable_tqdm=True, logging_strategy='no')
        pair = opt, CosineAnnealingLR(opt, task.total)
        Loaded(WithLoss(), args, train_dataset=task.x, optimizers=pair).train()
    return task.total, 0.


PEERS = dict(fastai=loops.fastai, Lightning=loops.lightning, Accelerate=loops.accelerate, Trainer=trainer)
EAGER = {HAND: (loops.by_hand, False), 'Learner': (loops.ours, False),
         **{name: (peer, True) for name, peer in PEERS.items()},
         **{f'{name}, loader in memory': (peer, False) for name, peer in PEERS.items()}}
TRACED = {COMPILED: (compiled_by_hand, False), 'Learner, compiled': (loops.compiled, False)}


def of_fleet(make_model, dls, opt_func, epochs):
    run_fleet(make_model, dls, .004*cosine(), seeds=MEMBERS, epochs=epochs, loss_func=next_char_loss,
              opt_func=opt_func, quiet=True)


def of_learner(make_model, dls, opt_func, epochs):
    schedule = ScheduleCB(lr=.004*cosine())
    Learner(make_model(), dls, next_char_loss, opt_func=opt_func, cbs=schedule).fit(epochs)


def one_of_many(train, width, runs):
    "Seconds of the processor for a step of one run, with its validation; the first epoch is left out"
    def seconds(k, epochs):
        dls = text_dls(CONTEXT, BS, seed=k, source='python', size=STEPS*BS*CONTEXT*10//8)
        make_model = partial(GPT, len(dls.vocab), CONTEXT, width)
        start = PROCESSOR()
        train(make_model, dls, partial(torch.optim.AdamW, weight_decay=.1), epochs)
        return PROCESSOR() - start
    return lambda k: ((seconds(k, 2) - seconds(k, 1))/STEPS/runs, {})


def crossover(rounds):
    "{width: a fleet's step of one run beside a `Learner`'s}"
    turns = {width: {'one by one': one_of_many(of_learner, width, 1),
                     'fleet': one_of_many(of_fleet, width, MEMBERS)} for width in WIDTHS}
    return {str(width): measure(each, rounds, f'GPT, width {width}', 'one by one')
            for width, each in turns.items()}


def run(rounds):
    torch.set_num_threads(1)
    logging.getLogger('transformers').setLevel(logging.ERROR)
    done = {}
    for name, contestants, base in (('eager', EAGER, HAND), ('compiled', TRACED, COMPILED)):
        turns = {name: loops.contestant(*each, TextTask, ['steps']) for name, each in contestants.items()}
        done[name] = check_equal_work(measure(turns, rounds, f'GPT, {name}', base))
    return dict(done, widths=crossover(max(5, rounds//2)))
