"""Many batches with every callback attached: do time and memory per batch grow? Reports the last tenth against the first, as ratios.

`python tools/soak.py` trains 200,000 batches (some minutes); `--batches` changes that.
"""
import argparse
import io
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import (Accuracy, Callback, CheckpointCB, CSVLoggerCB, DeviceCB, EarlyStopCB, EMACB, FreezeCB, GradAccumCB, GradClipCB, Learner, MetricsCB,
                       MixedPrecisionCB, NaNGuardCB, ProgressCB, RecorderCB, ScheduleCB, TensorBoardCB, TimerCB, cosine, digits_dls)


class Writer:
    def add_scalar(self, name, value, step): pass


def memory():
    "Resident bytes now (on Linux), or at their highest"
    try: return int(Path('/proc/self/statm').read_text().split()[1])*resource.getpagesize()
    except OSError: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


class Gauge(Callback):
    "Processor seconds and resident bytes of each epoch; says so after each tenth of them"
    order = 2000
    def before_fit(self, learn): self.seconds, self.bytes, self.last = [], [], time.process_time()
    def after_epoch(self, learn):
        if learn.training: return
        now = time.process_time()
        self.seconds.append(now - self.last)
        self.bytes.append(memory())
        self.last, tenth = now, learn.n_epochs//10
        if len(self.bytes) % tenth == 0: print(f'{len(self.bytes)} epochs: time per batch x{grown(self.seconds, tenth):.2f}, memory x{grown(self.bytes, tenth):.3f}', flush=True)


def grown(values, n):
    "The median of the last `n` values over that of the first `n`"
    return statistics.median(values[-n:])/statistics.median(values[:n])


def silent(line): pass


def soak(batches):
    "Ratios of time and of memory, last tenth over first, and the batches that were run"
    epochs, gauge = max(batches // 17, 20), Gauge()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(.1), nn.Linear(32, 10))
    with tempfile.TemporaryDirectory() as folder:
        cbs = [ScheduleCB(lr=.1*cosine()), RecorderCB('lr', 'momentum'), MetricsCB(Accuracy(), log=silent), ProgressCB(file=io.StringIO()), DeviceCB('cpu'),
               GradAccumCB(2), MixedPrecisionCB(), GradClipCB(1.), EMACB(), NaNGuardCB(log=silent), EarlyStopCB(patience=epochs, log=silent), CSVLoggerCB(f'{folder}/log.csv'),
               TensorBoardCB(Writer()), FreezeCB('0.', until=2), CheckpointCB(f'{folder}/run', every=max(batches//50, 1), best=('accuracy', max), log=silent), TimerCB(), gauge]
        Learner(model, digits_dls(), F.cross_entropy, opt_func=lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=.9)).fit(epochs, cbs=cbs)
    return grown(gauge.seconds, epochs//10), grown(gauge.bytes, epochs//10), 17*epochs


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batches', type=int, default=200_000)
    slower, larger, n = soak(parser.parse_args().batches)
    print(f'{n} batches, last tenth over first: time per batch x{slower:.2f}, memory x{larger:.3f}')
    sys.exit(slower > 1.2 or larger > 1.1)
