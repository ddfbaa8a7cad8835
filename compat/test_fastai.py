"""Our schedules, as they are, in fastai's ParamScheduler; and fastai's own schedules as an oracle."""
from importlib.util import find_spec

import numpy as np
import torch.nn.functional as F
from common import MOMENTUM, PEAK, momenta, net, problem, rates
from cosine_lr import cosine, exponential, join, linear, polynomial
from fastai.callback.schedule import ParamScheduler, SchedCos, SchedExp, SchedLin, SchedPoly
from fastai.callback.schedule import combine_scheds, combined_cos
from fastai.data.core import DataLoaders
from fastai.learner import Learner, Metric
from torch.utils.data import DataLoader, TensorDataset


def test_param_scheduler():
    "64 steps, so that the progress which fastai adds up is exact"
    data = TensorDataset(*problem(64))
    scheduler = ParamScheduler({'lr': PEAK, 'mom': MOMENTUM})
    learn = Learner(DataLoaders(DataLoader(data, 4), DataLoader(data, 4)), net(), loss_func=F.cross_entropy)
    with learn.no_bar(), learn.no_logging(): learn.fit(4, cbs=[scheduler])
    assert scheduler.hps['lr'] == rates(64) and scheduler.hps['mom'] == momenta(64)


def test_shapes_agree():
    pos = np.linspace(0, 1, 1001)
    pairs = [(SchedCos(.3, .01), cosine(.3, .01)), (SchedLin(.3, .01), linear(.3, .01)),
             (SchedExp(.3, .01), exponential(.3, .01))]
    joined = [(combined_cos(.25, .01, .3, .001), join([cosine(.01, .3), cosine(.3, .001)], at=[.25])),
              (combine_scheds([.25, .75], [SchedLin(0, 1), SchedCos(1, 0)]),
               join([linear(0, 1), cosine()], at=[.25]))]
    for theirs, ours in pairs: assert max(abs(theirs(p) - ours(p)) for p in pos) < 1e-12, ours
    for theirs, ours in joined:                                     # combine_scheds computes in float32
        assert max(abs(theirs(p) - ours(p)) for p in pos) < 1e-6, ours
    theirs, ours = SchedPoly(.3, .01, 3), .31 - polynomial(.3, .01, 3)  # theirs starts slowly, ours ends so
    assert max(abs(theirs(p) - ours(1 - p)) for p in pos) < 1e-12


def test_what_the_post_expects_of_fastai():
    "07_post says that neither the import nor the metric of the post is fastai's"
    assert find_spec('fastai') and find_spec('fastai.callbacks') is None
    assert hasattr(Metric, 'accumulate') and not hasattr(Metric, 'add')
