"""Learning-rate annealing, taught by building it: schedules, a training loop, a learning-rate finder"""

__version__ = "0.1.0"

from .schedule import Schedule, constant, cosine, exponential, join, linear, polynomial, position
from .recipes import flat_cos, one_cycle, restarts, warmup_cosine, wsd
from .data import DataLoaders, digits_dls, fashion_dls, tensor_loader
from .metric import Accuracy, Metric, classes
from .learner import Callback, CancelBatchException, CancelEpochException, CancelFitException, Learner, MomentumCB, MomentumLearner, TrainCB, TrainLearner
from .callback import CallbackList, DeviceCB, MetricsCB, ProgressCB, RecorderCB, ScheduleCB, Seconds, SingleBatchCB, to_cpu
from .finder import LRFind, LRFinderCB, lr_find
from .post import coded_factor, four_figures, printed_factor
from .fleet import Fleet, run_fleet

__all__ = [
    'Schedule', 'constant', 'cosine', 'exponential', 'join', 'linear', 'polynomial', 'position',
    'flat_cos', 'one_cycle', 'restarts', 'warmup_cosine', 'wsd',
    'DataLoaders', 'digits_dls', 'fashion_dls', 'tensor_loader',
    'Accuracy', 'Metric', 'classes',
    'Callback', 'CancelBatchException', 'CancelEpochException', 'CancelFitException', 'Learner', 'MomentumCB', 'MomentumLearner', 'TrainCB', 'TrainLearner',
    'CallbackList', 'DeviceCB', 'MetricsCB', 'ProgressCB', 'RecorderCB', 'ScheduleCB', 'Seconds', 'SingleBatchCB', 'to_cpu',
    'LRFind', 'LRFinderCB', 'lr_find',
    'coded_factor', 'four_figures', 'printed_factor',
    'Fleet', 'run_fleet',
]
