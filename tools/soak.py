"""Many batches with every callback attached: do time and memory per batch grow? Compares the last tenth with
the first.

`RecorderCB` and `MetricsCB` are there to keep a history, so some memory must grow. A second run, of a tenth
of the batches, counts what they keep, object by object, and all that Python holds (`tracemalloc`, which
takes time and memory itself): the rest must not grow. `python tools/soak.py` trains 200,000 batches (some
minutes) and 20,000; `--batches` changes that.
"""
import argparse
import gc
import os
import resource
import sys
import tempfile
import time
import tracemalloc
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import (
    Accuracy,
    Callback,
    CheckpointCB,
    DeviceCB,
    Learner,
    MetricsCB,
    ProgressCB,
    RecorderCB,
    ScheduleCB,
    cosine,
    digits_dls,
)
from cosine_lr.run import (
    EMACB,
    CSVLoggerCB,
    EarlyStopCB,
    FreezeCB,
    GradAccumCB,
    GradClipCB,
    MixedPrecisionCB,
    NaNGuardCB,
    TensorBoardCB,
    TimerCB,
)

REST = 20  # bytes a batch


class Writer:
    def add_scalar(self, name, value, step): pass


def resident():
    "Resident bytes of the process: now (on Linux), or at their highest"
    try: return int(Path('/proc/self/statm').read_text().split()[1])*resource.getpagesize()
    except OSError: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def size(x, seen):
    "Bytes of lists and dictionaries and of what is in them, each object once"
    if id(x) in seen: return 0
    seen.add(id(x))
    parts = x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ()
    return sys.getsizeof(x) + sum(size(part, seen) for part in parts)


class Gauge(Callback):
    """After each tenth of the batches: processor seconds it took, bytes that Python holds (0 if they are not
    traced), bytes of history, and resident bytes"""
    order = 2000

    def before_fit(self, learn):
        self.seconds, self.held, self.history, self.resident = [], [], [], []
        self.last = time.process_time()

    def after_epoch(self, learn):
        if learn.training or (learn.epoch + 1) % (learn.n_epochs//10): return
        self.seconds.append(time.process_time() - self.last)
        gc.collect()
        self.held.append(tracemalloc.get_traced_memory()[0])
        kept = [vars(cb)[name] for cb in learn.active for name in ('records', 'rows') if name in vars(cb)]
        self.history.append(size(kept, set()))
        self.resident.append(resident())
        print(f'{len(self.seconds)} tenths: time per batch x{grown(self.seconds):.2f}, '
              f'resident memory x{grown(self.resident):.3f}', flush=True)
        self.last = time.process_time()


class Checkpoint(CheckpointCB):
    def before_fit(self, learn):
        self.seconds = []
        super().before_fit(learn)

    def _save(self, *args):
        start = time.process_time()
        super()._save(*args)
        self.seconds.append(time.process_time() - start)


def grown(values): return values[-1]/values[0]


def silent(line): pass


def callbacks(folder, epochs, file):
    "One of each kind, and the two that are measured: the gauge and the checkpoint"
    checkpoint = Checkpoint(f'{folder}/run', every=max(17*epochs//50, 1), best=('accuracy', max), log=silent)
    cbs = [
        ScheduleCB(lr=.1*cosine()), RecorderCB('lr', 'momentum'), MetricsCB(Accuracy(), log=silent),
        ProgressCB(file=file), DeviceCB('cpu'), GradAccumCB(2), MixedPrecisionCB(), GradClipCB(1.), EMACB(),
        NaNGuardCB(log=silent), EarlyStopCB(patience=epochs, log=silent), CSVLoggerCB(f'{folder}/log.csv'),
        TensorBoardCB(Writer()), FreezeCB('0.', until=2), checkpoint, TimerCB(),
    ]
    return cbs, checkpoint


def train(epochs, *more):
    "A small model on digits with every callback attached; the gauge and the checkpoint"
    torch.manual_seed(0)
    layers = nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(.1), nn.Linear(32, 10)
    sgd = partial(torch.optim.SGD, momentum=.9)
    gauge = Gauge()
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, 'w') as nowhere:
        cbs, checkpoint = callbacks(folder, epochs, nowhere)
        learn = Learner(nn.Sequential(*layers), digits_dls(), F.cross_entropy, opt_func=sgd)
        learn.fit(epochs, cbs=[*cbs, gauge, *more])
    return gauge, checkpoint


def soak(batches, *more, trace=False):
    """The last tenth against the first, `more` callbacks attached: ratios of time and of resident memory;
    bytes a batch by which the history grows and, with `trace`, by which the rest of what Python holds does;
    seconds of the first checkpoint and of the last; batches that were run"""
    epochs, threads = max(batches // 170, 2)*10, torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other take processor time too
    if trace: tracemalloc.start()
    try: gauge, checkpoint = train(epochs, *more)
    finally:
        torch.set_num_threads(threads)
        if trace: tracemalloc.stop()
    between = 17*epochs*.9  # batches from the first tenth to the last
    added = [(values[-1] - values[0])/between for values in (gauge.held, gauge.history, gauge.resident)]
    held, history, grew = added
    rest = held - history if trace else None
    return dict(time=grown(gauge.seconds), resident=grown(gauge.resident), batches=17*epochs,
                history=history, rest=rest, grew=grew, saves=(checkpoint.seconds[0], checkpoint.seconds[-1]))


def main():
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument('--batches', type=int, default=200_000)
    batches = parser.parse_args().batches
    long, exact = soak(batches), soak(batches//10, trace=True)
    print('{batches} batches, last tenth over first: time per batch x{time:.2f}, '
          'resident memory x{resident:.3f} ({grew:.0f} bytes a batch)'.format_map(long))
    first, last = (1e3*seconds for seconds in long['saves'])
    print(f'a checkpoint, which holds the history, takes {first:.0f} ms at first, {last:.0f} ms at the end')
    print('{batches} batches: a batch adds {history:.1f} bytes to the history that was asked for, '
          'and {rest:.1f} to all else that Python holds'.format_map(exact), f'(limit {REST})')
    sys.exit(long['time'] > 1.2 or long['resident'] > 1.1 or abs(exact['rest']) > REST)


if __name__ == '__main__': main()
