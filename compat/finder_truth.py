"""The best constant learning rate of 24 tasks, found by full runs, and what our finder, fastai's and torch-lr-finder's suggest for them.

    .venv-compat/bin/python compat/finder_truth.py        (after `make compat`; some minutes)

The tasks are those of nbs/probe.ipynb; the results go to nbs/finder_truth.json, which that notebook reads.
"""
import contextlib
import io
import json
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path

import matplotlib
import numpy as np
import torch
from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch_lr_finder import LRFinder

from cosine_lr import lr_find

ROOT = Path(__file__).resolve().parent.parent
SEEDS, FULL_RUNS = range(5), 20 # for the suggestions; for each rate of the grid
PEERS = ('torch', 'fastai', 'torch-lr-finder')
FASTAI = dict(valley=valley, slide=slide, minimum=minimum, steep=steep)


def tasks():
    "What the notebook's cells define."
    cells = {cell['id']: ''.join(cell['source']) for cell in json.loads((ROOT/'nbs/probe.ipynb').read_text(encoding='utf-8'))['cells']}
    scope = {}
    exec('from cosine_lr.lab.probe import lr_probe\n' + '\n'.join(cells[name] for name in ('imports', 'test-imports', 'tasks')), scope)
    return scope


def ours(learn):
    found = lr_find(learn)
    short = lambda x: None if x is None or not np.isfinite(x) else float(f'{x:.4g}')
    rules = {rule: short(np.median(rates[np.isfinite(rates)])) if np.isfinite(rates).any() else None for rule, rates in found.rules.items()}
    return dict(value=short(found.suggestion), low=short(found.low), high=short(found.high), reason=found.reason, rules=rules)


def fastai(task, learn):
    with tempfile.TemporaryDirectory() as folder:
        theirs = Learner(DataLoaders(learn.dls.train, learn.dls.valid), learn.model, loss_func=task['loss_func'], path=folder,
                         opt_func=partial(OptimWrapper, opt=task['opt_func']))
        with theirs.no_bar(): found = theirs.lr_find(show_plot=False, suggest_funcs=tuple(FASTAI.values()))
    return {f'fastai {name}': float(f'{lr:.4g}') for name, lr in zip(FASTAI, found)}


def torch_lr_finder(task, learn):
    "As in its README: from the optimizer's own rate, here 1e-7, to 100"
    finder = LRFinder(learn.model, task['opt_func'](learn.model.parameters(), lr=1e-7), task['loss_func'], device='cpu')
    finder.range_test(learn.dls.train, end_lr=100, num_iter=100)
    axes = matplotlib.figure.Figure().subplots()
    return float(f'{finder.plot(ax=axes, suggest_lr=True)[1]:.4g}')


def suggestions(scope, name, seed):
    "Each finder meets the same new model and loader"
    task, fresh = scope['task'](name), partial(scope['learner'], name, seed)
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        return {'ours': ours(fresh()), **fastai(task, fresh()), 'torch-lr-finder': torch_lr_finder(task, fresh())}


def main():
    torch.set_num_threads(1)
    matplotlib.use('agg')
    scope = tasks()
    result = dict(versions={name: version(name) for name in PEERS}, grid=[float(f'{lr:.6g}') for lr in scope['GRID']], tasks={})
    for half in ('TO_LOOK_AT', 'TO_REPORT'):
        for name in scope['names'](scope[half]):
            losses = scope['truth'](name, scope['GRID'], FULL_RUNS).losses
            rows = [suggestions(scope, name, seed) for seed in SEEDS]
            result['tasks'][name] = dict(half=half, losses=[[float(f'{x:.5g}') if np.isfinite(x) else None for x in row] for row in losses],
                                         suggestions={finder: [row[finder] for row in rows] for finder in rows[0]})
            print(f'{name:30} best {scope["GRID"][np.where(np.isfinite(losses).all(1), losses.mean(1), np.inf).argmin()]:.3g}, ours {rows[0]["ours"]["value"]}', flush=True)
    (ROOT/'nbs/finder_truth.json').write_text(json.dumps(result, separators=(',', ':')).replace('"losses"', '\n"losses"') + '\n', encoding='utf-8')


if __name__ == '__main__': main()
